package sim

import (
	"bytes"
	"time"
)

// operationTime is how long the mesh needs for an operation that ends with eventCommandFinished.
const operationTime = 300 * time.Millisecond

// later calls do in d.
func (m *Manager) later(d time.Duration, do func()) *entry { return m.agenda.at(time.Now().Add(d), do) }

// netConfig is the network configuration as on the wire, 21 bytes: networkId u16 @0, apTxPower i8 @2, frameProfile u8 @3,
// maxMotes u16 @4, baseBandwidth u16 @6, downFrameMultVal u8 @8, numParents u8 @9, ccaMode u8 @10, channelList u16 @11,
// autoStartNetwork bool @13, locMode u8 @14, bbMode u8 @15, bbSize u8 @16, isRadioTest u8 @17, bwMult u16 @18,
// oneChannel u8 @20.
type netConfig [21]byte

// factoryConfig: network 1229, 8 dBm, 100 motes, 9 s a packet, two parents, 15 channels. downFrameMultVal is 4, so that
// setDownstreamFrameMode has something to do.
func factoryConfig() netConfig {
	return netConfig{0x04, 0xcd, 8, 1, 0, 100, 0x23, 0x28, 4, 2, 0, 0x7f, 0xff, 1, 0, 0, 1, 0, 0x01, 0x2c, 0xff}
}

func (c *netConfig) maxMotes() uint16      { return be.Uint16(c[4:]) }
func (c *netConfig) baseBandwidth() uint32 { return uint32(be.Uint16(c[6:])) }
func (c *netConfig) downFrameMult() byte   { return c[8] }
func (c *netConfig) autoStart() bool       { return c[13] != 0 }
func (c *netConfig) radioTest() bool       { return c[17] != 0 }

// valid judges the fields whose values are listed or can have no sense.
func (c *netConfig) valid() bool {
	return c[3] == 1 && c.maxMotes() > 0 && (c[8] == 1 || c[8] == 2 || c[8] == 4) && c[9] >= 1 && c[9] <= 4 &&
		c[10] <= 3 && be.Uint16(c[11:])&0x7fff != 0 && c[13] <= 1 && c[15] <= 2
}

func (m *Manager) cmdReset(req []byte) []byte {
	answer := append(rc(rcOK), req[1:9]...)
	switch req[0] {
	case 0: // after the response has left
		m.later(100*time.Millisecond, m.reboot)
		return answer
	case 2:
	default:
		return rc(rcInvalidArgument)
	}
	mo, code := m.operationalMote(req[1:9])
	if code != rcOK {
		return rc(code)
	}
	if mo == m.ap {
		return rc(rcInvState)
	}
	if !m.sendDown(func() {
		m.moteEvent(eventMoteReset, mo)
		m.lose(mo)
		m.after(mo, time.Second, func() { m.join(mo) })
	}) {
		return rc(rcNack)
	}
	return answer
}

func (m *Manager) cmdSubscribe(req []byte) []byte {
	m.session.filter, m.session.unack = be.Uint32(req), be.Uint32(req[4:])
	return rc(rcOK)
}

func (m *Manager) cmdGetTime([]byte) []byte { return m.clock.appendTime(rc(rcOK), time.Now()) }

// cmdSetNetworkConfig: what is stored takes effect at the next boot, but for maxMotes and baseBandwidth.
func (m *Manager) cmdSetNetworkConfig(req []byte) []byte {
	c := netConfig(req)
	if !c.valid() {
		return rc(rcInvalidArgument)
	}
	m.stored = c
	return rc(rcOK)
}

func (m *Manager) cmdGetNetworkConfig([]byte) []byte { return append(rc(rcOK), m.stored[:]...) }

func (m *Manager) cmdClearStatistics([]byte) []byte {
	m.stats.Manager = ManagerStats{}
	return rc(rcOK)
}

func (m *Manager) cmdExchangeNetworkID(req []byte) []byte {
	id := [2]byte(req)
	return m.begin(34, func() { copy(m.stored[:], id[:]); copy(m.active[:], id[:]) })
}

func (m *Manager) cmdSetAdvertising(req []byte) []byte {
	state := req[0]
	if state > 1 {
		return rc(rcInvalidArgument)
	}
	return m.begin(50, func() { m.advertising = state })
}

func (m *Manager) cmdSetDownstreamFrameMode(req []byte) []byte {
	mode := req[0]
	if mode > 1 || m.active.downFrameMult() == 1 {
		return rc(rcInvalidArgument)
	}
	return m.begin(51, func() { m.frameMode = mode })
}

func (m *Manager) cmdStartNetwork([]byte) []byte {
	if m.started {
		return rc(rcInProgress)
	}
	if m.active.radioTest() {
		return rc(rcInvalidCommand)
	}
	m.started = true
	if m.running {
		m.joinAll()
	}
	return rc(rcOK)
}

// cmdGetSystemInfo: hardware 16.1, software 1.4.2.9.
func (m *Manager) cmdGetSystemInfo([]byte) []byte {
	return append(append(rc(rcOK), m.ap.mac[:]...), 16, 1, 1, 4, 2, 0, 9)
}

