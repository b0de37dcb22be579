package sim

import (
	"bytes"
	"time"
)

// OAP, the application protocol of motes with factory firmware, on this UDP port.
const (
	portOAP = 0xF0B9

	oapResponse = 0x02 // control bits
	oapReliable = 0x01
	oapSync     = 0x04

	oapGet          = 1
	oapPut          = 2
	oapNotification = 5

	tagAddress = 0xFF
)

// managerAddress is ff02::2, where notifications go by default.
var managerAddress = [16]byte{0: 0xff, 1: 0x02, 15: 0x02}

// Results of OAP.
const (
	oapOK           = 0
	oapNotFound     = 1
	oapUnkParam     = 3
	oapInvValue     = 4
	oapInvAddr      = 5
	oapNoSupport    = 6
	oapReadOnly     = 7
	oapWriteOnly    = 8
	oapFewerBytes   = 9
	oapTooManyBytes = 10
)

func appendTLV(dst []byte, tag byte, value []byte) []byte {
	dst = append(dst, tag, byte(len(value)))
	return append(dst, value...)
}

type tlv struct {
	tag   byte
	value []byte
}

// splitTLVs says ok false when a tag or value runs beyond the end.
func splitTLVs(b []byte) (tags []tlv, ok bool) {
	for len(b) > 0 {
		if len(b) < 2 || len(b) < 2+int(b[1]) {
			return tags, false
		}
		tags = append(tags, tlv{b[0], b[2 : 2+b[1]]})
		b = b[2+b[1]:]
	}
	return tags, true
}

// toMote is a UDP packet that reached a mote. An OAP request is answered after 50 to 250 ms, and later as an answer to
// a broadcast.
func (m *Manager) toMote(mo *mote, src, dst uint16, data []byte, broadcast bool) {
	if !mo.online {
		return
	}
	mo.rxOk++
	if dst != portOAP {
		return
	}
	answer := m.oap(mo, data)
	if answer == nil || m.lostInMesh(mo, m.faults.OAPLost) {
		return
	}
	d := 50*time.Millisecond + time.Duration(mo.rng.Int64N(int64(200*time.Millisecond)))
	if broadcast {
		d += time.Duration(mo.rng.Int64N(int64(time.Second)))
	}
	m.after(mo, d+m.faults.OAPDelay, func() {
		from := mo
		if m.chance(m.faults.OAPWrong) {
			if from = m.another(mo); from == nil {
				return
			}
		}
		m.fromMote(from, time.Now(), portOAP, src, answer)
	})
}

// another operational mote, not the access point.
func (m *Manager) another(mo *mote) *mote {
	start := m.rng.IntN(len(m.motes))
	for i := range m.motes {
		other := m.motes[(start+i)%len(m.motes)]
		if other != mo && other != m.ap && other.online {
			return other
		}
	}
	return nil
}

// oap executes an OAP message and returns the answer, nil when there is none: to responses and notifications, to what is
// too short, and to requests that want none. With the sync bit each request stands alone; without it, a request with the
// id of the one before is a repeat and gets the stored answer.
func (m *Manager) oap(mo *mote, data []byte) []byte {
	if len(data) < 3 || data[0]&oapResponse != 0 || data[2] == oapNotification {
		return nil
	}
	control, id := data[0], data[1]
	answer := mo.lastOAP
	if control&oapSync != 0 || int(id) != mo.lastID || answer == nil || answer[2] != data[2] {
		answer = m.oapExecute(mo, data)
		mo.lastID, mo.lastOAP = int(id), answer
	}
	if control&oapReliable == 0 {
		return nil
	}
	return answer
}

func (m *Manager) oapExecute(mo *mote, data []byte) []byte {
	tags, ok := splitTLVs(data[3:])
	answer := []byte{oapResponse | oapReliable, data[1], data[2], oapOK}
	if len(tags) == 0 || tags[0].tag != tagAddress {
		answer[3] = oapInvAddr
		return answer
	}
	addr := tags[0].value
	fields, found := m.resource(mo, addr)
	if len(addr) == 2 && addr[0] == 254 {
		addr = addr[:1] // seen in the field: the answer's address is shortened
	}
	answer = appendTLV(answer, tagAddress, addr)
	switch {
	case !ok:
		answer[3] = oapFewerBytes
	case !found:
		answer[3] = oapNotFound
	case data[2] == oapGet:
		answer = get(answer, fields)
	case data[2] == oapPut:
		answer[3] = put(fields, tags[1:])
		if answer[3] == oapOK {
			mo.changes++
			m.changed(mo, addr, tags[1:])
		}
	default:
		answer[3] = oapNoSupport
	}
	return answer
}

// get appends all readable fields; a resource without one is write-only.
func get(answer []byte, fields []field) []byte {
	readable := false
	for _, f := range fields {
		if f.get != nil {
			readable = true
			answer = appendTLV(answer, f.tag, f.get())
		}
	}
	if !readable {
		answer[3] = oapWriteOnly
	}
	return answer
}

// put sets all the given fields, or none of them.
func put(fields []field, tags []tlv) byte {
	find := func(tag byte) *field {
		for i := range fields {
			if fields[i].tag == tag {
				return &fields[i]
			}
		}
		return nil
	}
	for _, t := range tags {
		f := find(t.tag)
		switch {
		case f == nil:
			return oapUnkParam
		case f.set == nil:
			return oapReadOnly
		case len(t.value) < f.size:
			return oapFewerBytes
		case len(t.value) > f.size:
			return oapTooManyBytes
		case f.valid != nil && !f.valid(t.value):
			return oapInvValue
		}
	}
	for _, t := range tags {
		find(t.tag).set(bytes.Clone(t.value))
	}
	return oapOK
}
