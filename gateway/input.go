package gateway

import (
	"context"
	"time"

	"github.com/meshgate/meshgate/gpio"
)

// inputs is what the gateway knows of its inputs beyond their pins. Its methods are called by one
// goroutine at a time, but for those of the counters.
type inputs struct {
	g      *Gateway
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
	g := ins.g
	before := ins.states[r.Name]
	now := inputState{known: before.known, on: before.on, suppressed: r.Suppressed}
	if r.Known {
		now.known, now.on = true, r.On
	}
	ins.states[r.Name] = now
	g.rules.input(r)
	ins.show(r, r.Suppressed > before.suppressed)
	if g.counts.has(r.Name) || !r.Known {
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
	rec.Time, rec.Synced = r.Time, g.hw.ClockRight()
	g.tray.put(rec)
}

// show tells status and the retained state; an input that chatters is told once, until it is calm.
func (ins *inputs) show(r gpio.Reading, chatters bool) {
	g := ins.g
	state := "unknown"
	if r.Known {
		state = onOff(r.On)
	}
	l := g.inputs[r.Name]
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
	for _, in := range ins.g.cfg.Inputs {
		r := ins.g.watch.Get(in.Name)
		l := ins.g.inputs[in.Name]
		if r.Suppressed == seen[in.Name] && l.complaint() == errChatter {
			l.complain("")
		}
		seen[in.Name] = r.Suppressed
	}
}

// openHands makes what belongs to the pins beside the outputs' own bank, and watches the inputs.
func (g *Gateway) openHands() {
	g.tray = newTray(g.intake)
	g.counts = openCounters(g)
	g.rules = newRules(g.cfg, g.bank, g.log, g.automated)
	g.intake.seen = g.rules.samples
	g.pins = inputs{g: g, states: map[string]inputState{}}
	for _, in := range g.cfg.Inputs {
		g.inputs[in.Name] = g.links.add("input", in.Name, in.Pin)
	}
	g.watch = gpio.Watch(g.cfg.Inputs, g.hw.GPIO, g.pins.changed, g.log)
}

// hands are what has to run for it until ctx ends.
func (g *Gateway) hands(ctx context.Context) []func() {
	seen := map[string]uint64{}
	parts := []func(){
		func() { g.tray.run(ctx) },
		func() { every(ctx, time.Minute, func() { g.pins.calm(seen); g.counts.save() }) },
	}
	for _, in := range g.cfg.Inputs {
		if in.Count > 0 {
			parts = append(parts, func() { every(ctx, in.Count, func() { g.counts.tell(in.Name) }) })
		}
	}
	return parts
}

// closeHands ends the watching of inputs and the rules, and keeps what they have said last.
func (g *Gateway) closeHands() {
	g.rules.stop()
	if err := g.watch.Close(); err != nil {
		g.log.Warn("an input could not be given back", "error", err)
	}
	for _, in := range g.cfg.Inputs {
		if in.Count > 0 {
			g.counts.tell(in.Name)
		}
	}
	g.counts.save()
	g.tray.empty()
}
