package gpio

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// model says what a bank should do, from the rules and the history alone: it has no timers and no deadlines, it works out
// what must have happened whenever it is asked.
type model struct {
	outs     map[string]*modelOutput
	order    []*modelOutput
	linkDown bool
	downAt   time.Time
}

type modelOutput struct {
	Output
	flanks               []flank // since the first opening
	opened               time.Time
	commandAt, renewedAt time.Time
	forDur               time.Duration
	changes              []time.Time
	bright               int // while it is on
}

func (m *model) start(outs []Output, now time.Time) {
	if m.outs == nil {
		m.outs = make(map[string]*modelOutput)
		for _, o := range outs {
			if len(o.Group) == 0 {
				mo := &modelOutput{Output: o}
				m.outs[o.Name] = mo
				m.order = append(m.order, mo)
			}
		}
	}
	m.linkDown = false
	for _, o := range m.order {
		o.opened = now
		if o.become(o.Safe, now); len(o.flanks) == 1 {
			o.changes = nil
		}
	}
}

func (o *modelOutput) on() bool { return o.flanks[len(o.flanks)-1].on }

func (o *modelOutput) since() time.Time { return o.flanks[len(o.flanks)-1].at }

func (o *modelOutput) become(on bool, at time.Time) {
	if len(o.flanks) == 0 || o.on() != on {
		o.flanks = append(o.flanks, flank{at, on})
		o.changes = append(o.changes, at)
		o.bright = full
	}
}

// settle makes happen what must have happened by now.
func (m *model) settle(now time.Time) {
	for _, o := range m.order {
		if o.on() == o.Safe {
			continue
		}
		var end time.Time
		before := func(t time.Time) {
			if end.IsZero() || t.Before(end) {
				end = t
			}
		}
		if o.forDur > 0 {
			before(o.commandAt.Add(o.forDur))
		}
		if o.Lease > 0 {
			before(o.renewedAt.Add(o.Lease))
		}
		if o.MaxOn > 0 && o.on() {
			before(o.since().Add(o.MaxOn))
		}
		if m.linkDown && o.OnLinkLoss == GoSafe {
			from := m.downAt
			if o.commandAt.After(from) {
				from = o.commandAt
			}
			before(from.Add(o.LinkDelay))
		}
		if !end.IsZero() && !now.Before(end) {
			o.become(o.Safe, end)
		}
	}
}

// command returns whether it is carried out.
func (m *model) command(o *modelOutput, on bool, forDur time.Duration, now time.Time) bool {
	if on != o.Safe {
		if m.linkDown && o.OnLinkLoss == GoSafe && o.LinkDelay == 0 {
			return false
		}
		if on != o.on() && !m.mayChange(o, on, now) {
			return false
		}
	}
	o.commandAt, o.renewedAt, o.forDur = now, now, forDur
	o.become(on, now)
	return true
}

func (m *model) mayChange(o *modelOutput, on bool, now time.Time) bool {
	n := 0
	for _, c := range o.changes {
		if now.Sub(c) < time.Minute {
			n++
		}
	}
	if o.Rate > 0 && n >= o.Rate {
		return false
	}
	if !on {
		return true
	}
	off := o.since()
	if o.opened.After(off) {
		off = o.opened
	}
	if now.Sub(off) < o.MinOff {
		return false
	}
	for _, p := range m.order {
		if p != o && p.on() && (slices.Contains(o.Interlock, p.Name) || slices.Contains(p.Interlock, o.Name)) {
			return false
		}
	}
	return true
}

// randomOutputs makes a bank of few outputs with many rules, and times short enough to meet.
func randomOutputs(rnd *rand.Rand) []Output {
	some := func(choices ...time.Duration) time.Duration { return choices[rnd.IntN(len(choices))] * time.Second }
	outs := []Output{{Name: "a"}, {Name: "b"}, {Name: "c", Kind: "pwm"}, {Name: "d"}}
	for i := range outs {
		o := &outs[i]
		o.Pin, o.Safe = "sim", rnd.IntN(4) == 0
		o.Lease, o.Rate = some(0, 0, 3, 7), []int{0, 0, 1, 3, 6}[rnd.IntN(5)]
		o.OnLinkLoss, o.LinkDelay = LinkLoss(rnd.IntN(2)), some(0, 1, 4)
		if !o.Safe {
			o.MaxOn, o.MinOff = some(0, 2, 5), some(0, 1, 6)
		}
	}
	for i, o := range outs {
		if p := outs[rnd.IntN(4)]; p.Name != o.Name && !p.Safe && !o.Safe {
			outs[i].Interlock = []string{p.Name}
		}
	}
	return append(outs, Output{Name: "all", Group: []string{"a", "b", "c", "d"}}, Output{Name: "pair", Group: []string{"c", "a"}})
}

