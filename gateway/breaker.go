package gateway

import (
	"hash/maphash"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// A message that comes in over a bridge more than maxLaps times in lapTime, each time to go out
	// over another one, goes round in a circle that others close behind the brokers.
	maxLaps = 30
	lapTime = 10 * time.Second
	// openFor is how long its topic is not carried on then.
	openFor = time.Minute
	// maxSeen bounds the messages that are remembered, and maxOpen the topics that are cut.
	maxSeen = 4096
	maxOpen = 1024
)

// breaker cuts circles that no look at our own rules can find: a third party joins two brokers that
// are bridged here, or the LAN side is the broker of a bridge under another name. The proof at load
// time (bridge.Loop) sees those that are closed here alone.
//
// A device may well say the same thing many times a second, and what it says is not to be lost. So
// what comes from the LAN side, or goes only there, is watched from when it is known to be joined to
// the broker of a bridge: something has been heard there that the gateway publishes over bridges.
type breaker struct {
	log    *slog.Logger
	seed   maphash.Seed
	joined atomic.Bool

	mu   sync.Mutex
	seen map[uint64]*laps
	open map[way]*cutWay
}

// laps counts how often one message has come.
type laps struct {
	since time.Time
	n     int
}

// way is what is cut: a topic that came in over a bridge.
type way struct{ from, topic string }

// cutWay is one that is cut, or has been.
type cutWay struct {
	until   time.Time
	dropped uint64
}

func newBreaker(log *slog.Logger) *breaker {
	return &breaker{log: log, seed: maphash.MakeSeed(), seen: map[uint64]*laps{}, open: map[way]*cutWay{}}
}

// watches reports whether a message may go round; to is the bridge that carries it on, empty for none.
func (b *breaker) watches(m message, to string) bool {
	if b.joined.Load() {
		return m.from != lanName || to != ""
	}
	return m.from != "" && m.from != lanName && to != ""
}

// circles reports whether a message that was brought is not to be carried on. A circle is logged once for each time that its topic comes to be cut anew.
func (b *breaker) circles(m message, to string) bool {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	w := way{m.from, m.topic}
	c := b.open[w]
	if c != nil && now.Before(c.until) {
		c.dropped++
		return true
	}
	if b.lap(m, now) <= maxLaps {
		return false
	}
	if c == nil {
		if len(b.open) >= maxOpen {
			clear(b.open)
		}
		b.log.Error("a message goes round in a circle between brokers that somebody else joins as well: its topic is not carried on, "+
			"and tried again each minute", "topic", m.topic, "from", m.from, "to", to)
		c = &cutWay{}
		b.open[w] = c
	}
	c.until, c.dropped = now.Add(openFor), c.dropped+1
	return true
}

// lap counts a message and gives how often it has come within lapTime.
func (b *breaker) lap(m message, now time.Time) int {
	var h maphash.Hash
	h.SetSeed(b.seed)
	h.WriteString(m.from + "\x00" + m.topic + "\x00")
	h.Write(m.payload)
	sum := h.Sum64()
	l := b.seen[sum]
	if l == nil || now.Sub(l.since) > lapTime {
		if len(b.seen) >= maxSeen {
			clear(b.seen)
		}
		l = &laps{since: now}
		b.seen[sum] = l
	}
	l.n++
	return l.n
}
