package config

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/meshgate/meshgate/gpio"
)

// Automation is a rule that the gateway carries out by itself, with the cloud away too: while its
// condition holds, an output is to be in one state, and otherwise, if Else is there, in another.
type Automation struct {
	Name string
	When Condition
	For  time.Duration // how long the condition has to hold first
	Set  string        // an output or a group
	To   bool
	Else *bool // nil: the output is left alone when the condition is over
}

// Condition looks at an input, or at a channel of a mote: at its state if it has one, else at a
// value. Below holds under Limit and is over above Limit + Hysteresis; the other way round without it.
type Condition struct {
	Input string

	Mote    string // MAC, as in topics
	Channel string // as in topics: temperature, analog/N, digital/N

	Is         *bool // of inputs and digital channels
	Below      bool
	Limit      float64
	Hysteresis float64 // more than 0
}

var (
	macText = regexp.MustCompile(`^[0-9a-f]{2}(-[0-9a-f]{2}){7}$`)
	channel = regexp.MustCompile(`^(temperature|analog/[0-9]{1,3}|digital/[0-9]{1,3})$`)
)

// automations reads the rules. What they refer to has been read before.
func (d *decoder) automations(o object, outs []gpio.Output, ins []gpio.Input) (all []Automation) {
	v, ok := o.get("automations")
	if !ok {
		return nil
	}
	names := unique{}
	for _, e := range v.list("a list of automations, each with name, when, set and to") {
		a := e.object("name", "when", "for", "set", "to", "else")
		if !a.ok {
			continue
		}
		for _, key := range []string{"name", "when", "set", "to"} {
			a.need(key, "")
		}
		rule := Automation{Name: a.name("name"), For: a.duration("for", 0, 0, 24*time.Hour), To: a.onOff("to", false)}
		names.add(a, "name", rule.Name, "automation")
		if _, there := a.at["else"]; there {
			other := a.onOff("else", false)
			rule.Else = &other
		}
		rule.Set = a.output("set", outs)
		rule.When = a.condition(ins)
		if rule.Else != nil && *rule.Else == rule.To {
			a.at["else"].fail("else is the same as to, so the condition would change nothing")
		}
		a.fights(rule, all, outs)
		all = append(all, rule)
	}
	return all
}

// output reads the name of an output or a group.
func (o object) output(key string, outs []gpio.Output) string {
	var names []string
	for _, out := range outs {
		names = append(names, out.Name)
	}
	return o.known(key, "actuator", names)
}

// known reads one of the names that there are.
func (o object) known(key, kind string, names []string) string {
	s := o.name(key)
	if s != "" && !slices.Contains(names, s) {
		o.at[key].fail("there is no %s %q%s", kind, clip(s), near(s, names))
	}
	return s
}

// condition reads the key when.
func (o object) condition(ins []gpio.Input) (c Condition) {
	v, ok := o.get("when")
	if !ok {
		return c
	}
	w := v.object("input", "mote", "channel", "is", "above", "below", "hysteresis")
	if !w.ok {
		return c
	}
	_, input := w.at["input"]
	if _, mote := w.at["mote"]; mote == input {
		w.fail("expected either input and is, or mote and channel, found %s", map[bool]string{true: "both", false: "neither"}[mote])
		return c
	}
	if input {
		var names []string
		for _, in := range ins {
			names = append(names, in.Name)
		}
		c.Input = w.known("input", "input", names)
		w.onlyHere("an input is on or off", "input", "is")
		c.Is = w.is()
		return c
	}
	if c.Mote = strings.ToLower(strings.ReplaceAll(w.text("mote", ""), ":", "-")); c.Mote != "" && !macText.MatchString(c.Mote) {
		w.at["mote"].fail("expected the MAC of a mote such as 00-17-0d-00-00-38-05-e9, found %q", clip(c.Mote))
	}
	w.need("channel", "(temperature, analog/N or digital/N)")
	c.Channel = w.text("channel", "temperature")
	if !channel.MatchString(c.Channel) {
		w.at["channel"].fail("expected temperature, analog/N or digital/N, found %q", clip(c.Channel))
	}
	if strings.HasPrefix(c.Channel, "digital/") {
		w.onlyHere("a digital channel is on or off", "mote", "channel", "is")
		c.Is = w.is()
		return c
	}
	w.limit(&c)
	return c
}

// onlyHere notes the keys that make no sense beside the others.
func (o object) onlyHere(why string, allowed ...string) {
	for _, key := range keys(o.at) {
		if !slices.Contains(allowed, key) {
			o.at[key].failKey("%s has no meaning here: %s", key, why)
		}
	}
}

func (o object) is() *bool {
	o.need("is", "(on or off)")
	is := o.onOff("is", true)
	return &is
}

// limit reads above or below, and how far back it has to go before the condition is over: without
// that a value at the limit would switch with every sample.
func (o object) limit(c *Condition) {
	_, above := o.at["above"]
	_, c.Below = o.at["below"]
	if v, there := o.at["is"]; there {
		v.failKey("is has no meaning for %s: say above or below", c.Channel)
	}
	switch {
	case above == c.Below:
		o.fail("expected either above or below, found %s", map[bool]string{true: "both", false: "neither"}[above])
		return
	case above:
		c.Limit = o.decimal("above")
	default:
		c.Limit = o.decimal("below")
	}
	o.need("hysteresis", "(how far back the value has to go, such as 0.5: without it a value at the limit would switch with every sample)")
	if v, there := o.at["hysteresis"]; there {
		if c.Hysteresis = o.decimal("hysteresis"); c.Hysteresis <= 0 {
			v.fail("hysteresis is to be more than 0: without it a value at the limit would switch with every sample")
		}
	}
}

// decimal reads a number that may have a fraction.
func (o object) decimal(key string) float64 {
	const want = "a number such as 2.5"
	v, ok := o.get(key)
	if !ok {
		return 0
	}
	s, ok := v.text(want)
	if !ok {
		return 0
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || f != f || f > 1e9 || f < -1e9 {
		v.wrongType(want)
		return 0
	}
	return f
}

// fights notes an earlier automation that could want the same output in the other state.
func (o object) fights(rule Automation, before []Automation, outs []gpio.Output) {
	for _, b := range before {
		both := shared(rule.Set, b.Set, outs)
		if both == "" || rule.Else == nil && b.Else == nil && rule.To == b.To {
			continue
		}
		where := o.value
		if v, there := o.at["set"]; there {
			where = v
		}
		where.fail("automation %q sets %s too, and the two could fight over it; two may only share an output when both set it to the same and have no else", b.Name, both)
		return
	}
}

// shared gives an output that both names stand for, "" when there is none.
func shared(a, b string, outs []gpio.Output) string {
	members := func(name string) []string {
		for _, o := range outs {
			if o.Name == name && len(o.Group) > 0 {
				return o.Group
			}
		}
		return []string{name}
	}
	for _, name := range members(a) {
		if name != "" && slices.Contains(members(b), name) {
			return name
		}
	}
	return ""
}
