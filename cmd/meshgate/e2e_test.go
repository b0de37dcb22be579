package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/meshgate/meshgate/gateway/control"
	"github.com/meshgate/meshgate/smartmesh/sim"
)

// reading is a temperature as it reached the broker.
type reading struct {
	Time        time.Time
	Value       float64
	Unit        string
	Seq         uint64
	TimeQuality string `json:"time_quality"`
	Manager     string
	Historical  bool
	mac         string
}

func (r reading) number() int { return int(math.Round(r.Value * 100)) }

// readings picks the temperatures out of what a subscriber has printed.
func readings(t *testing.T, out []string) []reading {
	t.Helper()
	var all []reading
	for _, line := range out {
		_, rest, _ := strings.Cut(line, " ")
		topic, payload, _ := strings.Cut(rest, " ")
		parts := strings.Split(topic, "/")
		if len(parts) != 5 || parts[2] != "mote" || parts[4] != "temperature" {
			continue
		}
		r := reading{mac: parts[3]}
		if err := json.Unmarshal([]byte(payload), &r); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		all = append(all, r)
	}
	return all
}

// acknowledged are the numbered samples that the manager has got its acknowledgement for, as
// "MAC NUMBER". The layout is notifData with an OAP sample of one value (oap.md, section 5).
func acknowledged(m *sim.Manager) []string {
	var all []string
	for _, p := range m.Acked() {
		if len(p) != 52 || p[0] != 4 {
			continue
		}
		mac, n := p[13:21], int(p[50])<<8|int(p[51])
		text := hex.EncodeToString(mac)
		var parts []string
		for i := 0; i < len(text); i += 2 {
			parts = append(parts, text[i:i+2])
		}
		all = append(all, fmt.Sprintf("%s %d", strings.Join(parts, "-"), n))
	}
	return all
}

// missing names the first acknowledged reading that the broker does not have.
func missing(t *testing.T, m *sim.Manager, out []string) string {
	have := map[string]bool{}
	for _, r := range readings(t, out) {
		have[fmt.Sprintf("%s %d", r.mac, r.number())] = true
	}
	for _, a := range acknowledged(m) {
		if !have[a] {
			return a
		}
	}
	return ""
}

// TestBrokerRestarts stops Mosquitto while readings flow and starts it again.
func TestBrokerRestarts(t *testing.T) {
	m, port := simulated(t, sim.Config{Motes: 10, Period: time.Second, Seed: 3, Numbered: true, KeepAcked: 1 << 16})
	broker := freePort(t)
	keep := []string{"user root", "persistence true", "persistence_location " + t.TempDir() + "/", "max_queued_messages 0"}
	first := mosquitto(t, broker, keep...)
	sub := subscriber(t, broker, "meshgate/t1/#", "-c", "-i", "keeper")
	file, socket := site(t, port, broker, "")
	gatewayProcess(t, "run", "--config", file)
	sub.out.await(t, "20 readings", func(all []string) bool { return len(readings(t, all)) >= 20 })
	first.signal(syscall.SIGTERM)
	before := len(acknowledged(m))
	awaitStatus(t, socket, func(s control.Status) bool { return s.Spool.Records >= 30 })
	if s := statusOf(t, socket); s.OK {
		t.Error("status is ok with the broker away")
	}
	mosquitto(t, broker, keep...)
	sub.out.await(t, "what came meanwhile", func(all []string) bool {
		return len(acknowledged(m)) >= before+30 && missing(t, m, all) == ""
	})
	awaitStatus(t, socket, func(s control.Status) bool { return s.OK })
}

// statusOf asks a running gateway; it may not be there yet.
func statusOf(t testing.TB, socket string) control.Status {
	t.Helper()
	var s control.Status
	control.NewClient(socket).Get(t.Context(), "status", &s)
	return s
}

// awaitStatus asks until ok accepts the answer.
func awaitStatus(t testing.TB, socket string, ok func(control.Status) bool) control.Status {
	t.Helper()
	tick, limit := time.NewTicker(50*time.Millisecond), time.After(patience)
	defer tick.Stop()
	for {
		s := statusOf(t, socket)
		if ok(s) {
			return s
		}
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("the status stays %+v", s)
		}
	}
}

