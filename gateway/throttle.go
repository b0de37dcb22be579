package gateway

import (
	"context"
	"sync"
	"time"
)

const (
	// maxQueueing is how long a live reading may wait behind what is on its way of the backlog.
	maxQueueing = 150 * time.Millisecond
	// longTrip is a round trip that has queueing in it, whatever the shortest one was.
	longTrip = time.Second

	firstPace      = 4 << 10 // bytes on the way at the begin of a session
	leastPace      = 256
	measureAfter   = 10 * time.Second
	mostPace       = 1 << 20
	packetOverhead = 50 // bytes of a message's packet, TLS, TCP and IP, about
)

// throttle bounds the bytes of the backlog that are on their way, so that on a slow line they do not
// stand in a queue before live readings:
//
//	round trip − shortest round trip = time in queues    more than maxQueueing: fewer bytes
//	                                                      less than half of it: more bytes
//
// The shortest round trip is measured anew now and then, by a message that goes alone: another
// burst may have filled the queues when it was measured last, and lines change. On a fast line the
// bound has soon grown out of the way. A nil throttle bounds nothing.
type throttle struct {
	mu       sync.Mutex
	window   int
	flying   int
	full     bool          // somebody waits for room, or has since the last change
	steady   bool          // the window has been too large once: it grows slowly now
	shortest time.Duration // round trip; 0: none known
	measured time.Time     // when it was measured by a message alone
	alone    bool          // the next message goes alone
	probing  bool          // it is on its way
	cut      time.Time     // when the window was made smaller last
	room     chan struct{} // holds one
}

func newThrottle() *throttle { return &throttle{window: firstPace, room: make(chan struct{}, 1)} }

// enter waits until size bytes more may be on their way, and gives when they were let go. A single
// message always may. It is for one goroutine.
func (p *throttle) enter(ctx context.Context, size int) (time.Time, error) {
	for {
		now := time.Now()
		if p == nil {
			return now, nil
		}
		p.mu.Lock()
		p.alone = p.alone || now.Sub(p.measured) >= measureAfter
		if p.flying == 0 || !p.alone && p.flying+size <= p.window {
			p.flying += size
			p.probing = p.alone
			p.mu.Unlock()
			return now, nil
		}
		p.full = !p.alone
		p.mu.Unlock()
		select {
		case <-p.room:
		case <-ctx.Done():
			return now, ctx.Err()
		}
	}
}

// left notes that a message was acknowledged, and how long that took.
func (p *throttle) left(size int, took time.Duration) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flying -= size
	if p.probing {
		p.shortest, p.measured, p.alone, p.probing = took, time.Now(), false, false
	}
	if p.shortest == 0 || took < p.shortest {
		p.shortest = took
	}
	queued := max(took-p.shortest, took-longTrip)
	switch {
	case queued > maxQueueing:
		if time.Since(p.cut) >= took { // what was sent before the last cut says nothing about it
			less := max(float64(maxQueueing)/float64(queued), 0.5)
			p.window = max(int(float64(p.window)*less), leastPace)
			p.cut, p.steady = time.Now(), true
		}
	case queued < maxQueueing/2 && p.full && p.steady:
		p.window = min(p.window+size*size/p.window+1, mostPace)
		p.full = false
	case queued < maxQueueing/2 && p.full:
		p.window = min(p.window+size, mostPace)
		p.full = false
	}
	select {
	case p.room <- struct{}{}:
	default:
	}
}
