package gpio

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestChange: what is described as before does not notice, what is not passes through safe.
func TestChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, got := newRig(), &told{}
		heater, pump := Output{Name: "heater", Pin: "sim", MaxOn: time.Minute}, Output{Name: "pump", Pin: "sim"}
		b := Open([]Output{heater, pump, {Name: "both", Group: []string{"heater", "pump"}}}, r, got.add, nil)
		mustSet(t, b, "heater", true)
		mustSet(t, b, "pump", true)
		synctest.Wait()
		got.take()
		time.Sleep(30 * time.Second)
		pump.Lease = time.Hour
		if err := b.Change([]Output{heater, pump, {Name: "lamp", Pin: "sim"}, {Name: "all", Group: []string{"heater", "lamp"}}}); err != nil {
			t.Fatal(err)
		}
		if !r.on("heater") || r.on("pump") || r.on("lamp") {
			t.Errorf("heater %v, pump %v, lamp %v", r.on("heater"), r.on("pump"), r.on("lamp"))
		}
		r.fail("heater", func(w *wire) {
			if n := len(w.history); n != 2 { // off at the start, then on
				t.Errorf("the heater has switched %d times", n)
			}
		})
		mustSet(t, b, "all", true)
		mustSet(t, b, "pump", true)
		if _, err := b.Set("both", true, 0); err == nil {
			t.Error("the group of before is still there")
		}
		time.Sleep(31 * time.Second) // its minute began before the change
		if r.on("heater") || !r.on("lamp") {
			t.Errorf("after max_on: heater %v, lamp %v", r.on("heater"), r.on("lamp"))
		}
		if err := b.Change([]Output{pump}); err != nil || r.on("lamp") || !r.on("pump") {
			t.Errorf("after the lamp is gone: %v, lamp %v, pump %v", err, r.on("lamp"), r.on("pump"))
		}
		if err := b.Close(); err != nil || r.on("pump") {
			t.Errorf("at the end: %v, pump %v", err, r.on("pump"))
		}
		if err := b.Change(nil); err != ErrClosed {
			t.Errorf("after the end: %v", err)
		}
	})
}

// TestChangeKeepsDeadlines: max_on counts on through a change.
func TestChangeKeepsDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig()
		heater := Output{Name: "heater", Pin: "sim", MaxOn: time.Minute}
		b := Open([]Output{heater}, r, nil, nil)
		defer b.Close()
		mustSet(t, b, "heater", true)
		time.Sleep(50 * time.Second)
		if err := b.Change([]Output{{Name: "lamp", Pin: "sim"}, heater}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(9 * time.Second)
		if !r.on("heater") {
			t.Error("off too early")
		}
		time.Sleep(2 * time.Second)
		if r.on("heater") {
			t.Error("on for more than a minute")
		}
	})
}

// TestChangeOfAnInterlock: two that were on may not be so together any more.
func TestChangeOfAnInterlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig()
		up, down := Output{Name: "up", Pin: "sim"}, Output{Name: "down", Pin: "sim"}
		b := Open([]Output{up, down, {Name: "x", Pin: "sim"}}, r, nil, nil)
		defer b.Close()
		mustSet(t, b, "up", true)
		mustSet(t, b, "down", true)
		down.Interlock = []string{"up"}
		if err := b.Change([]Output{up, down}); err != nil || r.on("down") || !r.on("up") {
			t.Errorf("%v, up %v, down %v", err, r.on("up"), r.on("down"))
		}
		if _, err := b.Set("down", true, 0); err == nil {
			t.Error("both may be on")
		}
	})
}

// TestChangeKeepsTheRate: an output gets no new switches by being described otherwise, renamed, or left out for a moment.
func TestChangeKeepsTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := Open([]Output{{Name: "heater", Pin: "GPIO4", Rate: 2}}, newRig(), nil, nil)
		defer b.Close()
		mustSet(t, b, "heater", true)
		mustSet(t, b, "heater", false)
		for _, outs := range [][]Output{
			{{Name: "heater", Pin: "GPIO4", Rate: 2, Lease: time.Hour}}, {{Name: "oven", Pin: "GPIO4", Rate: 2}}, nil, {{Name: "heater", Pin: "GPIO4", Rate: 2}},
		} {
			if err := b.Change(outs); err != nil {
				t.Fatal(err)
			}
			if len(outs) > 0 {
				_, err := b.Set(outs[0].Name, true, 0)
				wantRule(t, err, "rate")
			}
		}
		time.Sleep(time.Minute)
		mustSet(t, b, "heater", true)
	})
}
