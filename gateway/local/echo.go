package local

import (
	"hash/maphash"
	"sync"
	"time"
)

const (
	maxEchoes = 10000 // remembered at most
	echoAfter = time.Minute
)

// echoes keeps what the gateway publishes from coming back to it. MQTT 3.1.1 sends a client its own messages where it
// subscribed to them, and does not mark them (where it does not, see asBridge, only what is retained is remembered). So what was said is remembered, topic and payload, as many times as it
// was said, and as many arrivals of it are left out. If somebody else publishes the same at the same time, one of the
// two is left out and the other one taken, whichever comes first: they are the same. Only what a subscription matches
// is remembered, for a minute of connection, and at most 10,000 of it.
//
// The broker sends a retained message at each subscription; it is left out as long as it is what was said last.
type echoes struct {
	filters []string

	mu       sync.Mutex
	seed     maphash.Seed
	open     map[uint64]echo
	retained map[string]uint64 // topic -> of topic and payload
	swept    time.Time
}

type echo struct {
	times int
	said  time.Time
}

func (e *echoes) sum(topic string, payload []byte) uint64 {
	if e.open == nil {
		e.seed, e.open, e.retained = maphash.MakeSeed(), map[uint64]echo{}, map[string]uint64{}
	}
	var h maphash.Hash
	h.SetSeed(e.seed)
	h.WriteString(topic)
	h.WriteByte(0)
	h.Write(payload)
	return h.Sum64()
}

// said remembers a message before it is published.
func (e *echoes) said(m Message) {
	for _, f := range e.filters {
		if matches(f, m.Topic) {
			e.remember(m)
			return
		}
	}
}

func (e *echoes) remember(m Message) {
	e.mu.Lock()
	defer e.mu.Unlock()
	sum, now := e.sum(m.Topic, m.Payload), time.Now()
	e.sweep(now)
	e.open[sum] = echo{times: e.open[sum].times + 1, said: now}
	if m.Retain && len(m.Payload) > 0 {
		e.retained[m.Topic] = sum
	} else if m.Retain {
		delete(e.retained, m.Topic)
	}
}

// sweep forgets what did not come back.
func (e *echoes) sweep(now time.Time) {
	full := len(e.open) >= maxEchoes
	if !full && now.Sub(e.swept) < echoAfter {
		return
	}
	e.swept = now
	for sum, o := range e.open {
		if full && len(e.open) >= maxEchoes/2 || now.Sub(o.said) > echoAfter {
			delete(e.open, sum)
		}
	}
}

// heard reports whether an arrival is what the gateway said.
func (e *echoes) heard(topic string, payload []byte, retained bool) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	sum := e.sum(topic, payload)
	if retained {
		return e.retained[topic] == sum
	}
	o := e.open[sum]
	if o.times == 0 {
		return false
	}
	if o.times--; o.times == 0 {
		delete(e.open, sum)
	} else {
		e.open[sum] = o
	}
	return true
}

// refresh is called for each connection: time without one does not count.
func (e *echoes) refresh() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for sum, o := range e.open {
		o.said = time.Now()
		e.open[sum] = o
	}
}
