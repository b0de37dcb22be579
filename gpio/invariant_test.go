package gpio

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// span is a time in which a pin failed, or nobody was there to switch it, and the second that the bank has then.
type span struct{ from, to time.Time }

// world is what the trace of a run is judged by.
type world struct {
	rig     *rig
	outs    []Output
	bad     map[string][]span // of each output, by when it must be safe again
	faulty  map[string]time.Time
	touched map[string][]time.Time // commands that were not refused, and renewals
	starts  []time.Time
	late    time.Duration // what pins that do not answer may hold up the others by
	trace   []string
}

// TestInvariants drives banks with commands, patterns, link losses, restarts, kills and pins that fail in every way, and
// looks at what the wires did: nothing of the envelope may be broken, except by a pin that does not listen, and by that
// only until it listens again.
func TestInvariants(t *testing.T) {
	for seed := range uint64(150) {
		synctest.Test(t, func(t *testing.T) { runWorld(t, seed) })
	}
}

func runWorld(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 2))
	w := &world{
		rig: newRig(), outs: randomOutputs(rnd), bad: make(map[string][]span),
		faulty: make(map[string]time.Time), touched: make(map[string][]time.Time),
	}
	b := w.open(t, nil)
	for range 150 {
		time.Sleep(time.Duration(rnd.IntN(25)) * 100 * time.Millisecond)
		synctest.Wait()
		b = w.step(t, rnd, b)
		if p := w.both(); p != "" {
			t.Errorf("together on: %s", p)
		}
	}
	for name := range w.faulty {
		w.heal(name)
	}
	time.Sleep(lastRetry + 10*time.Second)
	synctest.Wait()
	for _, r := range b.All() {
		if !r.Known || r.Err != nil {
			t.Errorf("%+v long after all faults", r)
		}
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	w.judge(t)
	if t.Failed() {
		for _, s := range w.trace {
			t.Log(s)
		}
		for _, o := range w.outs {
			t.Logf("%s: %v", o.Name, w.rig.wire(o.Name).history)
		}
		t.Fatalf("seed %d: %+v", seed, w.outs)
	}
}

// open opens a bank, after the end of another, and looks whether all is safe that listens.
func (w *world) open(t *testing.T, before *Bank) *Bank {
	if before != nil {
		_ = before.Close()
		for _, o := range w.outs {
			if wire := w.rig.wire(o.Name); len(o.Group) == 0 && w.faulty[o.Name].IsZero() && wire.on != o.Safe && wire.open {
				t.Errorf("%s is not safe after Close", o.Name)
			}
		}
	}
	b := w.rig.bank(w.outs)
	w.starts = append(w.starts, time.Now())
	for _, o := range w.outs {
		if len(o.Group) == 0 && w.faulty[o.Name].IsZero() && w.rig.on(o.Name) != o.Safe {
			t.Errorf("%s is not safe after Open", o.Name)
		}
	}
	return b
}

func (w *world) step(t *testing.T, rnd *rand.Rand, b *Bank) *Bank {
	o := w.outs[rnd.IntN(len(w.outs))]
	say := func(format string, args ...any) {
		w.trace = append(w.trace, fmt.Sprintf("%v %s %s", time.Now().Format("04:05.0"), o.Name, fmt.Sprintf(format, args...)))
	}
	switch n := rnd.IntN(16); n {
	case 0:
		up := rnd.IntN(2) == 0
		b.Link(up)
		say("link %v", up)
	case 1:
		if b.Renew(o.Name) == nil {
			w.touch(o)
		}
		say("renew")
	case 2:
		b.Refresh()
		say("refresh")
	case 3:
		if rnd.IntN(3) == 0 {
			if rnd.IntN(2) == 0 {
				w.rig.kill()
				say("kill")
			}
			say("restart")
			return w.open(t, b)
		}
	case 4, 5:
		if len(o.Group) == 0 {
			w.breakOrHeal(rnd, o, say)
		}
	default:
		c := Command{Action: Action(rnd.IntN(3)), For: time.Duration(rnd.IntN(4)*rnd.IntN(2)) * time.Second}
		if c.Action == On && rnd.IntN(3) == 0 {
			c.Blink = []time.Duration{time.Duration(1+rnd.IntN(20)) * 100 * time.Millisecond, time.Second}[:1+rnd.IntN(2)]
		}
		r, err := b.Do(o.Name, c)
		say("%+v: %v %v", c, err, r.On)
		w.touch(o)
		if len(o.Group) == 0 && r.Known && r.On != w.rig.on(o.Name) {
			t.Errorf("%s: told %v, is %v", o.Name, r.On, w.rig.on(o.Name))
		}
	}
	return b
}

func (w *world) touch(o Output) {
	for _, name := range append(slices.Clone(o.Group), o.Name) {
		w.touched[name] = append(w.touched[name], time.Now())
	}
}

func (w *world) breakOrHeal(rnd *rand.Rand, o Output, say func(string, ...any)) {
	if !w.faulty[o.Name].IsZero() {
		w.heal(o.Name)
		say("heals")
		return
	}
	w.faulty[o.Name] = time.Now()
	w.rig.fail(o.Name, func(x *wire) {
		switch n := rnd.IntN(6); n {
		case 0:
			x.failSet = syscall.EIO
		case 1:
			x.failGet = syscall.EIO
		case 2:
			x.stuck = true
		case 3:
			x.failSet, x.failGet, x.failOpen = syscall.ENODEV, syscall.ENODEV, syscall.ENODEV
		case 4:
			x.failOpen = syscall.EBUSY
		case 5:
			x.hangs, w.late = true, 4*answerTime
		}
		say("breaks: %+v", *x)
	})
}

