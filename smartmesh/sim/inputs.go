package sim

import (
	"math"
	"time"
)

// minRate is the shortest time between two samples a mote takes; real ones should not be asked for less than a second.
const minRate = 10 * time.Millisecond

// maxSamples of one report, so that it fits a packet.
const maxSamples = 32

// input is a sensor of a mote and its settings.
type input struct {
	channel []byte // its OAP address
	enabled byte
	rate    uint32 // ms between two samples
	count   uint16 // samples in a report
	format  byte

	timer  *entry
	values []int16   // of the report being gathered
	since  time.Time // of the first of them
}

// factoryInputs: temperature reports on, the other inputs off. Index 0 is temperature, 1 to 4 D0 to D3, 5 to 8 A0 to A3.
func factoryInputs(period time.Duration) (in [9]input) {
	in[0] = input{channel: []byte{5}, enabled: 1, rate: uint32(period / time.Millisecond), count: 1}
	for i := range byte(4) {
		in[1+i] = input{channel: []byte{2, i}, rate: 10000, count: 1}
		in[5+i] = input{channel: []byte{4, i}, rate: 10000, count: 1}
	}
	return in
}

func (in *input) every() time.Duration { return time.Duration(in.rate) * time.Millisecond }

func (in *input) digital() bool { return in.channel[0] == 2 }

// startInput takes the first sample in d and then one each rate, if the input is enabled.
func (m *Manager) startInput(mo *mote, in *input, d time.Duration) {
	m.agenda.cancel(in.timer)
	in.timer, in.values = nil, nil
	if in.enabled == 1 && mo.online {
		m.sampleAt(mo, in, time.Now().Add(d))
	}
}

func (m *Manager) sampleAt(mo *mote, in *input, due time.Time) {
	life := mo.life
	in.timer = m.agenda.at(due, func() {
		if mo.life == life {
			m.sample(mo, in, due)
		}
	})
}

// sample takes one sample. What a stall of the host made impossible is left out, not made up for.
func (m *Manager) sample(mo *mote, in *input, due time.Time) {
	temperature := in == &mo.inputs[0]
	if temperature && m.cfg.Count > 0 && mo.samples >= m.cfg.Count {
		return
	}
	now := time.Now()
	next := due.Add(in.every())
	if next.Before(now) {
		next = now.Add(in.every())
	}
	m.sampleAt(mo, in, next)
	if temperature && m.cfg.Numbered && !m.session.wants(notifData) {
		return
	}
	if len(in.values) == 0 {
		in.since = now
	}
	if temperature {
		mo.samples++
	}
	if in.digital() && mo.rng.IntN(10) == 0 {
		pin := int(in.channel[1])
		m.setLevel(mo, pin, mo.levels[pin] == 0)
	}
	in.values = append(in.values, m.value(mo, in, now))
	if len(in.values) < int(in.count) {
		return
	}
	if temperature {
		m.stats.Samples++
	}
	m.report(mo, in, now)
	in.values = in.values[:0]
}

// value is what the input measures now: hundredths of a degree, millivolts, or 0 and 1.
func (m *Manager) value(mo *mote, in *input, now time.Time) int16 {
	t := now.Sub(m.clock.booted).Seconds()
	switch {
	case in.digital():
		return int16(mo.levels[in.channel[1]])
	case in.channel[0] == 4:
		wave := math.Sin(t/150 + mo.phase + float64(in.channel[1]))
		return int16(1500 + 300*wave + 10*mo.rng.Float64())
	case m.cfg.Numbered:
		return int16(mo.samples & 0x7fff)
	}
	return int16(math.Round(100*m.degrees(mo, t) + 10*mo.rng.Float64() - 5))
}

// degrees is the temperature around a mote t seconds after the manager's boot: within 3 degrees of its own mean, in a
// wave of ten minutes.
func (m *Manager) degrees(mo *mote, t float64) float64 {
	return mo.base + 3*math.Sin(2*math.Pi*t/600+mo.phase)
}

// report sends the samples: type 0, address, UTC of the first sample (i64 s, i32 us), rate u32 ms, number u8, size u8 in
// bits, samples. Which sample the time belongs to is not published; here it is the first.
func (m *Manager) report(mo *mote, in *input, now time.Time) {
	p := m.oapNotification(0, in.channel)
	p = m.clock.appendUTC(p, in.since)
	p = be.AppendUint32(p, in.rate)
	size := byte(16)
	if in.digital() {
		size = 8
	}
	p = append(p, byte(len(in.values)), size)
	for _, v := range in.values {
		if in.digital() {
			p = append(p, byte(v))
		} else {
			p = be.AppendUint16(p, uint16(v))
		}
	}
	m.publish(mo, now, p)
}

// setLevel changes a digital input; an enabled one reports it: type 2, address, UTC, value u8.
func (m *Manager) setLevel(mo *mote, pin int, on bool) {
	level := byte(0)
	if on {
		level = 1
	}
	if mo.levels[pin] == level {
		return
	}
	mo.levels[pin] = level
	in := &mo.inputs[1+pin]
	if in.enabled == 0 || !mo.online {
		return
	}
	now := time.Now()
	p := m.oapNotification(2, in.channel)
	p = m.clock.appendUTC(p, now)
	m.publish(mo, now, append(p, level))
}

func (m *Manager) oapNotification(kind byte, channel []byte) []byte {
	p := append(make([]byte, 0, 64), 0, 0, oapNotification, kind)
	return appendTLV(p, tagAddress, channel)
}

// publish sends an OAP notification to where the mote's settings say. Elsewhere than to the manager is out of sight.
func (m *Manager) publish(mo *mote, made time.Time, p []byte) {
	if mo.dest != managerAddress || m.lostInMesh(mo, m.faults.SampleLost) {
		return
	}
	m.fromMote(mo, made, portOAP, mo.destPort, p)
}

// generate sends left packets of the packet generator, one each rate: type 4, address, pid u32, startPid u32,
// numPackets u32, filling. A later run of the generator ends this one.
func (m *Manager) generate(mo *mote, g generator, pid uint32, left uint32) {
	if left == 0 || g.run != mo.run {
		return
	}
	p := m.oapNotification(4, []byte{254})
	p = be.AppendUint32(p, pid)
	p = be.AppendUint32(p, g.start)
	p = be.AppendUint32(p, g.packets)
	for i := range g.size {
		p = append(p, i)
	}
	m.publish(mo, time.Now(), p)
	m.after(mo, max(minRate, time.Duration(g.rate)*time.Millisecond), func() { m.generate(mo, g, pid+1, left-1) })
}
