package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meshgate/meshgate/bridge"
	"github.com/meshgate/meshgate/bridge/brokertest"
	"github.com/meshgate/meshgate/gateway/config"
	"github.com/meshgate/meshgate/gpio"
	"github.com/meshgate/meshgate/smartmesh"
	"github.com/meshgate/meshgate/smartmesh/sim"
)

const prefix = "meshgate/t/"

// world is a gateway with a simulated manager on one side and a broker that can misbehave on the
// other, all of it in one bubble.
type world struct {
	t      *testing.T
	cfg    *config.Config
	broker *brokertest.Broker
	sim    *sim.Manager
	log    journal
	port   func() (io.ReadWriteCloser, error)
	hw     func(*Hardware) // changes the machine before the start
	level  slog.Level
	door   *door
	pins   *gpio.Sim

	wg   sync.WaitGroup
	stop context.CancelFunc
	end  chan error
}

// inWorld runs a test in a bubble, with a gateway that test starts by w.start.
func inWorld(t *testing.T, motes sim.Config, test func(*world)) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, broker: brokertest.New(), sim: sim.New(motes, nil), pins: gpio.NewSim()}
		w.cfg = config.Demo(t.TempDir())
		w.cfg.ID = "t"
		w.cfg.Bridges = []config.Bridge{{Name: "cloud", URLs: []string{"mqtt://broker:1883"}, ClientID: "meshgate-t",
			Keepalive: 30 * time.Second, Prefix: prefix, Rules: bridge.DefaultRules(prefix)}}
		ctx, cancel := context.WithCancel(context.Background())
		w.wg.Go(func() { w.sim.Run(ctx) })
		w.port = func() (io.ReadWriteCloser, error) {
			ours, theirs := net.Pipe()
			w.wg.Go(func() { w.sim.Serve(ctx, theirs) })
			return ours, nil
		}
		defer w.wg.Wait()
		defer cancel()
		defer w.broker.Close()
		defer func() {
			if w.stop != nil {
				w.end1()
			}
		}()
		test(w)
	})
}

// journal keeps what is logged while it is being read.
type journal struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.String()
}

// start runs the gateway; end1 ends it and gives what Run returned.
func (w *world) start() {
	ctx, cancel := context.WithCancel(context.Background())
	w.stop, w.end = cancel, make(chan error, 1)
	hw := Hardware{Version: "test", GPIO: w.pins, Dial: w.broker.Dial, ClockRight: func() bool { return true },
		OpenPort: func(context.Context, string) (io.ReadWriteCloser, error) { return w.port() }}
	w.door = newDoor()
	hw.Door = func() (net.Listener, error) { return w.door, nil }
	if w.hw != nil {
		w.hw(&hw)
	}
	go func() {
		w.end <- Run(ctx, w.cfg, hw, slog.New(slog.NewTextHandler(&w.log, &slog.HandlerOptions{Level: w.level})))
	}()
}

func (w *world) end1() error {
	w.stop()
	w.stop = nil
	return <-w.end
}

// until waits for the broker to have what is asked for.
func (w *world) until(what string, ok func() bool) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	if err := w.broker.Wait(ctx, ok); err != nil {
		w.t.Fatalf("%s: %v; the log says:\n%s", what, err, &w.log)
	}
}

// published gives the payloads that came on a local topic, or on all that a filter matches.
func (w *world) published(filter string) []string {
	var all []string
	for _, p := range w.broker.Published() {
		if local, ok := strings.CutPrefix(p.Topic, prefix); ok && bridge.Match(filter, local) {
			all = append(all, string(p.Payload))
		}
	}
	return all
}

func (w *world) has(filter string, words ...string) func() bool {
	return func() bool {
		for _, p := range w.published(filter) {
			if contains(p, words) {
				return true
			}
		}
		return false
	}
}

func contains(s string, words []string) bool {
	for _, word := range words {
		if !strings.Contains(s, word) {
			return false
		}
	}
	return true
}

func (w *world) send(topic, payload string, retain bool) {
	w.broker.Send(prefix+topic, []byte(payload), 1, retain)
}

