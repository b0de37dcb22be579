package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/meshgate/meshgate/bridge/brokertest"
	"github.com/meshgate/meshgate/gpio"
	"github.com/meshgate/meshgate/smartmesh"
)

// last gives the last payload on a topic, "" when there is none.
func (w *world) last(topic string) string {
	all := w.published(topic)
	if len(all) == 0 {
		return ""
	}
	return all[len(all)-1]
}

func (w *world) lastHas(topic string, words ...string) func() bool {
	return func() bool { return contains(w.last(topic), words) }
}

// TestLadder: each rung has its time, in order.
func TestLadder(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		w.start()
		w.until("motes", func() bool { return len(w.published("mote/+/temperature")) >= 2 })
		mac := "mote/" + w.mac(0)
		for topic, stage := range map[string]string{"actuator/led": "applied", mac + "/led": "confirmed"} {
			w.send(topic+"/set", `{"state":"on","id":"1"}`, false)
			w.until(stage, w.has(topic+"/result", `"id":"1"`))
			var r map[string]any
			if err := json.Unmarshal([]byte(w.last(topic+"/result")), &r); err != nil {
				t.Fatal(err)
			}
			var at []time.Time
			for _, rung := range []string{"accepted", stage, "time"} {
				when, err := time.Parse(time.RFC3339, fmt.Sprint(r[rung]))
				if err != nil || len(at) > 0 && when.Before(at[len(at)-1]) {
					t.Errorf("%s: %s is %v in %v", topic, rung, r[rung], r)
				}
				at = append(at, when)
			}
			if r["stage"] != stage || r["ok"] != true {
				t.Errorf("%v", r)
			}
		}
		w.send("actuator/led/set", `{"state":"on","id":"2","until":"1999-01-01T00:00:00Z"}`, false)
		w.until("expired", w.has("actuator/led/result", `"id":"2"`))
		if r := w.last("actuator/led/result"); strings.Contains(r, "accepted") {
			t.Errorf("never accepted: %s", r)
		}
		w.send(mac+"/led/set", `{"brightness":5,"id":"3"}`, false)
		w.until("a mote's LED does not dim", w.has(mac+"/led/result", `"id":"3"`, `"refused"`, "neither brightness"))
	})
}

func (w *world) mac(i int) string { return smartmesh.MAC(w.sim.Motes()[i]).String() }

func TestGroupsAndPatterns(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		w.cfg.Outputs = []gpio.Output{{Name: "a", Pin: "sim"}, {Name: "b", Pin: "sim", MinOff: time.Minute}, {Name: "lamp", Pin: "sim", Kind: "pwm"},
			{Name: "all", Group: []string{"a", "b"}}}
		w.start()
		w.until("states", w.has("actuator/all/state", `"off"`))
		w.send("actuator/all/set", `{"state":"on","id":"1"}`, false)
		w.until("half of it", w.has("actuator/all/result", `"id":"1"`, `"failed"`, "min_off"))
		w.until("the other half", w.lastHas("actuator/a/state", `"on"`))
		if !w.lastHas("actuator/all/state", `"off"`)() {
			t.Errorf("all %q", w.last("actuator/all/state"))
		}
		time.Sleep(time.Minute)
		w.send("actuator/all/set", "toggle", false) // not all are on: on
		w.until("all of it", w.lastHas("actuator/all/result", `"applied"`))
		w.until("group state", w.lastHas("actuator/all/state", `"on"`))
		w.send("actuator/all/set", "toggle", false)
		w.until("off", w.lastHas("actuator/all/state", `"off"`))
		w.send("actuator/b/set", `{"state":"on","id":"2"}`, false)
		w.until("refused", w.has("actuator/b/result", `"id":"2"`, `"refused"`, "min_off"))

		w.send("actuator/lamp/set", `{"brightness":40}`, false)
		w.until("dimmed", w.lastHas("actuator/lamp/state", `"brightness":40`, `"on"`))
		w.send("actuator/a/set", `{"brightness":40,"id":"3"}`, false)
		w.until("not dimmed", w.has("actuator/a/result", `"id":"3"`, `"refused"`, "no brightness"))
		n := len(w.published("actuator/a/state"))
		w.send("actuator/a/set", `{"state":"on","blink":["500ms","500ms"],"for":"4s"}`, false)
		time.Sleep(10 * time.Second)
		if got := len(w.published("actuator/a/state")) - n; got != 8 || !w.lastHas("actuator/a/state", `"off"`)() {
			t.Errorf("%d states of blinking: %q", got, w.published("actuator/a/state")[n:])
		}
	})
}

