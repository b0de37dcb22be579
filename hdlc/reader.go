package hdlc

import (
	"bytes"
	"io"
)

const (
	bufferSize = 4096
	minRead    = 1024 // room that is made before the underlying reader is asked; maxRaw+minRead < bufferSize
	maxEmpty   = 100  // reads in a row that may return nothing
)

// A Reader takes frames from a byte stream. What comes before the first flag is dropped without a word. It holds at most
// one unfinished frame, for as long as it takes until the next flag. Not safe for use by several goroutines.
//
//	hunting --0x7E--> in frame --0x7E--> packet or FrameError, in frame again
type Reader struct {
	r    io.Reader
	err  error // of r; returned when the bytes before it are used up
	buf  [bufferSize]byte
	pos  int  // buf[pos:scan] are bytes of the unfinished frame, still escaped
	scan int  // buf[scan:end] have not been searched for a flag
	end  int  // of the bytes read
	in   bool // a flag has been seen
	over bool // bytes of the unfinished frame have been dropped because there were too many

	packet [maxFrame]byte // of the last frame, if it held escapes
}

// NewReader makes a Reader of the bytes of r.
func NewReader(r io.Reader) *Reader { return &Reader{r: r} }

// Next returns the next packet without its check sequence: 1 to MaxPacket bytes, valid until the next call. A FrameError
// costs that frame only; go on calling. Any other error is the underlying reader's and final.
func (r *Reader) Next() ([]byte, error) {
	for {
		i := bytes.IndexByte(r.buf[r.scan:r.end], flag)
		if i < 0 {
			r.keep()
			if err := r.fill(); err != nil {
				return nil, err
			}
			continue
		}
		raw, whole, over := r.buf[r.pos:r.scan+i], r.in, r.over
		r.pos = r.scan + i + 1
		r.scan = r.pos
		r.in, r.over = true, false
		switch {
		case !whole: // the first flag of all: what came before it was no frame
		case over:
			return nil, TooLong
		case len(raw) > 0:
			return r.check(raw)
		}
	}
}

// Pending tells whether bytes of an unfinished frame are held, once Next has returned the underlying reader's error.
func (r *Reader) Pending() bool { return r.in && (r.over || r.end > r.pos) }

// Rest gives the bytes held of an unfinished frame, with the flag before them, once Next has returned the underlying
// reader's error: a Reader that gets them first goes on where this one has ended.
func (r *Reader) Rest() []byte {
	if !r.in || r.over {
		return nil
	}
	return append([]byte{flag}, r.buf[r.pos:r.end]...)
}

// check makes a packet of the bytes between two flags.
func (r *Reader) check(raw []byte) ([]byte, error) {
	frame := raw
	if bytes.IndexByte(raw, escape) >= 0 {
		n, err := unescape(&r.packet, raw)
		if err != nil {
			return nil, err
		}
		frame = r.packet[:n]
	}
	switch {
	case len(frame) > maxFrame:
		return nil, TooLong
	case len(frame) <= fcsSize:
		return nil, TooShort
	case update(preset, frame) != goodFCS:
		return nil, BadFCS
	}
	return frame[: len(frame)-fcsSize : len(frame)-fcsSize], nil
}

// keep marks all bytes held as searched, and drops those that can be of no use: noise before the first flag, and frames
// that are too long whatever still comes.
func (r *Reader) keep() {
	r.scan = r.end
	if r.in && r.end-r.pos > maxRaw {
		r.over = true
	}
	if !r.in || r.over {
		r.pos = r.end
	}
}

// fill reads more bytes. It moves the unfinished frame to the front of the buffer when room gets short.
func (r *Reader) fill() error {
	if r.err != nil {
		return r.err
	}
	if r.pos == r.end || bufferSize-r.end < minRead {
		n := copy(r.buf[:], r.buf[r.pos:r.end])
		r.pos, r.scan, r.end = 0, n, n
	}
	for range maxEmpty {
		n, err := r.r.Read(r.buf[r.end:])
		r.end += n
		r.err = err
		if n > 0 {
			return nil
		}
		if err != nil {
			return err
		}
	}
	r.err = io.ErrNoProgress
	return r.err
}