// TestPTY is the quick start without hardware: simulate on a pty, the gateway on its other end;
// the simulator goes away and comes back.
func TestPTY(t *testing.T) {
	link := filepath.Join(t.TempDir(), "manager")
	broker := freePort(t)
	mosquitto(t, broker)
	sub := subscriber(t, broker, "meshgate/t1/#")
	simulator := gatewayProcess(t, "simulate", "--pty", link, "--motes", "3", "--period", "1s")
	simulator.out.awaitLine(t, "simulated manager is at")
	file, socket := site(t, link, broker, "")
	gateway := gatewayProcess(t, "run", "--config", file)
	sub.out.await(t, "5 readings", func(all []string) bool { return len(readings(t, all)) >= 5 })
	r := readings(t, sub.out.list())[0]
	if r.Unit != "C" || r.Manager != "main" || r.TimeQuality != "synced" || r.Seq == 0 || time.Since(r.Time).Abs() > time.Minute {
		t.Errorf("reading %+v", r)
	}
	simulator.kill()
	sub.out.awaitLine(t, "manager/main/status", "disconnected", "error")
	again := gatewayProcess(t, "simulate", "--pty", link, "--motes", "3", "--period", "1s")
	again.out.awaitLine(t, "simulated manager is at")
	n := len(readings(t, sub.out.list()))
	sub.out.await(t, "readings of the new simulator", func(all []string) bool { return len(readings(t, all)) >= n+5 })
	awaitStatus(t, socket, func(s control.Status) bool { return s.OK })
	began := time.Now()
	gateway.cmd.Process.Signal(syscall.SIGTERM) // twice, as timeout(1) does
	time.AfterFunc(time.Millisecond, func() { gateway.cmd.Process.Signal(syscall.SIGTERM) })
	if err := gateway.signal(syscall.SIGTERM); err != nil || time.Since(began) > 5*time.Second {
		t.Errorf("SIGTERM: %v after %v", err, time.Since(began))
	}
	sub.out.awaitLine(t, "gateway/status", `"state":"offline","reason":"stopped"`)
}

// TestCommands switches the gateway's LED and a mote's from the broker.
func TestCommands(t *testing.T) {
	m, port := simulated(t, sim.Config{Motes: 2, Period: time.Second, Seed: 3})
	broker := freePort(t)
	mosquitto(t, broker)
	pub(t, broker, "meshgate/t1/actuator/led/set", "on", "-r") // from long ago
	sub := subscriber(t, broker, "meshgate/t1/#")
	file, socket := site(t, port, broker, "")
	gatewayProcess(t, "run", "--config", file)
	sub.out.awaitLine(t, "gateway/status", `"online","reason":"started"`)
	sub.out.awaitLine(t, "actuator/led/result", `"stage":"refused"`, "retained")
	awaitStatus(t, socket, func(s control.Status) bool { return s.OK })
	sub.out.await(t, "readings", func(all []string) bool { return len(readings(t, all)) >= 2 })

	pub(t, broker, "meshgate/t1/actuator/led/set", `{"state":"on","id":"a1","for":"1s"}`)
	sub.out.awaitLine(t, "actuator/led/result", `"id":"a1"`, `"ok":true`, `"stage":"applied"`)
	sub.out.awaitLine(t, "0 meshgate/t1/actuator/led/state", `"state":"on"`)
	sub.out.await(t, "off again", func(all []string) bool {
		on := false
		for _, line := range all {
			if strings.Contains(line, "actuator/led/state") {
				if on && strings.Contains(line, `"off"`) {
					return true
				}
				on = on || strings.Contains(line, `"on"`)
			}
		}
		return false
	})
	for payload, want := range map[string]string{
		`{"state":"dim","id":"b1"}`:                               "is no state",
		`{"state":"on","id":"b2","until":"2020-01-01T00:00:00Z"}`: "has passed",
		strings.Repeat("x", 1<<20):                                "longer than",
	} {
		pub(t, broker, "meshgate/t1/actuator/led/set", payload)
		sub.out.awaitLine(t, "actuator/led/result", want, `"ok":false`)
	}
	pub(t, broker, "meshgate/t1/actuator/pump/set", "on")
	sub.out.awaitLine(t, "actuator/pump/result", `"stage":"refused"`)

	mac := m.Motes()[0]
	name := readings(t, sub.out.list())[0].mac
	for _, r := range readings(t, sub.out.list()) {
		if strings.ReplaceAll(r.mac, "-", "") == hex.EncodeToString(mac[:]) {
			name = r.mac
		}
	}
	pub(t, broker, "meshgate/t1/mote/"+name+"/led/set", `{"state":"on","id":"c1"}`)
	sub.out.awaitLine(t, "mote/"+name+"/led/result", `"id":"c1"`, `"stage":"confirmed"`)
	sub.out.awaitLine(t, "mote/"+name+"/led/state", `"state":"on"`)
	if strings.ReplaceAll(name, "-", "") == hex.EncodeToString(mac[:]) && !m.LED(mac) {
		t.Error("confirmed, but the mote's LED is dark")
	}
	pub(t, broker, "meshgate/t1/mote/00-17-0d-00-00-00-00-00/led/set", "on")
	sub.out.awaitLine(t, "mote/00-17-0d-00-00-00-00-00/led/result", `"stage":"refused"`, "no mote")
}
