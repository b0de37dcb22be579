package sim

import "time"

// Health reports: id u8, length u8, data, one kind in each notification.
const (
	reportDevice     = 0x80
	reportNeighbours = 0x81
	reportDiscovered = 0x82
)

// firstHealth is the latest time of a mote's first report; later ones follow the configured period.
const firstHealth = 20 * time.Second

// perReport is how many neighbours fit one report.
const perReport = 8

// startHealth has a mote send its three reports a period, one second apart.
func (m *Manager) startHealth(mo *mote) {
	if m.cfg.HealthPeriod < 0 {
		return
	}
	first := min(m.cfg.HealthPeriod, firstHealth)
	kinds := []func(*mote){m.deviceReport, m.neighbourReports, m.discoveredReport}
	for i, report := range kinds {
		d := time.Duration(mo.rng.Int64N(int64(first)))
		m.after(mo, d+time.Duration(i)*time.Second, func() { m.health(mo, report) })
	}
}

func (m *Manager) health(mo *mote, report func(*mote)) {
	m.after(mo, m.cfg.HealthPeriod, func() { m.health(mo, report) })
	report(mo)
}

// sendHealth sends notifHealthReport: address, then the report.
func (m *Manager) sendHealth(mo *mote, id byte, data []byte) {
	if m.lostInMesh(mo, m.faults.SampleLost) {
		return
	}
	p := append(make([]byte, 0, 11+len(data)), notifHealth)
	p = append(p, mo.mac[:]...)
	p = append(p, id, byte(len(data)))
	m.throughMesh(mo, append(p, data...))
}

// deviceReport: charge u32 mC, queueOcc u8, temperature i8, batteryVoltage u16 mV, numTxOk, numTxFail, numRxOk, numRxLost
// u16, numMacDropped, numTxBad, badLinkFrameId u8, badLinkSlot u32, badLinkOffset, numNetMicErr, numMacMicErr,
// numMacCrcErr u8: 27 bytes.
func (m *Manager) deviceReport(mo *mote) {
	now := time.Now()
	charge := uint32(now.Sub(mo.born).Seconds() * 0.05) // 50 uA
	p := be.AppendUint32(nil, charge)
	p = append(p, 0x21, m.wholeDegrees(mo, now))
	p = be.AppendUint16(p, m.millivolts(mo, now))
	p = be.AppendUint16(p, mo.txOk)
	p = be.AppendUint16(p, 0)
	p = be.AppendUint16(p, mo.rxOk)
	p = be.AppendUint16(p, 0)
	p = append(p, 0, byte(mo.rng.IntN(3)), 1)
	p = be.AppendUint32(p, uint32(mo.rng.IntN(256)))
	p = append(p, byte(mo.rng.IntN(15)), 0, 0, byte(mo.rng.IntN(4)))
	mo.txOk, mo.rxOk = 0, 0
	m.sendHealth(mo, reportDevice, p)
}

func (m *Manager) wholeDegrees(mo *mote, now time.Time) byte {
	return byte(int8(m.degrees(mo, now.Sub(m.clock.booted).Seconds())))
}

// millivolts of the battery: it loses one in a day.
func (m *Manager) millivolts(mo *mote, now time.Time) uint16 {
	return uint16(max(2100, mo.voltage-now.Sub(mo.born).Hours()/24))
}

// neighbourReports: numItems u8, then id u16, flag u8, rssi i8, numTxPackets, numTxFailures, numRxPackets u16 for each
// path.
func (m *Manager) neighbourReports(mo *mote) {
	paths := mo.paths(false)
	for len(paths) > 0 {
		n := min(perReport, len(paths))
		p := []byte{byte(n)}
		for _, q := range paths[:n] {
			p = append(p, m.neighbour(mo, q)...)
		}
		paths = paths[n:]
		m.sendHealth(mo, reportNeighbours, p)
	}
}

func (m *Manager) neighbour(mo *mote, q *path) []byte {
	other, rssi := q.parent, q.rssiDown
	if other == mo {
		other, rssi = q.child, q.rssiUp
	}
	tx := 40 + mo.rng.IntN(40)
	failed := tx * (100 - int(q.quality)) / 100
	p := be.AppendUint16(nil, other.id)
	p = append(p, 0, byte(rssi))
	p = be.AppendUint16(p, uint16(tx))
	p = be.AppendUint16(p, uint16(failed))
	return be.AppendUint16(p, uint16(20+mo.rng.IntN(40)))
}

// discoveredReport: numJoinParents u8, numItems u8, then id u16, rssi i8, numRx u8 for up to eight motes that are
// neither parent nor child.
func (m *Manager) discoveredReport(mo *mote) {
	var items []byte
	used := map[*mote]bool{mo: true}
	for _, q := range mo.paths(false) {
		used[q.parent], used[q.child] = true, true
	}
	for _, other := range m.motes {
		if len(items) == 4*perReport {
			break
		}
		if !used[other] && (other.online || other == m.ap) && mo.rng.IntN(2) == 0 {
			items = be.AppendUint16(items, other.id)
			items = append(items, byte(-70-mo.rng.IntN(25)), byte(1+mo.rng.IntN(9)))
		}
	}
	n := byte(len(items) / 4)
	m.sendHealth(mo, reportDiscovered, append([]byte{min(n, 2), n}, items...))
}