// TestFlood: ten thousand commands at once neither break the connection nor keep the last word from counting.
func TestFlood(t *testing.T) {
	t.Run("plain", func(t *testing.T) { flood(t, func(i int) string { return onOff(i%2 == 0) }) })
	t.Run("each with an id", func(t *testing.T) {
		flood(t, func(i int) string { return fmt.Sprintf(`{"state":%q,"id":%d}`, onOff(i%2 == 0), i) })
	})
}

func flood(t *testing.T, order func(i int) string) {
	inWorld(t, twoMotes, func(w *world) {
		w.start()
		w.until("online", w.has("gateway/status", "online"))
		for i := range 10000 {
			w.send("actuator/led/set", order(i), false)
		}
		w.send("actuator/led/set", `{"state":"on","id":"last"}`, false)
		w.until("the last word", w.has("actuator/led/result", `"id":"last"`, `"applied"`))
		if on, _ := w.pins.Level("led"); !on {
			t.Error("it is off")
		}
		time.Sleep(time.Minute)
		if n := len(w.published("actuator/led/result")); n != 10001 {
			t.Errorf("%d results", n)
		}
		if n := strings.Count(w.log.String(), "level=WARN"); n > 0 {
			t.Errorf("%d warnings:\n%s", n, &w.log)
		}
	})
}

// TestRepeatedCommand: the same id gets the same answer and switches nothing, now and by the next process.
func TestRepeatedCommand(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		w.start()
		w.until("online", w.has("gateway/status", "online"))
		const order = `{"state":"on","id":"7f"}`
		w.send("actuator/led/set", order, false)
		w.until("applied", w.has("actuator/led/result", `"7f"`, `"applied"`))
		first := w.last("actuator/led/result")
		w.send("actuator/led/set", `{"state":"off","id":"80"}`, false)
		w.until("off", w.has("actuator/led/result", `"80"`))
		time.Sleep(time.Second) // states go their own way
		answer := func(when, payload string, words ...string) {
			t.Helper()
			n := len(w.published("actuator/led/result"))
			w.send("actuator/led/set", payload, false)
			w.until(when, func() bool { return len(w.published("actuator/led/result")) > n })
			if got := w.last("actuator/led/result"); !contains(got, words) || !w.lastHas("actuator/led/state", `"off"`)() {
				t.Errorf("%s: %s, want %q; state %s", when, got, words, w.last("actuator/led/state"))
			}
		}
		applied := first[strings.Index(first, `"applied":`):][:len(`"applied":"2000-01-01T00:00:00.000Z"`)]
		answer("again", order, `"stage":"applied"`, `"repeated":true`, applied)
		answer("again, late", `{"state":"on","id":"7f","until":"1999-01-01T00:00:00Z"}`, `"stage":"applied"`, `"repeated":true`)
		answer("the id of another", `{"state":"toggle","id":"7f"}`, `"refused"`, "id of its own")
		answer("a long id", `{"state":"on","id":"`+strings.Repeat("x", 200)+`"}`, `"refused"`, "longer than")
		w.end1()
		w.start()
		w.until("online", w.has("actuator/led/state", "off"))
		time.Sleep(time.Minute)
		answer("after a restart", order, `"stage":"applied"`, `"repeated":true`, applied)
	})
}

// TestInterruptedCommand: the process died between the switching and the answer.
func TestInterruptedCommand(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		text := `{"target":"actuator/led","id":"9","order":"on","accepted":"2000-01-01T00:00:00Z"}` + "\nnonsense\n" +
			`{"target":"actuator/led","id":"10","order":"on"`
		if err := os.WriteFile(filepath.Join(w.cfg.StateDir, "commands.jsonl"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		w.start()
		w.until("online", w.has("gateway/status", "online"))
		w.send("actuator/led/set", `{"state":"on","id":"9"}`, false)
		w.until("answer", w.has("actuator/led/result", `"id":"9"`, `"failed"`, "not known"))
		if w.has("actuator/led/state", `"on"`)() {
			t.Error("it switched")
		}
		if !strings.Contains(w.log.String(), "lines=2") {
			t.Errorf("the log does not tell of two damaged lines:\n%s", &w.log)
		}
		w.send("actuator/led/set", `{"state":"on","id":"10"}`, false) // the torn line was never a command
		w.until("new", w.has("actuator/led/result", `"id":"10"`, `"applied"`))
	})
}

