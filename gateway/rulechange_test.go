package gateway

import (
	"testing"
	"time"

	"github.com/meshgate/meshgate/gateway/config"
	"github.com/meshgate/meshgate/gpio"
)

// TestChangedAutomations: one that is taken away or changed lets go of what it has set, unless somebody else has set it since;
// one that stays knows what it knew, and who has switched by hand keeps the last word.
func TestChangedAutomations(t *testing.T) {
	inChangingWorld(t, twoMotes, func(w *changing) {
		warm := func(name, output string, below float64) config.Automation {
			return config.Automation{Name: name, Set: output, To: true,
				When: config.Condition{Mote: w.mac(0), Channel: "temperature", Below: true, Limit: below, Hysteresis: 1}}
		}
		w.cfg.Outputs = nil
		for _, name := range []string{"heater", "lamp", "fan", "pump"} {
			w.cfg.Outputs = append(w.cfg.Outputs, gpio.Output{Name: name, Pin: "sim"})
		}
		w.cfg.Automations = []config.Automation{warm("frost", "heater", 50), warm("light", "lamp", 50), warm("air", "fan", 50), warm("water", "pump", 50)}
		is := func(when string, heater, lamp, fan, pump bool) {
			t.Helper()
			time.Sleep(time.Minute) // samples come
			for name, want := range map[string]bool{"heater": heater, "lamp": lamp, "fan": fan, "pump": pump} {
				if on, _ := w.pins.Level(name); on != want {
					t.Errorf("%s: the %s is %s", when, name, onOff(on))
				}
			}
		}
		reload := func(name string, change func(*config.Config)) {
			t.Helper()
			w.cfg = w.changed(change)
			w.file.write(name, w.cfg)
			if err := w.ask("POST", "reload", struct{}{}, nil); err != nil {
				t.Fatal(err)
			}
		}
		w.start()
		w.until("online", w.has("gateway/status", "online"))
		is("at first", true, true, true, true)
		w.send("actuator/fan/set", "on", false) // it is a person's now
		w.send("actuator/pump/set", "off", false)
		is("by hand", true, true, true, false)
		n := len(w.published("actuator/lamp/result"))
		reload("less", func(c *config.Config) {
			c.Automations = []config.Automation{warm("light", "lamp", 50), warm("water", "pump", 50)}
		})
		if on, _ := w.pins.Level("heater"); on {
			t.Error("the heater is on without anybody who would switch it off")
		}
		is("two are gone", false, true, true, false)
		if got := w.published("actuator/lamp/result"); len(got) != n {
			t.Errorf("the rule that stayed has switched: %q", got[n:])
		}
		w.send("actuator/heater/set", "on", false)
		reload("the lamp passes through safe", func(c *config.Config) { c.Outputs[1].Lease = time.Hour })
		is("set again", true, true, true, false)
		reload("other", func(c *config.Config) {
			c.Automations = []config.Automation{warm("light", "lamp", -50), warm("water", "pump", 50)}
			c.Outputs[3].Lease = time.Hour
		})
		is("the lamp's has changed, the pump is a person's", true, false, true, false)
	})
}

// TestRuleOfAFailingPin: what the pin does not do is no refusal.
func TestRuleOfAFailingPin(t *testing.T) {
	onBench(t, thermostat(), gpio.Output{Kind: "none"}, func(b *bench) {
		b.celsius(1, false)
		if s := b.stages(); s != "failed" {
			t.Error(s)
		}
	})
}
