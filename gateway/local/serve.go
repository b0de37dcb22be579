package local

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// listen opens the port. Beyond this machine it takes users.
func (b *Broker) listen() error {
	if b.opt.Listen == "" {
		return nil
	}
	u, err := url.Parse(b.opt.Listen)
	if err != nil || u.Host == "" || u.Port() == "" {
		return fmt.Errorf("local: listen: %q is not SCHEME://HOST:PORT", b.opt.Listen)
	}
	secure := false
	switch u.Scheme {
	case "tcp", "mqtt":
	case "tls", "mqtts", "ssl":
		secure = true
	case "ws", "wss":
		secure = u.Scheme == "wss"
		b.http = &http.Server{Handler: b.Handler(), ReadHeaderTimeout: connectTimeout, IdleTimeout: connectTimeout, MaxHeaderBytes: 16 << 10,
			ErrorLog: slog.NewLogLogger(b.log.Handler(), slog.LevelDebug), ConnState: b.knocks}
	default:
		return fmt.Errorf("local: listen: %q is none of tcp, tls, ws, wss", u.Scheme)
	}
	if secure && b.opt.TLS == nil {
		return fmt.Errorf("local: listen: %s needs a certificate", b.opt.Listen)
	}
	ln, err := net.Listen("tcp", u.Host)
	if err != nil {
		return fmt.Errorf("local: %w", err)
	}
	if b.access.Load().users == nil && !isLoopback(ln.Addr()) {
		ln.Close()
		return fmt.Errorf("local: listen: %s is open to other machines and needs users", b.opt.Listen)
	}
	b.listener, b.url = ln, u.Scheme+"://"+ln.Addr().String()
	if b.secure = secure && b.http == nil; secure && !b.secure {
		b.listener = tls.NewListener(ln, b.opt.TLS)
	}
	return nil
}

func (b *Broker) closeListener() {
	if b.http != nil {
		_ = b.http.Close()
	} else if b.listener != nil {
		_ = b.listener.Close()
	}
}

// acceptLoop ends when the listener is closed. Other errors (no file descriptor is left) pass.
func (b *Broker) acceptLoop() {
	for {
		c, err := b.listener.Accept()
		if err == nil {
			if b.knock(c.RemoteAddr()) {
				go b.serveTCP(c)
			} else {
				c.Close()
				b.entered()
			}
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			return
		}
		b.refusals.add(b.url, "cannot accept a connection", "error", err)
		select {
		case <-time.After(100 * time.Millisecond):
		case <-b.stop:
			return
		}
	}
}

func (b *Broker) serveTCP(inner net.Conn) {
	remote := inner.RemoteAddr()
	if b.secure {
		t := tls.Server(inner, b.opt.TLS)
		ctx, cancel := context.WithTimeout(context.Background(), 2*connectTimeout)
		err := t.HandshakeContext(ctx)
		cancel()
		if err != nil {
			b.refusals.add(hostOf(remote), "TLS handshake failed", "error", err)
			inner.Close()
			b.entered()
			return
		}
		inner = t
	}
	b.entered()
	b.serve(inner, remote)
}

func hostOf(a net.Addr) string {
	host, _, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	return host
}

// knock counts a connection that is accepted, in its TLS handshake, or asks with HTTP, until entered; false when there are too
// many. They may not take the files that the rest of the gateway needs.
func (b *Broker) knock(remote net.Addr) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.knocking++
	return b.hasPlace(remote, b.knocking-1)
}

func (b *Broker) entered() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.knocking--
}

// hasPlace reports whether there is room for one connection more beside those that are connecting outside. The caller
// holds mu.
func (b *Broker) hasPlace(remote net.Addr, outside int) bool {
	if len(b.conns)+outside < b.opt.MaxClients+64 { // 64 that are connecting
		return true
	}
	b.refusals.add(hostOf(remote), "too many connections", "limit", b.opt.MaxClients)
	return false
}

// knocks is told of the HTTP connections.
func (b *Broker) knocks(c net.Conn, s http.ConnState) {
	switch s {
	case http.StateNew:
		if !b.knock(c.RemoteAddr()) {
			c.Close()
		}
	case http.StateClosed, http.StateHijacked:
		b.entered()
	}
}

