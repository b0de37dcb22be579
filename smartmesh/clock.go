package smartmesh

import (
	"sync"
	"time"
)

const (
	clockJump  = time.Second            // more than clocks drift apart between two readings
	clockDrift = 10000                  // seconds in which crystals may drift a second apart
	clockFloor = 500 * time.Microsecond // no reading is better: serial line, queues
	clockPoor  = 4                      // a reading that much worse than what is known is of no use
)

// A Clock maps the manager's clock to the host's. The manager's is no real time: unless set it began on 2 July 2002, and it
// jumps back when the manager restarts.
//
// Each reading bounds the offset: the manager's answer was made between t0 and t1, so that the middle is wrong by at most
// half of the round trip. Readings count by their bounds: a short round trip for much, one much longer than the best that
// is still fresh for nothing. The offset is kept against the host's monotonic clock, so that a step of its wall clock
// moves the dates it gives from then on, and is not taken for a step of the manager's.
//
// The zero Clock is ready for use, by several goroutines.
type Clock struct {
	mu     sync.Mutex
	run    uint16
	origin time.Time // of the host's monotonic time
	at     time.Duration
	utc    time.Time     // the manager's clock at at
	bound  time.Duration // of the error of utc, at at
	uptime uint32
}

// Observe takes a reading: t0 is when getTime was sent, t1 when its response was read, both from time.Now.
func (c *Clock) Observe(t0, t1 time.Time, t TimeInfo) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.run == 0 {
		c.origin = t0
	}
	c.observe(t0.Sub(c.origin), t1.Sub(c.origin), t.UTC, t.Uptime)
}

// observe is Observe in the host's monotonic time.
func (c *Clock) observe(t0, t1 time.Duration, utc time.Time, uptime uint32) {
	if t1 < t0 {
		return
	}
	half := (t1 - t0) / 2
	at, bound := t0+half, max(half, clockFloor)
	age := at - c.at
	off := utc.Sub(c.utc.Add(age)) // what the reading says more than we thought
	known := c.bound + age.Abs()/clockDrift
	switch {
	case c.run == 0, off > clockJump+half, off < -clockJump-half, age > 0 && uptime < c.uptime:
		c.run++
		if c.run == 0 {
			c.run = 1
		}
		c.at, c.utc, c.bound, c.uptime = at, utc, bound, uptime
		return
	case bound > clockPoor*known:
		return
	}
	c.utc = c.utc.Add(age + time.Duration(float64(off)*float64(known)/float64(known+bound)))
	c.bound = 2 * time.Duration(float64(known)*float64(bound)/float64(known+bound))
	c.at, c.uptime = at, uptime
}

// Wall gives the host's wall time, in UTC, at the manager's time utc of the present run. It is not ok before the first
// reading; then the time of arrival has to do.
func (c *Clock) Wall(utc time.Time) (time.Time, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.run == 0 {
		return time.Time{}, false
	}
	now := time.Now()
	return c.wall(utc, now.Sub(c.origin), now), true
}

// wall is Wall at the host's monotonic time mono, when its wall clock shows now.
func (c *Clock) wall(utc time.Time, mono time.Duration, now time.Time) time.Time {
	return now.Round(0).Add(c.at - mono).Add(utc.Sub(c.utc)).UTC()
}

// Run numbers the stretches of the manager's clock between its jumps: 0 before the first reading, then 1, one more with
// every reading that is more than a second off or comes from a manager that booted. Times of different runs have nothing
// to do with each other.
func (c *Clock) Run() uint16 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.run
}
