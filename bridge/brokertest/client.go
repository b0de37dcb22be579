package brokertest

import (
	"bufio"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"strings"
	"sync"
	"time"
)

// client is one connection.
type client struct {
	b    *Broker
	conn net.Conn
	id   string // set by CONNECT; b.mu
	will *Publish
	subs []subscription // b.mu
	kin  bool           // a bridge, as the broker understands it; b.mu
	next uint16         // the last packet identifier used; b.mu
	seen map[byte]int

	keepalive time.Duration
	alive     *time.Timer // cuts

	mu    sync.Mutex
	idle  *sync.Cond // on mu: everything was written, or the connection has ended
	queue []byte
	busy  bool
	over  bool
	wake  chan struct{}
	end   chan struct{}
	once  sync.Once
}

// cut ends the connection.
func (c *client) cut() {
	c.once.Do(func() {
		close(c.end)
		c.mu.Lock()
		c.over = true
		c.idle.Broadcast()
		c.mu.Unlock()
		if raw, ok := c.conn.(interface{ NetConn() net.Conn }); ok {
			raw.NetConn().Close() // TLS would say goodbye
		}
		c.conn.Close()
	})
}

// send queues bytes; a client that does not read makes the queue grow.
func (c *client) send(raw []byte) {
	c.mu.Lock()
	c.queue = append(c.queue, raw...)
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *client) write() {
	for {
		select {
		case <-c.wake:
		case <-c.end:
			return
		}
		c.mu.Lock()
		out := c.queue
		c.queue, c.busy = nil, true
		c.mu.Unlock()
		if _, err := c.conn.Write(out); err != nil {
			c.cut()
			return
		}
		c.mu.Lock()
		c.busy = false
		c.idle.Broadcast()
		c.mu.Unlock()
	}
}

// Read reads from the connection while the broker is not stalled.
func (c *client) Read(p []byte) (int, error) {
	for {
		select {
		case <-c.b.open():
		case <-c.end:
			return 0, net.ErrClosed
		}
		n, err := c.conn.Read(p)
		if n == 0 && errors.Is(err, os.ErrDeadlineExceeded) {
			continue
		}
		return n, err
	}
}

// read handles packets until the connection ends.
func (c *client) read() {
	defer c.leave()
	c.alive = time.AfterFunc(time.Hour, c.cut)
	defer c.alive.Stop()
	r := bufio.NewReader(c)
	for {
		p, err := readPacket(r)
		if err != nil {
			return
		}
		c.seen[p.Type]++
		p.Nth = c.seen[p.Type]
		how := c.b.behaviour()
		if c.alive.Stop(); how.Strict && c.keepalive > 0 {
			c.alive.Reset(c.keepalive * 3 / 2)
		}
		if how.Delay > 0 {
			c.pause(how.Delay)
		}
		if how.Cut != nil && how.Cut(c.id, p) {
			return
		}
		if !c.handle(p, how) {
			c.drain()
			return
		}
		if how.CutAfter != nil && how.CutAfter(c.id, p) {
			c.drain()
			return
		}
	}
}

// drain waits until the queue was written.
func (c *client) drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.over && (c.busy || len(c.queue) > 0) {
		c.idle.Wait()
	}
}

// pause waits before a packet is handled.
func (c *client) pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.end:
	}
}

// leave ends the connection, and delivers the will unless DISCONNECT took it away.
func (c *client) leave() {
	c.cut()
	b := c.b
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.conns, c)
	if b.clients[c.id] == c {
		delete(b.clients, c.id)
	}
	if c.will != nil {
		b.wills = append(b.wills, *c.will)
		b.route(*c.will)
	}
	b.change()
}

// handle does what a packet asks for; false ends the connection.
func (c *client) handle(p Packet, how Behaviour) bool {
	if (p.Type == CONNECT) != (c.id == "") {
		return false
	}
	switch p.Type {
	case CONNECT:
		return c.connect(p, how)
	case PUBLISH:
		return c.publish(p, how)
	case PUBACK, PUBREC, PUBREL, PUBCOMP:
		return c.acknowledge(p)
	case SUBSCRIBE:
		return c.subscribe(p, how)
	case PINGREQ:
		if !how.NoPing {
			c.send([]byte{PINGRESP << 4, 0})
		}
		return true
	case DISCONNECT:
		c.b.mu.Lock()
		c.will = nil
		c.b.mu.Unlock()
	}
	return false
}

