package local

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

const (
	connectTimeout = 5 * time.Second  // from accepting to the end of CONNECT
	writeTimeout   = 10 * time.Second // for each piece of chunk bytes
	linger         = time.Second      // for what is still to be written when a connection is closed
	chunk          = 16 << 10
	highWater      = 512 << 10 // bytes that wait for a client; above that it gets nothing new
	maxConnect     = 16 << 10  // of a CONNECT packet
)

var (
	errNoConnect   = errors.New("the first packet is not a CONNECT, or one of more than 16 KiB")
	errOverflow    = errors.New("too much waits to be written")
	errNotStored   = errors.New("a message could not be stored")
	errTakenOver   = errors.New("somebody else connected with the same client id")
	errShutDown    = errors.New("the broker is shut down")
	errUserChanged = errors.New("its user has another password or is gone")
)

// conn is a client's connection as the MQTT server sees it. Write never waits for the network: it appends to buf, and a
// goroutine that lives only while there is something to write takes it from there. publish, which the server does not know,
// does the same with a message. So nobody who publishes waits for somebody who does not read. Only an acknowledgement, which
// a client may be waiting for, goes out at once as far as the system takes it. Whoever writes on behalf of the client itself
// (its write loop, its reader) calls waitRoom before; others see congested and leave the message out.
//
// A deadline that the server sets is one for reading only.
type conn struct {
	inner  net.Conn
	remote net.Addr
	local  bool // from this machine
	most   int  // bytes in buf: those of everybody who waited for room at the same time

	client string                      // client id, once CONNECT is accepted
	served atomic.Pointer[mqtt.Client] // once CONNECT is read
	keep   keeping
	ids    idMap
	done   chan struct{} // closed when the connection has been served to its end

	// Of the goroutine that reads the connection.
	users      *Users     // which its user was checked with; nil: none
	head       []byte     // the first bytes of the first packet, until it is known to be a CONNECT
	connected  bool       // head is done with
	willRetain bool       // what the server is not told of the will
	willEmpty  bool       //
	next       time.Time  // see hook.throttle
	granted    []delivery // of the SUBSCRIBE that is being processed
	frame      framing

	mu       sync.Mutex
	changed  sync.Cond // buf shorter, fewer unacknowledged, or closed
	buf      pieces
	writing  int // bytes that have left buf and are not yet written
	all      *waiters
	flushing bool
	closed   bool
	cause    error
	ended    time.Time
	window   int // QoS > 0 messages a client of MQTT 5 wants to have unacknowledged at most; 0: did not say
	unacked  int
	want     []delivery // retained messages to be sent
	sending  bool       // a goroutine is at it

	seen   queue       // by noteBehind, at its last look
	behind atomic.Bool // what waits is in the file of sessions, though the client is here

	refused     atomic.Bool  // nothing of what it still sends is processed
	leaving     atomic.Bool  // nothing more is written, and what is read is dropped, see goodbye
	flowing     atomic.Bool  // acknowledgements are read: window holds
	waiting     atomic.Int64 // bytes to be written
	subscribing atomic.Bool  // OnACLCheck is about a subscription
	held        atomic.Int64 // at least the bytes of unacknowledged messages; see hook.full
	recheck     atomic.Int64 // not before this time, in ms of the broker's life
	due, got    atomic.Int64 // the gateway's newest message for the client, and the newest message it was sent; see saying
}

func newConn(inner net.Conn, remote net.Addr, maxPacket int, all *waiters) *conn {
	c := &conn{inner: inner, remote: remote, local: isLoopback(remote), done: make(chan struct{}), most: highWater + 4*maxPacket,
		all: all}
	c.changed.L = &c.mu
	return c
}

func isLoopback(a net.Addr) bool {
	if a == nil {
		return false
	}
	host, _, err := net.SplitHostPort(a.String())
	if err != nil {
		host = a.String()
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

func (c *conn) Read(p []byte) (int, error) {
	c.frame.read()
	n, err := c.inner.Read(p)
	for err == nil && c.leaving.Load() {
		n, err = c.inner.Read(p)
	}
	if n > 0 && !c.connected {
		if e := c.checkHead(p[:n]); e != nil {
			return 0, e
		}
	}
	if e := c.frame.took(c, p[:max(n, 0)]); e != nil {
		c.refuse(e)
		return 0, e
	}
	return n, err
}

// checkHead looks at the fixed header of the first packet before the server allocates what it announces.
func (c *conn) checkHead(p []byte) error {
	c.head = append(c.head, p[:min(len(p), 5-len(c.head))]...)
	if c.head[0] != 0x10 {
		return errNoConnect
	}
	length := 0
	for i, b := range c.head[1:] {
		length |= int(b&0x7f) << (7 * i)
		if length > maxConnect {
			return errNoConnect
		}
		if b < 0x80 {
			c.connected, c.head = true, nil
			return nil
		}
	}
	if len(c.head) == 5 {
		return errNoConnect
	}
	return nil
}

// Write takes one packet. A DISCONNECT is for MQTT 5 only; an older client gets none.
func (c *conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return 0, net.ErrClosed
	}
	if c.leaving.Load() {
		return len(p), nil
	}
	if len(p) > 0 && p[0]>>4 == packets.Pingreq { // in the place of a message, see hook.OnPacketEncode
		return len(p), nil
	}
	if cl := c.served.Load(); len(p) > 0 && p[0]>>4 == packets.Disconnect && cl != nil && cl.Properties.ProtocolVersion < 5 {
		return len(p), nil
	}
	if c.overflows(len(p)) {
		return 0, errOverflow
	}
	rest := p
	if !c.flushing && len(p) > 0 && isAck(p[0]>>4) {
		rest = p[c.writeNow(p):]
	}
	c.copy(rest)
	c.startFlush()
	return len(p), nil
}

// publish takes a message: what comes before its payload, and that.
func (c *conn) publish(head, payload []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.leaving.Load() || c.overflows(len(head)+len(payload)) {
		return
	}
	c.copy(head)
	if len(payload) < chunk/4 {
		c.copy(payload)
	} else {
		c.all.hold(payload)
		c.buf.share(payload)
	}
	c.startFlush()
}

func (c *conn) copy(p []byte) {
	c.all.bytes.Add(int64(len(p)))
	c.buf.add(p)
}

// overflows closes the connection if n bytes more are too many. The caller holds mu.
func (c *conn) overflows(n int) bool {
	if c.buf.size+n <= c.most {
		return false
	}
	c.end(errOverflow)
	c.inner.Close()
	return true
}

// startFlush: the caller holds mu.
func (c *conn) startFlush() {
	c.tally()
	if !c.flushing && c.buf.size > 0 {
		c.flushing = true
		go c.flush()
	}
}

// flush writes until nothing is left, and closes the connection then if it is to be closed.
func (c *conn) flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.buf.size > 0 {
		out, size := c.buf.take()
		c.writing = size
		c.mu.Unlock()
		err := c.writeOut(out)
		c.mu.Lock()
		if err != nil {
			c.end(err)
			rest, _ := c.buf.take()
			c.all.drop(rest...)
		} else {
			c.buf.reuse(out[len(out)-1])
		}
		c.writing = 0
		c.tally()
		c.changed.Broadcast()
	}
	c.flushing = false
	c.buf = pieces{}
	switch {
	case c.closed:
		c.inner.Close()
	case c.leaving.Load():
		c.endWrites()
	}
	c.changed.Broadcast()
}

