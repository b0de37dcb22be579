package bridge

import (
	"fmt"
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
	s    *Session
	qos  byte
	at   time.Time // when it was
	done chan struct{}
	lost bool // the session ended before the acknowledgement; set before done is closed
}

func (r *receipt) Done() <-chan struct{} { return r.done }

func (r *receipt) Err() error {
	if closed(r.done) && r.lost {
		return fmt.Errorf("bridge: not acknowledged: %w", r.s.reason(errWireClosed))
	}
	return nil
}

// outbox holds the receipts of what is not acknowledged, in the order it was sent. Identifiers follow each other, so that
// the place of a receipt tells its identifier. It is the way of every reading, so it is ours and not the MQTT client's: half
// of the processor time a message, and two allocations instead of 39.
type outbox struct {
	mu    sync.Mutex
	open  []*receipt // the first is not done, later ones may be
	first uint16     // the identifier of open[0], less firstID
	ended bool
}

// add gives r's message an identifier, 0 when all are in use. After the end r is lost.
func (o *outbox) add(r *receipt) uint16 {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.open) == maxOpen {
		return 0
	}
	id := firstID | (o.first + uint16(len(o.open)))
	o.open = append(o.open, r)
	if o.ended {
		o.lose()
	}
	return id
}

// answered takes what the broker answers to a PUBLISH, and reports whether PUBREL has to follow. An answer that belongs to
// no message is passed over.
func (o *outbox) answered(kind byte, id uint16) (release bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	at := int((id - o.first) % maxOpen)
	if id < firstID || at >= len(o.open) || closed(o.open[at].done) {
		return false
	}
	switch r := o.open[at]; {
	case kind == typePubrec && r.qos == 2:
		return true
	case kind == typePuback && r.qos == 1, kind == typePubcomp && r.qos == 2:
		close(r.done)
	}
	for len(o.open) > 0 && closed(o.open[0].done) {
		o.open[0] = nil
		o.open = o.open[1:]
		o.first = (o.first + 1) % maxOpen
	}
	return false
}

// waiting returns the receipts that are not done, the oldest first.
func (o *outbox) waiting() []*receipt {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(o.open), func(r *receipt) bool { return closed(r.done) })
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
		if !closed(r.done) {
			r.lost = true
			close(r.done)
		}
	}
	o.open = nil
}
