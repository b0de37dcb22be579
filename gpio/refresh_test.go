package gpio

import (
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig()
		b := Open([]Output{{Name: "x"}, {Name: "gone"}}, r, nil, nil)
		defer b.Close()
		mustSet(t, b, "x", true)
		r.fail("x", func(w *wire) { w.on = false }) // somebody else
		r.fail("gone", func(w *wire) { w.failGet, w.failOpen = syscall.ENODEV, syscall.ENODEV })
		b.Refresh()
		if !r.on("x") || !b.Get("x").On || b.Get("gone").Known {
			t.Errorf("%+v", b.All())
		}
	})
}

// TestRefreshKeepsTheEnvelope: what somebody else has switched is not switched back against the limits.
func TestRefreshKeepsTheEnvelope(t *testing.T) {
	for name, c := range map[string]struct {
		out  Output
		want []bool // after somebody else has switched it off, each time a second later
		end  time.Duration
	}{
		"none":    {Output{}, []bool{true, true, true}, 0},
		"min_off": {Output{MinOff: 10 * time.Second}, []bool{false}, 0},
		"rate":    {Output{Rate: 4}, []bool{true, false}, 0},
		"max_on":  {Output{MaxOn: 5 * time.Second}, []bool{true, true}, 5 * time.Second},
		"lease":   {Output{Lease: 5 * time.Second}, []bool{true, true}, 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig()
				c.out.Name = "x"
				b := Open([]Output{c.out}, r, nil, nil)
				defer b.Close()
				time.Sleep(c.out.MinOff)
				mustSet(t, b, "x", true)
				began := time.Now()
				for i, want := range c.want {
					time.Sleep(time.Second)
					r.fail("x", func(w *wire) { w.on = false })
					b.Refresh()
					if r.on("x") != want || b.Get("x").On != want {
						t.Errorf("the %d. time: %v, %+v", i+1, r.on("x"), b.Get("x"))
					}
				}
				if c.end > 0 {
					time.Sleep(c.end - time.Since(began))
					synctest.Wait()
					if r.on("x") {
						t.Errorf("on after %v", c.end)
					}
				}
				r.fail("x", func(w *wire) { w.on = true })
				b.Refresh()
				if c.end > 0 && r.on("x") {
					t.Error("switched on by somebody else, and left so")
				}
			})
		})
	}
}