// waitFlushed waits for the end of flush, at most linger after the connection was closed.
func (c *conn) waitFlushed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.flushing {
		c.changed.Wait()
	}
}

func (c *conn) writeOut(list []piece) error {
	written := 0
	for i, whole := range list {
		for p := whole.bytes; len(p) > 0; {
			wait := writeTimeout
			c.mu.Lock()
			if c.closed {
				wait = time.Until(c.ended.Add(linger))
			}
			_ = c.inner.SetWriteDeadline(time.Now().Add(wait))
			c.writing, written = c.writing-written, 0
			c.tally()
			c.changed.Broadcast()
			c.mu.Unlock()
			n, err := c.inner.Write(p[:min(len(p), chunk)])
			if err != nil {
				c.all.drop(list[i:]...)
				return err
			}
			p, written = p[n:], written+n
		}
		c.all.drop(whole)
		if i < len(list)-1 {
			list[i] = piece{}
		}
	}
	return nil
}

// waitRoom waits until the client has read most of what it got, or the connection is closed.
func (c *conn) waitRoom() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.congested() && !c.closed {
		c.changed.Wait()
	}
}

// waitWindow waits until the client may be sent one more message with QoS > 0.
func (c *conn) waitWindow() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.window > 0 && c.unacked >= c.window && !c.closed {
		c.changed.Wait()
	}
}

func (c *conn) limit(window int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.window = window
}

// sent and acknowledged count what a client has not acknowledged.
func (c *conn) sent() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unacked++
}

func (c *conn) acknowledged() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unacked = max(0, c.unacked-1)
	c.changed.Broadcast()
}

// tally notes what is to be written. The caller holds mu.
func (c *conn) tally() { c.waiting.Store(int64(c.writing + c.buf.size)) }

// congested: the client does not keep up.
func (c *conn) congested() bool { return c.waiting.Load() > c.all.share() }

// end marks the connection as closed, for the first cause given. The caller holds mu.
func (c *conn) end(cause error) {
	if c.closed {
		return
	}
	c.closed, c.cause, c.ended = true, cause, time.Now()
	c.changed.Broadcast()
}

// Close closes the connection when what waits has been written, at most linger later. Nothing is read any more.
func (c *conn) Close() error { return c.closeFor(nil) }

func (c *conn) closeFor(cause error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil
	}
	c.end(cause)
	if !c.flushing {
		return c.inner.Close()
	}
	_ = c.inner.SetWriteDeadline(c.ended.Add(linger))
	return c.inner.SetReadDeadline(time.Unix(1, 0))
}

// refuse closes the connection at once and lets nothing more of it through. The server takes that for a loss, so that
// the client's will is sent.
func (c *conn) refuse(cause error) {
	c.refused.Store(true)
	_ = c.closeFor(cause)
}

// goodbye lets nothing more of the client through and, when what waits has been written, tells it that nothing more comes: it
// reads that and closes the connection. Closed by us while it sends an acknowledgement, the connection is reset, and what the
// client has not read of it may be gone. False: a connection that has no such half end.
func (c *conn) goodbye() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leaving.Store(true)
	return c.flushing || c.endWrites()
}

// endWrites closes the connection for writing. The caller holds mu.
func (c *conn) endWrites() bool {
	half, ok := c.inner.(interface{ CloseWrite() error })
	return ok && half.CloseWrite() == nil
}

func (c *conn) why() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cause
}

func (c *conn) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

func (c *conn) LocalAddr() net.Addr                { return c.inner.LocalAddr() }
func (c *conn) RemoteAddr() net.Addr               { return c.remote }
func (c *conn) SetDeadline(t time.Time) error      { return c.inner.SetReadDeadline(t) }
func (c *conn) SetReadDeadline(t time.Time) error  { return c.inner.SetReadDeadline(t) }
func (c *conn) SetWriteDeadline(t time.Time) error { return nil }
