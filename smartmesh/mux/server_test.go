package mux

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// manager stands for a session: it notes what it is asked for and answers what it is told to.
type manager struct {
	mu     sync.Mutex
	asked  []string
	answer func(command byte, payload []byte) ([]byte, error)
}

func (m *manager) do(ctx context.Context, command byte, payload []byte) ([]byte, error) {
	m.mu.Lock()
	m.asked = append(m.asked, fmt.Sprintf("%02x %x", command, payload))
	answer := m.answer
	m.mu.Unlock()
	if answer == nil {
		return []byte{RCOK}, nil
	}
	return answer(command, payload)
}

// was gives what was asked for since the last call.
func (m *manager) was() string {
	synctest.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	asked := strings.Join(m.asked, ", ")
	m.asked = nil
	return asked
}

// guest is a client of the Server, in the words of the protocol.
type guest struct {
	t    *testing.T
	conn net.Conn
	r    *Reader
	gone chan struct{} // closed when Serve has returned
}

func visit(t *testing.T, s *Server) *guest {
	ours, theirs := net.Pipe()
	g := &guest{t, ours, NewReader(ours), make(chan struct{})}
	go func() {
		defer close(g.gone)
		s.Serve(theirs)
	}()
	return g
}

// greeted is a guest that has said hello.
func greeted(t *testing.T, s *Server) *guest {
	t.Helper()
	g := visit(t, s)
	g.say("a740a0f5 000c 0000 01 04 3031323334353637")
	g.hears("01 0004")
	return g
}

func (g *guest) say(s string) {
	g.t.Helper()
	if _, err := g.conn.Write(unhex(g.t, s)); err != nil {
		g.t.Errorf("say %s: %v", s, err)
	}
}

func (g *guest) command(typ byte, data string) {
	g.t.Helper()
	g.say(hex.EncodeToString(AppendMessage(nil, typ, unhex(g.t, data))))
}

// hears expects these messages, "TYPE DATA", or "closed".
func (g *guest) hears(want ...string) {
	g.t.Helper()
	for _, want := range want {
		g.conn.SetReadDeadline(time.Now().Add(time.Minute))
		m, err := g.r.Next()
		got := fmt.Sprintf("%02x %x", m.Type, m.Data)
		if err != nil {
			got = "closed"
			if errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "timeout") {
				got = "nothing"
			}
		}
		if got != want {
			g.t.Errorf("got %s, want %s", got, want)
		}
	}
}

// hall runs a test with a Server.
func hall(t *testing.T, opt ServerOptions, test func(t *testing.T, m *manager, s *Server)) {
	synctest.Test(t, func(t *testing.T) {
		m := new(manager)
		opt.Do = m.do
		s := NewServer(opt)
		defer s.Close()
		test(t, m, s)
	})
}

func TestServerHello(t *testing.T) {
	hall(t, ServerOptions{Info: Info{Major: 1, Minor: 2, Release: 3, Build: 4}}, func(t *testing.T, m *manager, s *Server) {
		for _, tt := range []struct{ hello, answer string }{
			{"a740a0f5 000b 0000 01 04 30313233343536", "01 0104"},   // too short
			{"a740a0f5 000c 0000 01 03 3031323334353637", "01 0404"}, // another version
			{"a740a0f5 000c 0000 01 04 3031323334353638", "01 0304"}, // another secret
		} {
			g := visit(t, s)
			g.say("ff a740a0f5 0003 0000 2e a740a0f5 0003 0000 02" + tt.hello) // what comes before is ignored
			g.hears(tt.answer, "closed")
		}
		g := greeted(t, s)
		g.say("a740a0f5 0003 0000 02")
		g.hears("02 00040102030004")
		g.say("73746f70") // the SDK's goodbye
		g.conn.Close()
		<-g.gone
		silent := visit(t, s)
		began := time.Now()
		silent.hears("closed")
		if d := time.Since(began); d != helloLimit {
			t.Errorf("a client without hello is closed after %v", d)
		}
		if asked := m.was(); asked != "" {
			t.Errorf("the manager was asked for %s", asked)
		}
	})
}

func TestServerCommands(t *testing.T) {
	opt := ServerOptions{Allow: func(command byte) bool { return command != 0x2c }}
	hall(t, opt, func(t *testing.T, m *manager, s *Server) {
		g := greeted(t, s)
		m.answer = func(command byte, payload []byte) ([]byte, error) {
			return append([]byte{0x12, command}, payload...), nil
		}
		g.command(0x2f, "0000000000000000 01")
		g.hears("2f 122f000000000000000001")
		for _, refused := range []struct {
			typ  byte
			data string
		}{
			{0x2c, "00"}, {0, ""}, {3, ""}, {20, "04"}, {0x2e, strings.Repeat("00", MaxCommand+1)}, {0x16, strings.Repeat("00", MaxCommand+1)},
		} {
			g.command(refused.typ, refused.data)
			g.hears(fmt.Sprintf("%02x 01", refused.typ))
		}
		g.command(0x16, "000000f6")
		g.hears("16 02")
		long := strings.Repeat("ab", MaxCommand)
		g.command(0x2e, long)
		g.hears("2e 122e" + long)
		if got, want := m.was(), "2f 000000000000000001, 2e "+long; got != want {
			t.Errorf("the manager was asked for %s", got)
		}
	})
}

