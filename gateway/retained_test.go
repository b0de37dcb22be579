package gateway

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
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

// holds reports whether the broker retains something on a remote topic.
func (w *world) holds(remote string) bool {
	p, ok := w.broker.Retained(remote)
	return ok && len(p.Payload) > 0
}

// An output, an input, a rule and a prefix that go away while the link is down take their retained
// topics with them as soon as it is up; those of others stay.
func TestRetainedTopicsOfWhatIsGone(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		w.cfg.Outputs = append(w.cfg.Outputs, gpio.Output{Name: "pump", Pin: "sim"})
		w.send("actuator/other/state", "a stranger's", true)
		w.start()
		w.until("states", func() bool {
			return w.holds(prefix+"actuator/led/state") && w.holds(prefix+"actuator/pump/state") && w.holds(prefix+"gateway/info")
		})
		w.until("motes", w.has("mote/+/status", `"operational"`))
		w.end1()

		w.broker.Set(func(b *brokertest.Behaviour) { b.Refuse = 3 })
		w.cfg.Outputs = w.cfg.Outputs[:1]
		w.cfg.Bridges[0].Rules = bridge.Rules{{Pattern: "actuator/#", QoS: 1, RemotePrefix: prefix, OwnPrefix: true},
			{Pattern: "mote/#", QoS: 1, RemotePrefix: "moved/", OwnPrefix: true}}
		w.start()
		time.Sleep(time.Minute)
		if !w.holds(prefix + "actuator/pump/state") {
			t.Fatal("deleted while the link was down")
		}
		w.broker.Set(func(b *brokertest.Behaviour) { b.Refuse = 0 })
		w.until("the pump's is deleted", func() bool { return !w.holds(prefix + "actuator/pump/state") })
		w.until("that without a rule is deleted", func() bool { return !w.holds(prefix + "gateway/info") })
		for _, m := range w.sim.Motes() {
			mac := smartmesh.MAC(m).String()
			w.until("those of the motes have moved", func() bool {
				return !w.holds(prefix+"mote/"+mac+"/status") && w.holds("moved/mote/"+mac+"/status")
			})
		}
		for _, topic := range []string{"actuator/led/state", "actuator/other/state", "gateway/status"} {
			if !w.holds(prefix + topic) {
				t.Errorf("%s is gone", topic)
			}
		}
	})
}

// A mote that the manager does not know any more takes its retained topics with it, an hour later.
func TestRetainedTopicsOfAMote(t *testing.T) {
	inWorld(t, sim.Config{Motes: 1, Period: 10 * time.Second, Seed: 1}, func(w *world) {
		file := filepath.Join(w.cfg.StateDir, "retained", "cloud.json")
		gone, here := prefix+"mote/00-17-0d-00-00-00-00-01/status", prefix+"mote/"+smartmesh.MAC(w.sim.Motes()[0]).String()+"/status"
		w.broker.Send(gone, []byte("of a mote that was here last year"), 1, true)
		text := `{"version":1,"topics":{"` + gone + `":{"local":"mote/00-17-0d-00-00-00-00-01/status","state":true}}}`
		if err := replaceFile(file, []byte(text)); err != nil {
			t.Fatal(err)
		}
		w.start()
		w.until("the mote", func() bool { return w.holds(here) })
		time.Sleep(moteGrace - tidyPeriod/2)
		if !w.holds(gone) {
			t.Fatal("it might have come yet")
		}
		w.until("deleted", func() bool { return !w.holds(gone) })
		if !w.holds(here) {
			t.Error("the topic of a mote that is here is gone")
		}
		time.Sleep(time.Second) // until the ledger is written
		if data, _ := os.ReadFile(file); strings.Contains(string(data), gone) || !strings.Contains(string(data), here) {
			t.Errorf("the ledger is %s", data)
		}
	})
}

// What a rule says of the retain flag holds in both directions; a message that came in over a
// bridge goes out over others and never over the same one.
func TestRetainPolicy(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		w.cfg.Bridges[0].Rules = bridge.Rules{
			{Pattern: "actuator/led/state", QoS: 1, RemotePrefix: prefix, Retain: bridge.Strip},
			{Pattern: "mote/+/temperature", QoS: 1, RemotePrefix: prefix, Retain: bridge.Force},
			{Pattern: "x/#", Direction: bridge.Both, QoS: 1, RemotePrefix: prefix, Retain: bridge.Force},
		}
		w.cfg.Bridges = append(w.cfg.Bridges, config.Bridge{Name: "other", URLs: []string{"mqtt://broker:1884"}, ClientID: "meshgate-other",
			Keepalive: 30 * time.Second, Prefix: "o/", Rules: bridge.Rules{{Pattern: "x/#", QoS: 1, RemotePrefix: "o/"}}})
		w.start()
		temperature := prefix + "mote/" + smartmesh.MAC(w.sim.Motes()[0]).String() + "/temperature"
		w.until("a reading that is retained", func() bool { return w.holds(temperature) })
		w.until("the state", w.has("actuator/led/state", "off"))
		if w.holds(prefix + "actuator/led/state") {
			t.Error("what is stripped is retained")
		}
		w.send("x/1", "hello", false)
		w.until("over the other bridge, forced", func() bool { return w.holds("o/x/1") })
		time.Sleep(time.Minute)
		if got := w.published("x/1"); len(got) != 0 {
			t.Errorf("it went back over the bridge it came from: %q", got)
		}
	})
}

