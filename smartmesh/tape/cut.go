package tape

import (
	"bytes"

	"github.com/meshgate/meshgate/hdlc"
)

const (
	flag     = 0x7E
	maxPiece = 600 // no frame is longer on the line

	ackBit     = 0x01 // of a packet's control byte: a response or an acknowledgement
	packetHead = 4
)

// cutter cuts the bytes of one direction behind the flag that ends a frame, and leaves secrets out.
type cutter struct {
	buf    []byte
	secret func(command byte) bool
}

// add takes bytes and emits the pieces that are whole.
func (c *cutter) add(b []byte, emit func([]byte)) {
	for len(b) > 0 {
		i := bytes.IndexByte(b, flag)
		if i < 0 {
			i = len(b) - 1
		}
		i = min(i, max(0, maxPiece-len(c.buf)-1))
		c.buf = append(c.buf, b[:i+1]...)
		b = b[i+1:]
		if ends := c.buf[len(c.buf)-1] == flag && len(bytes.Trim(c.buf, "\x7e")) > 0; ends || len(c.buf) >= maxPiece {
			c.rest(emit)
		}
	}
}

// rest emits what there is.
func (c *cutter) rest(emit func([]byte)) {
	if len(c.buf) > 0 {
		emit(c.scrub(c.buf))
	}
	c.buf = nil
}

// scrub replaces what may be secret by zeros: the payload of a frame of such a command, whole or damaged, but not the
// response code. Of what is damaged only the length stays.
func (c *cutter) scrub(piece []byte) []byte {
	inner := bytes.TrimLeft(piece, "\x7e")
	if len(inner) < 2 || !c.secret(inner[1]) {
		return piece
	}
	if p, ok := packetOf(piece); ok {
		keep := packetHead
		if p[0]&ackBit != 0 {
			keep++
		}
		for i := keep; i < len(p); i++ {
			p[i] = 0
		}
		return hdlc.AppendFrame(nil, p)
	}
	for i := 2; i < len(inner); i++ {
		if inner[i] != flag {
			inner[i] = 0
		}
	}
	return piece
}

// packetOf gives the packet of a piece; not ok when it holds no frame that is right.
func packetOf(piece []byte) ([]byte, bool) {
	framed := append([]byte{flag}, piece...)
	p, err := hdlc.NewReader(bytes.NewReader(framed)).Next()
	if err != nil || len(p) < packetHead || int(p[3]) != len(p)-packetHead {
		return nil, false
	}
	return bytes.Clone(p), true
}
