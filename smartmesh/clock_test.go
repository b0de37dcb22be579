package smartmesh

import (
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var networkStart = time.Unix(1025665200, 0).UTC()

func TestClockBeforeTheFirstReading(t *testing.T) {
	var c Clock
	if w, ok := c.Wall(networkStart); ok || c.Run() != 0 {
		t.Errorf("Wall: %v, %v; run %d", w, ok, c.Run())
	}
}

func TestClockMiddle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c Clock
		t0 := time.Now()
		time.Sleep(20 * time.Millisecond)
		c.Observe(t0, time.Now(), TimeInfo{UTC: networkStart, Uptime: 5})
		got, ok := c.Wall(networkStart.Add(3 * time.Second))
		if want := t0.Add(3*time.Second + 10*time.Millisecond); !ok || !got.Equal(want) || c.Run() != 1 {
			t.Errorf("Wall: %v, %v, run %d; want %v", got, ok, c.Run(), want)
		}
		if got.Location() != time.UTC {
			t.Errorf("in %v", got.Location())
		}
		time.Sleep(time.Hour) // the answer is the same later
		if later, _ := c.Wall(networkStart.Add(3 * time.Second)); !later.Equal(got) {
			t.Errorf("an hour later %v, before %v", later, got)
		}
	})
}

// TestClockHostSteps steps the host's wall clock, as NTP does on a machine without a clock of its own: what is dated after
// the step is right by the new clock, and the manager's clock has not jumped.
func TestClockHostSteps(t *testing.T) {
	var c Clock
	wall := func(mono time.Duration, step time.Duration) time.Time { return time.Unix(1000, 0).Add(mono + step) }
	c.observe(0, 0, networkStart, 0)
	const step = 50 * 365 * 24 * time.Hour
	mono := 30 * time.Second
	c.observe(mono, mono, networkStart.Add(mono), 30)
	if c.run != 1 {
		t.Fatalf("run %d after a step of the host", c.run)
	}
	for at := time.Duration(0); at < time.Minute; at += 7 * time.Second {
		if got, want := c.wall(networkStart.Add(at), mono, wall(mono, step)), wall(at, step); !got.Equal(want) {
			t.Errorf("%v after the start: %v, want %v", at, got, want)
		}
	}
}

func TestClockJumps(t *testing.T) {
	s := time.Second
	tests := []struct {
		name     string
		at, trip time.Duration
		shown    time.Duration // what the manager shows then
		uptime   uint32
		run      uint16
	}{
		{"drifts", 60 * s, 0, 60*s + 5*time.Millisecond, 1060, 1},
		{"reboots", 60 * s, 0, 3 * s, 3, 2},
		{"jumps ahead", 60 * s, 0, 62 * s, 1060, 2},
		{"reboots with the clock right by chance", 60 * s, 0, 60 * s, 2, 2},
		{"an answer that took 3 s proves no jump of 1.2 s", 60 * s, 3 * s, 61*s + 500*time.Millisecond + 1200*time.Millisecond, 1061, 1},
		{"but one of 4 s", 60 * s, 3 * s, 65*s + 500*time.Millisecond, 1061, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var c Clock
			c.observe(0, 0, networkStart, 1000)
			c.observe(tt.at, tt.at+tt.trip, networkStart.Add(tt.shown), tt.uptime)
			if c.run != tt.run {
				t.Errorf("run %d, want %d", c.run, tt.run)
			}
			if tt.run == 2 { // it starts over: the new reading counts for all
				if got := c.wall(networkStart.Add(tt.shown), tt.at+tt.trip/2, time.Unix(0, 0)); !got.Equal(time.Unix(0, 0)) {
					t.Errorf("after the jump off by %v", got.Sub(time.Unix(0, 0)))
				}
			}
		})
	}
}

// TestClockKeepsTheShortest takes a good reading, then poor ones, then one that is better still.
func TestClockKeepsTheShortest(t *testing.T) {
	var c Clock
	ms := time.Millisecond
	off := func() time.Duration { return c.wall(networkStart, 0, time.Unix(0, 0)).Sub(time.Unix(0, 0)).Abs() }
	c.observe(0, 10*ms, networkStart, 0) // asked at 0, answered at once, so 5 ms off
	if off() != 5*ms {
		t.Fatalf("off by %v", off())
	}
	for i := range 5 {
		at := time.Duration(i) * time.Second
		c.observe(at, at+900*ms, networkStart.Add(at), 0)
	}
	if off() != 5*ms {
		t.Errorf("off by %v after poor readings", off())
	}
	for i := range 5 {
		at := time.Duration(10+i) * time.Second
		c.observe(at, at+ms, networkStart.Add(at+ms/2), 10)
	}
	if off() > ms {
		t.Errorf("off by %v after better readings", off())
	}
}

// TestClockError drifts the manager by 60 microseconds a second and delays either way of the exchange at random, for a day:
// no date is off by more than 50 ms, and most by much less.
func TestClockError(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	var c Clock
	shown := func(mono time.Duration) time.Time { return networkStart.Add(mono + mono*60/1e6) }
	var worst, sum time.Duration
	n := 0
	for mono := time.Duration(0); mono < 24*time.Hour; mono += 30 * time.Second {
		there := time.Duration(2+rng.ExpFloat64()*8) * time.Millisecond
		back := time.Duration(4+rng.ExpFloat64()*8) * time.Millisecond
		if rng.IntN(10) == 0 {
			back += time.Duration(rng.IntN(800)) * time.Millisecond
		}
		c.observe(mono, mono+there+back, shown(mono+there), uint32(mono/time.Second))
		for _, later := range []time.Duration{time.Second, 15 * time.Second, 29 * time.Second} {
			at := mono + later
			off := c.wall(shown(at), at, time.Unix(0, 0)).Sub(time.Unix(0, 0)).Abs()
			worst, sum, n = max(worst, off), sum+off, n+1
		}
	}
	mean := sum / time.Duration(n)
	t.Logf("mean error %v, worst %v", mean, worst)
	if c.run != 1 || worst > 50*time.Millisecond || mean > 10*time.Millisecond {
		t.Errorf("run %d, mean error %v, worst %v", c.run, mean, worst)
	}
}

func TestClockOfManyGoroutines(t *testing.T) {
	var c Clock
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 200 {
				now := time.Now()
				c.Observe(now, now, TimeInfo{UTC: networkStart.Add(time.Duration(i) * 5 * time.Second)})
				c.Wall(networkStart)
				c.Run()
			}
		})
	}
	wg.Wait()
	if c.Run() < 2 {
		t.Error("no jump was seen")
	}
}
