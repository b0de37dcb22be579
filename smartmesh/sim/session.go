package sim

import (
	"bytes"
	"time"
)

// Packet types and control bits of the serial protocol.
const (
	kindHello         = 1
	kindHelloResponse = 2
	kindMgrHello      = 3
	kindNotification  = 20

	isAck      = 0x01 // a response, or the acknowledgement of a notification
	ackService = 0x02 // wants to be acknowledged

	version = 4
)

// The manager's own figures are not published; these are the simulator's.
const (
	helloPeriod = 1500 * time.Millisecond // between two MgrHellos
	retryAfter  = 500 * time.Millisecond  // an unacknowledged notification is sent again
	maxSends    = 6                       // then, after another retryAfter, the session is dropped
	ackLimit    = 200 * time.Millisecond  // an acknowledgement that takes longer is a violation
	bootTime    = 500 * time.Millisecond  // the port is dead after a reboot
)

// session is one client's session. The numbers of reliable packets belong to the manager and go on through sessions.
type session struct {
	expected     byte // number of the next request
	filter       uint32
	unack        uint32
	last         []byte // the latest numbered request, whole, and its answer; nil before the first
	reply        []byte
	answered     bool // the answer to last has been sent
	queue        [][]byte
	inFlight     []byte // payload of the notification that waits for its acknowledgement, or nil
	inFlightSent sent
	sends        int
	retry        *entry
}

// sent is a reliable packet's number and the times it was sent and not yet acknowledged: each of them may bring an
// acknowledgement, in this order.
type sent struct {
	packet []byte
	seq    byte
	at     []time.Time
}

func (s *session) wants(notif byte) bool {
	return s != nil && notif < 32 && s.filter>>notif&1 == 1
}

// announce starts MgrHello, at once and then for as long as there is a client and no session.
func (m *Manager) announce() {
	m.agenda.cancel(m.beacon)
	m.beacon = nil
	if m.session != nil || m.link == nil {
		return
	}
	m.transmit(appendPacket(nil, 0, kindMgrHello, 0, []byte{version, 0}))
	m.beacon = m.agenda.at(time.Now().Add(helloPeriod), m.announce)
}

// receive takes one packet from the port l.
func (m *Manager) receive(l *link, raw []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p, ok := parse(raw)
	switch {
	case m.link != l:
		return
	case m.silent(time.Now()):
		if s := m.session; ok && p.control&isAck != 0 && s != nil {
			s.inFlightSent.forget(p.seq)
		}
		return
	}
	m.stats.Manager.SerRxCnt++
	switch {
	case !ok:
		m.stats.Manager.APIRxProtErr++
		m.violate("packet of %d bytes: no header, or its length byte is wrong", len(raw))
	case p.control&isAck != 0:
		m.acknowledged(p)
	case p.kind == kindHello:
		m.hello(p)
	default:
		m.request(p)
	}
}

// hello starts a new session whatever was before. With a version or mode that is not ours there is no session after it.
func (m *Manager) hello(p packet) {
	if len(p.payload) < 3 {
		m.stats.Manager.APIRxProtErr++
		m.violate("hello of %d bytes", len(p.payload))
		return
	}
	if p.control&ackService != 0 {
		m.violate("hello with control byte %#02x", p.control)
	}
	if m.chance(m.faults.LostRequest) {
		return
	}
	if m.session != nil {
		m.stats.Manager.APIDroppedConn++
	}
	m.endSession()
	var code byte
	switch {
	case p.payload[0] != version:
		code = 1
	case p.payload[2] != 0:
		code = 2
	default:
		m.session = &session{expected: p.payload[1] + 1}
		m.stats.Sessions++
		m.stats.Manager.APIEstabConn++
	}
	answer := appendPacket(nil, 0, kindHelloResponse, 0, []byte{code, version, m.relSeq, p.payload[1], p.payload[2]})
	m.afterDelay(m.chance(m.faults.LostResponse), func() { m.transmit(answer) })
	if m.session == nil && m.beacon == nil {
		m.beacon = m.agenda.at(time.Now().Add(helloPeriod), m.announce)
	}
}

// endSession forgets the session; acknowledgements of what it sent may still be on their way and do no harm.
func (m *Manager) endSession() {
	m.agenda.cancel(m.beacon)
	m.beacon = nil
	if s := m.session; s != nil {
		m.agenda.cancel(s.retry)
		if s.inFlight != nil {
			m.stale = s.inFlightSent
			m.stats.Unacked++
		}
		m.stats.Discarded += len(s.queue)
		m.session = nil
	}
}

// afterDelay does what is not lost, after the delay of the faults.
func (m *Manager) afterDelay(lost bool, do func()) {
	switch {
	case lost:
	case m.faults.Delay > 0:
		m.agenda.at(time.Now().Add(m.faults.Delay), do)
	default:
		do()
	}
}

// request executes a request and answers it. A request before there is a session is ignored; one without the
// acknowledged service is executed and not answered, and uses up no number.
func (m *Manager) request(p packet) {
	s := m.session
	if s == nil {
		m.violate("request %d (type %d) without a session", p.seq, p.kind)
		return
	}
	if m.chance(m.faults.LostRequest) {
		return
	}
	m.stats.Requests++
	if p.control&ackService == 0 {
		m.violate("request %d (type %d) with control byte %#02x", p.seq, p.kind, p.control)
		m.execute(p)
		return
	}
	if s.last != nil && p.equal(s.last) {
		m.stats.Repeats++
		m.answer(s)
		return
	}
	if p.seq != s.expected {
		m.violate("request number %d (type %d), expected %d", p.seq, p.kind, s.expected)
	}
	if s.last != nil && !s.answered {
		m.violate("request %d (type %d) before request %d was answered", p.seq, p.kind, s.last[2])
	}
	s.expected = p.seq + 1
	s.last = bytes.Clone(p.raw)
	s.reply = appendPacket(nil, isAck|ackService, p.kind, p.seq, m.execute(p))
	s.answered = false
	m.answer(s)
}

