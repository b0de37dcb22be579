package local

import (
	"bufio"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

// maxInbound is the longest packet, in bytes after its fixed header, that is taken from a broker beside us: as long as one
// that a client may send to the broker inside.
const maxInbound = 256 << 10

// pulse is how often a PINGRESP is put in while a long payload is skipped.
const pulse = time.Second

var errPacket = errors.New("the broker sends what MQTT does not have")

// inbound reads what a broker sends and hands it on, so that no packet has the client behind it allocate more than
// maxInbound. A longer PUBLISH keeps its topic and identifier and has mark for its payload: it can be acknowledged, or the
// broker would send it again for ever. While the payload is skipped, a PINGRESP each second tells the client that the
// connection is alive. Another packet of that length is an error.
type inbound struct {
	r      *bufio.Reader
	mark   [32]byte // random, known to nobody else
	ready  []byte   // to be handed on before anything else
	pass   int      // bytes to be handed on as they are
	skip   int      // bytes to be skipped
	pulsed time.Time
}

func newInbound(r io.Reader) *inbound {
	in := &inbound{r: bufio.NewReader(r)}
	rand.Read(in.mark[:]) // never fails
	return in
}

// truncated reports whether a payload stands for one that was too long.
func (in *inbound) truncated(payload []byte) bool { return string(payload) == string(in.mark[:]) }

func (in *inbound) Read(p []byte) (int, error) {
	for len(p) > 0 {
		var err error
		switch {
		case len(in.ready) > 0:
			n := copy(p, in.ready)
			in.ready = in.ready[n:]
			return n, nil
		case in.pass > 0:
			n, err := in.r.Read(p[:min(len(p), in.pass)])
			in.pass -= n
			return n, err
		case in.skip > 0:
			err = in.discard()
		default:
			err = in.next()
		}
		if err != nil {
			return 0, err
		}
	}
	return 0, nil
}

// discard skips what has arrived of a payload.
func (in *inbound) discard() error {
	if _, err := in.r.Peek(1); err != nil {
		return err
	}
	n, err := in.r.Discard(min(in.skip, in.r.Buffered()))
	in.skip -= n
	if now := time.Now(); now.Sub(in.pulsed) >= pulse {
		in.ready, in.pulsed = []byte{13 << 4, 0}, now
	}
	return err
}

// next reads the fixed header of a packet and decides what becomes of it.
func (in *inbound) next() error {
	first, err := in.r.ReadByte()
	if err != nil {
		return err
	}
	length := 0
	for shift := 0; ; shift += 7 {
		b, err := in.r.ReadByte()
		if err != nil {
			return err
		}
		length |= int(b&0x7f) << shift
		if b < 0x80 {
			break
		}
		if shift == 21 {
			return fmt.Errorf("%w: a length of more than four bytes", errPacket)
		}
	}
	if length <= maxInbound {
		in.ready, in.pass = binary.AppendUvarint([]byte{first}, uint64(length)), length
		return nil
	}
	if first>>4 != 3 {
		return fmt.Errorf("%w: a packet of type %d with %d bytes", errPacket, first>>4, length)
	}
	return in.shorten(first, length)
}

// shorten hands on a PUBLISH without its payload.
func (in *inbound) shorten(first byte, length int) error {
	b, err := in.r.Peek(2)
	if err != nil {
		return err
	}
	variable := make([]byte, 2+int(binary.BigEndian.Uint16(b)), 2<<16)
	if first>>1&3 > 0 {
		variable = variable[:len(variable)+2] // the identifier
	}
	if _, err := io.ReadFull(in.r, variable); err != nil {
		return err
	}
	in.skip, in.pulsed = length-len(variable), time.Now()
	in.ready = binary.AppendUvarint([]byte{first}, uint64(len(variable)+len(in.mark)))
	in.ready = append(append(in.ready, variable...), in.mark[:]...)
	return nil
}
