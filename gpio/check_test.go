package gpio

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		outs []Output
		ins  []Input
		want string // problems, one a line
	}{
		{[]Output{{Name: "a", Pin: "GPIO17", MaxOn: 1, MinOff: 1, Lease: 1, Rate: 1, Interlock: []string{"b"}}, {Name: "b", Pin: "led:ACT"},
			{Name: "c", Pin: "sim", Kind: "switch", Safe: true}, {Name: "d", Pin: "sim"}, {Name: "g", Group: []string{"a", "c"}}},
			[]Input{{Name: "a", Pin: "GPIO27", Pull: "up"}, {Name: "b", Pin: "chip:pinctrl-bcm2711/4"}, {Name: "c", Pin: "sim", Pull: "none"}}, ""},
		{[]Output{{Name: "a", Pin: "sim"}, {Name: "a", Pin: "sim"}}, nil, "a: name: is there twice"},
		{[]Output{{Name: "a"}}, nil, "a: pin: no pin is given"},
		{[]Output{{Name: "a", Pin: "led:"}, {Name: "b", Pin: "led:../x"}, {Name: "c", Pin: "led:.."}}, nil,
			"a: pin: \"\" is not the name of an LED\nb: pin: \"../x\" is not the name of an LED\nc: pin: \"..\" is not the name of an LED"},
		{[]Output{{Name: "a", Pin: "chip:x"}, {Name: "b", Pin: "chip:/1"}, {Name: "c", Pin: "chip:x/-1"}, {Name: "d", Pin: "chip:x/99999"}}, nil,
			"a: pin: a line of a chip is written chip:LABEL/OFFSET\nb: pin: a line of a chip is written chip:LABEL/OFFSET\n" +
				"c: pin: \"-1\" is not the offset of a line\nd: pin: \"99999\" is not the offset of a line"},
		{[]Output{{Name: "a", Pin: "GPIO1"}}, []Input{{Name: "b", Pin: "GPIO1"}}, "b: pin: a has GPIO1 already"},
		{[]Output{{Name: "a", Pin: "GPIO18", Kind: "pwm"}, {Name: "b", Pin: "sim", Kind: "servo"},
			{Name: "c", Pin: "pwm:3f20c000.pwm/1", Kind: "pwm"}, {Name: "d", Pin: "pwm:x"}, {Name: "e", Pin: "pwm:../1"}, {Name: "f", Pin: "sim", Kind: "pwm"}},
			[]Input{{Name: "g", Pin: "pwm:x/1"}},
			"a: kind: kind pwm is refused: GPIO18 is a line of a GPIO chip, which only switches; a PWM channel is written pin: pwm:CHIP/CHANNEL (`meshgate gpio` lists them)\n" +
				"b: kind: there is no kind \"servo\", only switch and pwm\nd: pin: a PWM channel is written pwm:CHIP/CHANNEL\n" +
				"e: pin: a PWM channel is written pwm:CHIP/CHANNEL\ng: pin: a PWM channel cannot be an input"},
		{[]Output{{Name: "a", Pin: "sim", MaxOn: -1, Lease: -1, Rate: -1, MinOff: -1, LinkDelay: -1}}, nil,
			"a: max_on: is negative\na: min_off: is negative\na: lease: is negative\na: rate: is negative\na: on_link_loss: is negative"},
		{[]Output{{Name: "a", Pin: "sim", Safe: true, MaxOn: 1}}, nil, "a: max_on: is for outputs whose safe state is off: it would keep this one from its safe state"},
		{[]Output{{Name: "a", Pin: "sim", Interlock: []string{"a", "x", "g", "b"}}, {Name: "b", Pin: "sim", Safe: true}, {Name: "g", Group: []string{"a"}}}, nil,
			"a: interlock: names itself\na: interlock: there is no output x\na: interlock: g is a group; name its members\n" +
				"a: interlock: the safe state of b is on, which an interlock could not keep"},
		{[]Output{{Name: "g", Pin: "sim", Group: []string{"h", "x"}}, {Name: "h", Group: []string{"g"}}}, nil,
			"g: group: has no pin of its own\ng: group: h is a group itself\ng: group: there is no output x\nh: group: g is a group itself"},
		{nil, []Input{{Name: "a", Pin: "sim"}, {Name: "a", Pin: "led:x", Pull: "left", Debounce: -time.Second, Rate: -1}},
			"a: name: is there twice\na: pin: an LED cannot be an input\na: pull: \"left\" is neither up, down nor none\na: debounce: is negative\na: rate: is negative"},
	} {
		var got []string
		for _, p := range Check(c.outs, c.ins) {
			got = append(got, p.String())
		}
		if s := strings.Join(got, "\n"); s != c.want {
			t.Errorf("%+v %+v:\n%s\nwant\n%s", c.outs, c.ins, s, c.want)
		}
	}
}

// TestOpenTakesAnything: a bank of nonsense does not panic and switches nothing it should not.
func TestOpenTakesAnything(t *testing.T) {
	outs := []Output{
		{Name: "a", Pin: "sim", Interlock: []string{"a", "x", "g"}, MaxOn: -1, Lease: -1, Rate: -1, MinOff: -1, LinkDelay: -1, OnLinkLoss: 9},
		{Name: "a", Pin: "sim"}, {Name: "g", Group: []string{"h", "x", "a", "a"}}, {Name: "h", Group: []string{"g"}}, {Name: "g", Pin: "sim"}, {},
	}
	b := Open(outs, NewSim(), nil, nil)
	defer b.Close()
	for _, name := range []string{"a", "g", "h", "x", ""} {
		for _, a := range []Action{On, Off, Toggle, 77} {
			_, _ = b.Do(name, Command{Action: a})
		}
	}
	if n := len(b.All()); n != 4 {
		t.Errorf("%d outputs", n)
	}
}

// FuzzParsePin: what is taken is written back the same, and names no file outside the folder of LEDs.
func FuzzParsePin(f *testing.F) {
	for _, s := range []string{"GPIO17", "P9_12 [gpio1_28]", "sim", "led:ACT", "led:beaglebone:green:usr3", "led:../x", "chip:pinctrl-bcm2711/17", "chip:a/b/3", "chip:/", "pwm:fe20c000.pwm/1", "pwm:/1", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := parsePin(s)
		if err != nil {
			return
		}
		back := map[pinKind]string{linePin: p.name, simPin: "sim", ledPin: "led:" + p.name, chipPin: fmt.Sprintf("chip:%s/%d", p.name, p.offset),
			pwmPin: fmt.Sprintf("pwm:%s/%d", p.name, p.offset)}[p.kind]
		if back != s && !((p.kind == chipPin || p.kind == pwmPin) && strings.Contains(s, "/0")) { // leading zeros
			t.Errorf("%q is %+v, that is %q", s, p, back)
		}
		if (p.kind == ledPin || p.kind == pwmPin) && (strings.Contains(p.name, "/") || strings.Trim(p.name, ".") == "" && len(p.name) < 3) {
			t.Errorf("%q leads out of the folder", s)
		}
	})
}
