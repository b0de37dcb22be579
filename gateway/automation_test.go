package gateway

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meshgate/meshgate/bridge/spool"
	"github.com/meshgate/meshgate/gateway/config"
	"github.com/meshgate/meshgate/gpio"
)

const aMote = "00-17-0d-00-00-38-05-e9"

// bench is a bank with rules, without the rest of a gateway.
type bench struct {
	t     *testing.T
	bank  *gpio.Bank
	rules *rules

	mu   sync.Mutex
	told []string
}

func onBench(t *testing.T, a config.Automation, out gpio.Output, test func(*bench)) {
	synctest.Test(t, func(t *testing.T) {
		out.Name, out.Pin = "heater", "sim"
		cfg := &config.Config{Outputs: []gpio.Output{out}, Automations: []config.Automation{a}}
		b := &bench{t: t, bank: gpio.Open(cfg.Outputs, gpio.NewSim(), nil, nil)}
		defer b.bank.Close()
		b.rules = newRules(cfg, b.bank, slog.New(slog.DiscardHandler), func(_ *rule, r result) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.told = append(b.told, r.stage)
		}, nil)
		defer b.rules.stop(nil)
		test(b)
	})
}

// celsius shows a temperature and says what the heater has to be then.
func (b *bench) celsius(c float64, want bool) {
	b.t.Helper()
	b.rules.samples([]spool.Record{sampleRecord("mote/"+aMote+"/temperature", int(c*100), "main")})
	b.is(fmt.Sprintf("at %v C", c), want)
}

func (b *bench) is(when string, want bool) {
	b.t.Helper()
	synctest.Wait()
	if r := b.bank.Get("heater"); r.On != want {
		b.t.Errorf("%s: the heater is %s", when, onOff(r.On))
	}
}

func (b *bench) stages() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := strings.Join(b.told, " ")
	b.told = nil
	return s
}

// thermostat heats below 3 degrees and stops above 4.
func thermostat() config.Automation {
	no := false
	return config.Automation{Name: "frost", Set: "heater", To: true, Else: &no,
		When: config.Condition{Mote: aMote, Channel: "temperature", Below: true, Limit: 3, Hysteresis: 1}}
}

func TestThermostat(t *testing.T) {
	onBench(t, thermostat(), gpio.Output{}, func(b *bench) {
		b.celsius(3.5, false) // in between at first: nobody knows
		b.celsius(2.99, true)
		b.celsius(3.9, true)
		b.celsius(4.01, false)
		b.celsius(3.01, false)
		b.celsius(-20, true)
		if s := b.stages(); s != "applied applied applied" {
			t.Error(s)
		}
		if _, err := b.bank.Set("heater", false, 0); err != nil {
			t.Error(err)
		}
		b.celsius(-21, false) // a person has decided otherwise, until the next crossing
		b.celsius(5, false)
		b.celsius(1, true)
	})
}

func TestAbove(t *testing.T) {
	a := thermostat()
	a.When.Below, a.Else = false, nil
	onBench(t, a, gpio.Output{}, func(b *bench) {
		b.celsius(2, false)
		b.celsius(3.01, true)
		b.celsius(1, true) // no else: it is left alone
		b.bank.Set("heater", false, 0)
		b.celsius(2.5, false)
		b.celsius(3.2, true)
	})
}

func TestFor(t *testing.T) {
	a := thermostat()
	a.For = 30 * time.Second
	onBench(t, a, gpio.Output{}, func(b *bench) {
		b.celsius(1, false)
		time.Sleep(29 * time.Second)
		b.celsius(5, false) // over in time
		time.Sleep(10 * time.Second)
		b.celsius(1, false)
		time.Sleep(29 * time.Second)
		b.celsius(1, false)
		time.Sleep(time.Second)
		b.is("after 30 s", true)
	})
}

// TestRuleIsRefused: min_off keeps the heater off, and the rule does what it wanted as soon as it may; it is told once.
func TestRuleIsRefused(t *testing.T) {
	onBench(t, thermostat(), gpio.Output{MinOff: time.Minute}, func(b *bench) {
		time.Sleep(30 * time.Second)
		b.celsius(1, false)
		time.Sleep(25 * time.Second)
		b.is("min_off", false)
		time.Sleep(10 * time.Second)
		b.is("after min_off", true)
		if s := b.stages(); s != "refused applied" {
			t.Error(s)
		}
	})
	onBench(t, thermostat(), gpio.Output{MinOff: time.Minute}, func(b *bench) {
		b.celsius(1, false)
		b.celsius(5, false) // not wanted any more
		time.Sleep(time.Hour)
		b.is("warm", false)
	})
}

