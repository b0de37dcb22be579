package gpio

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestSafeAtStartAndEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		outs := []Output{{Name: "heater", Pin: "sim"}, {Name: "fan", Pin: "sim", Safe: true}, {Name: "relay", Pin: "sim", ActiveLow: true}}
		noProblems(t, outs)
		sim, got := NewSim(), &told{}
		high := func(name string) bool {
			h, ok := sim.Level(name)
			if !ok {
				t.Fatalf("%s was never opened", name)
			}
			return h
		}
		b := Open(outs, sim, got.add, nil)
		if high("heater") || !high("fan") || !high("relay") {
			t.Error("not safe after Open")
		}
		mustSet(t, b, "heater", true)
		mustSet(t, b, "fan", false)
		mustSet(t, b, "relay", true)
		if !high("heater") || high("fan") || high("relay") {
			t.Error("not switched")
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		if high("heater") || !high("fan") || !high("relay") {
			t.Error("not safe after Close")
		}
		if s := got.take(); s != "heater off, fan on, relay off, heater on, fan off, relay on, heater off, fan on, relay off" {
			t.Error(s)
		}
		if _, err := b.Set("heater", true, 0); !errors.Is(err, ErrClosed) || high("heater") {
			t.Errorf("after Close: %v", err)
		}
		b.Link(false)
		b.Refresh()
		if b.Close() != nil || !errors.Is(b.Renew("fan"), ErrClosed) {
			t.Error("second Close")
		}
		if r := b.Get("fan"); !r.On || r.Cause != AtEnd {
			t.Errorf("%+v", r)
		}
	})
}

// TestEnvelope: one rule a line. Each step waits, then does something; want is what the output then is.
func TestEnvelope(t *testing.T) {
	type step struct {
		after time.Duration
		do    string // on off toggle blink renew up down, or nothing; with " 5s" for For
		want  string // on or off, then the rule if it is refused
	}
	const s = time.Second
	for name, c := range map[string]struct {
		out   Output
		steps []step
	}{
		"max_on":                         {Output{MaxOn: 10 * s}, []step{{0, "on", "on"}, {6 * s, "on", "on"}, {4*s - 1, "", "on"}, {1, "", "off"}, {0, "on", "on"}}},
		"for":                            {Output{}, []step{{0, "on 5s", "on"}, {5*s - 1, "", "on"}, {1, "", "off"}}},
		"for ends with the next command": {Output{}, []step{{0, "on 5s", "on"}, {s, "on", "on"}, {time.Hour, "", "on"}}},
		"for longer than max_on":         {Output{MaxOn: 3 * s}, []step{{0, "on 5s", "on"}, {3 * s, "", "off"}}},
		"for of an output safe on":       {Output{Safe: true}, []step{{0, "off 5s", "off"}, {5 * s, "", "on"}}},
		"min_off": {Output{MinOff: 10 * s}, []step{
			{0, "on", "off min_off"}, {10 * s, "on", "on"}, {s, "off", "off"}, {10*s - 1, "on", "off min_off"}, {1, "toggle", "on"}}},
		"lease": {Output{Lease: 5 * s}, []step{
			{0, "on", "on"}, {4 * s, "renew", "on"}, {4 * s, "on", "on"}, {5*s - 1, "", "on"}, {1, "", "off"}, {0, "renew", "off"}}},
		"rate": {Output{Rate: 3}, []step{
			{0, "on", "on"}, {s, "off", "off"}, {s, "on", "on"}, {s, "off", "off"}, {s, "on", "off rate"}, {57*s - 1, "on", "off rate"}, {s + 1, "on", "on"}}},
		"rate does not keep from safe": {Output{Rate: 1}, []step{{0, "on", "on"}, {0, "on", "on"}, {0, "off", "off"}, {0, "on", "off rate"}}},
		"link lost":                    {Output{OnLinkLoss: GoSafe, LinkDelay: 5 * s}, []step{{0, "on", "on"}, {0, "down", "on"}, {5*s - 1, "down", "on"}, {1, "", "off"}}},
		"link back in time":            {Output{OnLinkLoss: GoSafe, LinkDelay: 5 * s}, []step{{0, "on", "on"}, {0, "down", "on"}, {4 * s, "up", "on"}, {time.Hour, "", "on"}}},
		"command while the link is down": {Output{OnLinkLoss: GoSafe, LinkDelay: 5 * s}, []step{
			{0, "down", "off"}, {time.Hour, "on", "on"}, {3 * s, "on", "on"}, {5*s - 1, "", "on"}, {1, "", "off"}}},
		"link lost, no delay": {Output{OnLinkLoss: GoSafe}, []step{{0, "on", "on"}, {0, "down", "off"}, {0, "on", "off on_link_loss"}, {0, "up", "off"}, {0, "on", "on"}}},
		"link lost, keep":     {Output{}, []step{{0, "on", "on"}, {0, "down", "on"}, {time.Hour, "on", "on"}}},
		"blink": {Output{}, []step{
			{0, "blink 5s", "on"}, {s, "", "off"}, {2*s - 1, "", "off"}, {1, "", "on"}, {s, "", "off"}, {s, "", "off"}, {time.Hour, "", "off"}}},
		"blink ends with a command": {Output{}, []step{{0, "blink", "on"}, {s, "on", "on"}, {time.Hour, "", "on"}}},
		"blink keeps to the rate":   {Output{Rate: 2}, []step{{0, "blink", "on"}, {s, "", "off"}, {2 * s, "", "off"}, {time.Hour, "", "off"}}},
		"blink keeps to max_on":     {Output{MaxOn: s / 2}, []step{{0, "blink", "on"}, {s / 2, "", "off"}, {time.Hour, "", "off"}}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c.out.Name, c.out.Pin = "x", "sim"
				noProblems(t, []Output{c.out})
				sim := NewSim()
				b := Open([]Output{c.out}, sim, nil, nil)
				defer b.Close()
				for i, st := range c.steps {
					time.Sleep(st.after)
					synctest.Wait()
					err := doWord(t, b, st.do)
					synctest.Wait()
					state, rule, _ := strings.Cut(st.want, " ")
					if rule != "" {
						wantRule(t, err, rule)
					} else if err != nil {
						t.Fatalf("step %d: %v", i, err)
					}
					if high, _ := sim.Level("x"); word(high) != state || b.Get("x").On != high {
						t.Fatalf("step %d: %s, want %s", i, word(high), st.want)
					}
				}
			})
		})
	}
}

