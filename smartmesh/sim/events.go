package sim

import "time"

// Notification types: the first byte of a notification, and its bit in the filters of subscribe.
const (
	notifEvent     = 1
	notifLog       = 2
	notifData      = 4
	notifIPData    = 5
	notifHealth    = 6
	notifRadioTest = 7
)

// Event types.
const (
	eventMoteReset       = 0
	eventNetworkReset    = 1
	eventCommandFinished = 2
	eventMoteJoin        = 3
	eventMoteOperational = 4
	eventMoteLost        = 5
	eventNetworkTime     = 6
	eventPingResponse    = 7
	eventPathCreate      = 10
	eventPathDelete      = 11
	eventPacketSent      = 12
	eventMoteCreate      = 13
	eventMoteDelete      = 14
	eventJoinFailed      = 15
)

// event sends notifEvent: eventId u32, eventType u8, data. The first event after boot is number 1, and numbers go on
// while nobody listens.
func (m *Manager) event(kind byte, data []byte) {
	m.eventID++
	if !m.session.wants(notifEvent) {
		return
	}
	p := append(make([]byte, 0, 6+len(data)), notifEvent)
	p = be.AppendUint32(p, m.eventID)
	p = append(p, kind)
	m.notify(append(p, data...))
}

func (m *Manager) moteEvent(kind byte, mo *mote) { m.event(kind, mo.mac[:]) }

// idEvent sends eventMoteCreate or eventMoteDelete: address and id.
func (m *Manager) idEvent(kind byte, mo *mote) {
	m.event(kind, be.AppendUint16(append([]byte(nil), mo.mac[:]...), mo.id))
}

// finished sends eventCommandFinished or eventPacketSent: callbackId u32, rc u8 (0 good).
func (m *Manager) finished(kind byte, id uint32) {
	m.event(kind, append(be.AppendUint32(nil, id), 0))
}

func (m *Manager) nextCallback() uint32 {
	m.callbackID++
	return m.callbackID
}

// fromMote carries a UDP packet a mote made at the given time through the mesh to the client, as notifData.
func (m *Manager) fromMote(mo *mote, made time.Time, src, dst uint16, data []byte) {
	mo.txOk++
	p := append(make([]byte, 0, 25+len(data)), notifData)
	p = m.clock.appendUTC(p, made)
	p = append(p, mo.mac[:]...)
	p = be.AppendUint16(p, src)
	p = be.AppendUint16(p, dst)
	m.throughMesh(mo, append(p, data...))
}

// throughMesh brings a notification from a mote to the manager, which takes time.
func (m *Manager) throughMesh(mo *mote, payload []byte) {
	arrive := func() { mo.received++; m.notify(payload) }
	if m.cfg.Latency <= 0 {
		arrive()
		return
	}
	m.agenda.at(time.Now().Add(time.Duration(mo.rng.Int64N(int64(m.cfg.Latency)))), arrive)
}

// lostInMesh counts what the faults take away.
func (m *Manager) lostInMesh(mo *mote, p float64) bool {
	if !m.chance(p) {
		return false
	}
	mo.lost++
	m.stats.MeshLost++
	return true
}
