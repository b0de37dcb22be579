package gateway

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meshgate/meshgate/bridge"
	"github.com/meshgate/meshgate/smartmesh"
	"github.com/meshgate/meshgate/smartmesh/oap"
	"github.com/meshgate/meshgate/smartmesh/sim"
)

// withRequests lets the broker ask motes and the manager, as somebody may configure it.
func (w *world) withRequests() {
	for _, r := range []bridge.Rule{{Pattern: "mote/+/oap/request", Direction: bridge.In}, {Pattern: "mote/+/oap/result", Direction: bridge.Out},
		{Pattern: "manager/+/request", Direction: bridge.In}, {Pattern: "manager/+/result", Direction: bridge.Out}} {
		r.QoS, r.RemotePrefix = 1, prefix
		w.cfg.Bridges[0].Rules = append(w.cfg.Bridges[0].Rules, r)
	}
}

// answer is what a result topic says.
type answer struct {
	ID      string
	OK      bool
	Stage   string
	Error   string
	Reached string
	Fields  map[string]any
}

// request publishes a request and waits for its result.
func (w *world) request(target, id, body string) answer {
	w.t.Helper()
	w.send(target+"/request", fmt.Sprintf(`{"id":%q,%s}`, id, body), false)
	w.until("result "+id, w.has(target+"/result", fmt.Sprintf(`"id":%q`, id)))
	return w.result(target, id)
}

func (w *world) result(target, id string) answer {
	for _, p := range w.published(target + "/result") {
		var a answer
		if json.Unmarshal([]byte(p), &a) == nil && a.ID == id {
			return a
		}
	}
	return answer{}
}

// another gives a value for a field that is not its default.
func another(f oap.Field) string {
	switch {
	case f.Name == "destAddr":
		return `"ff020000000000000000000000000002"` // elsewhere nobody would hear the mote any more
	case f.Name == "destPort":
		return "61625"
	case f.Name == "rate":
		return "5000"
	}
	return "1"
}

// TestEveryResource reads and sets everything that motes have, one field after the other.
func TestEveryResource(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		w.withRequests()
		w.start()
		w.until("readings", func() bool { return len(w.published("mote/+/temperature")) >= 2 })
		target := "mote/" + smartmesh.MAC(w.sim.Motes()[0]).String() + "/oap"
		n := 0
		ask := func(method, address, fields string) answer {
			n++
			return w.request(target, fmt.Sprint(n), fmt.Sprintf(`"method":%q,"address":%q,"fields":{%s}`, method, address, fields))
		}
		for _, r := range oap.Resources() {
			readable := false
			for _, f := range r.Fields {
				readable = readable || f.Access != oap.WriteOnly
				if f.Access == oap.ReadOnly {
					if a := ask("put", r.Name, `"`+f.Name+`":1`); a.Stage != "refused" || !strings.Contains(a.Error, "read only") {
						t.Errorf("put %s %s: %+v", r.Name, f.Name, a)
					}
					continue
				}
				if a := ask("put", r.Name, fmt.Sprintf("%q:%s", f.Name, another(f))); !a.OK || a.Stage != "confirmed" {
					t.Errorf("put %s %s: %+v", r.Name, f.Name, a)
				}
			}
			a := ask("get", r.Name, "")
			if !readable {
				if a.Stage != "failed" || a.Reached != "answered" || !strings.Contains(a.Error, "WR_ONLY") {
					t.Errorf("get %s: %+v", r.Name, a)
				}
				continue
			}
			for _, f := range r.Fields {
				got, there := a.Fields[f.Name]
				if want := another(f); f.Access != oap.WriteOnly && !there ||
					f.Access == oap.ReadWrite && strings.Trim(want, `"`) != fmt.Sprint(got) {
					t.Errorf("get %s %s: %v in %+v, want %s", r.Name, f.Name, got, a, want)
				}
			}
		}
		if a := ask("get", "9/9", ""); a.Reached != "answered" || !strings.Contains(a.Error, "NOT_FOUND") {
			t.Errorf("a resource that is not there: %+v", a)
		}
		if a := ask("post", "info", ""); a.Stage != "refused" {
			t.Errorf("a method that is none: %+v", a)
		}
	})
}

