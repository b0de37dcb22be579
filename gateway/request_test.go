package gateway

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/meshgate/meshgate/bridge"
	"github.com/meshgate/meshgate/smartmesh"
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

// TestSubscribeTakesNothing: whoever subscribes on the gateway's session, it goes on getting its readings, and
// acknowledges them.
func TestSubscribeTakesNothing(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		w.withRequests()
		w.start()
		w.until("readings", func() bool { return w.readings() >= 2 })
		for i, fields := range []string{`{"filter":0,"unackFilter":0}`, `{"filter":16,"unackFilter":16}`, `{"filter":"0xff","unackFilter":255}`} {
			a := w.request("manager/main", fmt.Sprint("s", i), `"command":"subscribe","fields":`+fields)
			before := w.readings()
			w.until("readings", func() bool { return w.readings() >= before+4 })
			if !a.OK || a.Fields["RC"] != 0.0 {
				t.Errorf("%s: %+v", fields, a)
			}
		}
		if a := w.request("manager/main", "bad", `"command":"subscribe","fields":{"filter":0}`); a.Stage != "refused" {
			t.Errorf("without a field: %+v", a)
		}
		if st := w.sim.Stats(); st.Unreliable > 0 || st.Sessions != 1 || len(st.Violations) > 0 {
			t.Errorf("%d unacknowledged, %d sessions, violations %v", st.Unreliable, st.Sessions, st.Violations)
		}
	})
}
