package gateway

import (
	"reflect"

	"github.com/meshgate/meshgate/gateway/config"
	"github.com/meshgate/meshgate/gateway/control"
	"github.com/meshgate/meshgate/gpio"
)

// changePins makes outputs and inputs those of cfg. An output that is described as before stays as
// it is, the others pass through their safe states. Inputs and rules look at each other and at the
// outputs: they are opened anew altogether.
func (g *Gateway) changePins(cfg *config.Config, change *control.Change) {
	outputs := !reflect.DeepEqual(g.outConf, cfg.Outputs)
	hands := g.hands == nil || outputs || !reflect.DeepEqual(g.hands.cfg.Inputs, cfg.Inputs) ||
		!reflect.DeepEqual(g.hands.cfg.Automations, cfg.Automations)
	if hands && g.hands != nil {
		g.hands.close(cfg.Automations)
		if len(g.hands.cfg.Inputs) > 0 {
			change.Restarted = append(change.Restarted, "inputs")
		}
	}
	if outputs {
		g.changeOutputs(cfg.Outputs)
		change.Restarted = append(change.Restarted, "actuators")
	}
	if hands {
		g.openHands(cfg)
	}
}

func (g *Gateway) openOutputs(outs []gpio.Output) {
	g.nameOutputs(outs)
	bank := gpio.Open(outs, g.hw.GPIO, g.outputChanged, g.log)
	g.mu.Lock()
	g.bank = bank
	g.mu.Unlock()
}

func (g *Gateway) changeOutputs(outs []gpio.Output) {
	g.nameOutputs(outs)
	if err := g.outs().Change(outs); err != nil {
		g.log.Error("not all outputs that have changed are safe", "error", err)
	}
}

// nameOutputs makes the links of outputs; those that stay keep theirs.
func (g *Gateway) nameOutputs(outs []gpio.Output) {
	g.mu.Lock()
	was, same := g.outputs, map[string]gpio.Output{}
	for _, o := range g.outConf {
		same[o.Name] = o
	}
	names := map[string]*link{}
	for _, o := range outs {
		if before, ok := same[o.Name]; ok && reflect.DeepEqual(before, o) {
			names[o.Name] = was[o.Name]
		} else {
			names[o.Name] = g.links.add("output", o.Name, o.Pin)
		}
	}
	g.outputs, g.outConf = names, outs
	g.mu.Unlock()
	g.forgetPins("actuator/", was, names)
}

func (g *Gateway) closeOutputs() {
	if b := g.outs(); b != nil {
		if err := b.Close(); err != nil {
			g.log.Error("not all outputs are safe", "error", err)
		}
	}
	if g.switches != nil {
		g.switches.close()
	}
}

// rememberSwitches has the outputs count what they did before the start.
func (g *Gateway) rememberSwitches() {
	outs := g.conf().Outputs
	s, past := openSwitches(g.conf().StateDir, g.dates.up, outs, g.log)
	g.switches = s
	g.bank.Remember(past, s.note)
}

// forgetPins takes away the links of pins that were open before, and the states of those that are
// not any more.
func (g *Gateway) forgetPins(topics string, gone, now map[string]*link) {
	for name, l := range gone {
		if now[name] != l {
			g.links.remove(l)
		}
		if now[name] == nil {
			g.forget(topics + name + "/")
		}
	}
}