// TestRequestStages: a failure tells how far the request came.
func TestRequestStages(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		w.withRequests()
		w.start()
		w.until("readings", func() bool { return len(w.published("mote/+/temperature")) >= 2 })
		macs := w.sim.Motes()
		target := "mote/" + smartmesh.MAC(macs[0]).String() + "/oap"
		const get = `"method":"get","address":"info"`
		tests := []struct {
			faults          sim.Faults
			ok              bool
			reached, error  string
			atLeast, atMost time.Duration
		}{
			{sim.Faults{}, true, "", "", 0, time.Second},
			{sim.Faults{OAPLost: 1}, false, "sent", "did not answer (sent", 30 * time.Second, 32 * time.Second},
			{sim.Faults{OAPWrong: 1}, false, "sent", "did not answer", 30 * time.Second, 32 * time.Second},
			{sim.Faults{Nack: 1}, false, "", "queue stays full", 10 * time.Second, 12 * time.Second},
			{sim.Faults{OAPDelay: 8 * time.Second}, true, "", "", 8 * time.Second, 9 * time.Second},
			{sim.Faults{LostResponse: 0.3, LostAck: 0.3, Duplicate: 0.3}, true, "", "", 0, 10 * time.Second},
		}
		for i, tt := range tests {
			w.sim.SetFaults(tt.faults)
			began := time.Now()
			a := w.request(target, fmt.Sprint("s", i), get)
			took := time.Since(began)
			if a.OK != tt.ok || a.Reached != tt.reached || !strings.Contains(a.Error, tt.error) || took < tt.atLeast || took > tt.atMost {
				t.Errorf("%+v: %+v after %v", tt.faults, a, took)
			}
		}
		w.sim.SetFaults(sim.Faults{Nack: 0.5, OAPLost: 0.5})
		good := 0
		for i := range 20 {
			if w.request(target, fmt.Sprint("n", i), get).OK {
				good++
			}
		}
		if good < 12 { // one in eight is lost three times
			t.Errorf("with half of everything lost, %d of 20 came through", good)
		}
		w.sim.SetFaults(sim.Faults{})
		w.sim.LoseMote(macs[0])
		if a := w.request(target, "gone", get); a.Stage != "failed" || a.Reached != "" || !strings.Contains(a.Error, "not in the network") {
			t.Errorf("a mote that has left: %+v", a)
		}
	})
}

// TestUntilWhileItWaits: a command whose time passes while another of the mote is at work is not
// carried out.
func TestUntilWhileItWaits(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		w.withRequests()
		w.start()
		w.until("readings", func() bool { return len(w.published("mote/+/temperature")) >= 2 })
		mac := smartmesh.MAC(w.sim.Motes()[0])
		w.sim.SetFaults(sim.Faults{OAPLost: 1})
		w.send("mote/"+mac.String()+"/oap/request", `{"id":"slow","method":"get","address":"info"}`, false)
		time.Sleep(time.Second)
		w.sim.SetFaults(sim.Faults{OAPDelay: 5 * time.Second})
		w.send("mote/"+mac.String()+"/led/set", fmt.Sprintf(`{"id":"late","state":"on","until":%q}`, stamp(time.Now().Add(2*time.Second))), false)
		w.until("expired", w.has("mote/+/led/result", `"late"`, `"expired"`))
		time.Sleep(time.Minute)
		if w.sim.LED(mac) {
			t.Error("it was carried out")
		}
	})
}

