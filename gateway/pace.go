package gateway

import (
	"math"
	"slices"
	"time"

	"github.com/meshgate/meshgate/smartmesh/oap"
)

// How fresh a mote's readings are, by its own pace: late after lossRate.patience of its periods
// without a packet, lost after lostAfter.
const (
	lostAfter = 10

	// healthPace is the pace of a mote that sends nothing but health reports.
	healthPace = 15 * time.Minute
	// keepGaps is how many gaps a pace is learnt from where nobody declares it.
	keepGaps = 8
)

// pace is how often a mote can be expected to be heard. It sends in streams: an input that is
// sampled says its rate itself; of anything else the rate is learnt.
type pace struct {
	streams map[string]*stream
	mesh    *lossRate // of all motes together
}

type stream struct {
	period time.Duration // 0: not known yet
	last   time.Time
	gaps   []time.Duration
	loss   lossRate
}

func newPace(mesh *lossRate) *pace { return &pace{streams: map[string]*stream{}, mesh: mesh} }

func (p *pace) of(name string) *stream {
	s := p.streams[name]
	if s == nil {
		s = &stream{}
		p.streams[name] = s
	}
	return s
}

// declared notes a packet of a stream that says itself how often it comes.
func (p *pace) declared(name string, period time.Duration, now time.Time) {
	s := p.of(name)
	p.count(s, now, max(s.period, period))
	s.period, s.last = period, now
}

// count notes how many packets of a stream did not come before this one.
func (p *pace) count(s *stream, now time.Time, period time.Duration) {
	if s.period == 0 {
		return
	}
	came := math.Round(float64(now.Sub(s.last)) / float64(period))
	if came < 1 || came > lostAfter {
		return // too early, or it was switched off or away
	}
	s.loss.note(int(came) - 1)
	p.mesh.note(int(came) - 1)
}

// heard notes a packet of a stream whose pace has to be learnt.
func (p *pace) heard(name string, now time.Time) {
	s := p.of(name)
	p.count(s, now, s.period)
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

// expected is the stream to judge a mote by that was heard last at seen: the slowest, since the
// faster ones may come and go. A stream that has been missing for long while others were heard is
// switched off.
func (p *pace) expected(seen time.Time) stream {
	slowest := stream{}
	for name, s := range p.streams {
		if s.period > 0 && seen.Sub(s.last) > lostAfter*s.period {
			delete(p.streams, name)
			continue
		}
		if s.period > slowest.period {
			slowest = *s
		}
	}
	if slowest.period == 0 {
		slowest.period = healthPace
	}
	return slowest
}

// freshness judges a silence.
func (p *pace) freshness(now, seen time.Time) string {
	s := p.expected(seen)
	switch periods := float64(now.Sub(seen)) / float64(s.period); {
	case periods > lostAfter:
		return "lost"
	case periods > max(s.loss.patience(), p.mesh.patience()):
		return "late"
	}
	return "fresh"
}

// streamOf names the stream of samples of an input.
func streamOf(address []byte) string { return oap.FormatAddress(address) }

// set notes that an input was set by a request that the mote has confirmed: its next packet comes
// at the new pace, or never.
func (p *pace) set(req oap.Request, now time.Time) {
	for _, t := range req.Tags {
		switch v := number(t.Value); {
		case t.Tag == 0 && v == 0:
			delete(p.streams, streamOf(req.Address))
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
