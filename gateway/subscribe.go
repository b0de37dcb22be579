package gateway

import (
	"context"
	"encoding/json"

	"github.com/meshgate/meshgate/smartmesh"
)

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