// TestBroadcastLED: all LEDs at once, and back after the time that was asked for.
func TestBroadcastLED(t *testing.T) {
	inWorld(t, sim.Config{Motes: 5, Period: 10 * time.Second, Seed: 1}, func(w *world) {
		w.start()
		w.until("readings", func() bool { return len(w.published("mote/+/temperature")) >= 10 })
		lit := func() (n int) {
			for _, mac := range w.sim.Motes() {
				if w.sim.LED(mac) {
					n++
				}
			}
			return n
		}
		const all = "mote/ff-ff-ff-ff-ff-ff-ff-ff/led"
		states := func(state string) int {
			n := 0
			for _, mac := range w.sim.Motes() {
				list := w.published("mote/" + smartmesh.MAC(mac).String() + "/led/state")
				if len(list) > 0 && strings.Contains(list[len(list)-1], `"state":"`+state+`"`) {
					n++
				}
			}
			return n
		}
		w.send(all+"/set", "toggle", false)
		w.until("refused", w.has(all+"/result", `"refused"`))
		w.send(all+"/set", `{"id":"1","state":"on","for":"1m"}`, false)
		w.until("result", w.has(all+"/result", `"id":"1"`, `"applied"`))
		w.until("all confirmed", func() bool { return states("on") == 5 })
		if lit() != 5 {
			t.Errorf("%d are lit", lit())
		}
		w.until("all off again", func() bool { return states("off") == 5 })
		if lit() != 0 {
			t.Errorf("%d are lit", lit())
		}
		w.sim.SetFaults(sim.Faults{OAPLost: 1})
		w.send(all+"/set", `{"id":"2","state":"on"}`, false)
		w.until("result", w.has(all+"/result", `"id":"2"`, `"applied"`))
		time.Sleep(time.Second)
		if lit() != 5 || states("unknown") != 5 {
			t.Errorf("%d are lit, %d are shown as unknown", lit(), states("unknown"))
		}
		if w.has("mote/+/data/61625", "{")() {
			t.Errorf("answers were passed on as data: %q", w.published("mote/+/data/61625"))
		}
	})
}

// TestLEDByOAP: an LED that is set as a resource is shown as well.
func TestLEDByOAP(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		w.withRequests()
		w.start()
		w.until("readings", func() bool { return len(w.published("mote/+/temperature")) >= 2 })
		mac := smartmesh.MAC(w.sim.Motes()[0]).String()
		w.request("mote/"+mac+"/oap", "1", `"method":"put","address":"digital_out/INDICATOR_0","fields":{"value":1}`)
		w.until("shown", w.has("mote/"+mac+"/led/state", `"on"`))
	})
}

// TestRateIsKept: a rate that somebody changes, and one that was lost while nobody looked, is set
// again, as is that of a mote that joins again.
func TestRateIsKept(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		w.withRequests()
		w.cfg.Managers[0].Temperature = 3 * time.Second
		w.start()
		mac := smartmesh.MAC(w.sim.Motes()[0])
		target := "mote/" + mac.String() + "/oap"
		n := 0
		rate := func() string {
			n++
			a := w.request(target, fmt.Sprint("get", n), `"method":"get","address":"temperature"`)
			return fmt.Sprint(a.Fields["enable"], " ", a.Fields["rate"])
		}
		is := func(what string, within time.Duration) {
			t.Helper()
			for began := time.Now(); rate() != "1 3000"; time.Sleep(time.Second) {
				if time.Since(began) > within {
					t.Fatalf("%s: after %v it is %s", what, within, rate())
				}
			}
		}
		time.Sleep(5 * time.Second)
		is("joined", 10*time.Second)
		w.request(target, "faster", `"method":"put","address":"temperature","fields":{"rate":1000}`)
		is("changed by somebody", 10*time.Second)
		w.request(target, "off", `"method":"put","address":"temperature","fields":{"enable":0}`)
		is("switched off by somebody", 11*time.Minute)
		w.sim.RestartMote(mac)
		time.Sleep(time.Second)
		is("joined again", 10*time.Second)
		w.end1()
		w.sim.RestartMote(mac) // while nobody listens
		time.Sleep(time.Minute)
		w.start()
		w.until("online", func() bool { return strings.Count(w.log.String(), "connected") >= 4 })
		is("after a start", 10*time.Second)
	})
}

