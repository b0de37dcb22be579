package smartmesh

import (
	"bytes"
	"context"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meshgate/meshgate/hdlc"
)

// A peer is the manager's end of a pipe, moved by the test. It runs within a synctest bubble, where waiting costs nothing.
type peer struct {
	t    *testing.T
	conn net.Conn
	in   chan arrival
}

// An arrival is a packet from the client, with when it came and its frame.
type arrival struct {
	Packet
	at    time.Time
	frame []byte
}

// newPeer makes a pipe: the client's end and a peer at the other.
func newPeer(t *testing.T) (io.ReadWriteCloser, *peer) {
	here, there := net.Pipe()
	p := &peer{t: t, conn: there, in: make(chan arrival, 1000)}
	go func() {
		defer close(p.in)
		r := hdlc.NewReader(there)
		for {
			b, err := r.Next()
			if err == io.EOF || err == io.ErrClosedPipe {
				return
			}
			if err != nil {
				t.Errorf("the client sends a bad frame: %v", err)
				continue
			}
			packet, err := ParsePacket(bytes.Clone(b))
			if err != nil {
				t.Errorf("the client sends a bad packet: %x: %v", b, err)
			}
			p.in <- arrival{packet, time.Now(), hdlc.AppendFrame(nil, b)}
		}
	}()
	return here, p
}

// next gives the next packet from the client; none within a minute fails the test.
func (p *peer) next() arrival {
	p.t.Helper()
	select {
	case a, ok := <-p.in:
		if !ok {
			p.t.Fatal("the client has closed the port")
		}
		return a
	case <-time.After(time.Minute):
		p.t.Fatal("nothing from the client for a minute")
	}
	panic("unreachable")
}

// want expects a packet.
func (p *peer) want(control, kind, seq byte, payload string) arrival {
	p.t.Helper()
	a := p.next()
	if a.Control != control || a.Type != kind || a.Seq != seq || !bytes.Equal(a.Payload, unhex(p.t, payload)) {
		p.t.Fatalf("%02x type %d seq %d %x, want %02x type %d seq %d %s", a.Control, a.Type, a.Seq, a.Payload, control, kind, seq, payload)
	}
	return a
}

// silent expects nothing from the client until it cannot but wait.
func (p *peer) silent() {
	p.t.Helper()
	synctest.Wait()
	select {
	case a, ok := <-p.in:
		if ok {
			p.t.Fatalf("unexpected: %02x type %d seq %d %x", a.Control, a.Type, a.Seq, a.Payload)
		}
	default:
	}
}

func (p *peer) send(control, kind, seq byte, payload string) {
	p.t.Helper()
	packet := Packet{Control: control, Type: kind, Seq: seq, Payload: unhex(p.t, payload)}
	p.write(hdlc.AppendFrame(nil, packet.Append(nil)))
}

func (p *peer) write(frame []byte) {
	p.t.Helper()
	if _, err := p.conn.Write(frame); err != nil {
		p.t.Fatalf("writing to the client: %v", err)
	}
}

// respond answers a request.
func (p *peer) respond(a arrival, payload string) {
	p.t.Helper()
	p.send(3, a.Type, a.Seq, payload)
}

// welcome answers the client's hello with the manager's last number, and returns the client's.
func (p *peer) welcome(last byte) byte {
	p.t.Helper()
	a := p.next()
	if a.Control != 0 || a.Type != typeHello || len(a.Payload) != 3 || a.Payload[0] != 4 || a.Payload[2] != 0 {
		p.t.Fatalf("not a hello: %+v", a)
	}
	p.write(helloFrame(0, 4, last, a.Payload[1]))
	return a.Payload[1]
}

// A log of notifications.
type notifyLog struct {
	mu   sync.Mutex
	list []Notification
}

func (l *notifyLog) add(n Notification) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n.Raw = bytes.Clone(n.Raw)
	l.list = append(l.list, n)
}

func (l *notifyLog) all() []Notification {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.list)
}

// A rig is an open session with its peer.
type rig struct {
	*peer
	s     *Session
	stats *Stats
	log   *notifyLog
	first byte // number of the first request
}

// bubble runs a test with an open session in a synctest bubble, and ends the session after it.
func bubble(t *testing.T, last byte, test func(*testing.T, *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		log := new(notifyLog)
		r := openRig(t, last, Options{OnNotify: log.add})
		r.log = log
		test(t, r)
		_ = r.conn.Close()
		if err := r.s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
}

func openRig(t *testing.T, last byte, opt Options) *rig {
	t.Helper()
	port, p := newPeer(t)
	opt.Stats = new(Stats)
	type result struct {
		s   *Session
		err error
	}
	opened := make(chan result)
	go func() {
		s, err := Connect(context.Background(), port, opt)
		opened <- result{s, err}
	}()
	cli := p.welcome(last)
	got := <-opened
	if got.err != nil {
		t.Fatalf("Connect: %v", got.err)
	}
	return &rig{peer: p, s: got.s, stats: opt.Stats, first: cli + 1}
}

// do calls f in a goroutine and gives its error when it comes.
func do(f func() error) <-chan error {
	c := make(chan error, 1)
	go func() { c <- f() }()
	return c
}

// counts holds the counters that are not zero.
func counts(s *Stats) map[string]int64 {
	m := map[string]int64{}
	s.Each(func(name string, v int64) {
		if v != 0 {
			m[name] = v
		}
	})
	return m
}

// helloFrame is the frame of a hello response.
func helloFrame(code, version, last, cli byte) []byte {
	return hdlc.AppendFrame(nil, Packet{Type: typeHelloResponse, Payload: []byte{code, version, last, cli, 0}}.Append(nil))
}