var twoMotes = sim.Config{Motes: 2, Period: 10 * time.Second, Seed: 1}

func TestMainJob(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		w.start()
		w.until("readings", func() bool { return len(w.published("mote/+/temperature")) >= 4 })
		var r map[string]any
		if err := json.Unmarshal([]byte(w.published("mote/+/temperature")[0]), &r); err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{"time", "value", "unit", "seq", "time_quality", "manager"} {
			if _, ok := r[key]; !ok {
				t.Errorf("no %s in %v", key, r)
			}
		}
		if len(r) != 6 || r["unit"] != "C" || r["time_quality"] != "synced" || r["manager"] != "main" {
			t.Errorf("reading %v", r)
		}
		at, err := time.Parse(time.RFC3339, fmt.Sprint(r["time"]))
		if err != nil || time.Since(at) < 0 || time.Since(at) > time.Minute {
			t.Errorf("time %v, now %v: %v", r["time"], time.Now(), err)
		}
		for _, want := range []struct{ topic, words string }{
			{"gateway/status", `"state":"online","reason":"started"`},
			{"gateway/info", `"actuators":["led"]`},
			{"manager/main/status", `"state":"connected"`},
			{"manager/main/event", `"event":"moteOperational"`},
			{"mote/+/status", `"state":"operational"`},
			{"actuator/led/state", `"state":"off"`},
			{"gateway/health", `"spool"`},
		} {
			if !w.has(want.topic, want.words)() {
				t.Errorf("%s: no %s in %q", want.topic, want.words, w.published(want.topic))
			}
		}
		w.until("audit", w.has("gateway/audit", `"count"`, `"first"`))
		if err := w.end1(); err != nil {
			t.Errorf("Run: %v", err)
		}
		if p, ok := w.broker.Retained(prefix + "gateway/status"); !ok || !contains(string(p.Payload), []string{`"offline"`, `"stopped"`}) {
			t.Errorf("the farewell is %s", p.Payload)
		}
		if v := w.sim.Stats().Violations; len(v) > 0 {
			t.Errorf("violations of the protocol: %v", v)
		}
	})
}

func TestOutputCommands(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		w.start()
		w.until("online", w.has("gateway/status", "online"))
		w.send("actuator/led/set", `{"state":"on","id":"1","for":"5s"}`, false)
		w.until("applied", w.has("actuator/led/result", `"id":"1"`, `"ok":true`, `"applied"`))
		on := time.Now()
		w.until("off again", func() bool {
			states := w.published("actuator/led/state")
			return len(states) > 0 && contains(states[len(states)-1], []string{`"off"`}) && w.has("actuator/led/state", `"on"`)()
		})
		if d := time.Since(on); d < 4*time.Second || d > 6*time.Second {
			t.Errorf("it was on for %v", d)
		}
		w.send("actuator/led/set", `{"state":"dim","id":"2"}`, false)
		w.until("malformed", w.has("actuator/led/result", `"id":"2"`, `"refused"`, "no state"))
		w.send("actuator/led/set", `{"state":"on","id":"3","until":"1999-01-01T00:00:00Z"}`, false)
		w.until("late", w.has("actuator/led/result", `"id":"3"`, `"expired"`))
		w.send("actuator/pump/set", "on", false)
		w.until("unknown", w.has("actuator/pump/result", `"refused"`))
		w.send("actuator/led/set", strings.Repeat("x", 1<<20), false)
		w.until("huge", w.has("actuator/led/result", `"refused"`, "longer than"))
	})
}

func TestRetainedCommandIsRefused(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		w.send("actuator/led/set", `{"state":"on","id":"old"}`, true)
		w.start()
		w.until("refused", w.has("actuator/led/result", `"id":"old"`, `"refused"`, "retained"))
		if w.has("actuator/led/state", `"on"`)() {
			t.Error("it switched")
		}
	})
}

