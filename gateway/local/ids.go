package local

import (
	"sync"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// idMap keeps the packet identifiers of a client and those of the server apart. In MQTT they are two spaces; the
// server has one map for both, so that a client that subscribes with identifier 1 while the server's message 1 waits
// for its PUBACK would be refused, and one that publishes with it would lose that message. Here an identifier that the
// client chose is replaced by one that is free in the server, and put back in the answer.
//
//	client  PUBLISH QoS 1, SUBSCRIBE, UNSUBSCRIBE 7 -> 40007   PUBACK, SUBACK, UNSUBACK 40007 -> 7   at once
//	client  PUBLISH QoS 2 7 -> 40007   PUBREC 40007 -> 7   PUBREL 7 -> 40007   PUBCOMP 40007 -> 7    kept until then
//
// Identifiers the server chose (its PUBLISH and PUBREL, the client's PUBACK, PUBREC, PUBCOMP) stay as they are.
type idMap struct {
	mu    sync.Mutex
	last  uint16            // the server's newest
	now   uint16            // client's identifier of the packet that is being processed
	inner uint16            // and the server's
	held  map[uint16]uint16 // QoS 2: client's -> server's
}

// in replaces the identifier of a packet that came in.
func (m *idMap) in(cl *mqtt.Client, pk *packets.Packet) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch t := pk.FixedHeader.Type; {
	case t == packets.Publish && pk.FixedHeader.Qos > 0, t == packets.Subscribe, t == packets.Unsubscribe, t == packets.Pubrel:
	default:
		return
	}
	if pk.PacketID == 0 {
		return // the server refuses it
	}
	inner, known := m.held[pk.PacketID]
	qos2 := pk.FixedHeader.Type == packets.Publish && pk.FixedHeader.Qos == 2
	if !known || !qos2 && pk.FixedHeader.Type != packets.Pubrel {
		inner = m.free(cl)
	}
	if qos2 {
		if m.held == nil {
			m.held = map[uint16]uint16{}
		}
		m.held[pk.PacketID] = inner
	}
	m.now, m.inner = pk.PacketID, inner
	pk.PacketID = inner
}

// free finds an identifier far from those the server gives out next.
func (m *idMap) free(cl *mqtt.Client) uint16 {
	for id := m.last + 1<<15; ; id++ {
		if _, used := cl.State.Inflight.Get(id); !used && id != 0 {
			return id
		}
	}
}

// out puts the client's identifier back into an answer.
func (m *idMap) out(pk *packets.Packet) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch pk.FixedHeader.Type {
	case packets.Publish:
		if pk.FixedHeader.Qos > 0 {
			m.last = pk.PacketID
		}
	case packets.Puback, packets.Suback, packets.Unsuback, packets.Pubrec, packets.Pubcomp:
		if pk.PacketID == m.inner {
			pk.PacketID = m.now
		} else if outer, ok := m.outer(pk.PacketID); ok {
			pk.PacketID = outer
		}
		if pk.FixedHeader.Type == packets.Pubcomp {
			delete(m.held, pk.PacketID)
		}
	}
}

func (m *idMap) outer(inner uint16) (uint16, bool) {
	for outer, in := range m.held {
		if in == inner {
			return outer, true
		}
	}
	return 0, false
}

// inherit takes over what a former connection of the same session held.
func (m *idMap) inherit(old *idMap) {
	old.mu.Lock()
	defer old.mu.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last = old.last
	if len(old.held) > 0 {
		m.held = old.held
		old.held = nil
	}
}
