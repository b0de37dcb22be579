package sim

import "time"

// field is one tag of an OAP resource. Without get it is write-only, without set read-only.
type field struct {
	tag   byte
	size  int
	get   func() []byte
	set   func(v []byte)
	valid func(v []byte) bool
}

// generator is what was asked of the packet generator.
type generator struct {
	packets, rate, start uint32
	size                 byte
	run                  int // of the mote's generator, counted
}

// resource finds the fields behind an address, in ascending order of tag.
func (m *Manager) resource(mo *mote, addr []byte) ([]field, bool) {
	switch {
	case len(addr) == 1 && addr[0] == 0:
		return infoFields(mo), true
	case len(addr) == 1 && addr[0] == 1:
		return mainFields(mo), true
	case len(addr) == 2 && addr[0] == 3 && int(addr[1]) < len(mo.outputs):
		out := &mo.outputs[addr[1]]
		return []field{{tag: 0, size: 1, set: func(v []byte) { *out = v[0] }, valid: oneBit}}, true
	case len(addr) >= 1 && addr[0] == 254 && (len(addr) == 1 || len(addr) == 2 && addr[1] == 0):
		return pkgenFields(mo, len(addr) == 1), true
	}
	for i := range mo.inputs {
		if in := &mo.inputs[i]; string(in.channel) == string(addr) {
			return m.inputFields(mo, in), true
		}
	}
	return nil, false
}

func oneBit(v []byte) bool { return v[0] <= 1 }

// infoFields: version 1.4.2 build 9, application 1. changeCounter counts PUTs.
func infoFields(mo *mote) []field {
	constant := func(v ...byte) func() []byte { return func() []byte { return v } }
	return []field{
		{tag: 0, size: 1, get: constant(1)},
		{tag: 1, size: 1, get: constant(4)},
		{tag: 2, size: 1, get: constant(2)},
		{tag: 3, size: 2, get: constant(0, 9)},
		{tag: 4, size: 2, get: constant(0, 1)},
		{tag: 5, size: 4, get: func() []byte { return be.AppendUint32(nil, mo.resets) }},
		{tag: 6, size: 4, get: func() []byte { return be.AppendUint32(nil, mo.changes) }},
	}
}

func mainFields(mo *mote) []field {
	return []field{
		{tag: 0, size: 16, get: func() []byte { return mo.dest[:] }, set: func(v []byte) { copy(mo.dest[:], v) }},
		{tag: 1, size: 2,
			get: func() []byte { return be.AppendUint16(nil, mo.destPort) },
			set: func(v []byte) { mo.destPort = be.Uint16(v) }},
	}
}

// inputFields: enable, rate, sampleCount, dataFormat and value. sampleCount of a digital input has two bytes, that of
// the others one. The value has no bytes while the input is disabled.
func (m *Manager) inputFields(mo *mote, in *input) []field {
	value := func() []byte {
		v := m.value(mo, in, time.Now())
		switch {
		case in.enabled == 0:
			return nil
		case in.digital():
			return []byte{byte(v)}
		}
		return be.AppendUint16(nil, uint16(v))
	}
	count := field{tag: 2, size: 1,
		get:   func() []byte { return []byte{byte(in.count)} },
		set:   func(v []byte) { in.count = uint16(v[0]) },
		valid: func(v []byte) bool { return v[0] >= 1 && v[0] <= maxSamples }}
	if in.digital() {
		count = field{tag: 2, size: 2,
			get:   func() []byte { return be.AppendUint16(nil, in.count) },
			set:   func(v []byte) { in.count = be.Uint16(v) },
			valid: func(v []byte) bool { n := be.Uint16(v); return n >= 1 && n <= maxSamples }}
	}
	return []field{
		{tag: 0, size: 1,
			get: func() []byte { return []byte{in.enabled} }, set: func(v []byte) { in.enabled = v[0] }, valid: oneBit},
		{tag: 1, size: 4,
			get:   func() []byte { return be.AppendUint32(nil, in.rate) },
			set:   func(v []byte) { in.rate = be.Uint32(v) },
			valid: func(v []byte) bool { return be.Uint32(v) >= uint32(minRate.Milliseconds()) }},
		count,
		{tag: 3, size: 1, get: func() []byte { return []byte{in.format} }, set: func(v []byte) { in.format = v[0] }},
		{tag: 4, get: value},
	}
}

// pkgenFields: echo, and with whole the write-only parameters of the generator, which changed starts.
func pkgenFields(mo *mote, whole bool) []field {
	fields := []field{{tag: 0, size: 4,
		get: func() []byte { return be.AppendUint32(nil, mo.echo) },
		set: func(v []byte) { mo.echo = be.Uint32(v) }}}
	if !whole {
		return fields
	}
	ignore := func([]byte) {}
	return append(fields,
		field{tag: 1, size: 4, set: ignore},
		field{tag: 2, size: 4, set: ignore},
		field{tag: 3, size: 1, set: ignore, valid: func(v []byte) bool { return v[0] <= 60 }},
		field{tag: 4, size: 4, set: ignore})
}

// changed is what follows from a successful PUT: an input runs on with its new settings, from one rate on; the packet
// generator starts.
func (m *Manager) changed(mo *mote, addr []byte, tags []tlv) {
	for i := range mo.inputs {
		if in := &mo.inputs[i]; string(in.channel) == string(addr) {
			m.startInput(mo, in, in.every())
		}
	}
	if addr[0] != 254 {
		return
	}
	g := generator{rate: 1000}
	for _, t := range tags {
		switch t.tag {
		case 1:
			g.packets = be.Uint32(t.value)
		case 2:
			g.rate = be.Uint32(t.value)
		case 3:
			g.size = t.value[0]
		case 4:
			g.start = be.Uint32(t.value)
		}
	}
	if g.packets > 0 {
		mo.run++
		g.run = mo.run
		m.generate(mo, g, g.start, g.packets)
	}
}
