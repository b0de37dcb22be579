package gateway

import (
	"context"
	"encoding/json"

	"github.com/meshgate/meshgate/smartmesh"
)

// subscribeAll asks for what the gateway wants. As long as the disk does not take records, data come without being
// acknowledged: to wait for that would cost the session.
func (m *mesh) subscribeAll(ctx context.Context, s *smartmesh.Session) error {
	unacked := m.unacked()
	if m.g.intake.bad() {
		unacked = unackedWanted
	}
	if err := s.Subscribe(ctx, wanted, unacked); err != nil {
		return err
	}
	m.subscribed.Store(unacked == m.unacked())
	return nil
}

// subscribeSoon has it done again: the disk has got well.
func (m *mesh) subscribeSoon() {
	select {
	case m.resubscribe <- struct{}{}:
	default: // already asked for
	}
}

// refuses tells whether what came last is not to be acknowledged. It is of the session's goroutine.
func (m *mesh) refuses() bool {
	refused := m.refused
	m.refused = false
	return refused
}

// subscribe does what somebody else asks of the gateway's session without taking anything from it: the types that the
// gateway wants stay, and those it acknowledges stay acknowledged, as with the clients of a shared port.
func (m *mesh) subscribe(ctx context.Context, s *smartmesh.Session, fields json.RawMessage) (json.RawMessage, error) {
	filter, unack, err := smartmesh.ParseSubscribe(fields)
	if err != nil {
		return nil, err
	}
	acknowledged := wanted &^ m.unacked()
	if err := s.Subscribe(ctx, wanted|filter, m.unacked()|unack&^acknowledged); err != nil {
		return nil, err
	}
	return json.RawMessage(`{"RC":0}`), nil
}
