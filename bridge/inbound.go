package bridge

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"
)

// MaxPacket is the longest PUBLISH, in bytes after its fixed header, that is taken from a broker. Of a longer one only the
// topic is read.
const MaxPacket = 256 << 10

// Packet types of MQTT 3.1.1 that a broker sends (section 2.2.1).
const (
	typeConnack  = 2
	typePublish  = 3
	typePuback   = 4
	typePubrec   = 5
	typePubrel   = 6
	typePubcomp  = 7
	typeSuback   = 9
	typeUnsuback = 11
	typePingreq  = 12 // sent by us
	typePingresp = 13
)

// fixedLength holds the remaining length that each type but PUBLISH must have; SUBACK because each SUBSCRIBE of ours has
// one filter.
var fixedLength = map[byte]int{
	typeConnack: 2, typePuback: 2, typePubrec: 2, typePubrel: 2, typePubcomp: 2, typeSuback: 3, typeUnsuback: 2, typePingresp: 0,
}

// pulse is how often a PINGRESP is put in while a long payload is skipped.
const pulse = time.Second

// Inbound reads what a broker sends and hands it on packet by packet, in a form that cannot hurt the client behind it:
//
//	broker   PUBLISH(long topic, payload 1 MB)      PUBACK  CONNACK(0)  type 8  SUBACK with 3 codes
//	client   PUBLISH(long topic, mark) [PINGRESP..] PUBACK  CONNACK(0)  error   error
//
// A PUBLISH longer than MaxPacket keeps its topic and identifier, so that the client acknowledges it and the broker does
// not send it again, and has mark for a payload. While the rest of it is skipped, which on a slow line takes longer than
// any ping timeout, a PINGRESP each second tells the client that the line is alive. Packets that no broker sends, lengths
// that do not fit and a CONNACK that refuses are errors, as is the end of the stream; every error is final.
type Inbound struct {
	r       *bufio.Reader
	mark    []byte    // random, known to nobody else
	first   bool      // the next packet is the first
	ready   []byte    // to be handed on before anything else
	head    [8]byte   // room for a fixed header in ready
	pass    int       // bytes to be handed on as they are
	skip    int       // bytes to be skipped
	pulsed  time.Time // of the last PINGRESP put in, or the begin of the skip
	born    time.Time
	skipped atomic.Int64 // when a skip last made progress, nanoseconds after born; 0: never
	heard   atomic.Int64 // when something came last, nanoseconds after born
	pinged  atomic.Int64 // when the first PINGREQ went out that was not answered yet, nanoseconds after born; 0: none
	long    atomic.Int64 // PUBLISH packets that were too long
	err     error

	answered func(kind byte, id uint16) // takes PUBACK, PUBREC and PUBCOMP; nil: they are handed on
}

// NewInbound reads from r, which is asked for nothing before the first Read.
func NewInbound(r io.Reader) *Inbound {
	mark := make([]byte, 32)
	rand.Read(mark) // never fails
	return newInbound(r, mark)
}

func newInbound(r io.Reader, mark []byte) *Inbound {
	in := &Inbound{mark: mark, first: true, born: time.Now()}
	in.r = bufio.NewReader(ear{r, in})
	return in
}

// ear notes when something comes.
type ear struct {
	io.Reader
	in *Inbound
}

func (e ear) Read(p []byte) (int, error) {
	n, err := e.Reader.Read(p)
	if n > 0 {
		e.in.heard.Store(int64(time.Since(e.in.born)))
	}
	return n, err
}

// Truncated reports whether a payload stands for one that was too long.
func (in *Inbound) Truncated(payload []byte) bool { return bytes.Equal(payload, in.mark) }

// Read implements io.Reader.
func (in *Inbound) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for in.err == nil {
		switch {
		case len(in.ready) > 0:
			n := copy(p, in.ready)
			in.ready = in.ready[n:]
			return n, nil
		case in.pass > 0:
			n, err := in.r.Read(p[:min(len(p), in.pass)])
			in.pass -= n
			if n > 0 {
				return n, nil
			}
			in.err = unexpected(err)
		case in.skip > 0:
			in.err = unexpected(in.discard())
		default:
			in.err = in.next()
		}
	}
	return 0, in.err
}

// unexpected is for an end of the stream within a packet.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// discard skips what has arrived of a payload.
func (in *Inbound) discard() error {
	if _, err := in.r.Peek(1); err != nil {
		return err
	}
	n, err := in.r.Discard(min(in.skip, in.r.Buffered()))
	in.skip -= n
	now := time.Now()
	in.skipped.Store(int64(now.Sub(in.born)))
	if now.Sub(in.pulsed) >= pulse {
		in.ready, in.pulsed = []byte{typePingresp << 4, 0}, now
	}
	return err
}