// TestServerQueue: the manager is asked for one thing at a time, in the order in which the clients came.
func TestServerQueue(t *testing.T) {
	hall(t, ServerOptions{}, func(t *testing.T, m *manager, s *Server) {
		busy := 0
		m.answer = func(command byte, _ []byte) ([]byte, error) {
			busy++
			defer func() { busy-- }()
			time.Sleep(time.Second)
			return []byte{RCOK, byte(busy)}, nil
		}
		var all []*guest
		for i := range 4 {
			g := greeted(t, s)
			all = append(all, g)
			g.command(byte(0x30+i), "")
			synctest.Wait()
		}
		for i, g := range all {
			g.hears(fmt.Sprintf("%02x 0001", 0x30+i))
		}
		if got := m.was(); got != "30 , 31 , 32 , 33 " {
			t.Errorf("asked for %q", got)
		}
	})
}

// TestServerNoAnswer: the client learns it, and then all are let go.
func TestServerNoAnswer(t *testing.T) {
	hall(t, ServerOptions{}, func(t *testing.T, m *manager, s *Server) {
		m.answer = func(byte, []byte) ([]byte, error) { return nil, errors.New("no answer") }
		one, other := greeted(t, s), greeted(t, s)
		one.command(0x2e, "")
		one.hears("2e 05", "closed")
		other.hears("closed")
		late := visit(t, s)
		late.hears("closed")
	})
}

func TestServerClose(t *testing.T) {
	hall(t, ServerOptions{}, func(t *testing.T, m *manager, s *Server) {
		g, silent, stalled := greeted(t, s), visit(t, s), greeted(t, s)
		stalled.command(0x16, "00000010 00000000")
		stalled.hears("16 00")
		s.Notify([]byte{4, 1})
		synctest.Wait()
		began := time.Now()
		s.Close()
		if d := time.Since(began); d > partLimit {
			t.Errorf("it took %v", d)
		}
		g.hears("closed")
		silent.hears("closed")
	})
}

// TestServerSubscriptions: each client has its own, the manager is asked for all of them together.
func TestServerSubscriptions(t *testing.T) {
	opt := ServerOptions{Filter: 0x16, UnackFilter: 0x02}
	hall(t, opt, func(t *testing.T, m *manager, s *Server) {
		one, other := greeted(t, s), greeted(t, s)
		s.Notify([]byte{4, 0xAA}) // nobody wants it
		one.command(0x16, "00000010 00000010")
		one.hears("16 00")
		if got := m.was(); got != "" { // data is what the owner has, and has acknowledged
			t.Errorf("asked for %s", got)
		}
		other.command(0x16, "000000e0 00000060")
		other.hears("16 00")
		if got := m.was(); got != "16 000000f600000062" {
			t.Errorf("asked for %s", got)
		}
		s.Notify([]byte{4, 0xBB})
		s.Notify([]byte{6, 0xCC})
		s.Notify([]byte{40, 0xDD})
		one.hears("14 04bb")
		other.hears("14 06cc")

		m.answer = func(byte, []byte) ([]byte, error) { return []byte{2}, nil }
		one.command(0x16, "00000100 00000000")
		one.hears("16 02")
		m.answer = nil
		s.Notify([]byte{8, 1})
		s.Notify([]byte{4, 0xEE})
		one.hears("14 04ee") // what it had before still counts, and only that
		if got := m.was(); got != "16 000001f600000062" {
			t.Errorf("asked for %s", got)
		}
		other.conn.Close()
		<-other.gone
		if got := m.was(); got != "16 0000001600000002" {
			t.Errorf("after one has left, asked for %s", got)
		}
	})
}

// TestServerHeld: what comes while the manager is being asked is passed on once it has accepted, after the answer.
func TestServerHeld(t *testing.T) {
	hall(t, ServerOptions{}, func(t *testing.T, m *manager, s *Server) {
		g := greeted(t, s)
		for _, rc := range []byte{RCOK, 2} {
			m.answer = func(command byte, payload []byte) ([]byte, error) {
				s.Notify([]byte{byte(4 + rc), 0x01})
				return []byte{rc}, nil
			}
			g.command(0x16, hex.EncodeToString(binary.BigEndian.AppendUint64(nil, 1<<(4+rc+32))))
			g.hears(fmt.Sprintf("16 %02x", rc))
			if rc == RCOK {
				g.hears("14 0401")
			}
		}
		m.answer = nil
		g.command(0x17, "")
		g.hears("17 00")
	})
}

// TestServerStalled: a client that does not read is let go; another and the owner of the session do not notice.
func TestServerStalled(t *testing.T) {
	hall(t, ServerOptions{Filter: 0x10}, func(t *testing.T, m *manager, s *Server) {
		stalled, well := greeted(t, s), greeted(t, s)
		for _, g := range []*guest{stalled, well} {
			g.command(0x16, "00000010 00000000")
			g.hears("16 00")
		}
		began := time.Now()
		for i := range 2 * outQueue {
			s.Notify([]byte{4, byte(i >> 8), byte(i)})
			well.hears(fmt.Sprintf("14 04%04x", i))
		}
		if d := time.Since(began); d != 0 {
			t.Errorf("the notifications were held up for %v", d)
		}
		<-stalled.gone
		if d := time.Since(began); d > partLimit {
			t.Errorf("let go after %v", d)
		}
	})
}

func TestServerFull(t *testing.T) {
	hall(t, ServerOptions{}, func(t *testing.T, m *manager, s *Server) {
		for range maxClients {
			greeted(t, s)
		}
		visit(t, s).hears("closed")
	})
}
