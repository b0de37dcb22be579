package gpio

import (
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// moody is a rig with one pin whose driver hangs or panics when it is told to.
type moody struct {
	*rig
	pin  string
	mood func(call string) // called at the beginning of each call
}

func (m *moody) OpenOutput(o Output) (Pin, error) {
	if o.Name == m.pin {
		m.mood("open")
	}
	p, err := m.rig.OpenOutput(o)
	if err == nil && o.Name == m.pin {
		return &moodyPin{p.(*rigPin), m}, nil
	}
	return p, err
}

type moodyPin struct {
	*rigPin
	m *moody
}

func (p *moodyPin) Set(on bool) error    { p.m.mood("set " + word(on)); return p.rigPin.Set(on) }
func (p *moodyPin) Get() (bool, error)   { p.m.mood("get"); return p.rigPin.Get() }
func (p *moodyPin) Close() error         { p.m.mood("close"); return p.rigPin.Close() }
func (p *moodyPin) SetLevel(n int) error { p.m.mood("dim"); return p.rigPin.SetLevel(n) }
func (p *moodyPin) Level() (int, error)  { p.m.mood("level"); return p.rigPin.Level() }

// TestHangingPin: wherever a driver hangs for five seconds, the other outputs do what they are to do, max_on in time included,
// and what the pin was told too late does not stand.
func TestHangingPin(t *testing.T) {
	for _, call := range []string{"open", "set on", "get", "set off", "close", "dim", "level"} {
		t.Run(call, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var hangs atomic.Bool
				r := newRig()
				m := &moody{r, "bad", func(c string) {
					if c == call && hangs.CompareAndSwap(true, false) { // once
						time.Sleep(5 * time.Second)
					}
				}}
				kind := ""
				if call == "dim" || call == "level" {
					kind = "pwm"
				}
				outs := []Output{{Name: "bad", Kind: kind}, {Name: "heater", MaxOn: 3 * time.Second}}
				hangs.Store(call == "open")
				began := time.Now()
				b := Open(outs, m, nil, nil)
				if d := time.Since(began); d > answerTime {
					t.Errorf("opened after %v", d)
				}
				mustSet(t, b, "heater", true)
				hangs.Store(true)
				_, err := b.Set("bad", true, 0)
				if err == nil && call != "close" {
					_, err = b.Set("bad", false, 0)
				}
				if (err == nil) != (call == "close") {
					t.Errorf("the pin that hangs: %v", err)
				}
				if d := time.Since(began); d > 2*answerTime {
					t.Errorf("a command took until %v", d)
				}
				time.Sleep(4 * time.Second)
				synctest.Wait()
				if r.on("heater") {
					t.Error("the heater is on after its max_on")
				}
				time.Sleep(lastRetry + 5*time.Second)
				synctest.Wait()
				if r.on("bad") && call != "close" || !b.Get("bad").Known {
					t.Errorf("after it woke: on %v, %+v", r.on("bad"), b.Get("bad"))
				}
				r.fail("bad", func(w *wire) {
					if h := w.history; call == "set on" && (len(h) != 3 || h[1].at != h[2].at) {
						t.Errorf("what came too late stood for a while: %v", h)
					}
				})
				mustSet(t, b, "bad", true)
				end := time.Now()
				hangs.Store(call != "open")
				_ = b.Close()
				if d := time.Since(end); d > 2*answerTime {
					t.Errorf("closed after %v", d)
				}
				time.Sleep(10 * time.Second)
				if r.on("bad") || r.on("heater") {
					t.Errorf("after the end: bad %v, heater %v", r.on("bad"), r.on("heater"))
				}
			})
		})
	}
}

// TestDeadPin: one that never answers again holds nobody up but for the first second.
func TestDeadPin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		forever := make(chan struct{})
		var dead atomic.Bool
		r := newRig()
		b := Open([]Output{{Name: "bad"}, {Name: "heater", Interlock: []string{"bad"}}, {Name: "fan"}}, &moody{r, "bad", func(string) {
			if dead.Load() {
				<-forever
			}
		}}, nil, nil)
		mustSet(t, b, "bad", true)
		dead.Store(true)
		began := time.Now()
		if _, err := b.Set("bad", false, 0); !errors.Is(err, errSilent) {
			t.Error(err)
		}
		for range 100 {
			_, err := b.Set("bad", false, 0)
			if !errors.Is(err, errSilent) {
				t.Error(err)
			}
			mustSet(t, b, "fan", true)
			_, err = b.Set("heater", true, 0)
			wantRule(t, err, "interlock") // nobody knows what the dead one does
			b.Refresh()
		}
		if d := time.Since(began); d > answerTime {
			t.Errorf("a hundred commands took %v", d)
		}
		time.Sleep(time.Hour)
		began = time.Now()
		if err := b.Close(); time.Since(began) > answerTime || r.on("fan") {
			t.Errorf("closed after %v, fan %v: %v", time.Since(began), r.on("fan"), err)
		}
		close(forever)
	})
}

// TestPanickingPin: a driver that panics is a pin that failed, and comes back.
func TestPanickingPin(t *testing.T) {
	for _, call := range []string{"open", "set on", "get", "set off", "close"} {
		t.Run(call, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var panics atomic.Bool
				panics.Store(call == "open")
				r := newRig()
				m := &moody{r, "bad", func(c string) {
					if panics.Load() && c == call {
						panic("a driver's mistake")
					}
				}}
				b := Open([]Output{{Name: "bad"}, {Name: "lamp"}}, m, nil, nil)
				mustSet(t, b, "lamp", true)
				panics.Store(true)
				for _, on := range []bool{true, false} {
					if _, err := b.Set("bad", on, 0); err != nil && !errors.Is(b.Get("bad").Err, err) {
						t.Errorf("%v, but %+v", err, b.Get("bad"))
					}
				}
				if r := b.Get("bad"); r.Known && call != "close" {
					t.Errorf("%+v", r)
				}
				panics.Store(false)
				time.Sleep(lastRetry)
				mustSet(t, b, "bad", true)
				panics.Store(call != "open")
				_ = b.Close()
				if r.on("lamp") {
					t.Error("the lamp is on after the end")
				}
			})
		})
	}
}

// TestHangingInput: an input whose driver hangs keeps neither the others from being watched nor the program from ending, and
// one whose driver panics is tried again.
func TestHangingInput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got told
		m := &moodyInputs{Sim: NewSim(), hang: make(chan struct{})}
		w := Watch([]Input{{Name: "hangs", Pin: "sim"}, {Name: "panics", Pin: "sim"}, {Name: "door", Pin: "sim"}}, m, got.add, nil)
		time.Sleep(time.Minute)
		m.Drive("door", true)
		synctest.Wait()
		s := got.take()
		if _, later, ok := strings.Cut(s, "panics ?"); !ok || !strings.Contains(later, "panics off") || !strings.Contains(s, "door off") || !strings.HasSuffix(s, "door on") {
			t.Error(s)
		}
		began := time.Now()
		err := w.Close()
		if d := time.Since(began); d > 2*answerTime || err == nil || !strings.Contains(err.Error(), "does not answer") {
			t.Errorf("closed after %v: %v", d, err)
		}
		close(m.hang)
	})
}

type moodyInputs struct {
	*Sim
	hang     chan struct{}
	panicked bool
}

func (m *moodyInputs) OpenInput(in Input, edge func(bool, time.Time)) (io.Closer, error) {
	switch {
	case in.Name == "hangs":
		<-m.hang
	case in.Name == "panics" && !m.panicked:
		m.panicked = true
		panic("a driver's mistake")
	}
	return m.Sim.OpenInput(in, edge)
}
