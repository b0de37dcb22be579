package sim

import (
	"bytes"
	"context"
	"io"
	"testing"

	"github.com/meshgate/meshgate/hdlc"
)

// memory is a port whose input is given beforehand; the end of the input is the end of the port.
type memory struct {
	io.Reader
	out bytes.Buffer
}

func (p *memory) Write(b []byte) (int, error) { return p.out.Write(b) }

func (p *memory) Close() error { return nil }

// live makes a manager with an operational network without waiting for it.
func live() *Manager {
	m := New(Config{Motes: 3, HealthPeriod: -1}, nil)
	for _, mo := range m.field {
		m.register(mo)
		m.joined(mo)
	}
	return m
}

// Whatever a client sends, the manager lives on, and all it says is whole.
func FuzzServe(f *testing.F) {
	for _, group := range []string{"requests", "handshake", "notifications"} {
		for _, v := range readVectors(f, group).Vectors {
			f.Add(unhex(f, v.Hex))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m := live()
		port := &memory{Reader: bytes.NewReader(append(hdlc.AppendFrame(nil, []byte{0, 1, 0, 3, 4, 0, 0}), b...))}
		if err := m.Serve(context.Background(), port); err != nil {
			t.Fatal(err)
		}
		r := hdlc.NewReader(&port.out)
		for {
			p, err := r.Next()
			if err == io.EOF {
				return
			}
			if _, ok := parse(p); err != nil || !ok {
				t.Fatalf("sent %x, %v", p, err)
			}
		}
	})
}

// Any request: its response begins with a code, fits a packet, and is the same for a repeat.
func FuzzRequest(f *testing.F) {
	for _, v := range readVectors(f, "requests").Vectors {
		p := unframe(f, v.Hex)
		f.Add(p.kind, p.payload, true)
		f.Add(p.kind, p.payload, false)
	}
	l := readLayouts(f)
	f.Fuzz(func(t *testing.T, kind byte, payload []byte, known bool) {
		if len(payload) > 255 || kind == kindHello {
			return
		}
		m := live()
		if known && len(payload) >= 9 { // two places where commands have an address
			copy(payload, m.field[0].mac[:])
			if kind == 21 {
				copy(payload[1:], m.field[0].mac[:])
			}
		}
		m.session = &session{expected: 1}
		raw := appendPacket(nil, 2, kind, 1, payload)
		p, _ := parse(raw)
		m.request(p)
		reply := bytes.Clone(m.session.reply)
		if q, ok := parse(reply); !ok || q.control != 3 || q.kind != kind || len(q.payload) == 0 || len(q.raw) > 259 {
			t.Fatalf("reply %x", reply)
		}
		if int(kind) < len(commands) && commands[kind].run != nil {
			if _, err := l.response(kind, reply[4:]); err != nil {
				t.Fatalf("%x: %v", payload, err)
			}
		}
		m.request(p)
		if !bytes.Equal(reply, m.session.reply) || m.stats.Repeats != 1 {
			t.Error("a repeat is answered otherwise")
		}
		for range 100 { // what follows from it
			if len(m.agenda.entries) == 0 {
				break
			}
			m.agenda.run(m.agenda.entries[0].at)
		}
	})
}

// Any OAP message: a mote's answer is a response to it, or nothing, and fits a packet.
func FuzzOAP(f *testing.F) {
	for _, v := range readVectors(f, "oap").Vectors {
		f.Add(unhex(f, v.Hex))
	}
	m := live()
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > maxData {
			return
		}
		mo := m.field[0]
		answer := m.oap(mo, b)
		if answer == nil {
			return
		}
		if answer[0] != 3 || answer[1] != b[1] || answer[2] != b[2] || len(answer) > maxData+16 {
			t.Fatalf("answer %x to %x", answer, b)
		}
		if _, ok := splitTLVs(answer[4:]); !ok {
			t.Fatalf("answer %x", answer)
		}
	})
}

func FuzzParseURL(f *testing.F) {
	f.Add("sim:?motes=5&period=2s&seed=1")
	f.Add("sim:?noise=0.01&delay=1s")
	f.Fuzz(func(t *testing.T, s string) {
		cfg, err := ParseURL(s)
		if err == nil && (cfg.Motes < 0 || cfg.Motes > maxMotes || cfg.Faults.Noise < 0 || cfg.Faults.Noise > 1) {
			t.Errorf("%q: %+v", s, cfg)
		}
	})
}
