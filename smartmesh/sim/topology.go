package sim

// path is a used path between a mote and one of its parents.
type path struct {
	id            uint16
	child, parent *mote
	rssiUp        int8 // dBm, what the parent hears
	rssiDown      int8
	quality       byte // percent
	links         byte
}

// directions of a path as seen from one of its ends.
const (
	upstream   = 2
	downstream = 3
)

// connect gives a mote that became operational its parents: up to two out of the motes above it, the access point for
// the first three. Those above were made earlier, so there are no circles.
func (m *Manager) connect(mo *mote) {
	var above []*mote
	for _, other := range m.field {
		if other == mo {
			break
		}
		if other.online {
			above = append(above, other)
		}
	}
	if len(above) < 3 {
		m.addPath(mo, m.ap)
		if len(above) > 0 {
			m.addPath(mo, above[mo.rng.IntN(len(above))])
		}
		return
	}
	first := mo.rng.IntN(len(above))
	second := (first + 1 + mo.rng.IntN(len(above)-1)) % len(above)
	m.addPath(mo, above[first])
	m.addPath(mo, above[second])
}

func (m *Manager) addPath(child, parent *mote) {
	m.pathID++
	rssi := -45 - child.rng.IntN(40)
	p := &path{
		id: m.pathID, child: child, parent: parent,
		rssiUp: int8(rssi), rssiDown: int8(rssi + child.rng.IntN(7) - 3),
		quality: byte(min(99, 150+rssi+child.rng.IntN(10))),
		links:   2,
	}
	child.up = append(child.up, p)
	child.depth = 0
	for _, q := range child.up {
		child.depth += (10 + q.parent.depth) / len(child.up)
	}
	parent.down = append(parent.down, p)
	m.pathEvent(eventPathCreate, p)
}

// disconnect takes away all paths of a mote; a child that is left without a parent gets the access point.
func (m *Manager) disconnect(mo *mote) {
	up, down := mo.up, mo.down
	mo.up, mo.down = nil, nil
	for _, p := range up {
		p.parent.down = without(p.parent.down, p)
		m.pathEvent(eventPathDelete, p)
	}
	for _, p := range down {
		p.child.up = without(p.child.up, p)
		m.pathEvent(eventPathDelete, p)
		if len(p.child.up) == 0 {
			m.addPath(p.child, m.ap)
		}
	}
}

func without(paths []*path, p *path) []*path {
	var rest []*path
	for _, other := range paths {
		if other != p {
			rest = append(rest, other)
		}
	}
	return rest
}

// pathEvent sends source, dest, direction u8, seen from the child.
func (m *Manager) pathEvent(kind byte, p *path) {
	b := append(make([]byte, 0, 17), p.child.mac[:]...)
	b = append(b, p.parent.mac[:]...)
	m.event(kind, append(b, upstream))
}

// paths of a mote, by id: those to its parents first if they are older, as ids are given in order of creation.
func (mo *mote) paths(onlyUp bool) []*path {
	all := append([]*path(nil), mo.up...)
	if !onlyUp {
		all = append(all, mo.down...)
	}
	for i := range all { // insertion sort: the lists are short
		for j := i; j > 0 && all[j-1].id > all[j].id; j-- {
			all[j-1], all[j] = all[j], all[j-1]
		}
	}
	return all
}

// append appends source, dest, direction, numLinks, quality, RSSI there and RSSI back, as seen from one of its ends.
func (p *path) append(dst []byte, from *mote) []byte {
	to, direction, there, back := p.parent, byte(upstream), p.rssiUp, p.rssiDown
	if from == p.parent {
		to, direction, there, back = p.child, downstream, p.rssiDown, p.rssiUp
	}
	dst = append(dst, from.mac[:]...)
	dst = append(dst, to.mac[:]...)
	return append(dst, direction, p.links, p.quality, byte(there), byte(back))
}

// links of a mote: one broadcast link, and for each path its links, each frameId u8, slot u32, channelOffset u8,
// moteId u16 of the other end, flags u8 (1 sends, 2 receives; the real values are not published).
func (mo *mote) links() [][]byte {
	one := func(frame byte, slot uint32, offset byte, id uint16, flags byte) []byte {
		b := be.AppendUint32([]byte{frame}, slot)
		b = append(b, offset)
		return append(be.AppendUint16(b, id), flags)
	}
	all := [][]byte{one(0, 0, 0, 0xffff, 1)}
	for _, p := range mo.paths(false) {
		other, flags := p.parent, byte(1)
		if other == mo {
			other, flags = p.child, 2
		}
		for i := range p.links {
			all = append(all, one(1, 7+17*uint32(p.id)+uint32(i)*128, byte(p.id)%15, other.id, flags))
		}
	}
	return all
}
