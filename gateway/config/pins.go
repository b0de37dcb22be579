package config

import (
	"slices"
	"strings"
	"time"

	"github.com/meshgate/meshgate/gpio"
)

// pins reads actuators and inputs. What their keys mean together is gpio's to judge.
func (d *decoder) pins(o object) ([]gpio.Output, []gpio.Input) {
	places := map[string]object{}
	outs := d.outputs(o, places)
	ins := d.inputs(o, places)
	for _, p := range gpio.Check(outs, ins) {
		d.problem(places, p)
	}
	return outs, ins
}

// problem notes what gpio found, at the key it is about, unless something is said about that
// key already.
func (d *decoder) problem(places map[string]object, p gpio.Problem) {
	section := "actuators"
	if p.Input {
		section = "inputs"
	}
	path := join(section, p.Name)
	o, ok := places[path]
	if !ok {
		return
	}
	at := o.value
	if v, there := o.at[p.Field]; there {
		at = v
	}
	for _, e := range d.errs {
		if e.Path == at.path || strings.HasPrefix(e.Path, at.path+"[") {
			return
		}
	}
	at.fail("%s", p.Msg)
}

func (d *decoder) outputs(o object, places map[string]object) (all []gpio.Output) {
	v, ok := o.get("actuators")
	if !ok {
		return nil
	}
	list, _ := v.entries("a mapping of names to actuators such as led: {pin: GPIO17}")
	var names []string
	for _, e := range list {
		names = append(names, e.name)
	}
	for _, e := range list {
		if !e.isName(e.failKey, e.name) {
			continue
		}
		out, at, ok := e.output(names)
		if !ok {
			continue
		}
		places[at.path] = at
		all = append(all, out)
	}
	return all
}

// output reads one actuator. ok is false when what is there is too little to be judged by gpio.
func (e entry) output(names []string) (out gpio.Output, o object, ok bool) {
	o = e.object("pin", "kind", "active_low", "safe", "max_on", "min_off", "lease", "rate",
		"interlock", "on_link_loss", "link_loss_delay", "group")
	out = gpio.Output{Name: e.name}
	if _, there := o.at["group"]; there {
		for _, key := range keys(o.at) {
			if key != "group" {
				o.at[key].failKey("%s has no meaning for a group; it belongs to the members", key)
			}
		}
		out.Group = o.others("group", e.name, names)
		if len(out.Group) == 0 {
			o.at["group"].fail("a group is to have one member or more")
		}
		return out, o, len(out.Group) > 0
	}
	o.need("pin", "such as GPIO17, led:ACT or sim")
	out.Pin = o.pin()
	out.Kind = o.text("kind", "")
	out.ActiveLow = o.flag("active_low", false)
	out.Safe = o.onOff("safe", false)
	out.MaxOn = o.duration("max_on", 0, 0, never)
	out.MinOff = o.duration("min_off", 0, 0, never)
	out.Lease = o.duration("lease", 0, 0, never)
	if v, there := o.at["lease"]; there && out.MaxOn > 0 && out.Lease >= out.MaxOn {
		v.fail("lease %s is not shorter than max_on %s, so it would never run out", short(out.Lease), short(out.MaxOn))
	}
	out.Rate = o.number("rate", 0, 0, 60_000)
	out.Interlock = o.others("interlock", e.name, names)
	if o.oneOf("on_link_loss", "keep", "keep", "safe") == "safe" {
		out.OnLinkLoss = gpio.GoSafe
	}
	out.LinkDelay = o.duration("link_loss_delay", 0, 0, never)
	if v, there := o.at["link_loss_delay"]; there && out.OnLinkLoss != gpio.GoSafe {
		v.failKey("link_loss_delay has no meaning without on_link_loss: safe")
	}
	return out, o, o.ok
}

// others reads the names of other actuators.
func (o object) others(key, self string, names []string) []string {
	all, at := o.texts(key, "names of actuators")
	for i, name := range all {
		switch {
		case name == self:
			at[i].fail("%q is the actuator itself", name)
		case !slices.Contains(names, name):
			at[i].fail("there is no actuator %q%s", clip(name), near(name, names))
		}
	}
	return all
}

func (d *decoder) inputs(o object, places map[string]object) (all []gpio.Input) {
	v, ok := o.get("inputs")
	if !ok {
		return nil
	}
	list, _ := v.entries("a mapping of names to inputs such as door: {pin: GPIO27}")
	for _, e := range list {
		if !e.isName(e.failKey, e.name) {
			continue
		}
		in := e.object("pin", "pull", "active_low", "debounce", "rate", "count")
		if !in.ok {
			continue
		}
		in.need("pin", "such as GPIO27")
		places[in.path] = in
		all = append(all, gpio.Input{
			Name:      e.name,
			Pin:       in.pin(),
			Pull:      in.oneOf("pull", "none", "up", "down", "none"),
			ActiveLow: in.flag("active_low", false),
			Debounce:  in.duration("debounce", 0, 0, 10*time.Second),
			Rate:      in.number("rate", 0, 0, 1000),
			Count:     in.duration("count", 0, time.Second, 24*time.Hour),
		})
	}
	return all
}

// pin reads the name of a pin.
func (o object) pin() string {
	v, ok := o.get("pin")
	if !ok {
		return ""
	}
	s, ok := v.text("the name of a pin such as GPIO17")
	if ok && strings.TrimSpace(s) == "" {
		v.fail("expected the name of a pin such as GPIO17, found nothing")
	}
	return s
}
