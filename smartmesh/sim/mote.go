package sim

import (
	"math/rand/v2"
	"time"
)

// States of a mote as the manager tells them.
const (
	stateLost        = 0
	stateNegotiating = 1
	stateOperational = 4
)

// Joining takes minutes in a real mesh. Here the motes begin one after another, all within 2 s, and are operational one
// joinStep after that.
const (
	joinStep  = 50 * time.Millisecond
	joinSpan  = 2 * time.Second
	joinRetry = 30 * time.Second // of a mote that was refused
)

// mote is a mote, what its firmware holds, and what the manager knows of it. The access point is one of them.
type mote struct {
	mac  [8]byte
	rng  *rand.Rand
	away bool // not in the mesh at all

	// for the manager
	known      bool
	id         uint16
	state      byte
	stateSince time.Time
	joins      byte
	received   uint32
	lost       uint32
	up, down   []*path // to its parents, to its children
	depth      int     // mean hops to the access point, times 10, when it joined
	pinged     bool    // a ping is on its way

	// in the mote; a restart puts all of it back to default
	life     int  // timers of an earlier life do nothing
	online   bool // part of the mesh
	inputs   [1 + 4 + 4]input
	levels   [4]byte // at D0 to D3
	outputs  [3]byte // D4, D5 and the indicator
	dest     [16]byte
	destPort uint16
	echo     uint32
	run      int // runs of the packet generator
	changes  uint32
	lastID   int // id byte of the latest OAP request without sync, or -1, and its answer
	lastOAP  []byte
	resets   uint32
	born     time.Time

	samples int // temperature samples made, through all lives
	base    float64
	phase   float64
	voltage float64
	txOk    uint16 // since the latest device report
	rxOk    uint16
}

const indicator = 2 // index of INDICATOR_0 in outputs

// makeMote makes the next mote: its address and nature follow from the seed and from how many there were before it.
func (m *Manager) makeMote() *mote {
	n := m.serial
	m.serial++
	seed := uint64(m.cfg.Seed)
	suffix := uint16(rand.New(rand.NewPCG(seed, 1)).Uint32()) + uint16(n)*0x3779 // odd, so no two are equal
	mo := &mote{
		mac: [8]byte{0x00, 0x17, 0x0d, 0x00, 0x00, 0x38, byte(suffix >> 8), byte(suffix)},
		rng: rand.New(rand.NewPCG(seed, uint64(n)+2)),
	}
	mo.base = 18 + 8*mo.rng.Float64()
	mo.phase = 6.28 * mo.rng.Float64()
	mo.voltage = 2950 + 650*mo.rng.Float64()
	mo.reset(m.cfg.Period)
	return mo
}

// reset is the mote's boot: everything settable is at its default.
func (mo *mote) reset(period time.Duration) {
	mo.life++
	mo.resets++
	mo.online = false
	mo.pinged = false
	mo.born = time.Now()
	mo.inputs = factoryInputs(period)
	mo.outputs = [3]byte{}
	mo.dest = managerAddress
	mo.destPort = portOAP
	mo.echo, mo.changes = 0, 0
	mo.lastID, mo.lastOAP = -1, nil
	mo.txOk, mo.rxOk = 0, 0
}

func (mo *mote) setState(state byte, now time.Time) {
	mo.state, mo.stateSince = state, now
}

// after calls do in d unless the mote starts another life before that.
func (m *Manager) after(mo *mote, d time.Duration, do func()) *entry {
	life := mo.life
	return m.agenda.at(time.Now().Add(d), func() {
		if mo.life == life {
			do()
		}
	})
}

// register gives a mote its id. Ids start anew at each boot of the manager.
func (m *Manager) register(mo *mote) {
	mo.known, mo.id = true, m.nextID
	mo.joins, mo.received, mo.lost = 0, 0, 0
	m.nextID++
	m.motes = append(m.motes, mo)
}

func (m *Manager) byMAC(mac []byte) *mote {
	for _, mo := range m.motes {
		if string(mo.mac[:]) == string(mac) {
			return mo
		}
	}
	return nil
}

// joinAll starts the network.
func (m *Manager) joinAll() {
	m.event(eventNetworkReset, nil)
	if len(m.field) == 0 {
		return
	}
	step := min(joinStep, joinSpan/time.Duration(len(m.field)))
	for i, mo := range m.field {
		if !mo.away {
			m.after(mo, step*time.Duration(i+1), func() { m.join(mo) })
		}
	}
}

// join is a mote's request to join. It is refused while a non-empty access list lacks it, or the network is full; it
// asks again later.
func (m *Manager) join(mo *mote) {
	_, listed := m.acl[mo.mac]
	refused := len(m.acl) > 0 && !listed
	if refused {
		m.event(eventJoinFailed, append(append([]byte(nil), mo.mac[:]...), 1))
	}
	if refused || mo.state != stateOperational && m.operational() >= int(m.stored.maxMotes()) {
		m.after(mo, joinRetry, func() { m.join(mo) })
		return
	}
	if !mo.known {
		m.register(mo)
		m.idEvent(eventMoteCreate, mo)
	}
	if mo.joins < 255 {
		mo.joins++
	}
	m.disconnect(mo)
	mo.setState(stateNegotiating, time.Now())
	m.moteEvent(eventMoteJoin, mo)
	m.after(mo, joinStep, func() { m.joined(mo) })
}

func (m *Manager) joined(mo *mote) {
	mo.setState(stateOperational, time.Now())
	mo.online = true
	m.moteEvent(eventMoteOperational, mo)
	m.connect(mo)
	for i := range mo.inputs {
		in := &mo.inputs[i]
		m.startInput(mo, in, time.Duration(mo.rng.Int64N(int64(min(in.every(), time.Second)))))
	}
	m.startHealth(mo)
}

// lose is a mote's end in the mesh, for now.
func (m *Manager) lose(mo *mote) {
	mo.reset(m.cfg.Period)
	if !mo.known || mo.state == stateLost {
		return
	}
	mo.setState(stateLost, time.Now())
	m.moteEvent(eventMoteLost, mo)
	m.disconnect(mo)
}

// operational counts the operational motes, without the access point.
func (m *Manager) operational() int {
	n := 0
	for _, mo := range m.motes[1:] {
		if mo.state == stateOperational {
			n++
		}
	}
	return n
}