// sinceSkip returns how long no payload was being skipped. It may be called at any time.
func (in *Inbound) sinceSkip() time.Duration {
	return time.Since(in.born) - time.Duration(in.skipped.Load())
}

// next reads the fixed header of a packet and decides what becomes of it.
func (in *Inbound) next() error {
	head, err := in.r.ReadByte()
	if err != nil {
		return err
	}
	length, err := readLength(in.r)
	if err != nil {
		return err
	}
	kind := head >> 4
	if in.first && kind != typeConnack || !in.first && kind == typeConnack {
		return protocolError("packet of type %d where CONNACK is due, or a second CONNACK", kind)
	}
	if in.first {
		in.first = false
		return in.connack(head, length)
	}
	if kind == typePublish {
		return in.publish(head, length)
	}
	want, ok := fixedLength[kind]
	if !ok {
		return protocolError("packet of type %d, which no broker sends", kind)
	}
	if length != want {
		return protocolError("packet of type %d with %d bytes instead of %d", kind, length, want)
	}
	switch kind {
	case typePingresp:
		in.pinged.Store(0)
	case typePuback, typePubrec, typePubcomp:
		if in.answered != nil {
			return in.answer(kind)
		}
	}
	in.ready, in.pass = appendHead(in.head[:0], head, length), length
	return nil
}

// answer takes what answers a PUBLISH.
func (in *Inbound) answer(kind byte) error {
	id, err := in.r.Peek(2)
	if err != nil {
		return unexpected(err)
	}
	in.answered(kind, binary.BigEndian.Uint16(id))
	_, err = in.r.Discard(2)
	return err
}

// connack reads the answer to CONNECT; a refusal is returned as such.
func (in *Inbound) connack(head byte, length int) error {
	if length != 2 {
		return protocolError("CONNACK with %d bytes instead of 2", length)
	}
	var body [2]byte
	if _, err := io.ReadFull(in.r, body[:]); err != nil {
		return unexpected(err)
	}
	if body[1] != 0 {
		return Refusal(body[1])
	}
	in.ready = append(appendHead(nil, head, length), body[:]...)
	return nil
}

// publish hands on a PUBLISH: as it is, or without its payload when it is too long.
func (in *Inbound) publish(head byte, length int) error {
	qos := head >> 1 & 3
	if qos == 3 {
		return protocolError("PUBLISH with qos 3")
	}
	if length < 2 {
		return protocolError("PUBLISH with %d bytes", length)
	}
	b, err := in.r.Peek(2)
	if err != nil {
		return unexpected(err)
	}
	topic := 2 + int(binary.BigEndian.Uint16(b)) + 2*int(min(qos, 1)) // and the identifier
	if topic > length {
		return protocolError("PUBLISH of %d bytes with a topic that ends beyond it", length)
	}
	if length <= MaxPacket {
		in.ready, in.pass = appendHead(in.head[:0], head, length), length
		return nil
	}
	variable := make([]byte, topic)
	if _, err := io.ReadFull(in.r, variable); err != nil {
		return unexpected(err)
	}
	in.skip = length - len(variable)
	in.long.Add(1)
	in.pulsed = time.Now()
	in.skipped.Store(int64(in.pulsed.Sub(in.born)))
	in.ready = append(append(appendHead(nil, head, len(variable)+len(in.mark)), variable...), in.mark...)
	return nil
}

// appendHead appends a fixed header: type with flags, and the remaining length, seven bits a byte, low ones first.
func appendHead(dst []byte, head byte, length int) []byte {
	return binary.AppendUvarint(append(dst, head), uint64(length))
}

// readLength reads a remaining length: one to four bytes.
func readLength(r io.ByteReader) (int, error) {
	var n int
	for shift := 0; shift < 28; shift += 7 {
		b, err := r.ReadByte()
		if err != nil {
			return 0, unexpected(err)
		}
		n |= int(b&0x7f) << shift
		if b < 0x80 {
			return n, nil
		}
	}
	return 0, protocolError("remaining length of more than four bytes")
}

// ErrProtocol is the cause of a session's end when the broker sent what is not MQTT 3.1.1.
var ErrProtocol = errors.New("the broker does not speak MQTT 3.1.1")

func protocolError(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrProtocol, fmt.Sprintf(format, args...))
}