func doWord(t *testing.T, b *Bank, words string) error {
	t.Helper()
	what, d, _ := strings.Cut(words, " ")
	var for_ time.Duration
	if d != "" {
		var err error
		if for_, err = time.ParseDuration(d); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	switch what {
	case "":
	case "on", "off":
		_, err = b.Set("x", what == "on", for_)
	case "toggle":
		_, err = b.Toggle("x")
	case "blink":
		_, err = b.Do("x", Command{Action: On, For: for_, Blink: []time.Duration{time.Second, 2 * time.Second}})
	case "renew":
		err = b.Renew("x")
	case "up", "down":
		b.Link(what == "up")
	default:
		t.Fatal("no such word: ", what)
	}
	return err
}

func TestCommands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := Open([]Output{{Name: "x", Pin: "sim"}}, NewSim(), nil, nil)
		defer b.Close()
		now := time.Now()
		if _, err := b.Do("x", Command{Action: On, Until: now}); !errors.Is(err, ErrExpired) {
			t.Error("past its until:", err)
		}
		if r, err := b.Do("x", Command{Action: On, Until: now.Add(1)}); err != nil || !r.On || r.Cause != ByCommand || !r.Time.Equal(now) {
			t.Errorf("before its until: %+v, %v", r, err)
		}
		for _, name := range []string{"", "y"} {
			if r, err := b.Set(name, true, 0); !errors.Is(err, ErrUnknown) || r.Known || r.Name != name {
				t.Errorf("%q: %+v, %v", name, r, err)
			}
		}
		if r := b.Get("y"); r.Known || !errors.Is(r.Err, ErrUnknown) {
			t.Errorf("%+v", r)
		}
		for _, c := range []Command{
			{Action: 3}, {Action: On, For: -1}, {Action: Off, Blink: []time.Duration{time.Second}},
			{Action: On, Blink: []time.Duration{minBlink, minBlink - 1}}, {Action: On, Blink: slices.Repeat([]time.Duration{minBlink}, maxBlinks+1)},
		} {
			_, err := b.Do("x", c)
			wantRule(t, err, "command")
		}
	})
}

func TestInterlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		outs := []Output{{Name: "up", Pin: "sim", Interlock: []string{"down"}}, {Name: "down", Pin: "sim"}, {Name: "light", Pin: "sim"}}
		noProblems(t, outs)
		r := newRig()
		b := Open(outs, r, nil, nil)
		defer b.Close()
		mustSet(t, b, "up", true)
		mustSet(t, b, "light", true)
		_, err := b.Set("down", true, 0)
		wantRule(t, err, "interlock")
		if !strings.Contains(err.Error(), "up is on") {
			t.Error(err)
		}
		mustSet(t, b, "down", false)
		mustSet(t, b, "up", false)
		mustSet(t, b, "down", true)
		_, err = b.Toggle("up")
		wantRule(t, err, "interlock")

		r.fail("down", func(w *wire) { w.failSet = syscall.EIO }) // it stays on, and the bank cannot tell
		if _, err := b.Set("down", false, 0); err == nil || !r.on("down") {
			t.Fatal("off although it fails")
		}
		_, err = b.Set("up", true, 0)
		wantRule(t, err, "interlock")
	})
}

