package gateway

import (
	"context"
	"sync"
	"time"

	"github.com/meshgate/meshgate/gateway/config"
	"github.com/meshgate/meshgate/gpio"
)

// inputs is what the gateway knows of its inputs beyond their pins. Its methods are called by one
// goroutine at a time, but for those of the counters.
type inputs struct {
	h      *hands
	states map[string]inputState
}

// inputState is what was told of an input last.
type inputState struct {
	known, on  bool
	suppressed uint64
}

// changed is called for each level of an input: it is shown, the rules see it, and an edge becomes
// a record. The state is retained and only the latest counts; of the edges none is to be lost, and
// an old one that comes late from the disk must not overwrite a newer state. So they are two topics.
func (ins *inputs) changed(r gpio.Reading) {
	g, h := ins.h.g, ins.h
	defer g.outs().CloseOnPanic()
	before := ins.states[r.Name]
	now := inputState{known: before.known, on: before.on, suppressed: r.Suppressed}
	if r.Known {
		now.known, now.on = true, r.On
	}
	ins.states[r.Name] = now
	h.rules.input(r)
	ins.show(r, r.Suppressed > before.suppressed)
	if h.counts.has(r.Name) || !r.Known {
		return
	}
	fields := map[string]any{"state": onOff(r.On)}
	if n := r.Suppressed - before.suppressed; n > 0 {
		fields["suppressed"] = n
	}
	switch {
	case r.Cause == gpio.ByEdge:
	case before.known && before.on != r.On:
		fields["missed"] = true // it happened while the pin was away: the time is that of finding it
	default:
		return // its first level is no edge
	}
	rec, err := objectRecord("input/"+r.Name+"/edge", fields)
	if err != nil {
		g.log.Error("an edge cannot be kept", "input", r.Name, "error", err)
		return
	}
	g.dates.put(&rec, time.Since(r.Time)) // the time is that of its edge
	g.tray.put(rec)
}

// show tells status and the retained state; an input that chatters is told once, until it is calm.
func (ins *inputs) show(r gpio.Reading, chatters bool) {
	g := ins.h.g
	state := "unknown"
	if r.Known {
		state = onOff(r.On)
	}
	l := g.pinLink(&g.inputs, r.Name)
	chattered := l != nil && l.complaint() == errChatter
	g.showPin(l, r, state)
	if l != nil && (chatters || chattered && r.Known) {
		l.complain(errChatter) // inputCalm ends it
		if !chattered {
			g.log.Warn("an input chatters: of its changes only some are reported, all are counted", "input", r.Name)
		}
	}
	g.publishState("input/"+r.Name+"/state", state, r.Time)
}

const errChatter = "it chatters: more changes than its rate allows; they are counted, not reported (debounce, rate)"

// calm ends the complaint about inputs that suppressed nothing within the last minute.
func (ins *inputs) calm(seen map[string]uint64) {
	for _, in := range ins.h.cfg.Inputs {
		r := ins.h.watch.Get(in.Name)
		l := ins.h.g.pinLink(&ins.h.g.inputs, in.Name)
		if r.Suppressed == seen[in.Name] && l.complaint() == errChatter {
			l.complain("")
		}
		seen[in.Name] = r.Suppressed
	}
}

// hands are the watched inputs, the rules and the counters of one configuration: they look at each
// other and at the outputs, so they are opened and closed as one.
type hands struct {
	g      *Gateway
	cfg    *config.Config
	pins   inputs
	rules  *rules
	counts *counters
	watch  *gpio.Inputs
	stop   context.CancelFunc
	wg     sync.WaitGroup
}

// openHands watches the inputs of a configuration and has its rules switch the outputs that are
// open now. Rules that are as before go on.
func (g *Gateway) openHands(cfg *config.Config) {
	h := &hands{g: g, cfg: cfg, counts: openCounters(cfg, g)}
	var before *rules
	if g.hands != nil {
		before = g.hands.rules
	}
	h.rules = newRules(cfg, g.outs(), g.log, g.automated, before)
	h.pins = inputs{h: h, states: map[string]inputState{}}
	g.intake.rules.Store(h.rules)
	names := map[string]*link{}
	for _, in := range cfg.Inputs {
		names[in.Name] = g.links.add("input", in.Name, in.Pin)
	}
	g.mu.Lock()
	gone := g.inputs
	g.inputs = names
	g.mu.Unlock()
	g.forgetPins("input/", gone, names)
	h.watch = gpio.Watch(cfg.Inputs, g.hw.GPIO, h.pins.changed, g.log)
	h.counts.pulses = func(name string) uint64 { return h.watch.Get(name).Pulses }
	h.begin()
	g.hands = h
}

// begin runs what has to be done from time to time.
func (h *hands) begin() {
	ctx, stop := context.WithCancel(h.g.parts.ctx)
	h.stop = stop
	seen := map[string]uint64{}
	h.wg.Go(func() { every(ctx, time.Minute, func() { h.pins.calm(seen); h.counts.save() }) })
	for _, in := range h.cfg.Inputs {
		if in.Count > 0 {
			h.wg.Go(func() { every(ctx, in.Count, func() { h.counts.tell(in.Name) }) })
		}
	}
}

// close ends the watching of inputs and the rules that are not to go on, and keeps what they have said last.
func (h *hands) close(next []config.Automation) {
	h.stop()
	h.wg.Wait()
	h.rules.stop(next)
	if err := h.watch.Close(); err != nil {
		h.g.log.Warn("an input could not be given back", "error", err)
	}
	for _, in := range h.cfg.Inputs {
		if in.Count > 0 {
			h.counts.tell(in.Name)
		}
	}
	h.counts.save()
}
