package sim

import (
	"fmt"
	"slices"
	"time"
)

// keepViolations is how many violations are kept in words; all are counted.
const keepViolations = 1000

// Stats is what a Manager counted since New.
type Stats struct {
	Sessions    int // opened
	Dropped     int // sessions the manager gave up because a notification stayed unacknowledged
	BadFrames   int // from the client
	Requests    int // heard in a session, repeats included
	Repeats     int // requests answered from store
	Reliable    int // notifications sent reliably, each counted once
	Resent      int // repeats of them
	Acked       int // of them acknowledged
	Unacked     int // of them on their way when the session ended
	Unreliable  int // notifications sent unacknowledged
	Overflow    int // notifications dropped because the reliable queue was full
	Discarded   int // notifications that waited when the session ended
	Overrun     int // frames lost because the client did not read
	Corrupted   int // frames damaged by Faults
	Samples     int // temperature reports the motes made
	MeshLost    int // packets of motes lost by Faults
	Violations  []string
	NViolations int // all, also those no longer in Violations

	Manager ManagerStats // as getManagerStatistics tells them: since boot or clearStatistics
}

// ManagerStats are the manager's own counters, modulo 65536.
type ManagerStats struct {
	SerTxCnt, SerRxCnt, SerRxCRCErr, SerRxOverruns uint16
	APIEstabConn, APIDroppedConn                   uint16
	APITxOk, APITxErr, APITxFail                   uint16
	APIRxOk, APIRxProtErr                          uint16
}

func (s *Stats) violate(text string, args ...any) {
	s.NViolations++
	s.Violations = append(s.Violations, fmt.Sprintf(text, args...))
	if len(s.Violations) > keepViolations {
		s.Violations = s.Violations[1:]
	}
}

func (s *Stats) last() string { return s.Violations[len(s.Violations)-1] }

// Stats returns the counters as they are now.
func (m *Manager) Stats() Stats {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.stats
	s.Violations = slices.Clone(s.Violations)
	return s
}

// Acked returns the payloads (from notifType on) of the latest Config.KeepAcked notifications that were acknowledged,
// oldest first.
func (m *Manager) Acked() [][]byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.acked)
}

// Motes returns the addresses of all motes, joined or not, without the access point.
func (m *Manager) Motes() [][8]byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	var macs [][8]byte
	for _, mo := range m.field {
		macs = append(macs, mo.mac)
	}
	return macs
}

// MAC returns the address of the manager, which is that of its access point.
func (m *Manager) MAC() [8]byte { return m.ap.mac }

// Subscribed says whether a session wants this type of notification now.
func (m *Manager) Subscribed(notifType byte) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.session.wants(notifType)
}

// Reboot restarts the manager, as after a power failure: no session, a clock and event numbers from the start, and
// motes that have to join again with their settings at default.
func (m *Manager) Reboot() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reboot()
}

func (m *Manager) reboot() {
	now := time.Now()
	m.endSession()
	m.boot(now)
	m.bootedUntil = now.Add(bootTime) // announce is silent until then
	m.beacon = m.agenda.at(m.bootedUntil, m.announce)
	if m.running && m.started {
		m.joinAll()
	}
}

// Silence makes the manager deaf and mute on its port for d. Its motes live on; an unacknowledged notification may cost
// the session meanwhile.
func (m *Manager) Silence(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.silentUntil = time.Now().Add(d)
}

// JumpClock sets the network's clock forward, or back when d is negative.
func (m *Manager) JumpClock(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.clock.jump(time.Now(), d)
}

// Strobe is a pulse on the manager's time pin: eventNetworkTime follows.
func (m *Manager) Strobe() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.strobe = time.Now()
	m.event(eventNetworkTime, m.clock.appendTime(nil, m.strobe))
}

// Inject sends a notification, from its notifType on and at most 255 bytes, as the session subscribed to that type.
// It says whether anybody did.
func (m *Manager) Inject(payload []byte) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(payload) <= 255 && m.notify(slices.Clone(payload))
}

// AddMote brings a mote into the mesh and returns its address: the one that was lost if mac is its address, else a new
// one with that address; nothing happens if it is there. A zero mac means a new mote with an address of the simulator's choice.
func (m *Manager) AddMote(mac [8]byte) [8]byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	mo := m.inField(mac)
	switch {
	case mac == m.ap.mac || mo != nil && !mo.away:
		return mac
	case mo == nil:
		mo = m.makeMote()
		if mac != ([8]byte{}) {
			mo.mac = mac
		}
		m.field = append(m.field, mo)
	default:
		mo.away = false
		mo.reset(m.cfg.Period)
	}
	if m.running && m.started {
		m.after(mo, joinStep, func() { m.join(mo) })
	}
	return mo.mac
}

// LoseMote takes a mote out of the mesh, as without its battery. It says whether there was one.
func (m *Manager) LoseMote(mac [8]byte) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	mo := m.inField(mac)
	if mo == nil || mo.away {
		return false
	}
	mo.away = true
	m.lose(mo)
	return true
}

// RestartMote makes a mote boot again: its settings are at default, and it joins again without having been reported lost.
func (m *Manager) RestartMote(mac [8]byte) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	mo := m.inField(mac)
	if mo == nil || mo.away || !m.running {
		return false
	}
	mo.reset(m.cfg.Period)
	m.after(mo, joinStep, func() { m.join(mo) })
	return true
}

// LED says whether the indicator of a mote is lit.
func (m *Manager) LED(mac [8]byte) (on bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	mo := m.inField(mac)
	return mo != nil && mo.outputs[indicator] == 1
}

// SetDigital sets the level at the digital input D0 to D3 of a mote; an enabled input reports the change.
func (m *Manager) SetDigital(mac [8]byte, pin int, on bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if mo := m.inField(mac); mo != nil && pin >= 0 && pin < len(mo.levels) {
		m.setLevel(mo, pin, on)
	}
}

func (m *Manager) inField(mac [8]byte) *mote {
	for _, mo := range m.field {
		if mo.mac == mac {
			return mo
		}
	}
	return nil
}