// TestManagerRequests: dangerous commands and those with secrets are refused over MQTT unless they
// are allowed, and a secret is neither published nor logged even then.
func TestManagerRequests(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		w.withRequests()
		w.start()
		w.until("readings", func() bool { return len(w.published("mote/+/temperature")) >= 2 })
		for i, c := range smartmesh.Commands() {
			if !c.Dangerous && !c.Secret {
				continue
			}
			a := w.request("manager/main", fmt.Sprint("d", i), fmt.Sprintf(`"command":%q`, c.Name))
			if a.Stage != "refused" || !strings.Contains(a.Error, "allow") {
				t.Errorf("%s: %+v", c.Name, a)
			}
		}
		if n := w.sim.Stats().NViolations; n != 0 {
			t.Errorf("%d violations", n)
		}
		for i, tt := range []struct{ body, stage, error string }{
			{`"command":"getNetworkInfo"`, "confirmed", ""},
			{`"command":"getnetworkinfo"`, "refused", "did you mean getNetworkInfo"},
			{`"command":"getMoteInfo","fields":{"macAdress":"x"}`, "refused", `unknown field "macAdress"`},
			{`"command":"getMoteInfo","fields":{"macAddress":"0000000000000009"}`, "failed", "RC_NOT_FOUND"},
		} {
			a := w.request("manager/main", fmt.Sprint("r", i), tt.body)
			if a.Stage != tt.stage || !strings.Contains(a.Error, tt.error) {
				t.Errorf("%s: %+v", tt.body, a)
			}
		}
	})
}

// TestSecretsStayInside: a join key is neither published nor logged, not even at debug level and
// where the command is allowed, and also when it is written wrongly.
func TestSecretsStayInside(t *testing.T) {
	const key = "00112233445566778899aabbccddeeff"
	inWorld(t, twoMotes, func(w *world) {
		w.withRequests()
		w.level = slog.LevelDebug
		w.cfg.Managers[0].Allow = []string{"setACLEntry", "getNextACLEntry", "setCommonJoinKey"}
		w.start()
		w.until("readings", func() bool { return len(w.published("mote/+/temperature")) >= 2 })
		mac := fmt.Sprintf("%x", w.sim.Motes()[0])
		for i, tt := range []struct{ body, stage string }{
			{`"command":"setACLEntry","fields":{"macAddress":"` + mac + `","joinKey":"` + key + `"}`, "confirmed"},
			{`"command":"getNextACLEntry","fields":{"macAddress":"0000000000000000"}`, "confirmed"},
			{`"command":"setCommonJoinKey","fields":{"key":"` + key + `00"}`, "refused"},
			{`"command":"exchangeMoteJoinKey","fields":{"macAddress":"` + mac + `","key":"` + key + `"}`, "refused"},
		} {
			a := w.request("manager/main", fmt.Sprint(i), tt.body)
			if a.Stage != tt.stage || a.Fields["joinKey"] != nil && a.Fields["joinKey"] != "(secret)" {
				t.Errorf("%s: %+v", tt.body, a)
			}
		}
		if strings.Contains(w.log.String(), key) {
			t.Error("it is in the log")
		}
		for _, p := range w.broker.Published() {
			if strings.Contains(string(p.Payload), key) {
				t.Errorf("it was published: %s %s", p.Topic, p.Payload)
			}
		}
	})
}

