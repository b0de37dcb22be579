package gateway

import (
	"errors"
	"time"

	"github.com/meshgate/meshgate/gpio"
)

// actuate switches a local output.
func (g *Gateway) actuate(name string, o order) result {
	c := gpio.Command{Action: gpio.Off, For: o.hold}
	switch {
	case o.toggle:
		c.Action = gpio.Toggle
	case o.on:
		c.Action = gpio.On
	}
	_, err := g.bank.Do(name, c)
	switch {
	case err == nil:
		return result{id: o.id, stage: stageApplied}
	case errors.Is(err, gpio.ErrUnknown), errors.Is(err, gpio.ErrRefused):
		return refused(o.id, err)
	}
	return result{o.id, stageFailed, err}
}

// outputChanged publishes what a pin reads, and is called whenever that changes.
func (g *Gateway) outputChanged(r gpio.Reading) {
	state := "unknown"
	if r.Known {
		state = onOff(r.On)
	}
	g.showPin(g.outputs[r.Name], r, state)
	g.publishState("actuator/"+r.Name+"/state", state, r.Time)
}

// inputChanged publishes what an input reads.
func (g *Gateway) inputChanged(r gpio.Reading) {
	state := "unknown"
	if r.Known {
		state = onOff(r.On)
	}
	g.showPin(g.inputs[r.Name], r, state)
	g.publishState("input/"+r.Name+"/state", state, r.Time)
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
	if at.IsZero() {
		at = time.Now()
	}
	g.hub.publish(message{topic: topic, retain: true, payload: jsonObject(map[string]any{"state": state, "time": stamp(at)})})
}
