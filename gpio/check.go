package gpio

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Problem is a mistake in the description of an output or an input.
type Problem struct {
	Name  string // of the output or input
	Input bool
	Field string // as the configuration calls it: pin, kind, max_on, ...
	Msg   string
}

func (p Problem) String() string { return p.Name + ": " + p.Field + ": " + p.Msg }

// Check finds every mistake in the descriptions that can be seen without touching a pin, in the order of the descriptions.
func Check(outs []Output, ins []Input) []Problem {
	c := checker{outs: make(map[string]*Output), pins: make(map[string]string)}
	for i := range outs {
		if o := &outs[i]; c.outs[o.Name] == nil {
			c.outs[o.Name] = o
		} else {
			c.say(o.Name, "name", "is there twice")
		}
	}
	for i := range outs {
		c.output(&outs[i])
	}
	c.input = true
	for i := range ins {
		c.in(&ins[i], ins[:i])
	}
	return c.found
}

type checker struct {
	outs  map[string]*Output
	pins  map[string]string // pin -> who has it
	input bool
	found []Problem
}

func (c *checker) say(name, field, format string, args ...any) {
	c.found = append(c.found, Problem{Name: name, Input: c.input, Field: field, Msg: fmt.Sprintf(format, args...)})
}

func (c *checker) output(o *Output) {
	c.times(o)
	if len(o.Group) > 0 {
		c.group(o)
		return
	}
	c.pin(o.Name, o.Pin, true)
	if err := kindError(o.Kind, o.Pin); err != nil {
		c.say(o.Name, "kind", "%v", err)
	}
	if o.Safe {
		const why = "is for outputs whose safe state is off: it would keep this one from its safe state"
		for field, set := range map[string]bool{"max_on": o.MaxOn > 0, "min_off": o.MinOff > 0, "interlock": len(o.Interlock) > 0} {
			if set {
				c.say(o.Name, field, why)
			}
		}
	}
	for _, name := range o.Interlock {
		switch p := c.outs[name]; {
		case name == o.Name:
			c.say(o.Name, "interlock", "names itself")
		case p == nil:
			c.say(o.Name, "interlock", "there is no output %s", name)
		case len(p.Group) > 0:
			c.say(o.Name, "interlock", "%s is a group; name its members", name)
		case p.Safe:
			c.say(o.Name, "interlock", "the safe state of %s is on, which an interlock could not keep", name)
		}
	}
}

func (c *checker) times(o *Output) {
	for _, t := range []struct {
		field string
		bad   bool
	}{
		{"max_on", o.MaxOn < 0}, {"min_off", o.MinOff < 0}, {"lease", o.Lease < 0}, {"rate", o.Rate < 0},
		{"on_link_loss", o.LinkDelay < 0},
	} {
		if t.bad {
			c.say(o.Name, t.field, "is negative")
		}
	}
}

func (c *checker) group(o *Output) {
	if o.Pin != "" {
		c.say(o.Name, "group", "has no pin of its own")
	}
	for _, name := range o.Group {
		switch m := c.outs[name]; {
		case m == nil:
			c.say(o.Name, "group", "there is no output %s", name)
		case len(m.Group) > 0:
			c.say(o.Name, "group", "%s is a group itself", name)
		}
	}
}

func (c *checker) pin(name, pin string, output bool) {
	s, err := parsePin(pin)
	if err != nil {
		c.say(name, "pin", "%v", err)
		return
	}
	if s.kind == ledPin && !output {
		c.say(name, "pin", "an LED cannot be an input")
	}
	if s.kind == pwmPin && !output {
		c.say(name, "pin", "a PWM channel cannot be an input")
	}
	if other := c.pins[pin]; other != "" && s.kind != simPin {
		c.say(name, "pin", "%s has %s already", other, pin)
	}
	c.pins[pin] = name
}

func (c *checker) in(i *Input, before []Input) {
	for _, b := range before {
		if b.Name == i.Name {
			c.say(i.Name, "name", "is there twice")
			break
		}
	}
	c.pin(i.Name, i.Pin, false)
	if _, err := parsePull(i.Pull); err != nil {
		c.say(i.Name, "pull", "%v", err)
	}
	if i.Debounce < 0 {
		c.say(i.Name, "debounce", "is negative")
	}
	if i.Count < 0 {
		c.say(i.Name, "count", "is negative")
	}
	if i.Rate < 0 {
		c.say(i.Name, "rate", "is negative")
	}
}

// kindError refuses a kind that is none, and a brightness for a line of a GPIO chip, which has two levels and no more.
func kindError(kind, pin string) error {
	switch kind {
	case "", "switch":
		return nil
	case "pwm":
		if s, err := parsePin(pin); err == nil && (s.kind == linePin || s.kind == chipPin) {
			return fmt.Errorf("kind pwm is refused: %s is a line of a GPIO chip, which only switches; "+
				"a PWM channel is written pin: pwm:CHIP/CHANNEL (`meshgate gpio` lists them)", pin)
		}
		return nil
	}
	return fmt.Errorf("there is no kind %q, only switch and pwm", kind)
}

type pinKind uint8

const (
	linePin pinKind = iota // by name
	chipPin                // by label and offset
	ledPin
	pwmPin
	simPin
)

// pinSpec is a pin as it is written, see the package comment.
type pinSpec struct {
	kind   pinKind
	name   string // of the line, the LED, the PWM chip, or the GPIO chip's label
	offset int    // of the line, or the number of the PWM channel
}

func parsePin(s string) (pinSpec, error) {
	switch {
	case s == "":
		return pinSpec{}, errors.New("no pin is given")
	case s == "sim":
		return pinSpec{kind: simPin}, nil
	case strings.HasPrefix(s, "led:"):
		name := s[len("led:"):]
		if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
			return pinSpec{}, fmt.Errorf("%q is not the name of an LED", name)
		}
		return pinSpec{kind: ledPin, name: name}, nil
	case strings.HasPrefix(s, "pwm:"):
		name, channel, found := strings.Cut(s[len("pwm:"):], "/")
		n, err := strconv.ParseUint(channel, 10, 16)
		if !found || err != nil || name == "" || name == "." || name == ".." || strings.Contains(name, "\x00") {
			return pinSpec{}, errors.New("a PWM channel is written pwm:CHIP/CHANNEL")
		}
		return pinSpec{kind: pwmPin, name: name, offset: int(n)}, nil
	case strings.HasPrefix(s, "chip:"):
		slash := strings.LastIndexByte(s, '/')
		if slash <= len("chip:") {
			return pinSpec{}, errors.New("a line of a chip is written chip:LABEL/OFFSET")
		}
		n, err := strconv.ParseUint(s[slash+1:], 10, 16)
		if err != nil {
			return pinSpec{}, fmt.Errorf("%q is not the offset of a line", s[slash+1:])
		}
		return pinSpec{kind: chipPin, name: s[len("chip:"):slash], offset: int(n)}, nil
	}
	return pinSpec{kind: linePin, name: s}, nil
}
