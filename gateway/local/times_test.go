package local

import (
	"encoding/binary"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// five is a client of MQTT 5; its will, if delay is not 0, is "w" on dev/ID, retained, QoS 1.
func five(t *testing.T, b *Broker, id string, keepAlive uint16, session, delay uint32) net.Conn {
	t.Helper()
	flags := byte(0)
	if session == 0 {
		flags = 2
	}
	if delay > 0 {
		flags |= 0x2c
	}
	p := append([]byte{0, 4, 'M', 'Q', 'T', 'T', 5, flags}, byte(keepAlive>>8), byte(keepAlive))
	if session > 0 {
		p = binary.BigEndian.AppendUint32(append(p, 5, 0x11), session)
	} else {
		p = append(p, 0)
	}
	p = append(append(p, 0, byte(len(id))), id...)
	if delay > 0 {
		p = binary.BigEndian.AppendUint32(append(p, 5, 0x18), delay)
		p = append(append(p, 0, byte(4+len(id))), "dev/"+id...)
		p = append(p, 0, 1, 'w')
	}
	c := raw(t, b)
	c.Write(append([]byte{0x10, byte(len(p))}, p...))
	if typ, body := readPacket(t, c); typ != 2 || body[1] != 0 {
		t.Fatalf("% x", body)
	}
	return c
}

// A will that MQTT 5 delays comes when the session ends at the latest, and then to everybody whom a will comes to.
func TestDelayedWill(t *testing.T) {
	t.Parallel()
	in := newBox()
	b := startBroker(t, Options{Intake: in.intake})
	five(t, b, "no-session", 60, 0, 1000).Close()
	if m := in.wait(t, 1)[0]; m.Topic != "dev/no-session" || !m.Retain {
		t.Errorf("%+v", m)
	}
	for _, id := range []string{"a", "b", "c", "d"} { // the server ends sessions before or after it sends wills
		five(t, b, id, 60, 1, 1000).Close()
	}
	in.wait(t, 5)
	eventually(t, "the last one is retained", func() bool { n, _ := b.retained.size(); return n == 5 })
}

// A will is judged by the access list of when it is sent.
func TestWillUnderNewRules(t *testing.T) {
	t.Parallel()
	in, log := newBox(), &logBuffer{}
	rules := writeFile(t, "acl", "topic dev/#\n")
	b := startBroker(t, Options{ACL: rules, Intake: in.intake, Log: log.logger()})
	watch := connect(t, pahoOptions(b.tcp(), "watch"))
	watch.subscribe(t, "dev/#", 1)
	now, later := raw(t, b), five(t, b, "later", 60, 9, 1)
	now.Write([]byte("\x10\x18\x00\x04MQTT\x04\x2e\x00\x00\x00\x03now\x00\x05dev/w\x00\x00"))
	readPacket(t, now)
	if err := os.WriteFile(rules, []byte("topic read dev/#\ntopic write dev/end\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := b.Reload(); err != nil {
		t.Fatal(err)
	}
	now.Close()
	later.Close()
	eventually(t, "both are refused", func() bool { return strings.Count(log.String(), "its last will is not allowed") == 2 })
	b.Publish("dev/end", []byte("x"), false)
	want(t, watch.next(t), "dev/end=x")
	if got := in.all(); len(got) != 0 {
		t.Errorf("%+v", got)
	}
}

// The longest keep-alives are no shorter than others.
func TestKeepAlive(t *testing.T) {
	t.Parallel()
	b := startBroker(t, Options{})
	for _, s := range []uint16{0, 1, 43690, 43691, 65535} {
		c := five(t, b, "k", s, 0, 0)
		c.Write([]byte{0xc0, 0})
		if typ, _ := readPacket(t, c); typ != 13 {
			t.Errorf("%d: packet of type %d", s, typ)
		}
	}
	for s, want := range map[uint16]uint16{0: 0, 1: 2, 2: 2, 43690: 43690, 43691: 0} {
		if got := patienceOf(s); got != want {
			t.Errorf("%d: %d", s, got)
		}
	}
}

// A session of MQTT 5 ends when its time is over, by a clock that nobody sets.
func TestSessionEnds(t *testing.T) {
	t.Parallel()
	b := startBroker(t, Options{})
	for i, step := range []struct {
		last string // words
		life time.Duration
	}{
		{"", 100 * time.Second}, {"\xe0\x00", 100 * time.Second}, {"\xe0\x07\x00\x05\x11\x00\x00\x00\x32", 50 * time.Second},
		{"\xe0\x07\x00\x05\x11\x00\x00\x00\x00", 0},
	} {
		c := five(t, b, "s", 60, 100, 0)
		cl, _ := b.srv.Clients.Get("s")
		c.Write([]byte(step.last))
		c.Close()
		eventually(t, "it is away", func() bool { return b.Stats().Clients == 0 })
		if step.life > 0 {
			b.endSessions(time.Now().Add(step.life))
			if b.Stats().Sessions != 1 || cl.Properties.Props.SessionExpiryIntervalFlag {
				t.Errorf("%d: %+v", i, b.Stats())
			}
			b.endSessions(time.Now().Add(step.life + 4*time.Second))
		}
		if b.Stats().Sessions != 0 {
			t.Errorf("%d: %+v", i, b.Stats())
		}
	}
}