// answer sends the stored answer. A lost one leaves the request unanswered until it is repeated.
func (m *Manager) answer(s *session) {
	reply := s.reply
	m.afterDelay(m.chance(m.faults.LostResponse), func() {
		if m.session != s || !m.transmit(reply) {
			return
		}
		m.stats.Manager.APIRxOk++
		if s.last[2] == reply[2] {
			s.answered = true
		}
	})
}

// notify sends a notification as the session subscribed to it; it says whether it did. The reliable queue is bounded:
// the oldest that waits gives way.
func (m *Manager) notify(payload []byte) bool {
	s := m.session
	if len(payload) == 0 || !s.wants(payload[0]) {
		return false
	}
	if s.unack>>payload[0]&1 == 1 {
		m.stats.Unreliable++
		m.transmit(appendPacket(nil, 0, kindNotification, m.unreliableNumber(), payload))
		return true
	}
	if len(s.queue) >= m.cfg.Queue {
		s.queue = s.queue[1:]
		m.stats.Overflow++
	}
	s.queue = append(s.queue, payload)
	m.pump()
	return true
}

// unreliableNumber gives an unacknowledged packet a number that means nothing, but is not that of a packet beside it: the
// vendor's C library takes equal numbers for a repeat, also in these, and would lose what comes second.
func (m *Manager) unreliableNumber() byte {
	for {
		n := byte(m.rng.Uint32())
		if n != m.unrelSeq && n != m.relSeq && n != m.relSeq+1 {
			m.unrelSeq = n
			return n
		}
	}
}

// pump sends the next reliable notification if none is on its way.
func (m *Manager) pump() {
	s := m.session
	if s.inFlight != nil || len(s.queue) == 0 {
		return
	}
	s.inFlight, s.queue = s.queue[0], s.queue[1:]
	m.relSeq++
	if m.chance(m.faults.Gap) {
		m.relSeq += byte(1 + m.rng.IntN(3))
	}
	m.stats.Reliable++
	s.sends = 0
	s.inFlightSent = sent{packet: appendPacket(nil, ackService, kindNotification, m.relSeq, s.inFlight), seq: m.relSeq}
	m.sendInFlight()
}

// sendInFlight sends what is in flight, the first time or again, and drops the session when that was often enough.
func (m *Manager) sendInFlight() {
	s := m.session
	if s.sends >= maxSends {
		m.stats.Manager.APITxFail++
		m.stats.Manager.APIDroppedConn++
		m.stats.Dropped++
		m.log.Debug("session dropped: notification not acknowledged", "seq", s.inFlightSent.seq)
		m.endSession()
		m.announce()
		return
	}
	copies := 1
	if s.sends == 0 && m.chance(m.faults.Duplicate) {
		copies = 2
	}
	s.sends++
	if s.sends > 1 {
		m.stats.Resent++
	}
	for range copies {
		if m.transmit(s.inFlightSent.packet) {
			s.inFlightSent.at = append(s.inFlightSent.at, time.Now())
		}
	}
	s.retry = m.agenda.at(time.Now().Add(retryAfter), m.sendInFlight)
}

// acknowledged takes a packet with the acknowledgement bit; the client has only notifications to acknowledge. Control
// 0x03 and 0x01 are both in use, and every repeat may bring an acknowledgement of its own.
func (m *Manager) acknowledged(p packet) {
	if p.kind != kindNotification {
		m.violate("acknowledgement of a packet of type %d", p.kind)
		return
	}
	if len(p.payload) != 1 {
		m.violate("acknowledgement with %d bytes of payload instead of 1", len(p.payload))
	}
	now, s := time.Now(), m.session
	if s == nil || s.inFlight == nil || p.seq != s.inFlightSent.seq {
		if !m.stale.take(m, p.seq, now) {
			m.violate("acknowledgement of %d, which is not on its way", p.seq)
		}
		return
	}
	if !s.inFlightSent.take(m, p.seq, now) {
		m.violate("acknowledgement of %d, more often than it was sent whole", p.seq)
	}
	if m.chance(m.faults.LostAck) {
		return
	}
	if len(p.payload) > 0 && p.payload[0] != 0 {
		m.stats.Manager.APITxErr++
	} else {
		m.stats.Manager.APITxOk++
	}
	m.agenda.cancel(s.retry)
	m.stats.Acked++
	if n := m.cfg.KeepAcked; n > 0 {
		m.acked = append(m.acked, s.inFlight)[max(0, len(m.acked)+1-n):]
	}
	m.stale = s.inFlightSent
	s.inFlight = nil
	m.pump()
}

// take counts one acknowledgement of seq against the oldest time it was sent, and judges how long it took.
func (s *sent) take(m *Manager, seq byte, now time.Time) bool {
	if len(s.at) == 0 || s.seq != seq {
		return false
	}
	if d := now.Sub(s.at[0]); d > ackLimit {
		m.violate("acknowledgement of %d after %v", seq, d.Round(time.Millisecond))
	}
	s.at = s.at[1:]
	return true
}

// forget takes away the oldest time seq was sent: its acknowledgement is lost.
func (s *sent) forget(seq byte) {
	if s.seq == seq && len(s.at) > 0 {
		s.at = s.at[1:]
	}
}
