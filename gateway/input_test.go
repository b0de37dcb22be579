package gateway

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/meshgate/meshgate/bridge/brokertest"
	"github.com/meshgate/meshgate/bridge/spool"
	"github.com/meshgate/meshgate/gpio"
)

// edge is one as it reached the broker.
type edge struct {
	State      string
	Time       time.Time
	Seq        uint64
	Missed     bool
	Suppressed uint64
}

func (w *world) edges(input string) (all []edge) {
	w.t.Helper()
	for _, p := range w.published("input/" + input + "/edge") {
		var e edge
		if err := json.Unmarshal([]byte(p), &e); err != nil {
			w.t.Fatalf("%s: %v", p, err)
		}
		all = append(all, e)
	}
	return all
}

func (w *world) drive(input string, high bool) {
	w.t.Helper()
	if !w.pins.Drive(input, high) {
		w.t.Fatalf("input %s is not open", input)
	}
}

func (w *world) broken(on bool) {
	w.broker.Set(func(b *brokertest.Behaviour) { b.Refuse = map[bool]byte{true: 3}[on] })
	if on {
		w.broker.Cut("meshgate-t")
	}
}

// TestEdgesSurvive: edges during an outage, and those before a restart in it, all arrive with the time when they were, none
// of them retained, and the retained state is the last one all the time.
func TestEdgesSurvive(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		w.cfg.Inputs = []gpio.Input{{Name: "door", Pin: "sim", Pull: "up", ActiveLow: true, Debounce: 20 * time.Millisecond}}
		w.start()
		w.until("the state at first", w.lastHas("input/door/state", `"off"`))
		w.broken(true)
		time.Sleep(time.Minute)
		var want []time.Time
		for i := range 10 {
			time.Sleep(time.Second)
			want = append(want, time.Now())
			w.drive("door", i%2 == 1)
			if i == 5 {
				time.Sleep(time.Second)
				w.end1()
				w.start()
				time.Sleep(time.Second)
				w.drive("door", true) // is high: after a start the pull makes it so
			}
		}
		time.Sleep(time.Second)
		w.drive("door", false)
		want = append(want, time.Now())
		time.Sleep(time.Second)
		w.broken(false)
		w.until("edges", func() bool { return len(w.edges("door")) >= len(want) })
		w.until("state", w.lastHas("input/door/state", `"on"`))
		for i, e := range w.edges("door") {
			state := onOff(i%2 == 0)
			if i < len(want) && (!e.Time.Equal(want[i].Truncate(time.Millisecond)) || e.State != state || e.Missed) || i > 0 && e.Seq <= w.edges("door")[i-1].Seq {
				t.Errorf("edge %d is %+v, want %s at %v", i, e, state, want[i])
			}
		}
		if n := len(w.edges("door")); n != len(want) {
			t.Errorf("%d edges, want %d", n, len(want))
		}
		for _, p := range w.broker.Published() {
			if strings.HasSuffix(p.Topic, "/edge") && p.Retain {
				t.Errorf("an edge is retained: %s", p.Payload)
			}
		}
		if p, ok := w.broker.Retained(prefix + "input/door/state"); !ok || !strings.Contains(string(p.Payload), `"on"`) {
			t.Errorf("retained: %s", p.Payload)
		}
	})
}

// TestCounter: the total goes on over restarts, edges of a counter are no records, and a damaged file is set aside.
func TestCounter(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		w.cfg.Inputs = []gpio.Input{{Name: "meter", Pin: "sim", Count: 10 * time.Second, Rate: 1000}}
		pulses := func(n int) {
			for range n {
				w.drive("meter", true)
				w.drive("meter", false)
			}
		}
		count := func(want string) {
			t.Helper()
			w.until("count "+want, w.lastHas("input/meter/count", `"count":`+want+`,`, `"seq":`, `"time":`))
		}
		w.start()
		count("0")
		time.Sleep(time.Second)
		pulses(300)
		count("300")
		pulses(5)
		w.end1()
		w.start()
		count("305")
		if n := len(w.edges("meter")); n > 0 {
			t.Errorf("%d edges of a counter", n)
		}
		time.Sleep(time.Second)
		n := len(w.published("input/meter/count"))
		time.Sleep(time.Minute)
		if got := len(w.published("input/meter/count")); got != n {
			t.Errorf("%d counts while nothing came", got-n)
		}
		w.end1()
		file := filepath.Join(w.cfg.StateDir, "counters.json")
		if err := os.WriteFile(file, []byte("{\x00"), 0o600); err != nil {
			t.Fatal(err)
		}
		w.start()
		count("0")
		if _, err := os.Stat(file + ".bad"); err != nil || !strings.Contains(w.log.String(), "start at zero") {
			t.Errorf("%v\n%s", err, &w.log)
		}
	})
}