// TestEveryCommand: the whole API is reached by request topics, by the one table.
func TestEveryCommand(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		w.withRequests()
		for _, c := range smartmesh.Commands() {
			w.cfg.Managers[0].Allow = append(w.cfg.Managers[0].Allow, c.Name)
		}
		w.start()
		w.until("readings", func() bool { return len(w.published("mote/+/temperature")) >= 2 })
		confirmed := 0
		for i, c := range smartmesh.Commands() {
			fields := map[string]any{}
			for _, f := range c.Request {
				switch {
				case f.Optional || f.Type == "array" || strings.Contains(f.Name, "_"): // of a list, which is empty
				case f.Name == "macAddress" || f.Name == "source":
					fields[f.Name] = smartmesh.MAC(w.sim.Motes()[0])
				case f.Enum != nil:
					fields[f.Name] = f.Enum[0].Value
				case f.Type == "bool":
					fields[f.Name] = true
				case f.Type == "bytes" || f.Type == "rest":
					fields[f.Name] = strings.Repeat("00", f.Size)
				default:
					fields[f.Name] = 1
				}
			}
			a := w.request("manager/main", fmt.Sprint("c", i), fmt.Sprintf(`"command":%q,"fields":%s`, c.Name, jsonObject(fields)))
			switch {
			case a.OK && a.Fields["RC"] == 0.0:
				confirmed++
			case a.Stage != "failed" || !strings.Contains(a.Error, "RC_") && !strings.Contains(a.Error, "outcome unknown"):
				t.Errorf("%s %s: %+v", c.Name, jsonObject(fields), a)
			}
			time.Sleep(time.Minute) // some restart the manager
		}
		if confirmed < 30 {
			t.Errorf("%d commands were confirmed", confirmed)
		}
		t.Logf("%d of %d confirmed, the others refused by the manager", confirmed, len(smartmesh.Commands()))
	})
}

// TestNarrow: a mote that answers two bytes of sampleCount with TOO_MANY_BYTES is sent one. The
// simulated one wants two, so that its complaint tells what it was sent.
func TestNarrow(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		w.withRequests()
		w.start()
		w.until("readings", func() bool { return len(w.published("mote/+/temperature")) >= 2 })
		mac := smartmesh.MAC(w.sim.Motes()[0])
		target := "mote/" + mac.String() + "/oap"
		w.send(target+"/request", `{"id":"1","method":"put","address":"digital_in/D0","fields":{"sampleCount":2}}`, false)
		time.Sleep(20 * time.Millisecond)
		complaint := append(append([]byte{4, 12: 0}, mac[:]...), 0xf0, 0xb9, 0xf0, 0xb9, 0x03, 0x01, 0x02, 10, 0xff, 2, 2, 0)
		if !w.sim.Inject(complaint) {
			t.Fatal("nobody has subscribed")
		}
		w.until("result", w.has(target+"/result", `"id":"1"`))
		if a := w.result(target, "1"); a.Reached != "answered" || !strings.Contains(a.Error, "FEWER_BYTES") {
			t.Errorf("got %+v", a)
		}
	})
}

// TestDepartures: the event may come before the response that names it, and says whether it went.
func TestDepartures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDepartures()
		got := func(ch <-chan byte) string {
			select {
			case code := <-ch:
				return fmt.Sprint(code)
			default:
				return "nothing"
			}
		}
		d.left(1, 7)
		early, _ := d.of(1)
		again, forget := d.of(1) // the event has been used up
		late, _ := d.of(2)
		d.left(2, 0)
		forget()
		d.left(1, 9)
		if got(early) != "7" || got(late) != "0" || got(again) != "nothing" {
			t.Error("events went astray")
		}
		d.left(3, 5)
		time.Sleep(keepEarly) // an event of before the manager started over
		if old, _ := d.of(3); got(old) != "nothing" {
			t.Error("an old event was taken for a new one")
		}
		for h := range uint32(1000) {
			d.left(h+10, 0)
		}
		time.Sleep(keepEarly)
		if d.left(4, 0); len(d.early) != 1 {
			t.Errorf("%d events are kept that nobody wants", len(d.early))
		}
	})
}
