package gateway

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/meshgate/meshgate/bridge/brokertest"
	"github.com/meshgate/meshgate/bridge/spool"
	"github.com/meshgate/meshgate/smartmesh"
	"github.com/meshgate/meshgate/smartmesh/sim"
)

// host is a machine whose clock can be set, and is right when it says so.
type host struct {
	boot  string
	start time.Time
	step  atomic.Int64 // what its clock is ahead of the true time
	right atomic.Bool
}

func (h *host) hardware(hw *Hardware) {
	hw.wall = func() time.Time { return time.Now().Round(0).Add(time.Duration(h.step.Load())) }
	hw.ClockRight = h.right.Load
	hw.Boot = func() (string, time.Duration) { return h.boot, time.Since(h.start) }
}

// set sets the clock right.
func (h *host) set() {
	h.step.Store(0)
	h.right.Store(true)
}

// cold is a host that came up in 1970 a minute ago.
func cold() *host {
	h := &host{boot: "b", start: time.Now().Add(-time.Minute)}
	h.step.Store(int64(-30 * 365 * 24 * time.Hour))
	return h
}

// reading is a temperature as it was published.
type reading struct {
	Time    time.Time `json:"time"`
	Value   float64   `json:"value"`
	Quality string    `json:"time_quality"`
}

// byValue gives the readings that the broker has, by mote and value: a numbered mote sends each value once.
func (w *world) byValue() map[string]reading {
	all := map[string]reading{}
	for _, p := range w.broker.Published() {
		var r reading
		if strings.HasSuffix(p.Topic, "/temperature") && json.Unmarshal(p.Payload, &r) == nil {
			all[fmt.Sprintf("%s %.0f", strings.Split(strings.TrimPrefix(p.Topic, prefix), "/")[1], r.Value*100)] = r
		}
	}
	return all
}

// sampled gives when the samples were taken in truth: the simulated manager boots when the bubble
// begins, and its clock runs too fast by so many parts in a million.
func (w *world) sampled(ppm float64) map[string]time.Time {
	all := map[string]time.Time{}
	for _, p := range w.sim.Acked() {
		const oap = 1 + 24
		if len(p) < oap+27 || p[0] != 4 || p[oap+3] != 0 || p[oap+4] != 0xff || p[oap+6] != 5 {
			continue
		}
		secs := int64(binary.BigEndian.Uint64(p[oap+7:])) - 1025665200
		shown := time.Duration(secs)*time.Second + time.Duration(binary.BigEndian.Uint32(p[oap+15:]))*time.Microsecond
		mac := strings.ReplaceAll(fmt.Sprintf("% x", p[13:21]), " ", "-")
		all[fmt.Sprintf("%s %d", mac, binary.BigEndian.Uint16(p[oap+25:]))] = started.Add(time.Duration(float64(shown) / (1 + ppm/1e6)))
	}
	return all
}

// judge compares what was published with the truth and gives the largest error.
func (w *world) judge(ppm float64, wants func(reading) bool) (n int, worst time.Duration) {
	truth := w.sampled(ppm)
	for key, r := range w.byValue() {
		at, ok := truth[key]
		if !ok || !wants(r) {
			w.t.Errorf("%s: %+v, sampled at %v (%v)", key, r, at, ok)
			continue
		}
		n++
		worst = max(worst, r.Time.Sub(at).Abs())
	}
	return n, worst
}

var numbered = sim.Config{Motes: 3, Period: 10 * time.Second, Seed: 1, Numbered: true, KeepAcked: 1 << 14}

// TestDatesInADriftingMesh: a slow mesh, a manager whose clock is off by more than crystals are.
func TestDatesInADriftingMesh(t *testing.T) {
	cfg := numbered
	cfg.Latency, cfg.Faults = 5*time.Second, sim.Faults{Drift: 50, Delay: 30 * time.Millisecond}
	inWorld(t, cfg, func(w *world) {
		w.start()
		time.Sleep(time.Hour)
		w.until("readings", func() bool { return len(w.published("mote/+/temperature")) > 1000 })
		n, worst := w.judge(50, func(r reading) bool { return r.Quality == "synced" })
		t.Logf("%d readings, worst error %v", n, worst)
		if n < 1000 || worst > 50*time.Millisecond {
			t.Errorf("%d readings, worst error %v", n, worst)
		}
	})
}

// TestColdStart: the host comes up in 1970 and without a network; when it has one and the right
// time, what waited is dated anew, also what an earlier process of the gateway recorded.
func TestColdStart(t *testing.T) {
	inWorld(t, numbered, func(w *world) {
		h := cold()
		w.hw = h.hardware
		refuse := func(code byte) { w.broker.Set(func(b *brokertest.Behaviour) { b.Refuse = code }) }
		refuse(3)
		w.start()
		time.Sleep(10 * time.Minute)
		w.end1()
		w.start()
		time.Sleep(10 * time.Minute)
		h.set()
		time.Sleep(2 * time.Second) // the answer that it is wrong still holds for one
		refuse(0)
		w.until("readings", func() bool { return len(w.published("mote/+/temperature")) > 340 })
		n, worst := w.judge(0, func(r reading) bool { return r.Quality == "synced" })
		t.Logf("%d readings, worst error %v", n, worst)
		if n < 340 || worst > 50*time.Millisecond {
			t.Errorf("%d readings, worst error %v", n, worst)
		}
		w.until("events", w.has("manager/main/event", `"historical":true`, `"time":"2000-01-01T00:0`))
		for _, p := range w.published("manager/main/event") {
			if strings.Contains(p, `"time":"19`) {
				t.Errorf("an event kept its wrong date: %s", p)
			}
		}
		if n := strings.Count(w.log.String(), "the clock is right now"); n != 1 {
			t.Errorf("told %d times:\n%s", n, &w.log)
		}
	})
}

