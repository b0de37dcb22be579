package bridge

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// The client numbers its SUBSCRIBE packets from 1, and there are few of them; a PUBLISH has an identifier from firstID on, so
// that no two packets that wait for an answer share one (MQTT 3.1.1 section 2.3.1).
const (
	firstID = 0x8000
	maxOpen = 0x10000 - firstID
)

// Receipt tells what became of a publish.
type Receipt interface {
	Done() <-chan struct{} // closed when the broker has acknowledged the message, or when the session has ended
	Err() error            // after Done: nil when acknowledged; for QoS 0, when sent
}

// receipt is a message that was published.
type receipt struct {
	s   *Session
	at  time.Duration // after the session's start
	qos byte

	// Guarded by the outbox's lock.
	over bool          // acknowledged or lost
	lost bool          // the session ended before the acknowledgement
	done chan struct{} // made for the first who waits: most are over by then
}

func (r *receipt) Done() <-chan struct{} {
	r.s.outbox.mu.Lock()
	defer r.s.outbox.mu.Unlock()
	switch {
	case r.over:
		return r.s.past
	case r.done == nil:
		r.done = make(chan struct{})
	}
	return r.done
}

func (r *receipt) Err() error {
	r.s.outbox.mu.Lock()
	lost := r.lost
	r.s.outbox.mu.Unlock()
	if lost {
		return fmt.Errorf("bridge: not acknowledged: %w", r.s.reason(errWireClosed))
	}
	return nil
}

// end is the message's. The outbox's lock is held.
func (r *receipt) end(lost bool) {
	r.over, r.lost = true, lost
	if r.done != nil {
		close(r.done)
	}
}

// outbox holds the receipts of what is not acknowledged. It is the way of every reading, so it is ours and not the MQTT
// client's: half of the processor time a message, and one or two allocations instead of 39.
type outbox struct {
	mu    sync.Mutex
	open  map[uint16]*receipt // by identifier
	last  uint16              // the identifier that was given last
	ended bool
}

// add gives r's message the next free identifier, 0 when there is none. After the end r is lost.
func (o *outbox) add(r *receipt) uint16 {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.open) == maxOpen {
		return 0
	}
	for o.last = firstID | (o.last + 1); o.open[o.last] != nil; {
		o.last = firstID | (o.last + 1)
	}
	if o.open == nil {
		o.open = map[uint16]*receipt{}
	}
	o.open[o.last] = r
	if o.ended {
		o.lose()
	}
	return o.last
}

// answered takes what the broker answers to a PUBLISH, and reports whether PUBREL has to follow. An answer that belongs to
// no message is passed over.
func (o *outbox) answered(kind byte, id uint16) (release bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	r := o.open[id]
	switch {
	case r == nil:
	case kind == typePubrec && r.qos == 2:
		return true
	case kind == typePuback && r.qos == 1, kind == typePubcomp && r.qos == 2:
		delete(o.open, id)
		r.end(false)
	}
	return false
}

// waiting returns the receipts that are not done, the oldest first.
func (o *outbox) waiting() []*receipt {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.SortedFunc(maps.Values(o.open), func(a, b *receipt) int { return cmp.Compare(a.at, b.at) })
}

// end is that of the session: what is not acknowledged never will be.
func (o *outbox) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended = true
	o.lose()
}

func (o *outbox) lose() {
	for _, r := range o.open {
		r.end(true)
	}
	clear(o.open)
}
