package hdlc

import (
	"bytes"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
)

// A plainDecoder is the receiver's rules written down one byte at a time, as any microcontroller would do it: the
// measure of the Reader's results and of its speed.
type plainDecoder struct {
	in, esc, over bool
	buf           []byte
	fcs           uint16
}

// feed takes one byte. At the end of a frame it returns the packet or the error.
func (d *plainDecoder) feed(b byte) (packet []byte, err error) {
	if b == flag {
		buf, in, esc, over, fcs := d.buf, d.in, d.esc, d.over, d.fcs
		d.buf, d.in, d.esc, d.over, d.fcs = d.buf[:0], true, false, false, preset
		switch {
		case !in || len(buf) == 0 && !esc:
			return nil, nil
		case over:
			return nil, TooLong
		case esc:
			return nil, Aborted
		case len(buf) <= fcsSize:
			return nil, TooShort
		case fcs != goodFCS:
			return nil, BadFCS
		}
		return buf[:len(buf)-fcsSize], nil
	}
	switch {
	case !d.in || d.over:
		return nil, nil
	case b == escape && !d.esc:
		d.esc = true
		return nil, nil
	case len(d.buf) == maxFrame:
		d.over = true
		return nil, nil
	}
	if d.esc {
		b ^= toggle
		d.esc = false
	}
	d.buf = append(d.buf, b)
	d.fcs = d.fcs>>8 ^ plainTable[byte(d.fcs)^b]
	return nil, nil
}

var plainTable = makeTables()[0]

func plainAll(in []byte) (frames [][]byte, words []string, pending bool) {
	d := plainDecoder{buf: make([]byte, 0, maxFrame)}
	for _, b := range in {
		p, err := d.feed(b)
		if err != nil {
			words = append(words, err.(FrameError).Word())
		} else if p != nil {
			frames = append(frames, bytes.Clone(p))
		}
	}
	return frames, words, d.in && (len(d.buf) > 0 || d.esc || d.over)
}

// A chopper gives reads of random sizes.
type chopper struct {
	data []byte
	rng  *rand.Rand
}

func (c *chopper) Read(p []byte) (int, error) {
	if len(c.data) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), 1+c.rng.IntN(700))], c.data)
	c.data = c.data[n:]
	return n, nil
}

func FuzzReader(f *testing.F) {
	for _, v := range loadVectors(f) {
		f.Add(unhex(f, v.Hex), []byte{2, 0x14, 7, 6}, uint64(len(v.Hex)))
	}
	f.Fuzz(func(t *testing.T, noise, packet []byte, seed uint64) {
		if len(packet) == 0 {
			packet = []byte{0}
		}
		packet = packet[:min(len(packet), MaxPacket)]

		// Whatever came before: a flag, and the next frame is read whole.
		stream := AppendFrame(append(bytes.Clone(noise), flag), packet)
		r := NewReader(&chopper{stream, rand.New(rand.NewPCG(seed, 1))})
		frames, words := readAll(t, r)
		if len(frames) == 0 || !bytes.Equal(frames[len(frames)-1], packet) {
			t.Fatalf("after noise %x: %x, want %x last", noise, frames, packet)
		}
		if r.Pending() {
			t.Error("pending after a closing flag")
		}

		// The same results as byte by byte.
		wantFrames, wantWords, _ := plainAll(stream)
		if !slices.EqualFunc(frames, wantFrames, bytes.Equal) || !slices.Equal(words, wantWords) {
			t.Errorf("%x\nframes %x, errors %v\nwant   %x, errors %v", stream, frames, words, wantFrames, wantWords)
		}
		r = NewReader(&chopper{noise, rand.New(rand.NewPCG(seed, 2))})
		readAll(t, r)
		if _, _, pending := plainAll(noise); r.Pending() != pending {
			t.Errorf("%x: pending %v, want %v", noise, r.Pending(), pending)
		}
	})
}

// TestReaderAgainstPlain does what the fuzzer does, on long streams made of the bytes that matter.
func TestReaderAgainstPlain(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 3))
		var stream []byte
		for range 60 {
			junk := make([]byte, rng.IntN(600))
			for i := range junk {
				junk[i] = []byte{0x11, flag, escape, 0x5E, 0}[min(rng.IntN(40), 4)]
			}
			stream = AppendFrame(append(stream, junk...), junk[:min(len(junk), rng.IntN(MaxPacket+3))])
		}
		r := NewReader(&chopper{stream, rng})
		frames, words := readAll(t, r)
		wantFrames, wantWords, pending := plainAll(stream)
		if !slices.EqualFunc(frames, wantFrames, bytes.Equal) || !slices.Equal(words, wantWords) || r.Pending() != pending {
			t.Fatalf("seed %d: %d frames, %d errors; want %d, %d", seed, len(frames), len(words), len(wantFrames), len(wantWords))
		}
	}
}

// benchStream gives n frames of 64 bytes on the wire, as the manager sends them: most without an escape.
func benchStream(n int) []byte {
	rng := rand.New(rand.NewPCG(4, 5))
	var stream []byte
	for range n {
		for {
			packet := make([]byte, 64-2-fcsSize)
			for i := range packet {
				packet[i] = byte(rng.Uint32())
			}
			frame := AppendFrame(nil, packet)
			if len(frame) == 64 {
				stream = append(stream, frame...)
				break
			}
		}
	}
	return stream
}

func BenchmarkReader(b *testing.B) {
	stream := benchStream(1000)
	b.SetBytes(64)
	r := NewReader(&endless{data: stream})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Next(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPlainDecoder(b *testing.B) {
	stream := benchStream(1000)
	d := plainDecoder{buf: make([]byte, 0, maxFrame)}
	b.SetBytes(64)
	at := 0
	for b.Loop() {
		for _, c := range stream[at : at+64] {
			if _, err := d.feed(c); err != nil {
				b.Fatal(err)
			}
		}
		at = (at + 64) % len(stream)
	}
}

func BenchmarkAppendFrame(b *testing.B) {
	packet := benchStream(1)[1:61]
	dst := make([]byte, 0, 200)
	b.SetBytes(64)
	b.ReportAllocs()
	for b.Loop() {
		dst = AppendFrame(dst[:0], packet)
	}
}