// cmdGetNetworkInfo: network-wide figures from those of the motes.
func (m *Manager) cmdGetNetworkInfo([]byte) []byte {
	var arrived, lost uint64
	deepest := 0
	for _, mo := range m.motes {
		arrived += uint64(mo.received)
		lost += uint64(mo.lost)
		deepest = max(deepest, mo.depth)
	}
	reliability := byte(100)
	if arrived+lost > 0 {
		reliability = byte(arrived * 100 / (arrived + lost))
	}
	state := byte(2) // not started
	switch {
	case m.active.radioTest():
		state = 1
	case m.started:
		state = 0
	}
	p := be.AppendUint16(rc(rcOK), uint16(m.operational()))
	p = be.AppendUint16(p, uint16(slot/time.Microsecond))
	p = append(p, m.advertising, m.frameMode, reliability, m.stability())
	p = be.AppendUint32(p, m.latency())
	p = append(p, state)
	p = append(p, m.ip[:16]...)
	p = be.AppendUint32(p, uint32(lost))
	p = be.AppendUint64(p, arrived)
	return append(p, byte((deepest+9)/10))
}

// stability is the mean quality of all paths, in percent.
func (m *Manager) stability() byte {
	sum, n := 0, 0
	for _, mo := range m.motes {
		for _, p := range mo.up {
			sum, n = sum+int(p.quality), n+1
		}
	}
	if n == 0 {
		return 100
	}
	return byte(sum / n)
}

// latency is the mean time through the mesh, in ms.
func (m *Manager) latency() uint32 { return uint32(m.cfg.Latency.Milliseconds() / 2) }

func (m *Manager) cmdGetIPConfig([]byte) []byte { return append(rc(rcOK), m.ip[:]...) }

// cmdSetIPConfig: of the address only the upper 8 bytes count.
func (m *Manager) cmdSetIPConfig(req []byte) []byte {
	copy(m.ip[:8], req[:8])
	copy(m.ip[16:], req[16:32])
	return rc(rcOK)
}

func (m *Manager) cmdGetManagerStatistics([]byte) []byte {
	s, p := m.stats.Manager, rc(rcOK)
	for _, v := range []uint16{s.SerTxCnt, s.SerRxCnt, s.SerRxCRCErr, s.SerRxOverruns, s.APIEstabConn, s.APIDroppedConn,
		s.APITxOk, s.APITxErr, s.APITxFail, s.APIRxOk, s.APIRxProtErr} {
		p = be.AppendUint16(p, v)
	}
	return p
}

// cmdSetTime works only while the network does not run. A trigger other than 0 dates the last strobe of the time pin.
func (m *Manager) cmdSetTime(req []byte) []byte {
	if m.started {
		return rc(rcValidationError)
	}
	secs, usecs := be.Uint64(req[1:]), be.Uint32(req[9:])
	if secs > 1<<33 || usecs >= 1e6 || req[0] != 0 && m.strobe.IsZero() {
		return rc(rcInvalidArgument)
	}
	at := time.Now()
	if req[0] != 0 {
		at = m.strobe
	}
	wanted := time.Duration(int64(secs)-epoch)*time.Second + time.Duration(usecs)*time.Microsecond
	m.clock.shift = wanted - m.clock.elapsed(at)
	return rc(rcOK)
}

func (m *Manager) cmdGetLicense([]byte) []byte { return append(rc(rcOK), m.license[:]...) }

func (m *Manager) cmdSetLicense(req []byte) []byte {
	copy(m.license[:], req)
	return rc(rcOK)
}

func (m *Manager) cmdSetCLIUser(req []byte) []byte {
	if req[0] > 1 {
		return rc(rcInvalidArgument)
	}
	return rc(rcOK)
}

func (m *Manager) cmdRestoreFactoryDefaults([]byte) []byte {
	m.stored = factoryConfig()
	clear(m.acl)
	return rc(rcOK)
}

// maxACL is how many motes the access list takes.
const maxACL = 1200

func (m *Manager) cmdSetACLEntry(req []byte) []byte {
	mac := [8]byte(req)
	if _, known := m.acl[mac]; !known && len(m.acl) >= maxACL {
		return rc(rcNoResources)
	}
	m.acl[mac] = [16]byte(req[8:])
	return rc(rcOK)
}

// cmdGetNextACLEntry goes through the list in order of address.
func (m *Manager) cmdGetNextACLEntry(req []byte) []byte {
	after := [8]byte(req)
	if _, known := m.acl[after]; !known && after != ([8]byte{}) {
		return rc(rcNotFound)
	}
	var next [8]byte
	found := false
	for mac := range m.acl {
		if bytes.Compare(mac[:], after[:]) > 0 && (!found || bytes.Compare(mac[:], next[:]) < 0) {
			next, found = mac, true
		}
	}
	if !found {
		return rc(rcEndOfList)
	}
	key := m.acl[next]
	return append(append(rc(rcOK), next[:]...), key[:]...)
}

func (m *Manager) cmdDeleteACLEntry(req []byte) []byte {
	mac := [8]byte(req)
	if mac == ([8]byte{}) || mac == broadcast {
		clear(m.acl)
		return rc(rcOK)
	}
	if _, known := m.acl[mac]; !known {
		return rc(rcNotFound)
	}
	delete(m.acl, mac)
	return rc(rcOK)
}

func (m *Manager) cmdSetCommonJoinKey([]byte) []byte { return rc(rcOK) }
