package sim

import "time"

// radioTest is the state of the radio tests, which work only after a boot with isRadioTest set. Outside of it they answer
// RC_INVALID_COMMAND ("not now"), or the code that is listed for the wrong state where there is one.
type radioTest struct {
	busy     bool
	received bool // a receive test has been started
}

const radioTestTime = 2 * time.Second // of a transmit or packet error test

// busyFor starts a test unless one runs.
func (m *Manager) busyFor(d time.Duration, then func()) byte {
	if m.test.busy {
		return rcInProgress
	}
	m.test.busy = true
	m.later(d, func() { m.test.busy = false; then() })
	return rcOK
}

// cmdRadiotestTx: testType u8, chanMask u16, repeatCnt u16, txPower i8, seqSize u8, seqSize times (pkLen u8, delay u16),
// stationId u8. sm_clib always sends ten pairs, so more bytes than seqSize asks for are no error.
func (m *Manager) cmdRadiotestTx(req []byte) []byte {
	switch {
	case !m.active.radioTest():
		return rc(rcInvalidCommand)
	case req[0] > 3 || be.Uint16(req[1:])&0x7fff == 0 || req[6] > 10 || len(req) < 8+3*int(req[6]):
		return rc(rcInvalidArgument)
	}
	return rc(m.busyFor(radioTestTime, func() {}))
}

// cmdRadiotestRx: mask u16, duration u16 s, stationId u8.
func (m *Manager) cmdRadiotestRx(req []byte) []byte {
	switch {
	case !m.active.radioTest():
		return rc(rcInvalidCommand)
	case be.Uint16(req)&0x7fff == 0:
		return rc(rcInvalidArgument)
	}
	code := m.busyFor(time.Duration(be.Uint16(req[2:]))*time.Second, func() {})
	m.test.received = m.test.received || code == rcOK
	return rc(code)
}

func (m *Manager) cmdGetRadiotestStatistics([]byte) []byte {
	switch {
	case !m.test.received:
		return rc(rcInvalidCommand)
	case m.test.busy:
		return rc(rcInProgress)
	}
	return be.AppendUint16(be.AppendUint16(rc(rcOK), 990), 10)
}

// cmdRadiotestRxPER ends with notifRadiotestStatsPER: numRxOK, numRxErr, numRxInv, numRxMiss, perInt, perFrac, all u16.
func (m *Manager) cmdRadiotestRxPER([]byte) []byte {
	if !m.active.radioTest() {
		return rc(rcInProgress)
	}
	return rc(m.busyFor(radioTestTime, func() {
		p := []byte{notifRadioTest}
		for _, v := range []uint16{990, 6, 1, 3, 1, 0} {
			p = be.AppendUint16(p, v)
		}
		m.notify(p)
	}))
}

func (m *Manager) cmdRadiotestTxPER([]byte) []byte {
	if !m.active.radioTest() {
		return rc(rcInProgress)
	}
	return rc(m.busyFor(radioTestTime, func() {}))
}

// cmdRadiotestXtalComp: a mean of 32768 Hz, in mHz, and 2 mHz peak to peak.
func (m *Manager) cmdRadiotestXtalComp([]byte) []byte {
	if !m.active.radioTest() {
		return rc(rcInvalidCommand)
	}
	return be.AppendUint16(be.AppendUint32(rc(rcOK), 32768000), 2)
}

// cmdRadiotestXtal: pull value 64, 3 ppm slow.
func (m *Manager) cmdRadiotestXtal([]byte) []byte {
	if !m.active.radioTest() {
		return rc(rcInvState)
	}
	slow := int32(-3)
	return be.AppendUint32(append(rc(rcOK), 64), uint32(slow))
}