// TestTaken: a pin that cannot be opened at the start works as soon as it is free, without a command.
func TestTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig()
		taken := fmt.Errorf("%w: GPIO17 by consumer w1", ErrTaken)
		r.fail("x", func(w *wire) { w.failOpen = taken })
		log, got := &logged{}, &told{}
		b := Open([]Output{{Name: "x", Pin: "GPIO17"}, {Name: "y", Pin: "GPIO18"}}, r, got.add, log.logger())
		defer b.Close()
		_, err := b.Set("x", true, 0)
		if !errors.Is(err, ErrTaken) || err.Error() != "gpio: output x: pin is taken: GPIO17 by consumer w1" {
			t.Error(err)
		}
		mustSet(t, b, "y", true)
		time.Sleep(time.Minute)
		r.fail("x", func(w *wire) { w.failOpen = nil })
		time.Sleep(lastRetry)
		synctest.Wait()
		if s := got.take(); s != "x ?, y off, y on, x off" {
			t.Error(s)
		}
		if log.count("level=WARN") != 1 || log.count("level=INFO") != 1 {
			t.Error(log.String())
		}
		mustSet(t, b, "x", true)
	})
}

func TestPWMIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := Open([]Output{{Name: "x", Pin: "GPIO18", Kind: "pwm"}}, NewSim(), nil, nil)
		defer b.Close()
		if _, err := b.Set("x", true, 0); err == nil || !strings.Contains(err.Error(), "kind pwm is refused") {
			t.Error(err)
		}
	})
}

// TestSafe is what the service manager does after kill -9.
func TestSafe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		outs := []Output{{Name: "a"}, {Name: "b", Safe: true}, {Name: "both", Group: []string{"a", "b"}}}
		r := newRig()
		b := Open(outs, r.process(), nil, nil)
		mustSet(t, b, "a", true)
		mustSet(t, b, "b", false)
		r.kill()
		_ = b.Close()
		if !r.on("a") || r.on("b") {
			t.Fatal("the dead have switched")
		}
		if err := Safe(outs, r.process()); err != nil || r.on("a") || !r.on("b") {
			t.Error("not safe", err)
		}
		r.fail("a", func(w *wire) { w.failOpen = syscall.EBUSY })
		if err := Safe(outs, r.process()); !errors.Is(err, syscall.EBUSY) {
			t.Error(err)
		}
	})
}

func TestCloseFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig()
		b := Open([]Output{{Name: "a"}, {Name: "b"}}, r, nil, nil)
		mustSet(t, b, "a", true)
		mustSet(t, b, "b", true)
		r.fail("a", func(w *wire) { w.failSet = syscall.EIO })
		if err := b.Close(); !errors.Is(err, syscall.EIO) || r.on("b") {
			t.Errorf("%v; b is %v", err, r.on("b"))
		}
	})
}

func TestCloseOnPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig()
		b := Open([]Output{{Name: "x"}}, r, nil, nil)
		mustSet(t, b, "x", true)
		func() {
			defer func() {
				if recover() != "boom" {
					t.Error("the panic did not go on")
				}
			}()
			defer b.CloseOnPanic()
			panic("boom")
		}()
		if r.on("x") {
			t.Error("not safe after a panic")
		}
		b.CloseOnPanic() // no panic, nothing to do
	})
}

// TestSlowReceiver: a receiver that hangs holds nobody up, and gets the last state of each when it goes on.
func TestSlowReceiver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		var got told
		b := Open([]Output{{Name: "x"}, {Name: "y"}}, newRig(), func(r Reading) { <-hang; got.add(r) }, nil)
		mustSet(t, b, "y", true)
		for range 1000 {
			mustSet(t, b, "x", true)
			mustSet(t, b, "x", false)
		}
		close(hang)
		synctest.Wait()
		got.mu.Lock()
		n := len(got.list)
		got.mu.Unlock()
		if s := got.take(); n > 100 || !strings.Contains(s, "y on") || !strings.HasSuffix(s, "x on, x off") {
			t.Errorf("%d readings: %s", n, s)
		}
		b.Close()
	})
}

// TestCloseWithHangingReceiver: the end does not wait for ever.
func TestCloseWithHangingReceiver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		defer close(hang)
		r := newRig()
		b := Open([]Output{{Name: "x"}}, r, func(Reading) { <-hang }, nil)
		mustSet(t, b, "x", true)
		began := time.Now()
		if err := b.Close(); err != nil || r.on("x") || time.Since(began) > patience {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

// TestManyAtOnce is for the race detector.
func TestManyAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		outs := []Output{{Name: "a", MaxOn: time.Second, Interlock: []string{"b"}}, {Name: "b", Rate: 100}, {Name: "g", Group: []string{"a", "b"}}}
		r := newRig()
		b := Open(outs, r, func(Reading) {}, nil)
		done := make(chan struct{})
		for i := range 8 {
			go func() {
				defer func() { done <- struct{}{} }()
				for n := range 200 {
					_, _ = b.Toggle(outs[(i+n)%3].Name)
					b.Link(n%5 != 0)
					_ = b.Renew("g")
					b.Refresh()
					if a := b.All(); a[0].On && a[1].On {
						t.Error("together on")
					}
					time.Sleep(time.Duration(i) * time.Millisecond)
				}
			}()
		}
		for range 8 {
			<-done
		}
		b.Close()
	})
}

func BenchmarkSet(b *testing.B) {
	bank := Open([]Output{{Name: "x", Pin: "sim", MaxOn: time.Hour}}, NewSim(), nil, nil)
	defer bank.Close()
	on := false
	for b.Loop() {
		on = !on
		_, _ = bank.Set("x", on, 0)
	}
}