// TestChatter: an input that goes mad costs twenty records a second, and is told once.
func TestChatter(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		w.cfg.Inputs = []gpio.Input{{Name: "door", Pin: "sim"}}
		w.start()
		w.until("the state at first", w.lastHas("input/door/state", `"off"`))
		const seconds = 5
		for range seconds * 500 {
			w.drive("door", true)
			time.Sleep(time.Millisecond)
			w.drive("door", false)
			time.Sleep(time.Millisecond)
		}
		time.Sleep(5 * time.Second)
		var suppressed uint64
		for _, e := range w.edges("door") {
			suppressed += e.Suppressed
		}
		n := len(w.edges("door"))
		if n < seconds*gpio.DefaultInputRate || n > (seconds+2)*gpio.DefaultInputRate || n+int(suppressed) < seconds*1000-50 {
			t.Errorf("%d edges, %d suppressed", n, suppressed)
		}
		if !w.lastHas("input/door/state", `"off"`)() {
			t.Errorf("state %s", w.last("input/door/state"))
		}
		if n := strings.Count(w.log.String(), "chatters"); n != 1 {
			t.Errorf("told %d times:\n%s", n, &w.log)
		}
	})
}

// TestMissedEdge: what changed while the pin was away is told, as found late.
func TestMissedEdge(t *testing.T) {
	g := &Gateway{hub: newHub(), tray: newTray(&intake{}),
		dates: newDates(t.TempDir(), Hardware{ClockRight: func() bool { return true }}, "boot", quiet)}
	ins := &inputs{h: &hands{g: g, rules: &rules{}, counts: &counters{}}, states: map[string]inputState{}}
	for _, r := range []gpio.Reading{
		{On: false, Known: true, Cause: gpio.AtStart},
		{Cause: gpio.ByFailure},
		{On: false, Known: true, Cause: gpio.ByRetry},
		{Cause: gpio.ByFailure},
		{On: true, Known: true, Cause: gpio.ByRetry},
		{On: false, Known: true, Cause: gpio.ByEdge},
	} {
		r.Name, r.Time = "door", noon
		ins.changed(r)
	}
	var got []string
	for _, r := range g.tray.pending {
		got = append(got, string(r.Payload))
	}
	if s := strings.Join(got, " "); s != `{"missed":true,"state":"on"} {"state":"off"}` {
		t.Error(s)
	}
}

// TestTrayIsBounded: a disk that does not answer costs records, counted, and no memory.
func TestTrayIsBounded(t *testing.T) {
	tr := newTray(&intake{})
	for range maxTray + 10 {
		tr.put(messageRecord(message{topic: "x"}, 0))
	}
	if n := tr.intake.lost.Load(); n != 10 || len(tr.pending) != maxTray {
		t.Errorf("%d lost, %d waiting", n, len(tr.pending))
	}
}

// TestFullTray: all that may have come meanwhile is kept, though it is more than the spool takes at once.
func TestFullTray(t *testing.T) {
	s, err := spool.Open(t.TempDir(), spool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	tr := newTray(&intake{spool: s, hub: newHub(), log: quiet, link: &link{}})
	for range maxTray {
		tr.put(messageRecord(message{topic: "manager/main/result", payload: make([]byte, 300)}, 0))
	}
	tr.empty()
	if lost, kept := tr.intake.lost.Load(), s.Stats().Records; lost != 0 || kept != maxTray {
		t.Errorf("%d lost, %d kept", lost, kept)
	}
}