// TestModel drives banks with random commands, link losses, renewals and restarts, and compares every answer, every state
// and every moment of switching with the model.
func TestModel(t *testing.T) {
	for seed := range uint64(150) {
		synctest.Test(t, func(t *testing.T) { runModel(t, seed) })
	}
}

func runModel(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	outs := randomOutputs(rnd)
	noProblems(t, outs)
	r, m := newRig(), &model{}
	m.start(outs, time.Now())
	b := r.bank(outs)
	defer func() { _ = b.Close() }()
	trace := []string{fmt.Sprintf("seed %d: %+v", seed, outs)}
	began := time.Now()
	for range 120 {
		time.Sleep(time.Duration(rnd.IntN(25)) * 100 * time.Millisecond) // what is due now may come before or after the step
		now := time.Now()
		m.settle(now)
		step, ok := modelStep(rnd, m, &b, r, outs, now)
		synctest.Wait()
		trace = append(trace, fmt.Sprintf("%8v %s", now.Sub(began), step))
		if !ok || !agree(b, r, m) {
			for _, s := range trace {
				t.Log(s)
			}
			for _, o := range m.order {
				t.Logf("%s: pin %v, model %v", o.Name, r.wire(o.Name).history, o.flanks)
			}
			t.Fatalf("the bank and the model differ: %+v", b.All())
		}
	}
}

// modelStep does one random thing to both and reports whether they answered alike.
func modelStep(rnd *rand.Rand, m *model, b **Bank, r *rig, outs []Output, now time.Time) (string, bool) {
	switch name := outs[rnd.IntN(len(outs))]; rnd.IntN(12) {
	case 0:
		up := rnd.IntN(2) == 0
		(*b).Link(up)
		if m.linkDown == up {
			m.linkDown, m.downAt = !up, now
			m.settle(now)
		}
		return fmt.Sprintf("link %v", up), true
	case 1:
		err := (*b).Renew(name.Name)
		for _, o := range m.members(name) {
			o.renewedAt = now
		}
		return "renew " + name.Name, err == nil
	case 2:
		if rnd.IntN(3) > 0 {
			(*b).Refresh()
			return "refresh", true
		}
		if rnd.IntN(2) == 0 {
			r.kill() // kill -9: what Close does now reaches no pin
		}
		_ = (*b).Close()
		m.start(outs, now)
		*b = r.bank(outs)
		return "restart", true
	default:
		c := Command{Action: Action(rnd.IntN(3)), For: time.Duration(rnd.IntN(4)*rnd.IntN(2)) * time.Second}
		if dimmer := m.outs["c"]; name.Name == "c" && c.Action == On && !dimmer.Safe {
			c.Brightness = rnd.IntN(full + 1)
		}
		_, err := (*b).Do(name.Name, c)
		members := m.members(name)
		on := c.Action == On
		if c.Action == Toggle {
			on = slices.ContainsFunc(members, func(o *modelOutput) bool { return !o.on() })
		}
		done := true
		for _, o := range members {
			if !m.command(o, on, c.For, now) {
				done = false
			} else if o.bright = full; c.Brightness > 0 {
				o.bright = c.Brightness
			}
		}
		return fmt.Sprintf("%s %+v: %v", name.Name, c, err), done == (err == nil) && (done || errors.Is(err, ErrRefused))
	}
}

func (m *model) members(o Output) []*modelOutput {
	if len(o.Group) == 0 {
		return []*modelOutput{m.outs[o.Name]}
	}
	var all []*modelOutput
	for _, name := range o.Group {
		all = append(all, m.outs[name])
	}
	return all
}

// agree compares states, and the histories of the pins to the nanosecond.
func agree(b *Bank, r *rig, m *model) bool {
	all := true
	for _, o := range m.order {
		got := b.Get(o.Name)
		all = all && got.On
		if !got.Known || got.Err != nil || got.On != o.on() || !slices.Equal(r.wire(o.Name).history, o.flanks) {
			return false
		}
		if o.Kind == "pwm" && got.On && got.Brightness != o.bright || !got.On && got.Brightness != 0 {
			return false
		}
	}
	return b.Get("all").On == all && b.Get("all").Known
}
