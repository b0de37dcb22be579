package gateway

import (
	"sync"
	"time"
)

// departures tells those who have queued a packet at the manager when it leaves (eventPacketSent).
// The event and the response with the packet's handle go different ways: either may be first.
type departures struct {
	mu      sync.Mutex
	waiting map[uint32]chan byte
	early   map[uint32]early
}

// early is an event that came before anybody asked for it.
type early struct {
	code byte
	at   time.Time
}

// keepEarly is how long such an event is kept: the response is on its way. Handles start over
// when the manager does, so that an old event must not be taken for a new one.
const keepEarly = 3 * time.Second

func newDepartures() *departures {
	return &departures{waiting: map[uint32]chan byte{}, early: map[uint32]early{}}
}

// of gives a channel that will hold the code of the event for a handle: 0 is good.
func (d *departures) of(handle uint32) (left <-chan byte, forget func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	ch := make(chan byte, 1)
	if e, ok := d.early[handle]; ok && time.Since(e.at) < keepEarly {
		delete(d.early, handle)
		ch <- e.code
		return ch, func() {}
	}
	d.waiting[handle] = ch
	return ch, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.waiting, handle)
	}
}

// left notes an event.
func (d *departures) left(handle uint32, code byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if ch := d.waiting[handle]; ch != nil {
		delete(d.waiting, handle)
		ch <- code
		return
	}
	now := time.Now()
	for h, e := range d.early {
		if now.Sub(e.at) >= keepEarly {
			delete(d.early, h)
		}
	}
	d.early[handle] = early{code, now}
}
