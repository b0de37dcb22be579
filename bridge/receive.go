package bridge

import (
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// Messages returns what the broker sent for Config.Subscribe, in order. Up to 1024 wait there; when it is full, the next
// waits a second for a place and is dropped then, and so are those after it until there is one (Stats.Dropped). The
// channel is closed when the session has ended.
func (s *Session) Messages() <-chan Message { return s.messages }

// receive is the client's handler. The client acknowledges the message when it returns.
func (s *Session) receive(_ mqtt.Client, in mqtt.Message) {
	m := Message{Topic: in.Topic(), Payload: in.Payload(), QoS: in.Qos(), Retain: in.Retained(), Duplicate: in.Duplicate()}
	if s.wire.in.Truncated(m.Payload) {
		m.Payload, m.Truncated = nil, true
	}
	m.Echo = s.echoes.is(m)
	if ValidTopic(m.Topic) != nil || !s.offer(m) {
		s.dropped.Add(1)
		s.log.Debug("message dropped", "bridge", s.cfg.Name, "topic", m.Topic)
		return
	}
	s.received.Add(1)
}

func (s *Session) offer(m Message) bool {
	select {
	case s.messages <- m:
		s.full = false
		return true
	default:
	}
	if s.full {
		return false
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case s.messages <- m:
		return true
	case <-timer.C:
	case <-s.dead:
	}
	s.full = true
	return false
}