// TestOwnStatesComeFromNobodyElse: a rule in both directions brings in what the broker has on the topics of the gateway's own
// states, from before a restart for instance; they stay what the gateway says, here and on other bridges.
func TestOwnStatesComeFromNobodyElse(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		w.cfg.Bridges[0].Rules = bridge.Rules{{Pattern: "#", Direction: bridge.Both, QoS: 1, RemotePrefix: prefix, OwnPrefix: true}}
		w.cfg.Bridges = append(w.cfg.Bridges, config.Bridge{Name: "other", URLs: []string{"mqtt://broker:1884"}, ClientID: "meshgate-other",
			Keepalive: 30 * time.Second, Prefix: "other/", Rules: bridge.Rules{{Pattern: "#", QoS: 1, RemotePrefix: "other/", OwnPrefix: true}}})
		w.start()
		status := "mote/" + w.mac(0) + "/status"
		w.until("the states", func() bool { return w.holds("other/"+status) && w.holds(prefix+"actuator/led/state") })
		for _, topic := range []string{"actuator/led/state", status, "gateway/info", "lamp/1/state"} {
			w.send(topic, "forged", true)
		}
		var forged []string
		w.until("what is on another topic", func() bool {
			forged = nil
			for _, p := range w.broker.Published() {
				if topic, ok := strings.CutPrefix(p.Topic, "other/"); ok && string(p.Payload) == "forged" {
					forged = append(forged, topic)
				}
			}
			return slices.Contains(forged, "lamp/1/state")
		})
		if len(forged) != 1 {
			t.Errorf("forged states came in: %v", forged)
		}
	})
}

// A backlog does not put an old value over a newer one that the broker retains.
func TestBacklogAndRetained(t *testing.T) {
	var n newest
	broker := brokertest.New()
	defer broker.Close()
	s, err := bridge.Connect(t.Context(), bridge.Config{URL: "mqtt://b:1883", ClientID: "c", Dial: broker.Dial}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(t.Context())
	for _, seq := range []uint64{7, 5, 7, 8, 6} {
		m := bridge.Message{Topic: "a", Payload: []byte{'0' + byte(seq)}, QoS: 1, Retain: true}
		r, err := n.publish(m, seq, func(m bridge.Message) (bridge.Receipt, error) { return s.Publish(t.Context(), m) })
		if err != nil {
			t.Fatal(err)
		}
		<-r.Done()
	}
	if p, _ := broker.Retained("a"); string(p.Payload) != "8" {
		t.Errorf("%s is retained", p.Payload)
	}
	if got := len(broker.Published()); got != 5 {
		t.Errorf("%d published", got)
	}
}

// A ledger that is damaged is set aside, and the disk is touched for what is new only.
func TestLedger(t *testing.T) {
	file := filepath.Join(t.TempDir(), "retained", "cloud.json")
	log := slog.New(slog.DiscardHandler)
	l := openLedger(file, log)
	l.note(map[string]origin{"p/a": {"a", true}})
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	l.note(map[string]origin{"p/a": {"a", true}})
	l.forget([]string{"p/b"})
	if _, err := os.Stat(file); err == nil {
		t.Error("written without a change")
	}
	l.note(map[string]origin{"p/b": {"b", false}})
	again := openLedger(file, log)
	if got := again.stale(func(remote string, o origin) bool { return remote == "p/a" && o == origin{"a", true} }); len(got) != 1 || got[0] != "p/b" {
		t.Errorf("stale: %q", got)
	}
	again.forget([]string{"p/b"})
	if got := openLedger(file, log).stale(func(string, origin) bool { return false }); len(got) != 1 {
		t.Errorf("left: %q", got)
	}
	os.WriteFile(file, []byte("{"), 0o600)
	if got := openLedger(file, log).stale(func(string, origin) bool { return false }); len(got) != 0 {
		t.Errorf("out of a damaged file: %q", got)
	}
	if _, err := os.Stat(file + ".bad"); err != nil {
		t.Error(err)
	}
}

// A disk that is full, and one that cannot be read, cost a ledger nothing of what it had: it is written when there is room,
// read when it can be, and tells each trouble once.
func TestLedgerAndTheDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log journal
		file := filepath.Join(t.TempDir(), "retained", "cloud.json")
		open := func() *ledger { return openLedger(file, slog.New(slog.NewTextHandler(&log, nil))) }
		has := func(l *ledger) string {
			return strings.Join(l.stale(func(string, origin) bool { return false }), " ")
		}
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		l := open()
		l.note(map[string]origin{"p/a": {"a", true}})

		must(os.Symlink("/dev/full", file+".new"))
		l.note(map[string]origin{"p/b": {"b", true}})
		time.Sleep(time.Minute)
		l.note(nil)
		if got := has(open()); got != "p/a" {
			t.Fatalf("with the disk full: %s", got)
		}
		must(os.Remove(file + ".new"))
		time.Sleep(ledgerPause)
		if has(l); has(open()) != "p/a p/b" {
			t.Fatalf("with room again: %s", has(open()))
		}

		must(os.Rename(file, file+".away"))
		must(os.Mkdir(file, 0o700)) // a file that gives an error when it is read
		must(os.WriteFile(filepath.Join(file, "x"), nil, 0o600))
		l = open()
		l.note(map[string]origin{"p/c": {"c", true}})
		time.Sleep(time.Minute)
		l.forget([]string{"p/c"})
		l.note(map[string]origin{"p/d": {"d", true}})
		must(os.RemoveAll(file))
		must(os.Rename(file+".away", file))
		time.Sleep(ledgerPause)
		if has(l); has(l) != "p/a p/b p/d" || has(open()) != "p/a p/b p/d" {
			t.Errorf("read again: %s, %s", has(l), has(open()))
		}
		if n := strings.Count(log.String(), "level=WARN"); n != 2 {
			t.Errorf("told %d times:\n%s", n, &log)
		}
	})
}