// serve serves one connection to its end.
func (b *Broker) serve(inner net.Conn, remote net.Addr) {
	c := newConn(inner, remote, b.opt.MaxPacket, &b.waiters)
	c.frame.all = &b.unfinished
	defer c.frame.end()
	if !b.admit(c) {
		inner.Close()
		return
	}
	defer b.leave(c)
	defer c.Close()
	defer func() {
		if p := recover(); p != nil {
			b.log.Error("local broker: a packet brought the MQTT server down; its connection is closed", "client", c.client,
				"remote", remote, "panic", p)
			b.forget(c)
		}
	}()
	_ = inner.SetDeadline(time.Now().Add(connectTimeout))
	err := b.srv.EstablishConnection("local", c)
	if c.client == "" && err != nil {
		b.explain(c, err)
	}
	b.log.Debug("local broker: connection ended", "client", c.client, "remote", remote, "error", err)
}

// explain logs why a connection ended before its CONNECT was accepted, where that says something.
func (b *Broker) explain(c *conn, err error) {
	switch {
	case errors.Is(err, packets.ErrServerBusy):
		b.refusals.add(hostOf(c.remote), "too many clients", "limit", b.opt.MaxClients)
	case errors.Is(err, packets.ErrBadUsernameOrPassword), errors.Is(err, errRefused): // has been logged
	case errors.Is(err, io.EOF), c.why() != nil:
	default:
		b.refusals.add(hostOf(c.remote), "no MQTT connection", "error", err)
	}
}

// admit counts the connection; false when there are too many or the broker closes.
func (b *Broker) admit(c *conn) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closing || !b.hasPlace(c.remote, 0) {
		return false
	}
	b.conns[c] = struct{}{}
	b.waiters.conns.Add(1)
	b.wg.Add(1)
	return true
}

func (b *Broker) leave(c *conn) {
	b.mu.Lock()
	delete(b.conns, c)
	if c.client != "" && b.live[c.client] == c {
		delete(b.live, c.client)
	}
	b.mu.Unlock()
	close(c.done)
	c.waitFlushed()
	b.waiters.conns.Add(-1)
	b.wg.Done()
}

// forget takes a client out of the server that the server itself did not.
func (b *Broker) forget(c *conn) {
	if cl, ok := b.srv.Clients.Get(c.client); ok && cl == c.served.Load() {
		b.srv.Clients.Delete(c.client)
		b.drop(cl)
	}
}

// drop takes what a session has from the server.
func (b *Broker) drop(cl *mqtt.Client) {
	b.srv.UnsubscribeClient(cl)
	cl.ClearInflights()
	b.sessions.touch()
}

// takeOver makes c the connection of its client id. An older one is closed and has gone, its will sent, before the
// server knows of the new one: it does not stand both.
func (b *Broker) takeOver(c *conn, id string) {
	patience := time.NewTimer(closeWait)
	defer patience.Stop()
	for {
		b.mu.Lock()
		old := b.live[id]
		if old == nil {
			b.live[id] = c
			c.client = id
			b.mu.Unlock()
			return
		}
		b.mu.Unlock()
		b.disconnect(old, packets.ErrSessionTakenOver, errTakenOver)
		select {
		case <-old.done:
		case <-patience.C:
			b.log.Warn("local broker: the former connection does not end", "client", id, "remote", old.remote)
			b.mu.Lock()
			delete(b.live, id)
			b.mu.Unlock()
		}
	}
}

// disconnect ends a connection; a client of MQTT 5 is told why.
func (b *Broker) disconnect(c *conn, code packets.Code, cause error) {
	b.tell(c, code)
	c.refuse(cause)
}

func (b *Broker) tell(c *conn, code packets.Code) {
	if cl := c.served.Load(); cl != nil && cl.Properties.ProtocolVersion == 5 {
		_ = cl.WritePacket(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Disconnect}, ReasonCode: code.Code})
	}
}

// dismiss ends connections because the broker does. Their clients have a moment to do it themselves.
func (b *Broker) dismiss(conns []*conn) {
	limit, end := context.WithTimeout(context.Background(), linger/2)
	defer end()
	going := conns[:0:0]
	for _, c := range conns {
		b.tell(c, packets.ErrServerShuttingDown)
		if c.goodbye() {
			going = append(going, c)
		}
	}
	for _, c := range going {
		select {
		case <-c.done:
		case <-limit.Done():
		}
	}
	for _, c := range conns {
		c.refuse(errShutDown)
	}
}