func (w *world) heal(name string) {
	w.rig.fail(name, func(x *wire) { x.failOpen, x.failSet, x.failGet, x.stuck, x.hangs = nil, nil, nil, false, false })
	w.bad[name] = append(w.bad[name], span{w.faulty[name], time.Now().Add(lastRetry + 5*time.Second + w.late)})
	delete(w.faulty, name)
}

// both names a pair that is on together and must not be.
func (w *world) both() string {
	for _, o := range w.outs {
		for _, p := range o.Interlock {
			if w.rig.on(o.Name) && w.rig.on(p) {
				return o.Name + " and " + p
			}
		}
	}
	return ""
}

// judge goes through what each wire did.
func (w *world) judge(t *testing.T) {
	end := time.Now()
	for _, o := range w.outs {
		if len(o.Group) > 0 {
			continue
		}
		wire := w.rig.wire(o.Name)
		if wire.on != o.Safe {
			t.Errorf("%s is not safe at the end", o.Name)
		}
		for i, f := range wire.history {
			until := end
			if i+1 < len(wire.history) {
				until = wire.history[i+1].at
			}
			if f.on && o.MaxOn > 0 && until.Sub(f.at) > o.MaxOn+w.late && !w.excused(o.Name, f.at, until) {
				t.Errorf("%s on from %v for %v", o.Name, f.at, until.Sub(f.at))
			}
			if f.on && i > 0 && !w.excused(o.Name, f.at, f.at) {
				w.judgeOn(t, o, wire.history[:i], f.at)
			}
			if f.on != o.Safe {
				w.judgeAway(t, o, wire.history[:i+1], f.at, until)
			}
		}
	}
}

// judgeOn looks at what came before an output went on.
func (w *world) judgeOn(t *testing.T, o Output, before []flank, at time.Time) {
	off := before[len(before)-1].at
	for _, s := range w.starts {
		if s.After(off) && s.Before(at) { // one at the very moment came after
			off = s
		}
	}
	if at.Sub(off) < o.MinOff {
		t.Errorf("%s on at %v after %v off", o.Name, at, at.Sub(off))
	}
}

// judgeAway looks at one time away from the safe state.
func (w *world) judgeAway(t *testing.T, o Output, until []flank, from, to time.Time) {
	n := 0
	for _, f := range until[1:] {
		if from.Sub(f.at) < time.Minute {
			n++
		}
	}
	if o.Rate > 0 && n > o.Rate {
		t.Errorf("%s changed %d times in the minute before %v", o.Name, n, from)
	}
	last := from
	for _, c := range w.touched[o.Name] {
		if c.Before(to) && c.After(last) {
			if o.Lease > 0 && c.Sub(last) > o.Lease+w.late && !w.excused(o.Name, last, c) {
				t.Errorf("%s away at %v, lease began %v", o.Name, c, last)
			}
			last = c
		}
	}
	if o.Lease > 0 && to.Sub(last) > o.Lease+w.late && !w.excused(o.Name, last, to) {
		t.Errorf("%s away until %v, lease began %v", o.Name, to, last)
	}
}

// excused reports whether the pin failed in between and may have had until the end.
func (w *world) excused(name string, from, to time.Time) bool {
	return slices.ContainsFunc(w.bad[name], func(s span) bool { return !s.from.After(to) && !s.to.Before(from) && !to.After(s.to) })
}

// TestFailures looks at one pin that fails, in every way that it can.
func TestFailures(t *testing.T) {
	for what, breakIt := range map[string]func(*wire){
		"set":       func(w *wire) { w.failSet = syscall.EIO },
		"read back": func(w *wire) { w.failGet = syscall.EIO },
		"stuck":     func(w *wire) { w.stuck = true },
		"gone":      func(w *wire) { w.failSet, w.failOpen = syscall.ENODEV, syscall.ENODEV },
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, log := newRig(), &logged{}
				var got told
				b := Open([]Output{{Name: "pump", MaxOn: time.Minute}, {Name: "lamp"}}, r, got.add, log.logger())
				defer b.Close()
				mustSet(t, b, "pump", true)
				r.fail("pump", breakIt)
				if r, err := b.Set("pump", what == "read back", 0); err == nil || r.Known || !errors.Is(r.Err, err) {
					t.Fatalf("%+v, %v", r, err)
				}
				if _, err := b.Set("pump", true, 0); err == nil || errors.Is(err, ErrRefused) {
					t.Fatalf("on while the pin fails: %v", err)
				}
				if what == "read back" && r.on("pump") {
					t.Error("a pin that listens was not made safe")
				}
				mustSet(t, b, "lamp", true)
				time.Sleep(time.Hour)
				if n := log.count("cannot be used"); n > 2 {
					t.Errorf("%d warnings in an hour", n)
				}
				r.fail("pump", func(w *wire) {
					if w.tries < 300 || w.tries > 400 {
						t.Errorf("%d tries in an hour", w.tries)
					}
					w.failOpen, w.failSet, w.failGet, w.stuck = nil, nil, nil, false
				})
				time.Sleep(lastRetry)
				synctest.Wait()
				if r.on("pump") || !b.Get("pump").Known {
					t.Fatalf("after it is back: %+v", b.Get("pump"))
				}
				mustSet(t, b, "pump", true)
				synctest.Wait()
				if s := got.take(); s != "pump off, lamp off, pump on, pump ?, lamp on, pump off, pump on" &&
					s != "pump off, lamp off, pump on, pump ?, lamp on, pump ?, pump off, pump on" {
					t.Error(s)
				}
				if log.count("works again") != 1 {
					t.Error(log)
				}
			})
		})
	}
}
