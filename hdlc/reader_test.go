package hdlc

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

const hello = "0003000204009b38" // a whole frame without its flags

func TestReceiverRules(t *testing.T) {
	long := func(n int) string { return strings.Repeat("11", n) }
	tests := []struct {
		name, in string
		frames   int
		errors   []string
		pending  bool
	}{
		{"nothing", "", 0, nil, false},
		{"hunting drops all", "00112233" + hello, 0, nil, false},
		{"noise, even an escape, before the first flag", "007d7e" + hello + "7e", 1, nil, false},
		{"one flag closes and opens", "7e" + hello + "7e" + hello + "7e", 2, nil, false},
		{"idle flags", "7e7e7e" + hello + "7e7e7e", 1, nil, false},
		{"escape of an ordinary byte is undone", "7e" + "7d23" + hello[2:] + "7e", 0, []string{"bad_fcs"}, false},
		{"escaped first byte", "7e" + "7d20" + hello[2:] + "7e", 1, nil, false},
		{"7d7d gives 5d", "7e7d7d" + "1879" + "7e", 1, nil, false},
		{"aborted", "7e" + hello + "7d7e" + hello + "7e", 1, []string{"aborted"}, false},
		{"aborted at once", "7e7d7e" + hello + "7e", 1, []string{"aborted"}, false},
		{"escaped bytes count once", "7e7d317d317e", 0, []string{"too_short"}, false},
		{"three bytes are checked", "7e1122337e", 0, []string{"bad_fcs"}, false},
		{"261 bytes are checked", "7e" + long(261) + "7e", 0, []string{"bad_fcs"}, false},
		{"262 bytes are not", "7e" + long(262) + "7e" + hello + "7e", 1, []string{"too_long"}, false},
		{"261 escaped bytes", "7e" + strings.Repeat("7d31", 261) + "7e", 0, []string{"bad_fcs"}, false},
		{"262 escaped bytes", "7e" + strings.Repeat("7d31", 262) + "7e", 0, []string{"too_long"}, false},
		{"the longest of all, aborted", "7e" + strings.Repeat("7d31", 261) + "7d7e", 0, []string{"aborted"}, false},
		{"long for ever, reported once", "7e" + long(20000) + "7e" + hello + "7e", 1, []string{"too_long"}, false},
		{"long with escapes, reported once", "7e" + strings.Repeat("7d11", 9999) + "7d7e" + hello + "7e", 1, []string{"too_long"}, false},
		{"unfinished", "7e" + hello + "7e11", 1, nil, true},
		{"unfinished and too long", "7e" + long(5000), 0, nil, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := unhex(t, tt.in)
			for _, src := range []io.Reader{bytes.NewReader(in), iotest.OneByteReader(bytes.NewReader(in)), iotest.HalfReader(bytes.NewReader(in))} {
				r := NewReader(src)
				frames, words := readAll(t, r)
				if len(frames) != tt.frames || !slices.Equal(words, tt.errors) || r.Pending() != tt.pending {
					t.Errorf("%T: %x, errors %v, pending %v; want %d frames, %v, %v", src, frames, words, r.Pending(),
						tt.frames, tt.errors, tt.pending)
				}
			}
		})
	}
}

func TestReaderErrorsAreFinal(t *testing.T) {
	gone := errors.New("unplugged")
	r := NewReader(io.MultiReader(bytes.NewReader(unhex(t, "7e"+hello+"7e0011")), iotest.ErrReader(gone)))
	if p, err := r.Next(); err != nil || len(p) != 6 {
		t.Fatalf("Next: %x, %v", p, err)
	}
	for range 3 {
		if p, err := r.Next(); err != gone || p != nil {
			t.Fatalf("Next: %x, %v; want %v", p, err, gone)
		}
	}
	if !r.Pending() {
		t.Error("the unfinished frame is forgotten")
	}
}

type idler struct{}

func (idler) Read([]byte) (int, error) { return 0, nil }

func TestReaderThatReturnsNothing(t *testing.T) {
	if _, err := NewReader(idler{}).Next(); err != io.ErrNoProgress {
		t.Errorf("Next: %v, want %v", err, io.ErrNoProgress)
	}
}

func TestFrameErrorText(t *testing.T) {
	if got := error(BadFCS).Error(); got != "hdlc: bad frame: bad_fcs" {
		t.Errorf("Error() = %q", got)
	}
}

// TestEverySizeAndCut sends packets of every size that hold every byte, cut into reads at every place.
func TestEverySizeAndCut(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for size := 1; size <= MaxPacket; size++ {
		packet := make([]byte, size)
		for i := range packet {
			packet[i] = byte(rng.Uint32())
			if rng.IntN(8) == 0 {
				packet[i] = flag - byte(rng.IntN(2))
			}
		}
		wire := AppendFrame(nil, packet)
		if len(wire) > 2*maxFrame+2 {
			t.Fatalf("%d bytes on the wire", len(wire))
		}
		for cut := range wire {
			r := NewReader(io.MultiReader(bytes.NewReader(wire[:cut]), bytes.NewReader(wire[cut:])))
			if got, err := r.Next(); err != nil || !bytes.Equal(got, packet) {
				t.Fatalf("size %d, cut at %d: %x, %v; want %x", size, cut, got, err, packet)
			}
		}
	}
}

// TestEveryBitError flips each bit of a frame: no damaged packet is ever handed up, and the frame after it is whole.
func TestEveryBitError(t *testing.T) {
	first, second := unhex(t, "02140706010000000901"), unhex(t, "000300020400")
	wire := AppendFrame(AppendFrame(nil, first), second)
	n := len(AppendFrame(nil, first))
	for bit := range 8 * n {
		damaged := bytes.Clone(wire)
		damaged[bit/8] ^= 1 << (bit % 8)
		frames, _ := readAll(t, NewReader(bytes.NewReader(damaged)))
		last := len(frames) - 1
		if last < 0 || !bytes.Equal(frames[last], second) {
			t.Errorf("bit %d: the next frame is lost: %x", bit, frames)
		}
		for _, f := range frames[:max(last, 0)] {
			if !bytes.Equal(f, first) {
				t.Errorf("bit %d: %x handed up", bit, f)
			}
		}
	}
}

// An endless reader gives the same bytes over and over.
type endless struct {
	data []byte
	at   int
}

func (e *endless) Read(p []byte) (int, error) {
	n := copy(p, e.data[e.at:])
	e.at = (e.at + n) % len(e.data)
	return n, nil
}

func TestNoAllocations(t *testing.T) {
	data := AppendFrame(nil, bytes.Repeat([]byte{1, flag, 2, escape}, 15))
	data = append(data, unhex(t, "7e117e7e1122334455667e7e117d7e7e"+strings.Repeat("33", 600)+"7e")...)
	data = AppendFrame(data, bytes.Repeat([]byte{3}, 64))
	r := NewReader(&endless{data: data})
	var good, bad int
	if got := testing.AllocsPerRun(1000, func() {
		if _, err := r.Next(); err != nil {
			bad++
		} else {
			good++
		}
	}); got != 0 {
		t.Errorf("%v allocations a frame", got)
	}
	if good < 300 || bad < 500 {
		t.Errorf("%d good frames, %d bad ones", good, bad)
	}
	dst, packet := make([]byte, 0, 600), bytes.Repeat([]byte{flag}, 200)
	if got := testing.AllocsPerRun(100, func() { dst = AppendFrame(dst[:0], packet) }); got != 0 {
		t.Errorf("%v allocations a frame sent", got)
	}
}