// TestLinkLoss: an output that is to be safe without the cloud is, when the last bridge has gone.
func TestLinkLoss(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		w.cfg.Outputs = []gpio.Output{{Name: "led", Pin: "sim", OnLinkLoss: gpio.GoSafe, LinkDelay: 20 * time.Second}, {Name: "kept", Pin: "sim"},
			{Name: "leased", Pin: "sim", Lease: 90 * time.Second}}
		w.start()
		w.until("online", w.has("gateway/status", "online"))
		for _, name := range []string{"led", "kept", "leased"} {
			w.send("actuator/"+name+"/set", "on", false)
			w.until("on", w.lastHas("actuator/"+name+"/state", `"on"`))
		}
		time.Sleep(time.Minute)
		w.send("actuator/leased/set", "on", false) // renews
		time.Sleep(time.Minute)
		if !w.lastHas("actuator/leased/state", `"on"`)() || !w.lastHas("actuator/led/state", `"on"`)() {
			t.Errorf("leased %s, led %s", w.last("actuator/leased/state"), w.last("actuator/led/state"))
		}
		w.broker.Set(func(b *brokertest.Behaviour) { b.Refuse = 3 })
		w.broker.Cut("meshgate-t")
		time.Sleep(40 * time.Second)
		w.broker.Set(func(b *brokertest.Behaviour) { b.Refuse = 0 })
		w.until("safe by itself", w.lastHas("actuator/led/state", `"off"`))
		w.until("safe by itself", w.lastHas("actuator/leased/state", `"off"`))
		if !w.lastHas("actuator/kept/state", `"on"`)() {
			t.Errorf("kept: %s", w.last("actuator/kept/state"))
		}
	})
}

func TestUplinks(t *testing.T) {
	var told []bool
	u := uplinks{tell: func(up bool) { told = append(told, up) }}
	u.set("a", true)
	u.set("b", false)
	u.set("a", false)
	u.set("b", true)
	if fmt.Sprint(told) != "[true true false true]" {
		t.Error(told)
	}
}

func TestFailedStage(t *testing.T) {
	no, bad := &gpio.Refusal{Output: "a"}, errors.New("pin broke")
	for _, c := range []struct {
		err     error
		members int
		want    string
	}{
		{no, 1, stageRefused}, {bad, 1, stageFailed}, {gpio.ErrClosed, 1, stageFailed}, {no, 2, stageFailed},
		{errors.Join(no, no), 2, stageRefused}, {errors.Join(no, bad), 2, stageFailed}, {errors.Join(no, no), 3, stageFailed},
	} {
		if got := failedStage(c.err, c.members); got != c.want {
			t.Errorf("%v of %d: %s, want %s", c.err, c.members, got, c.want)
		}
	}
}

// TestMemoryIsBounded: of one target the last are remembered, and the file does not grow with the commands.
func TestMemoryIsBounded(t *testing.T) {
	dir := t.TempDir()
	m := openMemory(dir, slog.New(slog.DiscardHandler))
	for i := range 5000 {
		o := order{id: fmt.Sprint(i), on: true}
		if _, again := m.begin("actuator/led", o, noon); again {
			t.Fatalf("%d was never seen", i)
		}
		m.end("actuator/led", o, result{id: o.id, stage: stageRefused, err: errBusy, accepted: noon, done: noon})
	}
	m.close()
	st, err := os.Stat(m.file.path)
	if err != nil || st.Size() > 2*maxMemoryFile {
		t.Errorf("%v, %v", st.Size(), err)
	}
	m = openMemory(dir, slog.New(slog.DiscardHandler))
	defer m.close()
	for i, want := range map[int]bool{4999: true, 5000 - maxMemos: true, 4999 - maxMemos: false} {
		var r result
		at := m.find("actuator/led", fmt.Sprint(i))
		again := at >= 0
		if again {
			r = m.targets["actuator/led"][at].answer(order{id: fmt.Sprint(i), on: true})
		}
		if again != want || again && (r.stage != stageRefused || r.err.Error() != errBusy.Error() || !r.accepted.Equal(noon)) {
			t.Errorf("%d: %+v, %v", i, r, again)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*.new-*")); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
}

// TestPanicWhileSwitching: the outputs are safe before the program ends by a panic of what carries commands out.
func TestPanicWhileSwitching(t *testing.T) {
	pins := gpio.NewSim()
	g := &Gateway{bank: gpio.Open([]gpio.Output{{Name: "heater", Pin: "sim"}}, pins, nil, nil), log: slog.New(slog.DiscardHandler), clock: newGoodClock(t.TempDir(), nil, quiet)}
	if _, err := g.bank.Set("heater", true, 0); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if r := recover(); r == nil {
			t.Error("no panic")
		}
		if on, _ := pins.Level("heater"); on {
			t.Error("the heater is on")
		}
	}()
	g.execute(t.Context(), command{topic: "actuator/heater/set", payload: []byte(`{"state":"on","id":"1"}`)}) // without a memory
}