func (c *client) connect(p Packet, how Behaviour) bool {
	con, err := parseConnect(p)
	if err != nil {
		return false
	}
	code := how.Refuse
	if code == 0 && how.Login != nil {
		code = how.Login(con.Username, con.Password)
	}
	bridge := con.Level&0x80 != 0
	if bridge && how.NoBridges {
		code = 1
	}
	b := c.b
	b.mu.Lock()
	defer b.mu.Unlock()
	c.kin = bridge && how.Bridges
	b.connects = append(b.connects, con)
	b.change()
	if how.Mute {
		c.id = " mute"
		return true
	}
	if code != 0 {
		c.send([]byte{CONNACK << 4, 2, 0, code})
		return false
	}
	if old := b.clients[con.ClientID]; old != nil {
		old.cut() // taken over
	}
	c.id, c.will, c.keepalive = con.ClientID, con.Will, time.Duration(con.Keepalive)*time.Second
	b.clients[c.id] = c
	c.send([]byte{CONNACK << 4, 2, 0, 0})
	return true
}

func (c *client) publish(p Packet, how Behaviour) bool {
	m, err := parsePublish(p)
	if err != nil {
		return false
	}
	m.Client = c.id
	b := c.b
	b.mu.Lock()
	b.published = append(b.published, m)
	if how.NoRoute {
		b.change()
	} else {
		b.route(m)
	}
	b.mu.Unlock()
	if how.NoAck || m.QoS == 0 {
		return true
	}
	ack := appendID(nil, [3]byte{0, PUBACK, PUBREC}[m.QoS], m.ID)
	c.send(ack)
	if how.AckTwice {
		c.send(ack)
	}
	return true
}

func (c *client) acknowledge(p Packet) bool {
	if len(p.Body) != 2 {
		return false
	}
	id := binary.BigEndian.Uint16(p.Body)
	switch p.Type {
	case PUBREL:
		c.send(appendID(nil, PUBCOMP, id))
	case PUBREC:
		c.send(appendID(nil, PUBREL, id))
	default:
		c.b.mu.Lock()
		c.b.acks[c.id] = append(c.b.acks[c.id], id)
		c.b.change()
		c.b.mu.Unlock()
	}
	return true
}

func (c *client) subscribe(p Packet, how Behaviour) bool {
	id, subs, err := parseSubscribe(p)
	if err != nil {
		return false
	}
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	answer := binary.BigEndian.AppendUint16(nil, id)
	var granted []subscription
	for _, s := range subs {
		if how.RefuseSub != nil && how.RefuseSub(s.filter) {
			answer = append(answer, 0x80)
			continue
		}
		answer = append(answer, s.qos)
		if rest, ok := strings.CutPrefix(s.filter, "$share/"); ok && how.Bridges {
			_, s.filter, s.shared = strings.Cut(rest, "/")
		}
		granted = append(granted, s)
	}
	c.send(Append(nil, SUBACK, 0, answer))
	c.subs = append(c.subs, granted...)
	for _, m := range c.b.retained {
		for _, s := range granted {
			if Match(s.filter, m.Topic) && !s.shared {
				c.give(m, s.qos)
			}
		}
	}
	return true
}

// deliver gives m to the client when it has subscribed, once. b.mu is held.
func (c *client) deliver(m Publish) {
	qos, want := byte(0), false
	for _, s := range c.subs {
		if c.kin && m.Client == c.id && !s.shared {
			continue
		}
		if Match(s.filter, m.Topic) {
			qos, want = max(qos, s.qos), true
		}
	}
	if m.Retain = m.Retain && c.kin; want {
		c.give(m, qos)
	}
}

func (c *client) give(m Publish, qos byte) {
	m.QoS, m.Dup = min(m.QoS, qos), false
	if m.QoS > 0 {
		if c.next++; c.next == 0 {
			c.next = 1
		}
		m.ID = c.next
	}
	c.send(AppendPublish(nil, m))
}