func TestMoteLED(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		w.start()
		w.until("readings", func() bool { return len(w.published("mote/+/temperature")) >= 2 })
		mac := smartmesh.MAC(w.sim.Motes()[0])
		topic := "mote/" + mac.String() + "/led"
		w.send(topic+"/set", "toggle", false)
		w.until("toggle of what is unknown", w.has(topic+"/result", `"refused"`, "not known"))
		w.send(topic+"/set", `{"state":"on","id":"1","for":"1m"}`, false)
		w.until("confirmed", w.has(topic+"/result", `"id":"1"`, `"confirmed"`))
		if !w.sim.LED(mac) {
			t.Error("confirmed, but dark")
		}
		w.until("the state", w.has(topic+"/state", `"on"`))
		w.until("off again", w.has(topic+"/state", `"off"`))
		if w.sim.LED(mac) {
			t.Error("shown as off, but lit")
		}
		w.sim.SetFaults(sim.Faults{OAPLost: 1})
		w.send(topic+"/set", `{"state":"on","id":"2"}`, false)
		w.until("no answer", w.has(topic+"/result", `"id":"2"`, `"failed"`, "did not answer"))
		w.until("unknown state", w.has(topic+"/state", `"unknown"`))
	})
}

func TestReportRate(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		w.cfg.Managers[0].Temperature = 3 * time.Second
		w.start()
		w.until("many readings", func() bool { return len(w.published("mote/+/temperature")) >= 40 })
		if d := time.Since(started); d > 2*time.Minute {
			t.Errorf("40 readings of two motes took %v at one in three seconds", d)
		}
		if !strings.Contains(w.log.String(), "report rate set") {
			t.Errorf("the log does not tell:\n%s", &w.log)
		}
	})
}

// started is when every bubble's clock starts (package synctest).
var started = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// TestBrokerNeverAcknowledges: nothing is taken as delivered without its PUBACK, and the failure
// is logged once.
func TestBrokerNeverAcknowledges(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		w.broker.Set(func(b *brokertest.Behaviour) { b.NoAck = true })
		w.start()
		time.Sleep(10 * time.Minute)
		w.broker.Set(func(b *brokertest.Behaviour) { b.NoAck = false })
		seen := len(w.broker.Published())
		seqs := map[float64]bool{}
		w.until("everything again", func() bool {
			all := w.broker.Published()
			for _, p := range all[seen:] {
				var r map[string]any
				if json.Unmarshal(p.Payload, &r) == nil && r["seq"] != nil {
					seqs[r["seq"].(float64)] = true
				}
			}
			seen = len(all)
			for i := 1.0; i < 100; i++ {
				if !seqs[i] {
					return false
				}
			}
			return true
		})
		if n := strings.Count(w.log.String(), "level=WARN"); n > 2 {
			t.Errorf("%d warnings for one fault:\n%s", n, &w.log)
		}
	})
}

func TestBrokerRefuses(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		w.broker.Set(func(b *brokertest.Behaviour) { b.Refuse = 4 })
		w.start()
		time.Sleep(10 * time.Minute)
		if n := strings.Count(w.log.String(), "level=WARN"); n != 1 {
			t.Errorf("%d warnings for one bad password:\n%s", n, &w.log)
		}
		w.broker.Set(func(b *brokertest.Behaviour) { b.Refuse = 0 })
		w.until("what waited", w.has("mote/+/temperature", `"historical":true`, `"seq"`))
	})
}

func TestBrokerRefusesSubscriptions(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		w.broker.Set(func(b *brokertest.Behaviour) {
			b.RefuseSub = func(f string) bool { return strings.HasSuffix(f, "/set") }
		})
		w.start()
		w.until("readings all the same", func() bool { return len(w.published("mote/+/temperature")) >= 4 })
		if n := strings.Count(w.log.String(), "refuses subscriptions"); n != 1 {
			t.Errorf("told %d times:\n%s", n, &w.log)
		}
	})
}

