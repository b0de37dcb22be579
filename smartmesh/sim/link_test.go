package sim

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// The manager does not notice a closed port until a notification stays unacknowledged; a new client gets no MgrHello
// before that, and its Hello is answered at once.
func TestPortReplaced(t *testing.T) {
	in(t, Config{}, func(t *testing.T, m *Manager, p *peer) {
		p.hello(0)
		p.subscribe(0)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var wg sync.WaitGroup
		p2 := plug(t, ctx, &wg, m)
		time.Sleep(5 * time.Second)
		if got := p2.take(); len(got) != 0 {
			t.Errorf("the old session is forgotten: %v", got)
		}
		if _, err := p.conn.Write([]byte{0x7e}); err == nil {
			t.Error("the replaced port is still open")
		}
		m.Inject([]byte{2})
		p2.set(func() { p2.ack = false })
		time.Sleep(5 * time.Second)
		if got := p2.take(); len(got) == 0 || got[0].kind != kindMgrHello {
			t.Errorf("got %v, want MgrHello", got)
		}
		p2.hello(3)
		p2.want(rcOK, 46)
		cancel()
		wg.Wait()
	})
}

func TestServeEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := New(Config{}, nil)
		serve := func(ctx context.Context) (net.Conn, chan error) {
			here, there := net.Pipe()
			end := make(chan error, 1)
			go func() { end <- m.Serve(ctx, there) }()
			synctest.Wait()
			return here, end
		}
		conn, end := serve(t.Context())
		conn.Close()
		if err := <-end; err != nil {
			t.Errorf("the client closed: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		_, end = serve(ctx)
		cancel()
		if err := <-end; !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
		_, first := serve(t.Context())
		conn, second := serve(t.Context())
		if err := <-first; !errors.Is(err, ErrReplaced) {
			t.Errorf("replaced: %v", err)
		}
		conn.Close()
		<-second
	})
}

func TestListenTCP(t *testing.T) {
	m := New(Config{}, nil)
	ctx, cancel := context.WithCancel(t.Context())
	ready, end := make(chan net.Addr, 1), make(chan error, 1)
	go func() { end <- ListenTCP(ctx, m, "127.0.0.1:0", func(a net.Addr) { ready <- a }) }()
	addr := <-ready
	for range 2 {
		conn, err := net.Dial("tcp", addr.String())
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		buf := make([]byte, 12)
		if _, err := conn.Read(buf); err != nil || buf[0] != 0x7e {
			t.Errorf("got %x, %v", buf, err)
		}
	}
	cancel()
	if err := <-end; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := ListenTCP(t.Context(), m, "127.0.0.1:x", nil); err == nil {
		t.Error("bad address accepted")
	}
}

// An acknowledgement that was lost on the port's side is not held against the client: the one of the repeat is in time.
func TestLostAcknowledgementIsNotLate(t *testing.T) {
	for name, lose := range map[string]func(t *testing.T, m *Manager, wg *sync.WaitGroup){
		"silence": func(t *testing.T, m *Manager, _ *sync.WaitGroup) { m.Silence(time.Second) },
		"replug":  func(t *testing.T, m *Manager, wg *sync.WaitGroup) { plug(t, t.Context(), wg, m) },
	} {
		in(t, Config{}, func(t *testing.T, m *Manager, p *peer) {
			var wg sync.WaitGroup
			p.hello(0)
			p.subscribe(0)
			p.set(func() { p.ackWait = 50 * time.Millisecond })
			m.Inject([]byte{2})
			time.Sleep(20 * time.Millisecond)
			lose(t, m, &wg)
			time.Sleep(3 * time.Second)
			if s := m.Stats(); s.Acked != 1 || s.Resent == 0 {
				t.Errorf("%s: %+v", name, s)
			}
			clean(t, m)
		})
	}
}
