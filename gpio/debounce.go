package gpio

import (
	"sync"
	"time"
)

// Debouncer turns edges into changes: a level that has held for quiet is a change, dated by the first edge that led to it.
// Of those it reports at most limit within a second. What is more is counted, and the level it ends with is reported as
// soon as that is allowed, so that what was reported last is true in the end.
//
//	     __   _   _________________            _
//	____|  |_| |_|                 |__________| |______     quiet = 5
//	    ^first        ^reported: on at first       never reported
//
// The first level it is given is reported at once, and not counted as a change.
type Debouncer struct {
	quiet  time.Duration
	limit  int
	report func(Change)

	mu       sync.Mutex
	timer    *time.Timer
	stopped  bool
	known    bool
	raw      bool      // the level of the last edge
	stable   bool      // the level that has held
	first    time.Time // of the edges since the last stable level; zero: none
	settle   time.Time // when raw is stable, if nothing comes; zero: it is
	changed  time.Time // when stable became so: the time of its first edge
	reported bool      // the level that was reported last
	recent   []time.Time
	counts   Counts
}

// Counts are those of a Debouncer since its start.
type Counts struct {
	Edges      uint64 // all that came
	Pulses     uint64 // changes to on
	Suppressed uint64 // changes that were not reported
}

// Change is a change that held.
type Change struct {
	On bool
	At time.Time // of its first edge
	Counts
}

// NewDebouncer makes a Debouncer; limit 0 is no limit. report is called one change at a time and in order, must return
// soon, and must not call the Debouncer.
func NewDebouncer(quiet time.Duration, limit int, report func(Change)) *Debouncer {
	return &Debouncer{quiet: quiet, limit: limit, report: report}
}

// Edge takes the level after an edge. A level that is there already is no edge.
func (d *Debouncer) Edge(on bool, at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopped {
		return
	}
	now := time.Now()
	if !d.known {
		d.known, d.raw, d.stable, d.changed = true, on, on, at
		d.tell(now)
		return
	}
	d.due(now)
	if on == d.raw {
		return
	}
	d.counts.Edges++
	d.raw = on
	if d.first.IsZero() {
		d.first = at
	}
	d.settle = now.Add(d.quiet)
	d.due(now)
	d.arm(now)
}

// Counts returns the counts so far.
func (d *Debouncer) Counts() Counts {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.counts
}

// Stop ends it: nothing is reported afterwards.
func (d *Debouncer) Stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stopped = true
	if d.timer != nil {
		d.timer.Stop()
	}
}

func (d *Debouncer) fire() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopped {
		return
	}
	now := time.Now()
	d.due(now)
	d.arm(now)
}

// due settles the level if it has held, and reports what may be reported.
func (d *Debouncer) due(now time.Time) {
	if over(d.settle, now) {
		first := d.first
		d.settle, d.first = time.Time{}, time.Time{}
		if d.raw != d.stable {
			d.stable, d.changed = d.raw, first
			if d.stable {
				d.counts.Pulses++
			}
			if !d.allowed(now) {
				d.counts.Suppressed++
			}
		}
	}
	if d.stable != d.reported && d.allowed(now) {
		d.tell(now)
	}
}

// allowed reports whether there is room for one more report within the last second.
func (d *Debouncer) allowed(now time.Time) bool {
	for len(d.recent) > 0 && now.Sub(d.recent[0]) >= time.Second {
		d.recent = d.recent[1:]
	}
	return d.limit <= 0 || len(d.recent) < d.limit
}

func (d *Debouncer) tell(now time.Time) {
	d.reported = d.stable
	if d.limit > 0 {
		d.recent = append(d.recent, now)
	}
	d.report(Change{On: d.stable, At: d.changed, Counts: d.counts})
}

// arm sets the timer for what is due next.
func (d *Debouncer) arm(now time.Time) {
	next := d.settle
	if d.stable != d.reported {
		if free := d.recent[0].Add(time.Second); next.IsZero() || free.Before(next) {
			next = free
		}
	}
	switch {
	case next.IsZero():
	case d.timer == nil:
		d.timer = time.AfterFunc(next.Sub(now), d.fire)
	default:
		d.timer.Reset(next.Sub(now))
	}
}
