package gateway

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meshgate/meshgate/gpio"
)

// relays are pins that outlive the processes that switch them, and remember when they went over.
type relays struct {
	mu      sync.Mutex
	process int
	on      map[string]bool
	flanks  map[string][]time.Time
}

func newRelays() *relays { return &relays{on: map[string]bool{}, flanks: map[string][]time.Time{}} }

func (r *relays) set(name string, on bool) {
	if r.on[name] != on {
		r.on[name] = on
		r.flanks[name] = append(r.flanks[name], time.Now())
	}
}

// end takes the pins from the process that has them; with a power cut they fall off.
func (r *relays) end(powerCut bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.process++
	for name := range r.on {
		if powerCut {
			r.set(name, false)
		}
	}
}

func (r *relays) OpenOutput(o gpio.Output) (gpio.Pin, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.set(o.Name, o.Safe)
	return &relay{r, o.Name, r.process}, nil
}

func (r *relays) OpenInput(gpio.Input, func(bool, time.Time)) (io.Closer, error) {
	return nil, errors.New("there are relays only")
}

type relay struct {
	*relays
	name    string
	process int
}

func (p *relay) Set(on bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.process != p.relays.process {
		return errors.New("dead")
	}
	p.set(p.name, on)
	return nil
}

func (p *relay) Get() (bool, error) { p.mu.Lock(); defer p.mu.Unlock(); return p.on[p.name], nil }
func (p *relay) Close() error       { return nil }

// box is a machine on which one daemon after the other has the relays.
type box struct {
	t      *testing.T
	rnd    *rand.Rand
	outs   []gpio.Output
	relays *relays
	dir    string
	boot   int
	booted time.Time

	bank     *gpio.Bank
	switches *switches
	synced   []byte // of the file
}

func (h *box) file() string { return filepath.Join(h.dir, "switches.jsonl") }

func (h *box) read() []byte {
	data, err := os.ReadFile(h.file())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		h.t.Fatal(err)
	}
	return data
}

func (h *box) start() {
	h.bank = gpio.Open(h.outs, h.relays, nil, nil)
	id, booted := fmt.Sprint("boot", h.boot), h.booted
	s, past := openSwitches(h.dir, func() (string, time.Duration) { return id, time.Since(booted) }, h.outs, quiet)
	h.bank.Remember(past, s.note)
	h.switches = s
	h.synced = h.read()
}

// end ends the daemon in one of all ways.
func (h *box) end() string {
	synctest.Wait()
	switch h.rnd.IntN(4) {
	case 0:
		h.relays.end(true)
		return "power cut, " + h.reboot(h.cut())
	case 1:
		h.bank.Close()
		h.switches.close()
		h.relays.end(true)
		return "shutdown, " + h.reboot(h.read())
	case 2:
		h.bank.Close()
		h.switches.close()
		return "stop"
	}
	h.relays.end(false)
	h.bury(h.read())
	return "kill"
}

// cut is what a power cut may leave of the file: of what was not flushed nobody knows.
func (h *box) cut() []byte {
	data := h.read()
	if !bytes.HasPrefix(data, h.synced) {
		h.t.Fatalf("the file began as %s and is now %s", h.synced, data)
	}
	left := data[:len(h.synced)+h.rnd.IntN(len(data)-len(h.synced)+1)]
	if h.rnd.IntN(4) > 0 { // whole lines
		left = left[:bytes.LastIndexByte(left, '\n')+1]
	}
	return left
}

func (h *box) reboot(left []byte) string {
	h.bury(left)
	before, after := time.Duration(h.rnd.IntN(5))*time.Second, time.Duration(h.rnd.IntN(30))*time.Second
	time.Sleep(before)
	h.boot, h.booted = h.boot+1, time.Now()
	time.Sleep(after)
	return fmt.Sprint("boots ", before, " later, starts after ", after)
}

// bury lets the dead daemon's goroutines end where they can do nothing, and puts into its folder what it has left.
func (h *box) bury(left []byte) {
	h.bank.Close()
	h.switches.close()
	h.dir = h.t.TempDir()
	if err := os.WriteFile(h.file(), left, 0o600); err != nil {
		h.t.Fatal(err)
	}
}

// TestRateOverRestarts: whatever ends the daemon, and however often, no output goes on when that makes more switches within a
// minute than it may, and none that may is kept off for more than a minute.
func TestRateOverRestarts(t *testing.T) {
	for seed := range uint64(40) {
		synctest.Test(t, func(t *testing.T) { rateOverRestarts(t, rand.New(rand.NewPCG(seed, 4))) })
	}
}

