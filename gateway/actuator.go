package gateway

import (
	"errors"
	"time"

	"github.com/meshgate/meshgate/gpio"
)

// actuate switches a local output, or a group of them.
func (g *Gateway) actuate(name string, o order) result {
	c := gpio.Command{Action: gpio.Off, For: o.hold, Blink: o.blink, Brightness: o.brightness}
	switch {
	case o.toggle:
		c.Action = gpio.Toggle
	case o.on:
		c.Action = gpio.On
	}
	_, err := g.outs().Do(name, c)
	if err == nil {
		return result{id: o.id, stage: stageApplied}
	}
	return result{id: o.id, stage: failedStage(err, members(g.conf().Outputs, name)), err: err}
}

// failedStage says what became of a command with an error: refused only when nothing was switched,
// which of a group is when every member refuses.
func failedStage(err error, members int) string {
	errs := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		errs = joined.Unwrap()
	}
	if members > len(errs) {
		return stageFailed
	}
	for _, e := range errs {
		if !errors.Is(e, gpio.ErrUnknown) && !errors.Is(e, gpio.ErrRefused) {
			return stageFailed
		}
	}
	return stageRefused
}

// members counts the outputs that a name stands for.
func members(outs []gpio.Output, name string) int {
	for _, o := range outs {
		if o.Name == name {
			return max(len(o.Group), 1)
		}
	}
	return 0
}

// outputChanged publishes what a pin reads, and is called whenever that changes.
func (g *Gateway) outputChanged(r gpio.Reading) {
	state := "unknown"
	if r.Known {
		state = onOff(r.On)
	}
	l := g.pinLink(&g.outputs, r.Name)
	if l == nil {
		return // its last word: a changed configuration has taken it away
	}
	g.showPin(l, r, state)
	f := map[string]any{"state": state}
	if r.Known && r.Dims {
		f["brightness"] = r.Brightness
	}
	g.publishFields("actuator/"+r.Name+"/state", f, r.Time)
}

// showPin tells status how a pin is.
func (g *Gateway) showPin(l *link, r gpio.Reading, state string) {
	switch {
	case l == nil:
	case r.Err != nil:
		l.down(r.Err)
	default:
		l.up(state)
	}
}

func (g *Gateway) publishState(topic, state string, at time.Time) {
	g.publishFields(topic, map[string]any{"state": state}, at)
}

func (g *Gateway) publishFields(topic string, f map[string]any, at time.Time) {
	if at.IsZero() {
		at = time.Now()
	}
	g.hub.publish(message{topic: topic, retain: true, payload: jsonObject(with(f, "time", stamp(at)))})
}
