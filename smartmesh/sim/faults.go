package sim

import "time"

// onceAfter is how long after the start of Run that happens which happens once: Faults.ClockJump, Faults.Silence.
const onceAfter = 10 * time.Second

// Faults disturb the line and the mesh. Rates are probabilities from 0 to 1, each rolled for every occasion.
type Faults struct {
	Noise        float64       // random bytes before a frame
	Corrupt      float64       // a frame from the manager is damaged: a bit flipped, a byte lost, or cut short
	LostRequest  float64       // a request is not heard
	LostResponse float64       // a response, or a HelloResponse, is not sent although the request was executed
	LostAck      float64       // an acknowledgement of a notification is not heard
	Duplicate    float64       // a reliable notification is sent twice under its number
	Gap          float64       // one to three numbers are left out before a reliable notification
	Delay        time.Duration // responses come this much later

	OAPLost    float64       // an answer of a mote (OAP, ping) is lost in the mesh
	OAPWrong   float64       // an OAP answer bears the address of another mote
	OAPDelay   time.Duration // answers of the motes come this much later
	SampleLost float64       // any other packet of a mote is lost in the mesh
	Nack       float64       // sendData and sendIP are refused with RC_NACK, as with a full queue

	Drift     float64       // parts per million the manager's clock runs too fast
	ClockJump time.Duration // the clock jumps by this much, once, 10 s after the start of Run; later by JumpClock

	Silence time.Duration // the manager is deaf and mute for this long, once, 10 s after the start of Run; later by Silence
	Reboot  time.Duration // the manager restarts whenever it has run for so long, counted from Run; at other times by Reboot
}

// SetFaults replaces all faults. Drift counts from now on; ClockJump, Silence and Reboot have no effect here.
func (m *Manager) SetFaults(f Faults) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.clock.setDrift(time.Now(), f.Drift)
	m.faults = f
}

// Faults returns the faults in force.
func (m *Manager) Faults() Faults {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.faults
}

// plan has the faults happen that have their time. The caller has mu.
func (m *Manager) plan() {
	f, now := m.faults, time.Now()
	if f.ClockJump != 0 {
		m.agenda.at(now.Add(onceAfter), func() { m.clock.jump(time.Now(), f.ClockJump) })
	}
	if f.Silence > 0 {
		m.agenda.at(now.Add(onceAfter), func() { m.silentUntil = time.Now().Add(f.Silence) })
	}
	if f.Reboot > 0 {
		m.rebootAfter(f.Reboot)
	}
}

// rebootAfter restarts the manager again and again. The caller has mu.
func (m *Manager) rebootAfter(d time.Duration) {
	m.agenda.at(time.Now().Add(d), func() {
		m.reboot() // which clears the agenda
		m.rebootAfter(d)
	})
}

func (m *Manager) chance(p float64) bool {
	return p > 0 && m.rng.Float64() < p
}

// appendNoise appends 1 to 20 random bytes. By the line's rules they cost only themselves: the flag of the next frame
// ends them.
func (m *Manager) appendNoise(dst []byte) []byte {
	for range 1 + m.rng.IntN(20) {
		dst = append(dst, byte(m.rng.Uint32()))
	}
	return dst
}

// damage spoils the frame that begins at start, so that it fails its check: one bit flipped, one byte lost, or
// the second half lost. The flags stay.
func (m *Manager) damage(b []byte, start int) []byte {
	inner := start + 1 + m.rng.IntN(len(b)-start-2)
	m.stats.Corrupted++
	switch m.rng.IntN(3) {
	case 0:
		b[inner] ^= 0x01
	case 1:
		b = append(b[:inner], b[inner+1:]...)
	default:
		b = append(b[:inner], 0x7e)
	}
	return b
}