// TestRuleAndEnvelope: a lease is renewed by samples and runs out in silence; max_on is stronger than the rule.
func TestRuleAndEnvelope(t *testing.T) {
	onBench(t, thermostat(), gpio.Output{Lease: time.Minute}, func(b *bench) {
		for range 10 {
			b.celsius(1, true)
			time.Sleep(50 * time.Second)
		}
		b.celsius(3.5, true) // in between is a sign of life too
		time.Sleep(50 * time.Second)
		b.is("renewed", true)
		time.Sleep(11 * time.Second)
		b.is("silence", false)
		b.celsius(1, true)
	})
	onBench(t, thermostat(), gpio.Output{MaxOn: time.Minute}, func(b *bench) {
		b.celsius(1, true)
		time.Sleep(61 * time.Second)
		b.celsius(1, false)
		b.celsius(5, false)
		b.celsius(1, true)
	})
}

// TestRuleOfInput: the level at the start counts, and a lease is renewed for as long as it is known.
func TestRuleOfInput(t *testing.T) {
	yes, no := true, false
	a := config.Automation{Name: "door", Set: "heater", To: true, Else: &no, When: config.Condition{Input: "door", Is: &yes}}
	onBench(t, a, gpio.Output{Lease: 10 * time.Second}, func(b *bench) {
		b.rules.input(gpio.Reading{Name: "door", On: true, Known: true})
		b.is("open", true)
		time.Sleep(time.Hour)
		b.is("still open", true)
		b.rules.input(gpio.Reading{Name: "door"})
		b.is("nobody knows", true)
		b.rules.input(gpio.Reading{Name: "door", Known: true})
		b.is("shut", false)
	})
}

// TestDigitalRule looks at a digital channel of a mote, and takes no other record for one.
func TestDigitalRule(t *testing.T) {
	no := false
	a := config.Automation{Name: "x", Set: "heater", To: true, When: config.Condition{Mote: aMote, Channel: "digital/2", Is: &no}}
	onBench(t, a, gpio.Output{}, func(b *bench) {
		topic := "mote/" + aMote + "/digital/2"
		b.rules.samples([]spool.Record{{Kind: kindSample, Topic: topic}, {Kind: kindObject, Topic: topic, Payload: make([]byte, 4)},
			sampleRecord("mote/"+aMote+"/digital/3", 0, "m"), sampleRecord(topic, 1, "m")})
		b.is("on", false)
		b.rules.samples([]spool.Record{sampleRecord(topic, 0, "m")})
		b.is("off", true)
	})
}

// TestRulesWithoutCloud: with the broker away from the start, a mote's sample and an input switch outputs.
func TestRulesWithoutCloud(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		yes, no := true, false
		w.cfg.Outputs = []gpio.Output{{Name: "heater", Pin: "sim"}, {Name: "lamp", Pin: "sim"}}
		w.cfg.Inputs = []gpio.Input{{Name: "door", Pin: "sim"}}
		w.cfg.Automations = []config.Automation{
			{Name: "frost", Set: "heater", To: true, When: config.Condition{Mote: w.mac(0), Channel: "temperature", Limit: -50, Hysteresis: 1}},
			{Name: "entry", Set: "lamp", To: true, Else: &no, When: config.Condition{Input: "door", Is: &yes}},
		}
		w.broken(true)
		w.start()
		time.Sleep(time.Minute)
		if on, _ := w.pins.Level("heater"); !on {
			t.Error("the heater is off")
		}
		for _, open := range []bool{true, false} {
			w.drive("door", open)
			time.Sleep(10 * time.Millisecond)
			if on, _ := w.pins.Level("lamp"); on != open {
				t.Errorf("door open %v: lamp %v", open, on)
			}
		}
		w.broken(false)
		w.until("the story", w.has("actuator/heater/result", `"automation":"frost"`, `"applied"`, `"state":"on"`, `"historical":true`))
		w.until("the story", w.has("actuator/lamp/result", `"automation":"entry"`, `"applied"`, `"state":"off"`))
	})
}
