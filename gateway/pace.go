package gateway

import (
	"slices"
	"time"

	"github.com/meshgate/meshgate/smartmesh/oap"
)

// How fresh a mote's readings are, by its own pace: late after lateAfter of its periods without a
// packet, lost after lostAfter. One packet lost in twenty is normal in a mesh and must not cry
// wolf: two in a row may be missing, and the next may come a little after its time.
const (
	lateAfter = 3.05
	lostAfter = 10

	// healthPace is the pace of a mote that sends nothing but health reports.
	healthPace = 15 * time.Minute
	// keepGaps is how many gaps a pace is learnt from where nobody declares it.
	keepGaps = 8
)

// pace is how often a mote can be expected to be heard. It sends in streams: an input that is
// sampled says its rate itself; of anything else the rate is learnt.
type pace map[string]*stream

type stream struct {
	period time.Duration // 0: not known yet
	last   time.Time
	gaps   []time.Duration
}

func (p pace) of(name string) *stream {
	s := p[name]
	if s == nil {
		s = &stream{}
		p[name] = s
	}
	return s
}

// declared notes a packet of a stream that says itself how often it comes.
func (p pace) declared(name string, period time.Duration, now time.Time) {
	s := p.of(name)
	s.period, s.last = period, now
}

// heard notes a packet of a stream whose pace has to be learnt.
func (p pace) heard(name string, now time.Time) {
	s := p.of(name)
	if !s.last.IsZero() && now.After(s.last) {
		s.gaps = append(s.gaps, now.Sub(s.last))
		s.gaps = s.gaps[max(0, len(s.gaps)-keepGaps):]
		s.period = period(s.gaps)
	}
	s.last = now
}

// period is the pace behind some gaps: the middle one where most are about the same, so that a
// packet that was lost does not count; otherwise the longest, because then nobody knows.
func period(gaps []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(gaps))
	middle := sorted[(len(sorted)-1)/2]
	same := 0
	for _, g := range sorted {
		if (g - middle).Abs() <= middle/4 {
			same++
		}
	}
	if 2*same > len(sorted) {
		return middle
	}
	return sorted[len(sorted)-1]
}

// expected is the pace to judge a mote by that was heard last at seen: that of its slowest stream,
// since the faster ones may come and go. A stream that has been missing for long while others were
// heard is switched off.
func (p pace) expected(seen time.Time) time.Duration {
	slowest := time.Duration(0)
	for name, s := range p {
		if s.period > 0 && seen.Sub(s.last) > lostAfter*s.period {
			delete(p, name)
			continue
		}
		slowest = max(slowest, s.period)
	}
	if slowest == 0 {
		return healthPace
	}
	return slowest
}

// freshness judges a silence.
func freshness(silent, period time.Duration) string {
	switch periods := float64(silent) / float64(period); {
	case periods > lostAfter:
		return "lost"
	case periods > lateAfter:
		return "late"
	}
	return "fresh"
}

// streamOf names the stream of samples of an input.
func streamOf(address []byte) string { return oap.FormatAddress(address) }

// set notes that an input was set by a request that the mote has confirmed: its next packet comes
// at the new pace, or never.
func (p pace) set(req oap.Request, now time.Time) {
	for _, t := range req.Tags {
		switch v := number(t.Value); {
		case t.Tag == 0 && v == 0:
			delete(p, streamOf(req.Address))
			return
		case t.Tag == 1 && v > 0:
			p.declared(streamOf(req.Address), time.Duration(v)*time.Millisecond, now)
		}
	}
}

func number(b []byte) (n uint64) {
	for _, c := range b {
		n = n<<8 | uint64(c)
	}
	return n
}
