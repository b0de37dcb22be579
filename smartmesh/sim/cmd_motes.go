package sim

import "time"

var broadcast = [8]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// Downstream. The real limits are not published.
const (
	maxData   = 90                    // bytes of data sendData takes; a longer packet gets RC_INVALID_ARGUMENT
	downQueue = 10                    // packets that may wait to leave the manager
	downSlot  = 50 * time.Millisecond // each leaves that long after the one before
	pingLost  = 5 * time.Second       // a ping without answer is reported after that
)

// operationalMote finds a mote that can be spoken to.
func (m *Manager) operationalMote(mac []byte) (*mote, byte) {
	mo := m.byMAC(mac)
	switch {
	case mo == nil:
		return nil, rcNotFound
	case mo.state != stateOperational:
		return mo, rcInvState
	}
	return mo, rcOK
}

// sendDown queues something for the mesh; left is called when it leaves the manager. It is false when the queue is full.
func (m *Manager) sendDown(left func()) bool {
	if m.down >= downQueue {
		return false
	}
	m.down++
	now := time.Now()
	if m.downFree.Before(now) {
		m.downFree = now
	}
	m.downFree = m.downFree.Add(downSlot)
	m.agenda.at(m.downFree, func() { m.down--; left() })
	return true
}

// queuePacket queues a packet for one mote or, with the broadcast address, all; eventPacketSent tells when it leaves.
func (m *Manager) queuePacket(mac []byte, arrive func(mo *mote, all bool)) []byte {
	all := [8]byte(mac) == broadcast
	mo, code := m.operationalMote(mac)
	switch {
	case code != rcOK && !all:
		return rc(code)
	case m.chance(m.faults.Nack):
		return rc(rcNack)
	}
	targets := []*mote{mo}
	if all {
		targets = append(targets[:0], m.motes[1:]...)
	}
	id := m.nextCallback()
	if !m.sendDown(func() {
		m.finished(eventPacketSent, id)
		for _, mo := range targets {
			m.after(mo, 20*time.Millisecond, func() { arrive(mo, all) })
		}
	}) {
		return rc(rcNack)
	}
	return be.AppendUint32(rc(rcOK), id)
}

// cmdSendData: address, priority u8, srcPort u16, dstPort u16, options u8, data.
func (m *Manager) cmdSendData(req []byte) []byte {
	data := append([]byte(nil), req[14:]...)
	if len(data) > maxData || req[8] > 2 {
		return rc(rcInvalidArgument)
	}
	src, dst := be.Uint16(req[9:]), be.Uint16(req[11:])
	return m.queuePacket(req[:8], func(mo *mote, all bool) { m.toMote(mo, src, dst, data, all) })
}

// cmdSendIP: address, priority u8, options u8, encryptedOffset u8, packet. The mote sends the packet back as
// notifIpData, so that both can be tried.
func (m *Manager) cmdSendIP(req []byte) []byte {
	data := append([]byte(nil), req[11:]...)
	if len(data) == 0 || len(data) > maxData || req[8] > 2 {
		return rc(rcInvalidArgument)
	}
	return m.queuePacket(req[:8], func(mo *mote, _ bool) {
		if !mo.online {
			return
		}
		p := m.clock.appendUTC([]byte{notifIPData}, time.Now())
		p = append(p, mo.mac[:]...)
		m.throughMesh(mo, append(p, data...))
	})
}

// cmdPingMote: the answer is eventPingResponse: callbackId u32, address, delay u32 ms, voltage u16 mV, temperature i8.
// A lost ping gives a delay of 0xFFFFFFFF.
func (m *Manager) cmdPingMote(req []byte) []byte {
	mo, code := m.operationalMote(req)
	switch {
	case code != rcOK:
		return rc(code)
	case mo.pinged:
		return rc(rcInProgress)
	}
	d := 100*time.Millisecond + time.Duration(mo.rng.Int64N(int64(400*time.Millisecond))) + m.faults.OAPDelay
	delay := uint32(d.Milliseconds())
	if !mo.online && mo != m.ap || m.lostInMesh(mo, m.faults.OAPLost) {
		d, delay = pingLost, 0xffffffff
	}
	id := m.nextCallback()
	answer := func() {
		mo.pinged = false
		p := be.AppendUint32(nil, id)
		p = append(p, mo.mac[:]...)
		p = be.AppendUint32(p, delay)
		if delay == 0xffffffff {
			p = append(p, 0, 0, 0)
		} else {
			now := time.Now()
			p = append(be.AppendUint16(p, m.millivolts(mo, now)), m.wholeDegrees(mo, now))
		}
		m.event(eventPingResponse, p)
	}
	if !m.sendDown(func() { m.later(d, answer) }) {
		return rc(rcNoResources)
	}
	mo.pinged = true
	return be.AppendUint32(rc(rcOK), id)
}

// moteConfig: address, moteId u16, isAP bool, state u8, reserved u8, isRouting bool.
func (m *Manager) moteConfig(mo *mote) []byte {
	p := append(rc(rcOK), mo.mac[:]...)
	p = be.AppendUint16(p, mo.id)
	isAP := byte(0)
	if mo == m.ap {
		isAP = 1
	}
	return append(p, isAP, mo.state, 0, 1)
}

