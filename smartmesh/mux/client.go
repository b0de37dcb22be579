package mux

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"net"
	"time"
)

// A client is one connection to a Server. One goroutine reads it and does what it asks for, one thing at a time; one
// writes, so that nobody waits for a client that does not read.
type client struct {
	s       *Server
	conn    net.Conn
	log     *slog.Logger
	ctx     context.Context // ends when the client is let go, or with the session
	stop    context.CancelFunc
	out     chan []byte
	welcome bool // it has said hello; of the reader alone

	// Under the server's mutex.
	sub  subscription  // what the manager has accepted for it
	wish *subscription // what is being asked for now
	held [][]byte      // notifications of that kind that came meanwhile
}

// send queues a message. A client whose queue is full is let go.
func (c *client) send(message []byte) {
	select {
	case c.out <- message:
	default:
		if c.ctx.Err() == nil {
			c.log.Warn("a client of the shared port does not read and is let go", "waiting", len(c.out))
		}
		c.stop()
	}
}

func (c *client) write() {
	var err error
	for message := range c.out {
		if err != nil {
			continue
		}
		if _, err = c.conn.Write(message); err != nil {
			c.stop()
		}
	}
}

// read takes what the client says until it is gone, or let go. What is no message is skipped, also the "stop" that the
// SDK sends before it closes.
func (c *client) read() {
	r := NewReader(c.conn)
	c.conn.SetReadDeadline(time.Now().Add(helloLimit))
	for c.ctx.Err() == nil {
		m, err := r.Next()
		var bad Error
		switch {
		case errors.As(err, &bad):
		case err != nil:
			return
		case m.Type == TypeHello:
			if !c.hello(m.Data) {
				return
			}
		case !c.welcome: // anything before the hello is ignored
		case m.Type == TypeInfo:
			c.send(AppendInfo(nil, c.s.opt.Info))
		case m.Type == typeSubscribe:
			c.subscribe(m.Data)
		default:
			c.command(m)
		}
	}
}

// hello judges a hello and answers it; not ok when the client is to be let go.
func (c *client) hello(data []byte) bool {
	h, err := ParseHello(data)
	answer := HelloResponse{RC: RCOK, Version: Version}
	switch {
	case err != nil:
		answer.RC = RCInvalidCommand
	case h.Version != Version:
		answer.RC = RCUnsupportedVersion
	case !c.s.opt.Secret(h.Secret):
		answer.RC = RCInvalidAuth
	}
	c.send(AppendHelloResponse(nil, answer))
	if answer.RC != RCOK {
		c.log.Warn("a client of the shared port is refused", "rc", answer.RC)
		return false
	}
	if !c.welcome {
		c.welcome = true
		c.conn.SetReadDeadline(time.Time{})
		c.log.Info("a client of the shared port has come")
	}
	return true
}

// command has the manager do what may be done.
func (c *client) command(m Message) {
	if m.Type <= maxReserved || len(m.Data) > MaxCommand || !c.s.opt.Allow(m.Type) {
		c.log.Debug("a command of a client of the shared port is refused", "type", m.Type, "length", len(m.Data))
		c.send(AppendMessage(nil, m.Type, []byte{RCInvalidCommand}))
		return
	}
	c.send(AppendMessage(nil, m.Type, c.s.command(c.ctx, m.Type, m.Data)))
}

// subscribe asks the manager for what all want together with the client's new wish, which counts when the manager has
// accepted it: from then on no notification is lost to the client.
func (c *client) subscribe(data []byte) {
	if len(data) < 8 || len(data) > MaxCommand {
		rc := byte(rcInvalidArgument)
		if len(data) > MaxCommand {
			rc = RCInvalidCommand
		}
		c.send(AppendMessage(nil, typeSubscribe, []byte{rc}))
		return
	}
	wish := subscription{binary.BigEndian.Uint32(data), binary.BigEndian.Uint32(data[4:])}
	s := c.s
	answer := []byte{RCCommandTimeout}
	if s.take(c.ctx) {
		s.mu.Lock()
		c.wish = &wish
		s.mu.Unlock()
		answer = s.ask(s.union(c, wish))
		defer s.give()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c.send(AppendMessage(nil, typeSubscribe, answer))
	if answer[0] == RCOK {
		c.sub = wish
		for _, message := range c.held {
			c.send(message)
		}
	}
	c.wish, c.held = nil, nil
}
