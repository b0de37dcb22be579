package brokertest

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Packet types of MQTT 3.1.1, section 2.2.1.
const (
	CONNECT     = 1
	CONNACK     = 2
	PUBLISH     = 3
	PUBACK      = 4
	PUBREC      = 5
	PUBREL      = 6
	PUBCOMP     = 7
	SUBSCRIBE   = 8
	SUBACK      = 9
	UNSUBSCRIBE = 10
	UNSUBACK    = 11
	PINGREQ     = 12
	PINGRESP    = 13
	DISCONNECT  = 14
)

// Packet is one that a client sent.
type Packet struct {
	Type, Flags byte
	Body        []byte // after the fixed header
	Nth         int    // how many of this type the client sent on this connection, this one included
}

// Publish is a message, as it was received or is to be sent.
type Publish struct {
	Client  string // who sent it
	Topic   string
	Payload []byte
	QoS     byte
	Retain  bool
	Dup     bool
	ID      uint16 // of the packet, for QoS 1 and 2
}

// Connect is what a client said when it connected.
type Connect struct {
	Protocol         string
	Level            byte
	Clean            bool
	Keepalive        uint16 // seconds
	ClientID         string
	Username         string
	Password         string
	HasUser, HasPass bool
	Will             *Publish
}

var errMalformed = errors.New("brokertest: malformed packet")

func readPacket(r *bufio.Reader) (Packet, error) {
	head, err := r.ReadByte()
	if err != nil {
		return Packet{}, err
	}
	n, err := binary.ReadUvarint(r)
	if err != nil || n > 1<<28 {
		return Packet{}, fmt.Errorf("%w: length", errMalformed)
	}
	p := Packet{Type: head >> 4, Flags: head & 15, Body: make([]byte, n)}
	_, err = io.ReadFull(r, p.Body)
	return p, err
}

// Append appends a packet: fixed header and body.
func Append(dst []byte, kind, flags byte, body []byte) []byte {
	dst = binary.AppendUvarint(append(dst, kind<<4|flags), uint64(len(body)))
	return append(dst, body...)
}

func appendID(dst []byte, kind byte, id uint16) []byte {
	flags := byte(0)
	if kind == PUBREL {
		flags = 2
	}
	return Append(dst, kind, flags, binary.BigEndian.AppendUint16(nil, id))
}

// AppendPublish appends a PUBLISH.
func AppendPublish(dst []byte, p Publish) []byte {
	body := appendString(nil, p.Topic)
	if p.QoS > 0 {
		body = binary.BigEndian.AppendUint16(body, p.ID)
	}
	flags := p.QoS << 1
	if p.Retain {
		flags |= 1
	}
	if p.Dup {
		flags |= 8
	}
	return Append(dst, PUBLISH, flags, append(body, p.Payload...))
}

func appendString(dst []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(dst, uint16(len(s))), s...)
}

// fields takes a body apart; after the first field that is not there, bad is set and all that follow are empty.
type fields struct {
	b   []byte
	bad bool
}

func (f *fields) take(n int) []byte {
	if f.bad || len(f.b) < n {
		f.bad = true
		return make([]byte, n)
	}
	v := f.b[:n]
	f.b = f.b[n:]
	return v
}

func (f *fields) byte() byte     { return f.take(1)[0] }
func (f *fields) uint16() uint16 { return binary.BigEndian.Uint16(f.take(2)) }
func (f *fields) string() string { return string(f.take(int(f.uint16()))) }

func parseConnect(p Packet) (Connect, error) {
	f := &fields{b: p.Body}
	c := Connect{Protocol: f.string(), Level: f.byte()}
	flags := f.byte()
	c.Clean, c.Keepalive, c.ClientID = flags&2 != 0, f.uint16(), f.string()
	if flags&4 != 0 {
		c.Will = &Publish{Client: c.ClientID, Topic: f.string(), Payload: []byte(f.string()), QoS: flags >> 3 & 3, Retain: flags&0x20 != 0}
	}
	if c.HasUser = flags&0x80 != 0; c.HasUser {
		c.Username = f.string()
	}
	if c.HasPass = flags&0x40 != 0; c.HasPass {
		c.Password = f.string()
	}
	if f.bad || len(f.b) > 0 || p.Flags != 0 || flags&1 != 0 {
		return c, fmt.Errorf("%w: CONNECT", errMalformed)
	}
	return c, nil
}

func parsePublish(p Packet) (Publish, error) {
	f := &fields{b: p.Body}
	m := Publish{Topic: f.string(), QoS: p.Flags >> 1 & 3, Retain: p.Flags&1 != 0, Dup: p.Flags&8 != 0}
	if m.QoS > 0 {
		m.ID = f.uint16()
	}
	m.Payload = f.b
	if f.bad || m.QoS == 3 || m.Topic == "" || strings.ContainsAny(m.Topic, "+#\x00") || m.QoS > 0 && m.ID == 0 {
		return m, fmt.Errorf("%w: PUBLISH to %q", errMalformed, m.Topic)
	}
	return m, nil
}

// subscription is one filter of a SUBSCRIBE.
type subscription struct {
	filter string
	qos    byte
	shared bool
}

func parseSubscribe(p Packet) (id uint16, subs []subscription, err error) {
	f := &fields{b: p.Body}
	id = f.uint16()
	for len(f.b) > 0 && !f.bad {
		subs = append(subs, subscription{filter: f.string(), qos: f.byte()})
	}
	if f.bad || p.Flags != 2 || len(subs) == 0 {
		return id, nil, fmt.Errorf("%w: SUBSCRIBE", errMalformed)
	}
	return id, subs, nil
}

// Match is the text of MQTT 3.1.1 section 4.7 as it reads, without any cleverness: for tests of others that have some.
func Match(filter, topic string) bool {
	f, t := strings.Split(filter, "/"), strings.Split(topic, "/")
	if strings.HasPrefix(topic, "$") && (f[0] == "#" || f[0] == "+") {
		return false
	}
	return match(f, t)
}

func match(f, t []string) bool {
	switch {
	case len(f) == 1 && f[0] == "#":
		return true
	case len(f) == 0 || len(t) == 0:
		return len(f) == 0 && len(t) == 0
	case f[0] == "+" || f[0] == t[0]:
		return match(f[1:], t[1:])
	}
	return false
}