// TestPortAway: a port that is not there is told once, and is used when it comes; when it goes, the motes are not told of
// as lost beside it.
func TestPortAway(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		there := w.port
		var conn io.ReadWriteCloser
		var away atomic.Bool
		away.Store(true)
		w.port = func() (io.ReadWriteCloser, error) {
			if away.Load() {
				return nil, errors.New("/dev/ttyUSB3 is not there")
			}
			p, err := there()
			conn = p
			return p, err
		}
		w.start()
		time.Sleep(10 * time.Minute)
		if n := strings.Count(w.log.String(), "level=WARN"); n != 1 {
			t.Errorf("%d warnings for one port:\n%s", n, &w.log)
		}
		if !w.has("manager/main/status", `"disconnected"`, "is not there")() {
			t.Errorf("status %q", w.published("manager/main/status"))
		}
		away.Store(false)
		came := time.Now()
		w.until("readings", func() bool { return len(w.published("mote/+/temperature")) >= 1 })
		if d := time.Since(came); d > 30*time.Second {
			t.Errorf("it took %v", d)
		}
		time.Sleep(stableAfter)
		away.Store(true)
		conn.Close()
		w.until("silent motes", w.has("mote/+/status", `"fresh":"lost"`))
		away.Store(false)
		time.Sleep(2 * stableAfter)
		if text := w.log.String(); strings.Contains(text, "motes are") {
			t.Errorf("the log tells of the motes too:\n%s", text)
		}
	})
}

// TestNoManager: something else is at the port.
func TestNoManager(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		w.port = func() (io.ReadWriteCloser, error) {
			ours, theirs := net.Pipe()
			w.wg.Go(func() { io.Copy(theirs, theirs) }) // a loopback plug: what is sent comes back
			return ours, nil
		}
		w.start()
		w.until("status", w.has("manager/main/status", `"disconnected"`, "no manager answers"))
		time.Sleep(10 * time.Minute)
		if n := strings.Count(w.log.String(), "level=WARN"); n != 1 {
			t.Errorf("%d warnings for one port:\n%s", n, &w.log)
		}
	})
}

// TestFaultyLine: noise, lost acknowledgements, repeats and gaps lose nothing and repeat nothing.
func TestFaultyLine(t *testing.T) {
	motes := sim.Config{Motes: 5, Period: time.Second, Seed: 7, Numbered: true, Count: 60, KeepAcked: 1 << 16,
		Faults: sim.Faults{Noise: 0.1, LostAck: 0.1, Duplicate: 0.1, Gap: 0.1, LostResponse: 0.1}}
	inWorld(t, motes, func(w *world) {
		w.start()
		count := func() int { return len(w.published("mote/+/temperature")) }
		w.until("all readings", func() bool { return count() >= 5*60 })
		time.Sleep(time.Minute)
		seen := map[string]int{}
		for _, p := range w.broker.Published() {
			var r struct{ Value *float64 }
			if strings.HasSuffix(p.Topic, "/temperature") && json.Unmarshal(p.Payload, &r) == nil {
				seen[fmt.Sprint(p.Topic, *r.Value)]++
			}
		}
		if len(seen) != 5*60 || count() != 5*60 {
			t.Errorf("%d different readings, %d in all, want %d", len(seen), count(), 5*60)
		}
	})
}

// TestManagerReboots: the session is lost and comes back, with the motes.
func TestManagerReboots(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		w.start()
		w.until("readings", func() bool { return len(w.published("mote/+/temperature")) >= 4 })
		w.sim.Reboot()
		w.until("told", w.has("manager/main/status", `"disconnected"`, "lost"))
		n := len(w.published("mote/+/temperature"))
		w.until("readings again", func() bool { return len(w.published("mote/+/temperature")) >= n+4 })
	})
}

// TestRestart: what was not delivered is delivered by the next process.
func TestRestart(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		w.broker.Set(func(b *brokertest.Behaviour) { b.Refuse = 3 })
		w.start()
		time.Sleep(5 * time.Minute)
		w.end1()
		w.broker.Set(func(b *brokertest.Behaviour) { b.Refuse = 0 })
		w.start()
		w.until("the first record", w.has("manager/main/event", `"seq":1,`, `"historical":true`))
		w.until("the backlog", func() bool { return len(w.published("mote/+/temperature")) > 55 })
	})
}
