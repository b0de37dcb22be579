package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meshgate/meshgate/gateway/config"
	"github.com/meshgate/meshgate/gpio"
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
		m.then(func() { written <- m.size })
		after = append(after, <-written)
	}
	m.close()
	whole, err := os.ReadFile(m.path)
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
		g := &Gateway{log: quiet, bank: gpio.Open(cfg.Outputs, gpio.NewSim(), nil, nil), memory: openMemory(cfg.StateDir, quiet)}
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
		r := g.perform(context.Background(), target, o, time.Now())
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
