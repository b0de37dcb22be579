// Package brokertest is an MQTT 3.1.1 broker for tests, at the end of a pipe or on a loopback port, that can lose, refuse,
// stall and cut; a proxy that spoils TCP connections at chosen bytes; and certificates.
//
//	session under test ── net.Pipe, TCP or TLS ── [ Proxy ] ── Broker ── Published, Connects, Wills, Retained
//	                                                             ▲
//	                                        Set(Behaviour), Send, SendRaw, Cut, Stall
//
// It routes messages between its clients with QoS 0 and 1, takes QoS 2, keeps retained messages, and delivers wills. It
// keeps no sessions and trusts its clients: a malformed packet ends the connection. Pipes work inside a testing/synctest
// bubble.
package brokertest

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"sync"
	"time"
)

// Behaviour is how a Broker differs from a good one. The zero value does not.
type Behaviour struct {
	Refuse    byte                               // code of the CONNACK, when not 0
	Login     func(user, pass string) byte       // code of the CONNACK; nil: everybody may
	Mute      bool                               // CONNECT is never answered
	Bridges   bool                               // bit 7 of the protocol level is understood, and $share
	NoBridges bool                               // CONNECT with that bit is refused
	RefuseSub func(filter string) bool           // SUBACK 0x80
	NoAck     bool                               // PUBLISH is taken and never acknowledged
	AckTwice  bool                               // PUBACK is sent twice
	NoPing    bool                               // PINGREQ is not answered
	NoRoute   bool                               // messages are acknowledged and not delivered to anybody
	Strict    bool                               // a client that is silent for one and a half keepalive is cut (MQTT-3.1.2-24)
	Delay     time.Duration                      // before each packet is handled
	Cut       func(client string, p Packet) bool // true: the connection is cut in place of handling p
	CutAfter  func(client string, p Packet) bool // true: the connection is cut after handling p, and answering it
}

// Broker serves connections until Close. All methods are for concurrent use.
type Broker struct {
	mu        sync.Mutex
	how       Behaviour
	clients   map[string]*client
	conns     map[*client]bool
	retained  map[string]Publish
	published []Publish
	connects  []Connect
	wills     []Publish
	acks      map[string][]uint16
	listeners []net.Listener
	gate      chan struct{} // closed: connections are read
	changed   chan struct{} // closed and replaced at each change
	closed    bool
	wg        sync.WaitGroup
}

// New returns a good broker.
func New() *Broker {
	b := &Broker{
		clients: map[string]*client{}, conns: map[*client]bool{}, retained: map[string]Publish{}, acks: map[string][]uint16{},
		gate: make(chan struct{}), changed: make(chan struct{}),
	}
	close(b.gate)
	return b
}

// Set changes the behaviour, from the next packet on.
func (b *Broker) Set(change func(*Behaviour)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change(&b.how)
}

func (b *Broker) behaviour() Behaviour {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.how
}

// ErrClosed is the error of Dial after Close.
var ErrClosed = errors.New("brokertest: broker closed")

// Dial returns one end of a pipe, with the broker at the other. It has the form of a dialer; the address does not matter.
func (b *Broker) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !b.Serve(far) {
		near.Close()
		return nil, ErrClosed
	}
	return near, nil
}

// DialTLS returns a Dial whose pipe the broker speaks TLS on.
func (b *Broker) DialTLS(c *tls.Config) func(context.Context, string, string) (net.Conn, error) {
	return func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		if !b.Serve(tls.Server(far, c)) {
			near.Close()
			return nil, ErrClosed
		}
		return near, nil
	}
}

// Listen serves a free loopback port, with TLS unless c is nil, and returns its address.
func (b *Broker) Listen(c *tls.Config) (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	b.mu.Lock()
	b.listeners = append(b.listeners, l)
	b.mu.Unlock()
	b.wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if c != nil {
				conn = tls.Server(conn, c)
			}
			b.Serve(conn)
		}
	})
	return l.Addr().String(), nil
}

// Serve serves one connection, in the background; false after Close.
func (b *Broker) Serve(conn net.Conn) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		conn.Close()
		return false
	}
	c := &client{b: b, conn: conn, seen: map[byte]int{}, wake: make(chan struct{}, 1), end: make(chan struct{})}
	c.idle = sync.NewCond(&c.mu)
	b.conns[c] = true
	b.wg.Go(c.read)
	b.wg.Go(c.write)
	return true
}

// Close cuts all connections and waits until nothing of the broker runs.
func (b *Broker) Close() {
	b.mu.Lock()
	b.closed = true
	for _, l := range b.listeners {
		l.Close()
	}
	for c := range b.conns {
		c.cut()
	}
	b.mu.Unlock()
	b.Stall(false)
	b.wg.Wait()
}

// Stall stops the reading of all connections, or goes on with it.
func (b *Broker) Stall(on bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-b.gate:
		if on {
			b.gate = make(chan struct{})
			for c := range b.conns {
				c.conn.SetReadDeadline(time.Unix(1, 0)) // ends the Read that waits
			}
		}
	default:
		if !on {
			for c := range b.conns {
				c.conn.SetReadDeadline(time.Time{})
			}
			close(b.gate)
		}
	}
}

func (b *Broker) open() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.gate
}

// Cut ends the connection of a client, without a word; its will is delivered. It reports whether there was one.
func (b *Broker) Cut(clientID string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.clients[clientID]
	if c != nil {
		c.cut()
	}
	return c != nil
}

// Send publishes a message as if a client had sent it.
func (b *Broker) Send(topic string, payload []byte, qos byte, retain bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.route(Publish{Topic: topic, Payload: payload, QoS: qos, Retain: retain})
}

// SendRaw writes bytes to a client, and reports whether it is there.
func (b *Broker) SendRaw(clientID string, raw []byte) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.clients[clientID]
	if c != nil {
		c.send(raw)
	}
	return c != nil
}

// route keeps a retained message and gives it to who has subscribed. b.mu is held.
func (b *Broker) route(p Publish) {
	if p.Retain {
		if b.retained[p.Topic] = p; len(p.Payload) == 0 {
			delete(b.retained, p.Topic)
		}
	}
	for _, c := range b.clients {
		c.deliver(p)
	}
	b.change()
}

func (b *Broker) change() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// Wait returns when cond holds; it is asked at every packet. The error is that of ctx.
func (b *Broker) Wait(ctx context.Context, cond func() bool) error {
	for {
		b.mu.Lock()
		changed := b.changed
		b.mu.Unlock()
		if cond() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Published returns what clients have published, in the order it came, repeats included.
func (b *Broker) Published() []Publish {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.published)
}

// Connects returns who has connected, or tried to.
func (b *Broker) Connects() []Connect {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.connects)
}

// Wills returns the wills that were delivered.
func (b *Broker) Wills() []Publish {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.wills)
}

// Retained returns the retained message of a topic.
func (b *Broker) Retained(topic string) (Publish, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p, ok := b.retained[topic]
	return p, ok
}

// Acks returns the identifiers that a client has acknowledged.
func (b *Broker) Acks(clientID string) []uint16 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.acks[clientID])
}

// Clients returns the ids of those that are connected, sorted.
func (b *Broker) Clients() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var ids []string
	for id := range b.clients {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}
