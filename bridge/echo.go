package bridge

import (
	"hash/maphash"
	"slices"
	"sync"
	"time"
)

const (
	echoTime = 10 * time.Second // within which a broker returns what was published
	echoMax  = 1024             // messages remembered; the oldest are forgotten
)

// echoes remembers what was published to topics that are subscribed to as well: MQTT 3.1.1 brokers return those, and a
// command carried both ways would be obeyed twice.
type echoes struct {
	seed maphash.Seed

	mu   sync.Mutex
	sent []echo // in order of time
}

type echo struct {
	sum uint64
	at  time.Time
}

func newEchoes() *echoes { return &echoes{seed: maphash.MakeSeed()} }

func (e *echoes) sum(m Message) uint64 {
	var h maphash.Hash
	h.SetSeed(e.seed)
	h.WriteString(m.Topic)
	h.WriteByte(0) // no topic has one
	h.Write(m.Payload)
	return h.Sum64()
}

// note remembers m, which will come back.
func (e *echoes) note(m Message) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.forget()
	if len(e.sent) >= echoMax {
		e.sent = slices.Delete(e.sent, 0, 1)
	}
	e.sent = append(e.sent, echo{e.sum(m), time.Now()})
}

// is reports whether m is one of those remembered, each of which is returned once.
func (e *echoes) is(m Message) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.forget()
	if m.Retain || len(e.sent) == 0 {
		return false
	}
	sum := e.sum(m)
	i := slices.IndexFunc(e.sent, func(s echo) bool { return s.sum == sum })
	if i >= 0 {
		e.sent = slices.Delete(e.sent, i, i+1)
	}
	return i >= 0
}

func (e *echoes) forget() {
	old := 0
	for old < len(e.sent) && time.Since(e.sent[old].at) > echoTime {
		old++
	}
	e.sent = slices.Delete(e.sent, 0, old)
}