// TestUnsyncedIsTold: what is sent while the clock is wrong says so, and a step of the clock ends
// neither the session with the manager nor that with the broker.
func TestUnsyncedIsTold(t *testing.T) {
	inWorld(t, numbered, func(w *world) {
		h := cold()
		w.hw = h.hardware
		w.start()
		w.until("unsynced", w.has("mote/+/temperature", `"time":"1970-`, `"unsynced"`))
		h.set()
		w.until("synced", w.has("mote/+/temperature", `"time":"2000-`, `"synced"`))
		h.step.Store(int64(-time.Hour)) // somebody sets it back by hand
		time.Sleep(10 * time.Minute)
		if s := w.sim.Stats(); s.Sessions != 1 || len(s.Violations) > 0 || strings.Contains(w.log.String(), "level=WARN") {
			t.Errorf("%d sessions, %v, the log says:\n%s", s.Sessions, s.Violations, &w.log)
		}
	})
}

// TestDatesAfterTheNextBoot: what an earlier boot has left is dated by its file; a boot whose date
// nobody ever knew keeps what it has, and says so.
func TestDatesAfterTheNextBoot(t *testing.T) {
	dir, log := t.TempDir(), slog.New(slog.DiscardHandler)
	begin := time.Now()
	open := func(h *host) *dates {
		var hw Hardware
		h.hardware(&hw)
		return newDates(dir, hw, "", log)
	}
	first, never := cold(), cold()
	never.boot = "never"
	var recs [3]spool.Record
	d := open(first)
	d.put(&recs[0], 30*time.Second)
	open(never).put(&recs[1], 30*time.Second)
	d = open(first)
	d.put(&recs[2], -2*time.Minute) // a mote's clock may be ahead
	first.set()
	d.asked = time.Time{}
	d.look()
	if recs[0].Anchor.Session == recs[1].Anchor.Session || recs[0].Anchor.Session != recs[2].Anchor.Session {
		t.Fatalf("anchors %+v", recs)
	}
	later := &host{boot: "later", start: time.Now()}
	later.set()
	d = open(later)
	for i, want := range []time.Time{begin.Add(-30 * time.Second), {}, begin.Add(2 * time.Minute)} {
		r := recs[i]
		d.again(&r)
		if off := r.Time.Sub(want).Abs(); r.Synced == want.IsZero() || r.Synced && off > time.Second {
			t.Errorf("record %d: %v %v, want %v", i, r.Time, r.Synced, want)
		}
	}
}

func TestBootListIsBounded(t *testing.T) {
	file := filepath.Join(t.TempDir(), "clock.json")
	var l bootList
	for i := range 3 * maxBoots {
		if run := l.add(fmt.Sprint(i)); run == 0 || l.run(run).ID != fmt.Sprint(i) {
			t.Fatalf("boot %d is run %d", i, run)
		}
	}
	if err := l.write(file, true); err != nil {
		t.Fatal(err)
	}
	back, err := readBoots(file)
	if err != nil || len(back.Boots) != maxBoots || back.of(fmt.Sprint(3*maxBoots-1)) == nil {
		t.Errorf("%d boots, %v", len(back.Boots), err)
	}
	os.WriteFile(file, []byte("{"), 0o600)
	if back, err := readBoots(file); err == nil || len(back.Boots) != 0 {
		t.Errorf("a damaged file gave %v, %v", back, err)
	}
}

// TestClockJumps: the manager's clock jumps ahead and back. What arrives before that is known is
// marked, and what comes after it is right again.
func TestClockJumps(t *testing.T) {
	for _, jump := range []time.Duration{30 * time.Minute, -30 * time.Minute} {
		inWorld(t, numbered, func(w *world) {
			w.start()
			time.Sleep(40*time.Minute + 5*time.Second) // between two readings of the clock
			w.sim.JumpClock(jump)
			time.Sleep(time.Minute)
			all := w.byValue()
			marked, right := 0, 0
			for _, mac := range w.sim.Motes() {
				first := all[smartmesh.MAC(mac).String()+" 1"].Time
				for n := 1; n <= 245; n++ { // a number each 10 s
					r := all[fmt.Sprintf("%s %d", smartmesh.MAC(mac), n)]
					off := r.Time.Sub(first.Add(time.Duration(n-1) * 10 * time.Second)).Abs()
					switch {
					case r.Quality == "unsynced":
						marked++
					case off > 50*time.Millisecond:
						t.Errorf("after a jump of %v reading %d is dated wrongly by %v", jump, n, off)
					default:
						right++
					}
				}
			}
			if marked == 0 || marked > 3 || right < 730 {
				t.Errorf("after a jump of %v %d readings are marked, %d right", jump, marked, right)
			}
		})
	}
}
