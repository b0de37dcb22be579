package local

import (
	"fmt"
	"sync/atomic"
)

// Stats are counters since the start, and what there is now.
type Stats struct {
	Clients       int   `json:"clients"`        // connected
	Sessions      int   `json:"sessions"`       // connected, or persistent and away
	Subscriptions int   `json:"subscriptions"`  //
	Retained      int   `json:"retained"`       // topics
	RetainedBytes int   `json:"retained_bytes"` //
	Received      int64 `json:"received"`       // messages of clients
	Sent          int64 `json:"sent"`           // messages to clients
	NotStored     int64 `json:"not_stored"`     // messages that Intake did not take
	NotRetained   int64 `json:"not_retained"`   // messages beyond the bounds of what is retained
	Slow          int64 `json:"slow"`           // messages left out for clients that do not keep up
	Published     int64 `json:"published"`      // messages of the gateway
	Dropped       int64 `json:"dropped"`        // messages of the gateway that were not published
	Refused       int64 `json:"refused"`        // connections, subscriptions and messages refused
	Reconnects    int64 `json:"reconnects"`     // Dial: connections after the first
}

// Stats returns the broker's figures.
func (b *Broker) Stats() Stats {
	b.mu.Lock()
	clients := len(b.live)
	b.mu.Unlock()
	s := Stats{
		Clients:       clients,
		Sessions:      b.srv.Clients.Len(),
		Subscriptions: int(atomic.LoadInt64(&b.srv.Info.Subscriptions)),
		Received:      b.count.received.Load(),
		Sent:          atomic.LoadInt64(&b.srv.Info.MessagesSent),
		NotStored:     b.count.notStored.Load(),
		NotRetained:   b.count.notRetained.Load(),
		Slow:          b.count.slow.Load() + atomic.LoadInt64(&b.srv.Info.InflightDropped),
		Published:     b.out.sent.Load(),
		Dropped:       b.out.dropped.Load(),
		Refused:       b.refusals.count(),
	}
	s.Retained, s.RetainedBytes = b.retained.size()
	return s
}

// Status returns the broker's state: up until Close.
func (b *Broker) Status() Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	where := b.url
	if where == "" {
		where = "WebSocket only"
	}
	s := Status{Up: !b.closing, Since: b.started, Detail: fmt.Sprintf("%s, %d clients", where, len(b.live))}
	if b.closing {
		s.Error = "closed"
	}
	return s
}
