package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meshgate/meshgate/gateway/config"
	"github.com/meshgate/meshgate/gpio"
	"github.com/meshgate/meshgate/smartmesh/sim"
)

var quiet = slog.New(slog.DiscardHandler)

// TestKilledAnywhere: whatever part of the file a kill or a power cut leaves, no command that has an answer is done again.
func TestKilledAnywhere(t *testing.T) {
	dir := t.TempDir()
	m := openMemory(dir, quiet)
	var after []int64 // the length of the file once this command has its answer
	for i := range 3 {
		o := order{id: fmt.Sprint(i), on: true}
		m.begin("actuator/led", o, noon)
		m.end("actuator/led", o, result{id: o.id, stage: stageApplied, accepted: noon, done: noon})
		written := make(chan int64)
		m.then(func() { written <- m.file.size })
		after = append(after, <-written)
	}
	m.close()
	whole, err := os.ReadFile(m.file.path)
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; n <= len(whole); n += 1 + 4*(n%2) { // a third of the places: each costs a flush
		cut := t.TempDir()
		if err := os.WriteFile(filepath.Join(cut, "commands.jsonl"), whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		m := openMemory(cut, quiet)
		for i, size := range after {
			r, again := m.begin("actuator/led", order{id: fmt.Sprint(i), on: true}, noon)
			answered := int64(n) >= size-1 // but for the line's end
			if answered && (!again || r.stage != stageApplied) || !answered && again && r.stage != stageFailed {
				t.Fatalf("%d bytes: command %d: %+v, %v", n, i, r, again)
			}
		}
		m.close()
	}
}

// TestOnceOnly sends random commands, many of them again, through restarts and kills, to outputs with limits: an id is
// carried out once at most, has one answer for ever, and nothing moves when it comes again.
func TestOnceOnly(t *testing.T) {
	for seed := range uint64(12) {
		synctest.Test(t, func(t *testing.T) { onceOnly(t, rand.New(rand.NewPCG(seed, 3))) })
	}
}

func onceOnly(t *testing.T, rnd *rand.Rand) {
	cfg := &config.Config{StateDir: t.TempDir(), Outputs: []gpio.Output{{Name: "a", Pin: "sim", MinOff: 2 * time.Second, Rate: 20},
		{Name: "b", Pin: "sim", MaxOn: 3 * time.Second, Interlock: []string{"a"}}, {Name: "c", Pin: "sim", Kind: "pwm", Lease: 2 * time.Second},
		{Name: "all", Group: []string{"a", "c"}}}}
	start := func() *Gateway {
		g := &Gateway{log: quiet, clock: newGoodClock(cfg.StateDir, func() bool { return true }, quiet), bank: gpio.Open(cfg.Outputs, gpio.NewSim(), nil, nil), memory: openMemory(cfg.StateDir, quiet)}
		g.cfg.Store(cfg)
		return g
	}
	g := start()
	defer func() { g.bank.Close(); g.memory.close() }()
	answers := map[string]result{}
	for range 200 {
		time.Sleep(time.Duration(rnd.IntN(1500)) * time.Millisecond)
		if rnd.IntN(20) == 0 { // a kill: nothing is closed before the next process starts
			old := g
			g = start()
			old.bank.Close()
			old.memory.close()
			for _, r := range g.bank.All() {
				if r.On {
					t.Errorf("%s is on after a start", r.Name)
				}
			}
			continue
		}
		target := "actuator/" + []string{"a", "b", "c", "all"}[rnd.IntN(4)]
		o := order{id: fmt.Sprint(rnd.IntN(60))}
		switch which := len(o.id) + int(o.id[0]); which % 4 { // the same id is always the same order
		case 0, 1:
			o.on = true
		case 2:
			o.toggle = true
		}
		was := fmt.Sprint(g.bank.All())
		r := g.judged(context.Background(), target, o, nil, time.Now())
		answered := make(chan struct{})
		g.memory.then(func() { close(answered) })
		<-answered
		key := target + " " + o.id
		first, came := answers[key]
		switch {
		case !came:
			answers[key] = r
			if r.repeated || !r.ok() && r.err == nil {
				t.Errorf("%s, the first time: %+v", key, r)
			}
		case !r.repeated || r.stage != first.stage || fmt.Sprint(r.err) != fmt.Sprint(first.err) || !r.done.Equal(first.done):
			t.Errorf("%s: %+v, the first time %+v", key, r, first)
		case fmt.Sprint(g.bank.All()) != was:
			t.Errorf("%s, again: %v, was %s", key, g.bank.All(), was)
		}
	}
}

// TestOvertakenIsRemembered: a command that gave way to newer ones is not carried out when it comes again after them, by the
// next process neither, and a repeat of one that was carried out gets the answer of then although it gives way.
func TestOvertakenIsRemembered(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		w.start()
		w.until("readings", func() bool { return len(w.published("mote/+/temperature")) >= 2 })
		target := "mote/" + w.mac(0) + "/led"
		send := func(id, state string) { w.send(target+"/set", fmt.Sprintf(`{"id":%q,"state":%q}`, id, state), false) }
		send("first", "off")
		w.until("confirmed", w.has(target+"/result", `"first"`, `"confirmed"`))
		w.sim.SetFaults(sim.Faults{OAPDelay: 5 * time.Second})
		send("slow", "off")
		send("old", "on")
		send("first", "off")
		for i := range maxWaiting {
			send(fmt.Sprint("new", i), "off")
		}
		w.until("overtaken", w.has(target+"/result", `"old"`, `"refused"`, "overtaken"))
		w.until("answered again", w.has(target+"/result", `"first"`, `"confirmed"`, `"repeated":true`))
		w.sim.SetFaults(sim.Faults{})
		w.until("the last word", w.has(target+"/result", fmt.Sprintf(`"new%d"`, maxWaiting-1), `"confirmed"`))
		again := func(when string) {
			t.Helper()
			n := len(w.published(target + "/result"))
			send("old", "on")
			w.until(when, func() bool { return len(w.published(target+"/result")) > n })
			if got := w.last(target + "/result"); !contains(got, []string{`"old"`, `"refused"`, "overtaken", `"repeated":true`}) || w.sim.LED(w.sim.Motes()[0]) {
				t.Errorf("%s: %s", when, got)
			}
		}
		again("once more")
		w.end1()
		w.start()
		n := len(w.published("mote/+/temperature"))
		w.until("readings", func() bool { return len(w.published("mote/+/temperature")) >= n+2 })
		again("after a restart")
	})
}

