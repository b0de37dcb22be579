package bridge

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

const (
	maxBody   = 268435455 // bytes of a packet after its fixed header; MQTT 3.1.1 section 2.2.3
	maxTopics = 1000      // remembered of those published to
)

// Receipt tells what became of a publish.
type Receipt interface {
	Done() <-chan struct{} // closed when the broker has acknowledged the message, or when the session has ended
	Err() error            // after Done: nil when acknowledged; for QoS 0, when sent
}

// sent is a publish that may not be acknowledged yet.
type sent struct {
	*receipt
	at time.Time
}

// receipt is a client's token. The client ends it when the acknowledgement comes, or with the session: nothing is given to
// a client that has ended (see settle), which would leave it open.
type receipt struct {
	mqtt.Token
	s *Session
}

func (r *receipt) Err() error {
	if err := r.Error(); err != nil {
		return fmt.Errorf("bridge: not acknowledged: %w", r.s.reason(err))
	}
	return nil
}

func (r *receipt) isDone() bool {
	return closed(r.Done())
}

// Publish gives m to the connection and returns its receipt. The payload is copied. It waits while more than 32 KiB wait
// to be sent; how many messages may be unacknowledged is the caller's to limit (MQTT has 65535 identifiers). With an error,
// nothing was sent, or the session has ended. Safe for concurrent use; messages leave in the order that calls return.
func (s *Session) Publish(ctx context.Context, m Message) (Receipt, error) {
	if m.QoS > 2 || len(m.Payload) > maxBody-len(m.Topic)-4 {
		return nil, fmt.Errorf("bridge: publish: %s with qos %d and %d bytes; MQTT has qos 0 to 2 and 256 MiB", m.Topic, m.QoS, len(m.Payload))
	}
	select {
	case s.turn <- struct{}{}:
	default:
		if err := s.await(ctx, s.turn, nil); err != nil {
			return nil, err
		}
	}
	defer func() { <-s.turn }()
	returns, err := s.returns(m.Topic)
	if err != nil {
		return nil, fmt.Errorf("bridge: publish: %w", err)
	}
	for s.wire.waiting() >= highWater {
		if err := s.await(ctx, nil, s.wire.room); err != nil {
			return nil, err
		}
	}
	if err := s.over(ctx); err != nil {
		return nil, err
	}
	if returns {
		s.echoes.note(m)
	}
	r := &receipt{s.client.Publish(m.Topic, m.QoS, m.Retain, bytes.Clone(m.Payload)), s}
	if m.QoS == 0 {
		select {
		case <-r.Done():
		case <-s.dead:
			return nil, s.lostError()
		}
	}
	if r.isDone() && r.Error() != nil {
		return nil, s.unsent(r.Error())
	}
	s.published.Add(1)
	if m.QoS > 0 {
		s.note(r)
	}
	return r, nil
}

// returns reports whether the broker sends back what is published to topic; an error when nothing can be. The caller has
// the turn.
func (s *Session) returns(topic string) (bool, error) {
	if back, known := s.topics[topic]; known {
		return back, nil
	}
	if err := ValidTopic(topic); err != nil {
		return false, err
	}
	if len(s.topics) >= maxTopics {
		clear(s.topics)
	}
	s.topics[topic] = slices.ContainsFunc(s.cfg.Subscribe, func(f Subscription) bool { return Match(f.Filter, topic) })
	return s.topics[topic], nil
}

// await waits for give to take something, or for take to give, and returns what ended it before.
func (s *Session) await(ctx context.Context, give chan<- struct{}, take <-chan struct{}) error {
	select {
	case give <- struct{}{}:
		return nil
	case <-take:
		return nil
	case <-s.closing:
		return ErrClosed
	case <-s.dead:
		return s.lostError()
	case <-ctx.Done():
		return fmt.Errorf("bridge: publish: %w", context.Cause(ctx))
	}
}

// over returns why nothing can be published any more, nil when it can.
func (s *Session) over(ctx context.Context) error {
	if closed(s.closing) {
		return ErrClosed
	}
	if closed(s.dead) {
		return s.lostError()
	}
	if ctx.Err() != nil {
		return fmt.Errorf("bridge: publish: %w", context.Cause(ctx))
	}
	return nil
}

// unsent is the error for a message that the client did not take.
func (s *Session) unsent(err error) error {
	if strings.Contains(err.Error(), "no message IDs") {
		return errors.New("bridge: publish: 65535 messages are not acknowledged yet")
	}
	s.fail(err)
	return s.lostError()
}

// note remembers an unacknowledged message, and forgets those that are no longer.
func (s *Session) note(r *receipt) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inflight = append(trim(s.inflight), sent{r, time.Now()})
}

// trim returns q from its first unacknowledged message on, and without the others too when they are many.
func trim(q []sent) []sent {
	for len(q) > 0 && q[0].isDone() {
		q[0] = sent{}
		q = q[1:]
	}
	if len(q) < 1024 || len(q) < cap(q) {
		return q
	}
	alive := make([]sent, 0, len(q)/2)
	for _, p := range q {
		if !p.isDone() {
			alive = append(alive, p)
		}
	}
	return alive
}
