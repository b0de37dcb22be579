package config

import (
	"testing"
	"time"
)

// house is what the automations of the tests may refer to.
const house = minimal + "actuators: {heater: {pin: sim}, fan: {pin: sim}, all: {group: [heater, fan]}}\ninputs: {door: {pin: sim}}\nautomations:\n"

const mote = "mote: 00-17-0d-00-00-38-05-e9"

// everyAutomation is what testdata/every.yaml has.
func everyAutomation() []Automation {
	yes, no := true, false
	const mac = "00-17-0d-00-00-38-05-e9"
	return []Automation{
		{Name: "frost", When: Condition{Mote: mac, Channel: "temperature", Below: true, Limit: 3, Hysteresis: 0.5},
			For: 30 * time.Second, Set: "all", To: true, Else: &no},
		{Name: "bell", When: Condition{Input: "door", Is: &no}, Set: "valve2", To: true},
		{Name: "flood", When: Condition{Mote: mac, Channel: "digital/2", Is: &yes}, Set: "valve2", To: true},
		{Name: "high", When: Condition{Mote: mac, Channel: "analog/0", Limit: 1200, Hysteresis: 10}, Set: "valve3"},
	}
}

func renderAutomations(all []Automation) []any {
	docs := []any{}
	for _, a := range all {
		w := a.When
		when := filled("input", w.Input, "mote", w.Mote, "channel", w.Channel)
		switch {
		case w.Is != nil:
			when["is"] = *w.Is
		case w.Below:
			when["below"], when["hysteresis"] = w.Limit, w.Hysteresis
		default:
			when["above"], when["hysteresis"] = w.Limit, w.Hysteresis
		}
		doc := map[string]any{"name": a.Name, "when": when, "for": a.For.String(), "set": a.Set, "to": a.To}
		if a.Else != nil {
			doc["else"] = *a.Else
		}
		docs = append(docs, doc)
	}
	return docs
}

func TestAutomationMistakes(t *testing.T) {
	for what, c := range map[string]struct{ text, want string }{
		"good":          {"- {name: a, when: {input: door, is: on}, set: heater, to: on, else: off}\n", ""},
		"none":          {"", ""},
		"not a list":    {"  a: {set: heater}\n", "f.yaml:5:3: automations: expected a list of automations, each with name, when, set and to, found a mapping (key: value)"},
		"nothing":       {"- {}\n", "f.yaml:5:3: automations[0]: missing key \"name\"\nf.yaml:5:3: automations[0]: missing key \"when\"\nf.yaml:5:3: automations[0]: missing key \"set\"\nf.yaml:5:3: automations[0]: missing key \"to\""},
		"unknown names": {"- {name: a, when: {input: dor, is: on}, set: heatr, to: on}\n", "f.yaml:5:27: automations[0].when.input: there is no input \"dor\", did you mean \"door\"?\nf.yaml:5:46: automations[0].set: there is no actuator \"heatr\", did you mean \"heater\"?"},
		"both":          {"- {name: a, when: {input: door, " + mote + "}, set: fan, to: on}\n", "f.yaml:5:19: automations[0].when: expected either input and is, or mote and channel, found both"},
		"neither":       {"- {name: a, when: {is: on}, set: fan, to: on}\n", "f.yaml:5:19: automations[0].when: expected either input and is, or mote and channel, found neither"},
		"no is":         {"- {name: a, when: {input: door}, set: fan, to: on}\n", "f.yaml:5:19: automations[0].when: missing key \"is\" (on or off)"},
		"limit of an input": {"- {name: a, when: {input: door, is: on, above: 3}, set: fan, to: on}\n",
			"f.yaml:5:41: automations[0].when.above: above has no meaning here: an input is on or off"},
		"no MAC":     {"- {name: a, when: {mote: 5, channel: temperature, above: 3, hysteresis: 1}, set: fan, to: on}\n", "f.yaml:5:26: automations[0].when.mote: expected the MAC of a mote such as 00-17-0d-00-00-38-05-e9, found \"5\""},
		"no channel": {"- {name: a, when: {" + mote + ", above: 3, hysteresis: 1}, set: fan, to: on}\n", "f.yaml:5:19: automations[0].when: missing key \"channel\" (temperature, analog/N or digital/N)"},
		"bad channel": {"- {name: a, when: {" + mote + ", channel: humidity, above: 3, hysteresis: 1}, set: fan, to: on}\n",
			"f.yaml:5:60: automations[0].when.channel: expected temperature, analog/N or digital/N, found \"humidity\""},
		"no hysteresis": {"- {name: a, when: {" + mote + ", channel: temperature, above: 3}, set: fan, to: on}\n",
			"f.yaml:5:19: automations[0].when: missing key \"hysteresis\" (how far back the value has to go, such as 0.5: without it a value at the limit would switch with every sample)"},
		"zero hysteresis": {"- {name: a, when: {" + mote + ", channel: temperature, above: 3, hysteresis: 0}, set: fan, to: on}\n",
			"f.yaml:5:95: automations[0].when.hysteresis: hysteresis is to be more than 0: without it a value at the limit would switch with every sample"},
		"above and below": {"- {name: a, when: {" + mote + ", channel: temperature, above: 3, below: 4, hysteresis: 1}, set: fan, to: on}\n",
			"f.yaml:5:19: automations[0].when: expected either above or below, found both"},
		"no number": {"- {name: a, when: {" + mote + ", channel: temperature, above: warm, hysteresis: 1}, set: fan, to: on}\n",
			"f.yaml:5:80: automations[0].when.above: expected a number such as 2.5, found text \"warm\""},
		"not a number": {"- {name: a, when: {" + mote + ", channel: temperature, above: .nan, hysteresis: 1}, set: fan, to: on}\n",
			"f.yaml:5:80: automations[0].when.above: expected a number such as 2.5, found .nan"},
		"else is to": {"- {name: a, when: {input: door, is: on}, set: fan, to: on, else: on}\n", "f.yaml:5:66: automations[0].else: else is the same as to, so the condition would change nothing"},
		"twice": {"- {name: a, when: {input: door, is: on}, set: fan, to: on}\n- {name: a, when: {input: door, is: on}, set: heater, to: on}\n",
			"f.yaml:6:10: automations[1].name: automation \"a\" is here twice, first in line 5"},
		"the same end": {"- {name: a, when: {input: door, is: on}, set: fan, to: on}\n- {name: b, when: {input: door, is: off}, set: all, to: on}\n", ""},
		"fight": {"- {name: a, when: {input: door, is: on}, set: fan, to: on}\n- {name: b, when: {input: door, is: off}, set: all, to: off}\n",
			"f.yaml:6:48: automations[1].set: automation \"a\" sets fan too, and the two could fight over it; two may only share an output when both set it to the same and have no else"},
		"fight by else": {"- {name: a, when: {input: door, is: on}, set: fan, to: on}\n- {name: b, when: {input: door, is: off}, set: fan, to: on, else: off}\n",
			"f.yaml:6:48: automations[1].set: automation \"a\" sets fan too, and the two could fight over it; two may only share an output when both set it to the same and have no else"},
	} {
		t.Run(what, func(t *testing.T) {
			_, err := read(t.TempDir(), house+c.text)
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}