// TestSettleWhileTheDiskIsAway: refusals beyond what may wait for the disk are answered at once, and are in the file later.
func TestSettleWhileTheDiskIsAway(t *testing.T) {
	dir := t.TempDir()
	m := openMemory(dir, quiet)
	hold, told := make(chan struct{}), 0
	m.then(func() { <-hold })
	for i := range 3 * maxJobs {
		m.settle(fmt.Sprint("actuator/", i%4), order{id: fmt.Sprint(i)}, refused(fmt.Sprint(i), errOvertaken), func(result) { told++ })
	}
	if told < maxJobs {
		t.Errorf("%d were answered while the disk is away", told)
	}
	close(hold)
	m.close()
	m = openMemory(dir, quiet)
	defer m.close()
	for i := range 3 * maxJobs {
		if m.find(fmt.Sprint("actuator/", i%4), fmt.Sprint(i)) < 0 {
			t.Fatalf("%d is not remembered", i)
		}
	}
}

// TestUntilNeedsAClock: while nobody knows what time it is, a command that is void from some time on is not carried out, and
// others are.
func TestUntilNeedsAClock(t *testing.T) {
	var right atomic.Bool
	inWorld(t, twoMotes, func(w *world) {
		w.hw = func(hw *Hardware) { hw.ClockRight = right.Load }
		lastGood := time.Now().Add(24 * time.Hour)
		if err := touch(filepath.Join(w.cfg.StateDir, "clock"), lastGood); err != nil {
			t.Fatal(err)
		}
		w.start()
		w.until("online", w.has("gateway/status", "online"))
		send := func(id, rest string, words ...string) {
			t.Helper()
			w.send("actuator/led/set", fmt.Sprintf(`{"id":%q,%s}`, id, rest), false)
			w.until(id, w.has("actuator/led/result", append(words, fmt.Sprintf(`"id":%q`, id))...))
		}
		until := func(at time.Time) string { return fmt.Sprintf(`"state":"on","until":%q`, stamp(at)) }
		send("1", until(lastGood.Add(time.Hour)), `"refused"`, "not synchronised")
		send("2", until(lastGood.Add(-time.Hour)), `"expired"`) // the clock is behind the last time that was good
		if on, _ := w.pins.Level("led"); on {
			t.Error("it is on")
		}
		send("3", `"state":"on","for":"5s"`, `"applied"`)
		send("4", `"state":"on"`, `"applied"`)
		send("5", `"state":"off"`, `"applied"`)
		right.Store(true)
		send("1", until(lastGood.Add(time.Hour)), `"refused"`, `"repeated":true`)
		send("6", until(lastGood.Add(time.Hour)), `"applied"`)
		send("7", until(time.Now().Add(-time.Second)), `"expired"`)
	})
}
