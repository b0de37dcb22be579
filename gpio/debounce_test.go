package gpio

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// edge is a level some time after the start.
type edge struct {
	at time.Duration
	on bool
}

func TestDebouncer(t *testing.T) {
	const ms = time.Millisecond
	for name, c := range map[string]struct {
		quiet      time.Duration
		limit      int
		edges      []edge
		want       []edge // reported: the time it is dated
		when       []time.Duration
		suppressed uint64
	}{
		"no debounce": {0, 0, []edge{{0, false}, {5 * ms, true}, {6 * ms, false}},
			[]edge{{0, false}, {5 * ms, true}, {6 * ms, false}}, []time.Duration{0, 5 * ms, 6 * ms}, 0},
		"the first level at once": {20 * ms, 0, []edge{{0, true}}, []edge{{0, true}}, []time.Duration{0}, 0},
		"bouncing, dated by its first edge": {20 * ms, 0, []edge{{0, false}, {100 * ms, true}, {103 * ms, false}, {110 * ms, true}, {125 * ms, false}, {126 * ms, true}},
			[]edge{{0, false}, {100 * ms, true}}, []time.Duration{0, 146 * ms}, 0},
		"a glitch": {20 * ms, 0, []edge{{0, false}, {100 * ms, true}, {119 * ms, false}, {200 * ms, true}},
			[]edge{{0, false}, {200 * ms, true}}, []time.Duration{0, 220 * ms}, 0},
		"just long enough": {20 * ms, 0, []edge{{0, false}, {100 * ms, true}, {120 * ms, false}},
			[]edge{{0, false}, {100 * ms, true}, {120 * ms, false}}, []time.Duration{0, 120 * ms, 140 * ms}, 0},
		"no edge": {20 * ms, 0, []edge{{0, false}, {100 * ms, false}}, []edge{{0, false}}, []time.Duration{0}, 0},
		"chatter, ending where it was reported": {0, 3, []edge{{0, false}, {1 * ms, true}, {2 * ms, false}, {3 * ms, true}, {4 * ms, false}},
			[]edge{{0, false}, {1 * ms, true}, {2 * ms, false}}, []time.Duration{0, ms, 2 * ms}, 2},
		"chatter, ending elsewhere": {0, 2, []edge{{0, false}, {1 * ms, true}, {2 * ms, false}, {3 * ms, true}, {4 * ms, false}},
			[]edge{{0, false}, {1 * ms, true}, {4 * ms, false}}, []time.Duration{0, ms, 1000 * ms}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				var got []edge
				var when []time.Duration
				d := NewDebouncer(c.quiet, c.limit, func(ch Change) {
					got = append(got, edge{ch.At.Sub(began), ch.On})
					when = append(when, time.Since(began))
				})
				for _, e := range c.edges {
					time.Sleep(e.at - time.Since(began))
					synctest.Wait()
					d.Edge(e.on, time.Now())
				}
				time.Sleep(time.Minute)
				d.Stop()
				if !slices.Equal(got, c.want) || !slices.Equal(when, c.when) {
					t.Errorf("%v at %v, want %v at %v", got, when, c.want, c.when)
				}
				if n := d.Counts().Suppressed; n != c.suppressed {
					t.Errorf("%d suppressed, want %d", n, c.suppressed)
				}
			})
		})
	}
}

// TestDebouncerProperties: whatever comes, reports alternate, keep to the limit and are dated by an edge; the last one is
// true; every change that held is counted.
func TestDebouncerProperties(t *testing.T) {
	for seed := range uint64(100) {
		synctest.Test(t, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 3))
			quiet, limit := time.Duration(rnd.IntN(3)*10)*time.Millisecond, rnd.IntN(5)
			var edges []time.Time
			var got []Change
			var when []time.Time
			d := NewDebouncer(quiet, limit, func(c Change) { got, when = append(got, c), append(when, time.Now()) })
			on, pulses, held := false, uint64(0), false
			d.Edge(false, time.Now())
			edges = append(edges, time.Now())
			for range 300 {
				on = !on
				edges = append(edges, time.Now())
				d.Edge(on, time.Now())
				wait := time.Duration(rnd.IntN(25)) * time.Millisecond
				if rnd.IntN(20) == 0 {
					wait += time.Second
				}
				if wait >= quiet && on != held { // it holds
					if held = on; on {
						pulses++
					}
				}
				time.Sleep(wait)
				synctest.Wait()
			}
			time.Sleep(2 * time.Second)
			synctest.Wait()
			if on != held { // the last one holds in any case
				if held = on; on {
					pulses++
				}
			}
			for i, c := range got {
				if i > 0 && c.On == got[i-1].On {
					t.Fatalf("seed %d: report %d repeats", seed, i)
				}
				if limit > 0 && i >= limit && when[i].Sub(when[i-limit]) < time.Second {
					t.Fatalf("seed %d: %d reports within %v", seed, limit+1, when[i].Sub(when[i-limit]))
				}
				if !slices.ContainsFunc(edges, c.At.Equal) {
					t.Fatalf("seed %d: dated by no edge", seed)
				}
			}
			if n := d.Counts(); got[len(got)-1].On != held || n.Pulses != pulses || n.Edges != 300 {
				t.Fatalf("seed %d: quiet %v limit %d: ends %v, want %v; %+v, want %d pulses", seed, quiet, limit, got[len(got)-1].On, held, n, pulses)
			}
			d.Stop()
			d.Edge(!on, time.Now())
			if n := d.Counts(); n.Edges != 300 {
				t.Fatal("an edge after Stop")
			}
		})
	}
}

func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim, got := NewSim(), &told{}
		ins := []Input{{Name: "door", Pin: "sim", Pull: "up", ActiveLow: true, Debounce: 20 * time.Millisecond}, {Name: "meter", Pin: "sim", Rate: 5}}
		w := Watch(ins, sim, got.add, nil)
		synctest.Wait()
		if s := got.take(); s != "door off, meter off" && s != "meter off, door off" {
			t.Error(s)
		}
		time.Sleep(time.Second)
		opened := time.Now()
		sim.Drive("door", false)
		time.Sleep(5 * time.Millisecond)
		sim.Drive("door", true)
		sim.Drive("door", false)
		time.Sleep(time.Second)
		if r := w.Get("door"); !r.On || !r.Known || !r.Time.Equal(opened) || r.Pulses != 1 || r.Cause != ByEdge {
			t.Errorf("%+v", r)
		}
		got.take()
		for range 50 {
			sim.Drive("meter", true)
			sim.Drive("meter", false)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		synctest.Wait()
		if r := w.All()[1]; r.Name != "meter" || r.On || r.Pulses != 50 || r.Suppressed != 95 {
			t.Errorf("%+v", r)
		}
		if s := got.take(); strings.Count(s, "meter") != 6 || !strings.HasSuffix(s, "meter off") {
			t.Error(s)
		}
		if err := w.Close(); err != nil || w.Close() != nil {
			t.Error(err)
		}
		if sim.Drive("door", true) {
			t.Error("an input that is still open")
		}
		if r := w.Get("window"); r.Known || r.Err == nil {
			t.Errorf("%+v", r)
		}
	})
}
