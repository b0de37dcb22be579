package local

import (
	"sync"
	"sync/atomic"
)

const (
	outboxLength = 4096    // messages
	outboxBytes  = 4 << 20 // of payload
)

// outbox is what the gateway said and is not yet published. It never makes anybody wait: what does not fit is refused
// and counted.
type outbox struct {
	limit   int // of one payload
	queue   chan Message
	bytes   atomic.Int64
	sent    atomic.Int64
	dropped atomic.Int64

	mu     sync.RWMutex
	closed bool
}

func (o *outbox) init(limit int) {
	o.limit = limit
	o.queue = make(chan Message, outboxLength)
}

func (o *outbox) put(topic string, payload []byte, retain bool) error {
	if !validTopic(topic) {
		o.dropped.Add(1)
		return ErrTopic
	}
	if len(payload) > o.limit-len(topic)-16 {
		o.dropped.Add(1)
		return ErrSize
	}
	o.mu.RLock()
	defer o.mu.RUnlock()
	if o.closed {
		return ErrClosed
	}
	if o.bytes.Add(int64(len(payload))) > outboxBytes {
		return o.full(payload)
	}
	select {
	case o.queue <- Message{Topic: topic, Payload: payload, QoS: 1, Retain: retain}:
		return nil
	default:
		return o.full(payload)
	}
}

// room reports whether there is much of it.
func (o *outbox) room() bool { return len(o.queue) < outboxLength/2 && o.bytes.Load() < outboxBytes/2 }

func (o *outbox) full(payload []byte) error {
	o.bytes.Add(-int64(len(payload)))
	o.dropped.Add(1)
	return ErrFull
}

// took notes that a message has left the queue.
func (o *outbox) took(m Message) {
	o.bytes.Add(-int64(len(m.Payload)))
	o.sent.Add(1)
}

// close ends the queue; what is in it can still be taken.
func (o *outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.closed {
		o.closed = true
		close(o.queue)
	}
}
