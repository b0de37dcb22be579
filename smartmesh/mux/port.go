package mux

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/meshgate/meshgate/hdlc"
)

// Patience is how long a client should wait for a response: the mux asks the manager twice, 3 s each, and then says
// RCCommandTimeout; more clients may come first.
const Patience = 10 * time.Second

const answerLimit = 5 * time.Second // for a mux to answer a hello

// What the serial protocol adds to the mux's: a header of control, type, sequence number and length.
const (
	serialHeader        = 4
	serialHello         = 1
	serialHelloResponse = 2
	serialResponse      = 0x03 // control byte
	serialAck           = 0x01 // bit of a control byte
)

// A Port is a connection to a mux that looks like the manager's own serial port, so that who speaks the serial protocol
// can use it:
//
//	serial side                              mux side
//	hello            --> (answered here)
//	request seq      -->                     command                 -->
//	                 (repeats go no further)
//	response seq     <--                     response                <--
//	notification     <--                     notification            <--
//	acknowledgement  --> (nothing to do)
//
// Notifications are given as unacknowledged ones: that of the mux has been sent already. The end of the connection is the
// end of the port.
type Port struct {
	conn     net.Conn
	up, down *io.PipeReader // what the session reads, and what it has written
	give     *io.PipeWriter
	take     *io.PipeWriter
	wg       sync.WaitGroup

	mu      sync.Mutex
	waiting bool // a command is outstanding
	number  byte // its type
	seq     byte
}

// Open says hello to the mux at the other end of conn, with the secret, and makes it a port. The connection belongs to
// the port from the call on: it is closed when an error is returned.
func Open(ctx context.Context, conn net.Conn, secret string) (*Port, error) {
	r := NewReader(conn)
	if err := greet(ctx, conn, r, secret); err != nil {
		conn.Close()
		return nil, err
	}
	p := &Port{conn: conn}
	p.up, p.give = io.Pipe()
	p.down, p.take = io.Pipe()
	p.wg.Go(func() { p.fail(p.upward(r)) })
	p.wg.Go(func() { p.fail(p.downward()) })
	return p, nil
}

// greet says hello and waits for the answer.
func greet(ctx context.Context, conn net.Conn, r *Reader, secret string) error {
	release := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Now()) })
	defer release()
	conn.SetDeadline(time.Now().Add(answerLimit))
	h := Hello{Version: Version}
	copy(h.Secret[:], secret)
	if _, err := conn.Write(AppendHello(nil, h)); err != nil {
		return fmt.Errorf("mux: hello: %w", err)
	}
	for {
		m, err := r.Next()
		var bad Error
		switch {
		case errors.As(err, &bad):
			continue
		case errors.Is(err, io.EOF):
			return errors.New("mux: the connection was closed at the hello: the mux may have no session with its manager now")
		case err != nil:
			return fmt.Errorf("mux: no answer to the hello: %w", err)
		case m.Type != TypeHello:
			continue
		}
		answer, err := ParseHelloResponse(m.Data)
		switch {
		case err != nil:
			return err
		case answer.RC == RCInvalidAuth:
			return errors.New("mux: the secret is refused; it is not the usual one there")
		case answer.RC == RCUnsupportedVersion:
			return fmt.Errorf("mux: version %d of the protocol is refused, it speaks %d", Version, answer.Version)
		case answer.RC != RCOK:
			return fmt.Errorf("mux: the hello is refused with code %d", answer.RC)
		}
		release()
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("mux: hello: %w", err)
		}
		return conn.SetDeadline(time.Time{})
	}
}

// Read gives the frames of what comes from the mux.
func (p *Port) Read(b []byte) (int, error) { return p.up.Read(b) }

// Write takes frames.
func (p *Port) Write(b []byte) (int, error) { return p.take.Write(b) }

// Close closes the connection and waits for the goroutines.
func (p *Port) Close() error {
	p.fail(io.ErrClosedPipe)
	p.wg.Wait()
	return nil
}

// fail ends both directions.
func (p *Port) fail(err error) {
	p.give.CloseWithError(err)
	p.down.CloseWithError(err)
	p.conn.Close()
}

// upward takes messages of the mux.
func (p *Port) upward(r *Reader) error {
	for {
		m, err := r.Next()
		var bad Error
		switch {
		case errors.As(err, &bad):
			continue
		case err != nil:
			return err
		case len(m.Data) > hdlc.MaxPacket-serialHeader:
			continue // fits no packet
		}
		packet, ok := p.packet(m)
		if !ok {
			continue
		}
		if _, err := p.give.Write(hdlc.AppendFrame(nil, packet)); err != nil {
			return err
		}
	}
}

// packet makes a message a packet of the serial protocol; not ok when nobody waits for it.
func (p *Port) packet(m Message) ([]byte, bool) {
	head := []byte{0, TypeNotification, 0, byte(len(m.Data))}
	if m.Type != TypeNotification {
		p.mu.Lock()
		defer p.mu.Unlock()
		if !p.waiting || m.Type != p.number {
			return nil, false
		}
		p.waiting = false
		head = []byte{serialResponse, m.Type, p.seq, byte(len(m.Data))}
	}
	return append(head, m.Data...), true
}

// downward takes frames of the session. What is damaged cannot have come over a wire, and is dropped as there.
func (p *Port) downward() error {
	r := hdlc.NewReader(p.down)
	for {
		b, err := r.Next()
		var bad hdlc.FrameError
		switch {
		case errors.As(err, &bad):
			continue
		case err != nil:
			return err
		case len(b) < serialHeader || int(b[3]) != len(b)-serialHeader || b[0]&serialAck != 0:
			continue
		}
		if err := p.sent(b[1], b[2], b[serialHeader:]); err != nil {
			return err
		}
	}
}

// sent takes one packet of the session.
func (p *Port) sent(kind, seq byte, payload []byte) error {
	switch {
	case kind == serialHello && len(payload) >= 3:
		answer := []byte{0, serialHelloResponse, 0, 5, 0, payload[0], 0, payload[1], payload[2]}
		_, err := p.give.Write(hdlc.AppendFrame(nil, answer))
		return err
	case kind <= maxReserved:
		return nil
	}
	p.mu.Lock()
	repeat := p.waiting && kind == p.number && seq == p.seq
	p.waiting, p.number, p.seq = true, kind, seq
	p.mu.Unlock()
	if repeat {
		return nil
	}
	_, err := p.conn.Write(AppendMessage(nil, kind, payload))
	return err
}