// cmdGetMoteConfig goes through the motes in order of id, the access point first.
func (m *Manager) cmdGetMoteConfig(req []byte) []byte {
	next := req[8] != 0
	if next && [8]byte(req) == ([8]byte{}) {
		return m.moteConfig(m.motes[0])
	}
	mo := m.byMAC(req[:8])
	if mo == nil {
		return rc(rcNotFound)
	}
	if !next {
		return m.moteConfig(mo)
	}
	for _, other := range m.motes {
		if other.id > mo.id {
			return m.moteConfig(other)
		}
	}
	return rc(rcEndOfList)
}

func (m *Manager) cmdGetMoteConfigByID(req []byte) []byte {
	for _, mo := range m.motes {
		if mo.id == be.Uint16(req) {
			return m.moteConfig(mo)
		}
	}
	return rc(rcNotFound)
}

// cmdGetMoteInfo: address, state u8, numNbrs u8, numGoodNbrs u8, requestedBw, totalNeededBw, assignedBw u32 (ms per
// packet), packetsReceived, packetsLost u32, avgLatency u32 ms, stateTime u32 s, numJoins u8, hopDepth u8 (x 10).
func (m *Manager) cmdGetMoteInfo(req []byte) []byte {
	mo := m.byMAC(req)
	if mo == nil {
		return rc(rcNotFound)
	}
	good, paths := byte(0), mo.paths(false)
	for _, p := range paths {
		if p.quality > 50 {
			good++
		}
	}
	bandwidth := min(m.stored.baseBandwidth(), mo.inputs[0].rate)
	p := append(rc(rcOK), mo.mac[:]...)
	p = append(p, mo.state, byte(len(paths)), good)
	for _, v := range []uint32{bandwidth, bandwidth / uint32(1+len(mo.down)), bandwidth, mo.received, mo.lost,
		m.latency(), uint32(time.Since(mo.stateSince) / time.Second)} {
		p = be.AppendUint32(p, v)
	}
	return append(p, mo.joins, byte(min(255, mo.depth)))
}

// cmdDeleteMote forgets a lost mote; if it comes back it is a new one.
func (m *Manager) cmdDeleteMote(req []byte) []byte {
	mo := m.byMAC(req)
	switch {
	case mo == nil:
		return rc(rcNotFound)
	case mo == m.ap || mo.state != stateLost:
		return rc(rcInvState)
	}
	for i, other := range m.motes {
		if other == mo {
			m.motes = append(m.motes[:i:i], m.motes[i+1:]...)
			break
		}
	}
	mo.known = false
	m.idEvent(eventMoteDelete, mo)
	return rc(rcOK)
}

// cmdGetPathInfo: source and dest, either way round.
func (m *Manager) cmdGetPathInfo(req []byte) []byte {
	source, dest := m.byMAC(req[:8]), m.byMAC(req[8:])
	if source == nil || dest == nil || source == dest {
		return rc(rcNotFound)
	}
	for _, p := range source.paths(false) {
		if p.parent == dest || p.child == dest {
			return p.append(rc(rcOK), source)
		}
	}
	return rc(rcNotFound)
}

// cmdGetNextPathInfo: address, filter u8 (0 all, 1 upstream), pathId u16; the path with the next higher id follows.
func (m *Manager) cmdGetNextPathInfo(req []byte) []byte {
	mo := m.byMAC(req[:8])
	if mo == nil {
		return rc(rcNotFound)
	}
	if req[8] > 1 {
		return rc(rcInvalidArgument)
	}
	after := be.Uint16(req[9:])
	known := after == 0
	for _, p := range mo.paths(req[8] == 1) {
		known = known || p.id == after
		if p.id > after && known {
			return p.append(be.AppendUint16(rc(rcOK), p.id), mo)
		}
	}
	if !known {
		return rc(rcNotFound)
	}
	return rc(rcEndOfList)
}

// cmdGetMoteLinks: address, idx u16; idx u16, utilization u8, numLinks u8 and up to ten links, padded with zeros to the
// length of ten: the vendor's C library wants them all, and others ignore them.
func (m *Manager) cmdGetMoteLinks(req []byte) []byte {
	mo, code := m.operationalMote(req[:8])
	if code != rcOK {
		return rc(code)
	}
	idx, links := int(be.Uint16(req[8:])), mo.links()
	if idx >= len(links) {
		return rc(rcEndOfList)
	}
	links = links[idx:min(idx+10, len(links))]
	p := be.AppendUint16(rc(rcOK), uint16(idx))
	p = append(p, 10, byte(len(links)))
	for _, l := range links {
		p = append(p, l...)
	}
	return append(p, make([]byte, 95-len(p))...)
}

// cmdExchangeMoteJoinKey: address, key; the key goes into the access list at the end.
func (m *Manager) cmdExchangeMoteJoinKey(req []byte) []byte {
	mo, code := m.operationalMote(req[:8])
	if code != rcOK {
		return rc(code)
	}
	key := [16]byte(req[8:])
	id := m.nextCallback()
	if !m.sendDown(func() {
		m.later(operationTime, func() { m.acl[mo.mac] = key; m.finished(eventCommandFinished, id) })
	}) {
		return rc(rcNack)
	}
	return be.AppendUint32(rc(rcOK), id)
}

// cmdGetLog: the text follows as notifLog (address, text), in pieces.
func (m *Manager) cmdGetLog(req []byte) []byte {
	mo, code := m.operationalMote(req)
	if code != rcOK {
		return rc(code)
	}
	for i, text := range []string{"boot 1.4.2-9\r\n", "joined, two parents\r\n", "end of log\r\n"} {
		m.later(time.Duration(i+1)*100*time.Millisecond, func() {
			m.notify(append(append([]byte{notifLog}, mo.mac[:]...), text...))
		})
	}
	return rc(rcOK)
}
