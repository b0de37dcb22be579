package sim

import (
	"context"
	"encoding/hex"
	"errors"
	"log/slog"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meshgate/meshgate/hdlc"
)

// peer is a plain client: it sends what the test says, acknowledges reliable notifications if told to, and keeps all
// it hears.
type peer struct {
	t    *testing.T
	m    *Manager
	conn net.Conn
	seq  byte

	mu      sync.Mutex
	ack     bool
	ackWith byte
	ackWait time.Duration
	notes   []packet // notifications, repeats included
	others  []packet // everything else
	bad     int      // frames that failed their check
}

// in runs test in a bubble, with a manager whose motes live and a client connected to it.
func in(t *testing.T, cfg Config, test func(t *testing.T, m *Manager, p *peer)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		m := New(cfg, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := m.Run(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("Run: %v", err)
			}
		})
		p := plug(t, ctx, &wg, m)
		test(t, m, p)
		cancel()
		wg.Wait()
	})
}

// plug connects a client.
func plug(t *testing.T, ctx context.Context, wg *sync.WaitGroup, m *Manager) *peer {
	here, there := net.Pipe()
	p := &peer{t: t, m: m, conn: here, ack: true, ackWith: 0x03}
	wg.Go(func() { m.Serve(ctx, there) })
	wg.Go(p.read)
	synctest.Wait()
	return p
}

func (p *peer) read() {
	r := hdlc.NewReader(p.conn)
	for {
		raw, err := r.Next()
		var bad hdlc.FrameError
		if errors.As(err, &bad) {
			p.mu.Lock()
			p.bad++
			p.mu.Unlock()
			continue
		}
		if err != nil {
			return
		}
		q, ok := parse(slices.Clone(raw))
		if !ok {
			p.t.Errorf("packet with wrong length: %x", raw)
			continue
		}
		p.mu.Lock()
		ack, wait, with := p.ack && q.kind == kindNotification && q.control == 0x02, p.ackWait, p.ackWith
		if q.kind == kindNotification {
			p.notes = append(p.notes, q)
		} else {
			p.others = append(p.others, q)
		}
		p.mu.Unlock()
		if ack {
			time.Sleep(wait)
			p.send(appendPacket(nil, with, kindNotification, q.seq, []byte{0}))
		}
	}
}

// send writes one packet, framed.
func (p *peer) send(packet []byte) {
	p.conn.Write(hdlc.AppendFrame(nil, packet))
}

func (p *peer) set(do func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	do()
}

// take returns and forgets what came besides notifications.
func (p *peer) take() []packet {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	got := p.others
	p.others = nil
	return got
}

// takeNotes returns and forgets the notifications.
func (p *peer) takeNotes() []packet {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	got := p.notes
	p.notes = nil
	return got
}

// hello opens a session and returns the payload of the answer.
func (p *peer) hello(cli byte) []byte {
	p.t.Helper()
	p.take()
	p.send([]byte{0, kindHello, 0, 3, version, cli, 0})
	for _, q := range p.take() {
		if q.kind == kindHelloResponse {
			p.seq = cli
			return q.payload
		}
	}
	p.t.Fatal("no HelloResponse")
	return nil
}

// call sends a request under the next number and returns the response's payload.
func (p *peer) call(kind byte, payload ...byte) []byte {
	p.t.Helper()
	p.seq++
	p.take()
	p.send(appendPacket(nil, 0x02, kind, p.seq, payload))
	for _, q := range p.take() {
		if q.control == 0x03 && q.kind == kind && q.seq == p.seq {
			return q.payload
		}
	}
	p.t.Fatalf("no response to request %d of type %d", p.seq, kind)
	return nil
}

// want sends a request and demands a code.
func (p *peer) want(code byte, kind byte, payload ...byte) []byte {
	p.t.Helper()
	got := p.call(kind, payload...)
	if got[0] != code {
		p.t.Fatalf("command %d gave RC %d, want %d", kind, got[0], code)
	}
	return got
}

// subscribe to everything, with these types unacknowledged.
func (p *peer) subscribe(unack byte) {
	p.t.Helper()
	p.want(rcOK, 22, 0, 0, 0, 0xff, 0, 0, 0, unack)
}

// events returns the data of the events of one type among the notifications.
func events(notes []packet, kind byte) (data [][]byte) {
	for _, q := range notes {
		if q.payload[0] == notifEvent && q.payload[5] == kind {
			data = append(data, q.payload[6:])
		}
	}
	return data
}

// data returns OAP payloads of notifData among the notifications.
func data(notes []packet) (oap [][]byte) {
	for _, q := range notes {
		if q.payload[0] == notifData {
			oap = append(oap, q.payload[25:])
		}
	}
	return oap
}

// clean demands that the client broke no rule.
func clean(t *testing.T, m *Manager) {
	t.Helper()
	if s := m.Stats(); s.NViolations != 0 {
		t.Errorf("violations: %q", s.Violations)
	}
}

// violated demands exactly n violations and forgets them.
func violated(t *testing.T, m *Manager, n int) {
	t.Helper()
	synctest.Wait()
	if s := m.Stats(); s.NViolations != n {
		t.Errorf("%d violations %q, want %d", s.NViolations, s.Violations, n)
	}
	m.mu.Lock()
	m.stats.Violations, m.stats.NViolations = nil, 0
	m.mu.Unlock()
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
