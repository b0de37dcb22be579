package bridge

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"time"
)

const (
	maxBody   = 268435455 // bytes of a packet after its fixed header; MQTT 3.1.1 section 2.2.3
	maxTopics = 1000      // remembered of those published to
)

var errTooMany = fmt.Errorf("bridge: publish: %d messages are not acknowledged yet", maxOpen)

// Publish gives m to the connection and returns its receipt. The payload is copied. It waits while more than 32 KiB wait
// to be sent; how many messages may be unacknowledged is the caller's to limit, 32768 is an error. With an error, nothing
// was sent, or the session has ended. Safe for concurrent use; messages leave in the order that calls return.
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
	return s.send(m)
}

// send is Publish without what it waits for and checks. The caller has the turn.
func (s *Session) send(m Message) (Receipt, error) {
	r := &receipt{s: s, qos: m.QoS, at: time.Since(s.started), over: m.QoS == 0}
	var id uint16
	if m.QoS > 0 {
		if id = s.outbox.add(r); id == 0 {
			return nil, errTooMany
		}
	}
	s.wire.put(func(buf []byte) []byte { return appendPublish(buf, m, id) })
	s.published.Add(1)
	return r, nil
}

// appendPublish appends a PUBLISH (MQTT 3.1.1 section 3.3): type, QoS and retain in a byte, the remaining length, the topic
// behind its length in two bytes, the identifier unless QoS is 0, the payload.
func appendPublish(dst []byte, m Message, id uint16) []byte {
	head, length := byte(typePublish<<4)|m.QoS<<1, 2+len(m.Topic)+len(m.Payload)
	if m.Retain {
		head |= 1
	}
	if m.QoS > 0 {
		length += 2
	}
	dst = appendHead(dst, head, length)
	dst = append(binary.BigEndian.AppendUint16(dst, uint16(len(m.Topic))), m.Topic...)
	if m.QoS > 0 {
		dst = binary.BigEndian.AppendUint16(dst, id)
	}
	return append(dst, m.Payload...)
}

// answered takes the broker's answer to a PUBLISH: PUBACK, or PUBREC and then PUBCOMP.
func (s *Session) answered(kind byte, id uint16) {
	if s.outbox.answered(kind, id) {
		s.wire.put(func(buf []byte) []byte { return binary.BigEndian.AppendUint16(append(buf, typePubrel<<4|2, 2), id) })
	}
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
