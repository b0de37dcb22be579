package brokertest

import (
	"io"
	"net"
	"sync"
	"time"
)

// Fault spoils a connection at a chosen byte.
type Fault struct {
	Down  bool          // of what comes from the target; else of what goes there
	After int64         // this many bytes pass before
	Do    Action        // then this happens
	For   time.Duration // Delay: before every byte after; Stall: how long, 0 for ever
}

// Action is what a Fault does.
type Action int

const (
	Cut   Action = iota // both sides see the end of the stream
	Reset               // both sides see a reset
	Stall               // nothing passes in this direction; both connections stay open
	Delay               // every byte is late
)

// Proxy passes TCP connections on to a target, each with the faults that are set when it comes.
type Proxy struct {
	l      net.Listener
	target string
	mu     sync.Mutex
	faults []Fault
	conns  map[net.Conn]bool
	quit   chan struct{}
	once   sync.Once
	wg     sync.WaitGroup
}

// NewProxy listens on a free loopback port.
func NewProxy(target string, faults ...Fault) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{l: l, target: target, faults: faults, conns: map[net.Conn]bool{}, quit: make(chan struct{})}
	p.wg.Go(p.accept)
	return p, nil
}

// Addr is where the proxy listens.
func (p *Proxy) Addr() string { return p.l.Addr().String() }

// Set gives the faults of connections to come.
func (p *Proxy) Set(faults ...Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = faults
}

// Close cuts everything and waits until nothing of the proxy runs.
func (p *Proxy) Close() {
	p.once.Do(func() { close(p.quit) })
	p.l.Close()
	p.mu.Lock()
	for c := range p.conns {
		c.Close()
	}
	p.mu.Unlock()
	p.wg.Wait()
}

func (p *Proxy) accept() {
	for {
		near, err := p.l.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", p.target)
		if err != nil {
			near.Close()
			continue
		}
		p.mu.Lock()
		p.conns[near], p.conns[far] = true, true
		faults := p.faults
		p.mu.Unlock()
		p.wg.Go(func() { p.pass(far, near, faults, false) })
		p.wg.Go(func() { p.pass(near, far, faults, true) })
	}
}

// pass copies from src to dst until either ends.
func (p *Proxy) pass(dst, src net.Conn, faults []Fault, down bool) {
	end := io.Writer(dst)
	for _, f := range faults {
		if f.Down == down {
			end = &spoiler{w: end, f: f, left: f.After, a: dst, b: src, quit: p.quit}
		}
	}
	io.Copy(end, onlyReader{src}) // however it ends, both sides get to know
	dst.Close()
	src.Close()
	p.mu.Lock()
	delete(p.conns, src)
	p.mu.Unlock()
}

// onlyReader keeps io.Copy from splicing past the spoilers.
type onlyReader struct{ io.Reader }

// spoiler is a Fault in the way.
type spoiler struct {
	w    io.Writer
	f    Fault
	left int64
	a, b net.Conn
	quit chan struct{}
}

func (s *spoiler) Write(b []byte) (int, error) {
	whole := int(min(s.left, int64(len(b))))
	s.left -= int64(whole)
	if whole > 0 {
		if n, err := s.w.Write(b[:whole]); err != nil {
			return n, err
		}
	}
	if s.left > 0 || whole == len(b) && s.f.Do != Cut && s.f.Do != Reset {
		return whole, nil
	}
	n, err := s.spoil(b[whole:])
	return whole + n, err
}

// spoil is for what comes after the chosen byte.
func (s *spoiler) spoil(b []byte) (int, error) {
	switch s.f.Do {
	case Reset:
		for _, c := range []net.Conn{s.a, s.b} {
			if t, ok := c.(*net.TCPConn); ok {
				t.SetLinger(0)
			}
		}
		return 0, io.ErrClosedPipe
	case Cut:
		return 0, io.ErrClosedPipe
	case Stall:
		if !s.sleep(s.f.For, s.f.For == 0) {
			return 0, io.ErrClosedPipe
		}
		s.left = 1 << 62
		return s.w.Write(b)
	}
	for i := range b {
		if !s.sleep(s.f.For, false) {
			return i, io.ErrClosedPipe
		}
		if _, err := s.w.Write(b[i : i+1]); err != nil {
			return i, err
		}
	}
	return len(b), nil
}

// sleep returns false when the proxy closes first.
func (s *spoiler) sleep(d time.Duration, ever bool) bool {
	var after <-chan time.Time
	if !ever {
		after = time.After(d)
	}
	select {
	case <-after:
		return true
	case <-s.quit:
		return false
	}
}