func rateOverRestarts(t *testing.T, rnd *rand.Rand) {
	h := &box{t: t, rnd: rnd, relays: newRelays(), dir: t.TempDir(), booted: time.Now().Add(-time.Hour),
		outs: []gpio.Output{{Name: "a", Pin: "sim", Rate: 1 + rnd.IntN(3)}, {Name: "b", Pin: "GPIO4", Rate: 1 + rnd.IntN(8), MaxOn: 3 * time.Second}, {Name: "c", Pin: "sim"}}}
	h.start()
	defer func() { h.bank.Close(); h.switches.close() }()
	var trace []string
	for range 150 {
		time.Sleep(time.Duration(rnd.IntN(4000)) * time.Millisecond)
		o := h.outs[rnd.IntN(len(h.outs))]
		what := ""
		if rnd.IntN(12) == 0 {
			what = h.end()
			h.start()
		} else {
			_, err := h.bank.Toggle(o.Name)
			what = fmt.Sprint("toggle ", o.Name, ": ", err)
		}
		synctest.Wait()
		trace = append(trace, time.Now().Format("04:05.000 ")+what)
		for _, o := range h.outs[:2] {
			if n := h.relays.within(o.Name); n > o.Rate && h.relays.on[o.Name] {
				t.Fatalf("%s has switched %d times within a minute, %d are allowed:\n%s\n%s", o.Name, n, o.Rate, strings.Join(trace, "\n"), h.read())
			}
		}
	}
	time.Sleep(time.Minute)
	for _, o := range h.outs {
		if _, err := h.bank.Set(o.Name, true, 0); err != nil {
			t.Errorf("a minute later: %v", err)
		}
	}
}

// within counts the switches of the last minute.
func (r *relays) within(name string) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, at := range r.flanks[name] {
		if time.Since(at) < time.Minute {
			n++
		}
	}
	return n
}

// TestSwitchesInDoubt: a file that cannot be trusted keeps outputs with a rate safe for a minute, and only those.
func TestSwitchesInDoubt(t *testing.T) {
	outs := []gpio.Output{{Name: "a", Pin: "sim", Rate: 5}, {Name: "b", Pin: "sim"}}
	const clean = `{"boot":"b0","up":1}` + "\n" + `{"boot":"b0","up":2,"wire":"sim a","away":true}` + "\n" + `{"boot":"b0","up":3,"wire":"sim a"}` + "\n"
	for what, c := range map[string]struct {
		text, boot string
		up         time.Duration
		want       int
	}{
		"none":                      {"", "b1", time.Second, 0},
		"damaged":                   {clean + "{", "b0", time.Hour, 5},
		"empty":                     {" ", "b0", time.Hour, 5},
		"the same boot, killed":     {clean, "b0", 20 * time.Second, 2},
		"killed while it was away":  {clean[:strings.LastIndex(clean[:len(clean)-1], "\n")+1], "b0", 20 * time.Second, 2},
		"an hour later":             {clean, "b0", time.Hour, 0},
		"a power cut":               {clean, "b1", 20 * time.Second, 7},
		"a power cut, slow to boot": {clean, "b1", time.Minute, 0},
		"a reboot":                  {clean + `{"boot":"b0","up":9,"end":true}`, "b1", 20 * time.Second, 2},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				if c.text != "" {
					if err := os.WriteFile(filepath.Join(dir, "switches.jsonl"), []byte(c.text), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				s, past := openSwitches(dir, func() (string, time.Duration) { return c.boot, c.up }, outs, quiet)
				s.close()
				if n := len(past["sim a"]); n != c.want || len(past["sim b"]) > 0 {
					t.Errorf("%d switches count, want %d: %v", n, c.want, past)
				}
			})
		})
	}
}

// TestSwitchesFile: the file does not grow with what is switched, and a disk that is gone is told once.
func TestSwitchesFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log journal
		dir := filepath.Join(t.TempDir(), "state")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		boot := func() (string, time.Duration) { return "b", time.Since(began) }
		outs := []gpio.Output{{Name: "a", Pin: "sim", Rate: 60000}}
		s, _ := openSwitches(dir, boot, outs, slog.New(slog.NewTextHandler(&log, nil)))
		for i := range 10000 {
			s.note(gpio.Switch{Wire: "sim a", At: time.Now(), Away: i%2 == 0})
			time.Sleep(time.Second)
		}
		if st, err := os.Stat(s.file.path); err != nil || st.Size() > 2*maxSwitchFile {
			t.Errorf("%v, %v", st.Size(), err)
		}
		for range 3 * maxFreshSwitch { // at once
			s.note(gpio.Switch{Wire: "sim a", At: time.Now(), Away: true})
		}
		synctest.Wait()
		s.close()
		s, past := openSwitches(dir, boot, outs, quiet)
		if n := len(past["sim a"]); n < 3*maxFreshSwitch || n > 3*maxFreshSwitch+61 {
			t.Errorf("%d are remembered", n)
		}
		s.close()
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		s, _ = openSwitches(dir, boot, outs, slog.New(slog.NewTextHandler(&log, nil)))
		for range 5 {
			s.note(gpio.Switch{Wire: "sim a", At: time.Now()})
			synctest.Wait()
		}
		s.close()
		if n := strings.Count(log.String(), "cannot be kept"); n < 1 || n > 2 {
			t.Errorf("%d complaints:\n%s", n, &log)
		}
	})
}

// TestRateAfterRestart: the daemon itself remembers.
func TestRateAfterRestart(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		w.cfg.Outputs = []gpio.Output{{Name: "led", Pin: "sim", Rate: 2}}
		w.start()
		w.until("online", w.has("gateway/status", "online"))
		w.send("actuator/led/set", `{"state":"on","id":"1"}`, false)
		w.until("on", w.has("actuator/led/result", `"id":"1"`, `"applied"`))
		w.end1() // which switches it off
		w.start()
		w.until("online again", func() bool { return len(w.published("gateway/status")) == 3 })
		w.send("actuator/led/set", `{"state":"on","id":"2"}`, false)
		w.until("refused", w.has("actuator/led/result", `"id":"2"`, `"refused"`, "2 changes within a minute"))
	})
}
