package sim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/meshgate/meshgate/hdlc"
)

// ErrReplaced is returned by Serve when another Serve took the manager's only port.
var ErrReplaced = errors.New("sim: port taken by another client")

// outBound is how many bytes may wait for a client that does not read. A serial line would lose them as well: a frame
// that does not fit is lost whole, and counted in Stats.Overrun.
const outBound = 64 << 10

// link is one client's port.
type link struct {
	rw   io.ReadWriteCloser
	out  []byte        // framed bytes to be written, guarded by the manager's mutex
	wake chan struct{} // one token: out is not empty
}

// Serve speaks with one client until rw ends, ctx ends or another Serve takes its place; it closes rw and waits for
// all it started. The session and the motes live on: to the manager a new Serve is a cable plugged in again.
// The end of rw is no error.
func (m *Manager) Serve(ctx context.Context, rw io.ReadWriteCloser) error {
	l := &link{rw: rw, wake: make(chan struct{}, 1)}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	m.attach(l)
	var wg sync.WaitGroup
	wg.Go(func() { <-ctx.Done(); rw.Close() })
	wg.Go(func() { m.write(ctx, l) })
	wg.Go(func() { m.drive(ctx) })
	err := m.read(l)
	if cause := ctx.Err(); cause != nil {
		err = cause
	}
	cancel()
	wg.Wait()
	if !m.detach(l) {
		return ErrReplaced
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrClosedPipe) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("sim: %w", err)
	}
	return err
}

func (m *Manager) attach(l *link) {
	m.mu.Lock()
	old := m.link
	m.link = l
	m.stale = sent{}
	if m.session != nil {
		m.session.inFlightSent.at = nil // the earlier client's acknowledgements are lost with it
	}
	m.announce()
	m.mu.Unlock()
	if old != nil {
		old.rw.Close()
	}
}

// detach says whether l was the port to the end.
func (m *Manager) detach(l *link) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.link != l {
		return false
	}
	m.link = nil
	return true
}

func (m *Manager) read(l *link) error {
	r := hdlc.NewReader(l.rw)
	for {
		p, err := r.Next()
		var bad hdlc.FrameError
		switch {
		case errors.As(err, &bad):
			m.badFrame(l, bad)
		case err != nil:
			return err
		default:
			m.receive(l, p)
		}
	}
}

func (m *Manager) badFrame(l *link, bad hdlc.FrameError) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.link != l {
		return
	}
	m.stats.BadFrames++
	if bad == hdlc.BadFCS {
		m.stats.Manager.SerRxCRCErr++
	}
}

func (m *Manager) write(ctx context.Context, l *link) {
	var buf []byte
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.wake:
		}
		m.mu.Lock()
		buf, l.out = l.out, buf[:0]
		m.mu.Unlock()
		if _, err := l.rw.Write(buf); err != nil {
			return // the reader sees it too
		}
	}
}

// silent says that nothing crosses the port now.
func (m *Manager) silent(now time.Time) bool {
	return m.link == nil || now.Before(m.silentUntil) || now.Before(m.bootedUntil)
}

// transmit sends one packet through the faults of the line. It says whether the packet leaves whole.
func (m *Manager) transmit(packet []byte) bool {
	if m.silent(time.Now()) {
		return false
	}
	l := m.link
	if len(l.out)+2*len(packet)+64 > outBound {
		m.stats.Overrun++
		return false
	}
	m.stats.Manager.SerTxCnt++
	if m.chance(m.faults.Noise) {
		l.out = m.appendNoise(l.out)
	}
	start := len(l.out)
	l.out = hdlc.AppendFrame(l.out, packet)
	whole := true
	if m.chance(m.faults.Corrupt) {
		l.out = m.damage(l.out, start)
		whole = false
	}
	select {
	case l.wake <- struct{}{}:
	default: // the writer is told already
	}
	return whole
}

// parse splits a packet; ok is false when it is shorter than its header or its length byte is wrong.
func parse(raw []byte) (p packet, ok bool) {
	if len(raw) < 4 || int(raw[3]) != len(raw)-4 {
		return p, false
	}
	return packet{raw[0], raw[1], raw[2], raw[4:], raw}, true
}

type packet struct {
	control, kind, seq byte
	payload            []byte
	raw                []byte
}

func appendPacket(dst []byte, control, kind, seq byte, payload []byte) []byte {
	dst = append(dst, control, kind, seq, byte(len(payload)))
	return append(dst, payload...)
}

func (p packet) equal(raw []byte) bool { return bytes.Equal(p.raw, raw) }

// ListenTCP serves clients that connect to addr until ctx ends; a later client takes the port from an earlier one.
// ready, if not nil, is called with the address listened on.
func ListenTCP(ctx context.Context, m *Manager, addr string, ready func(net.Addr)) error {
	var config net.ListenConfig
	ln, err := config.Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("sim: %w", err)
	}
	if ready != nil {
		ready(ln.Addr())
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { <-ctx.Done(); ln.Close() })
	defer wg.Wait()
	defer cancel()
	for {
		conn, err := ln.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("sim: %w", err)
		}
		m.log.Info("client connected", "from", conn.RemoteAddr())
		wg.Go(func() {
			err := m.Serve(ctx, conn)
			m.log.Info("client gone", "from", conn.RemoteAddr(), "err", err)
		})
	}
}
