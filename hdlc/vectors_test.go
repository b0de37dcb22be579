package hdlc

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"slices"
	"testing"
	"testing/iotest"
)

// A vector is one golden vector of group hdlc, made by running the vendor's software.
type vector struct {
	Name    string `json:"name"`
	Hex     string `json:"hex"`
	Decoded struct {
		Frames  []string `json:"frames"`
		Errors  []string `json:"errors"`
		Pending bool     `json:"pending"`
		FCS     *uint16  `json:"fcs"`
		FCSWire string   `json:"fcs_wire"`
		Table   []uint16 `json:"crc_table"`
	} `json:"decoded"`
}

func loadVectors(t testing.TB) []vector {
	t.Helper()
	text, err := os.ReadFile("testdata/hdlc.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Count   int      `json:"count"`
		Vectors []vector `json:"vectors"`
	}
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Vectors) == 0 || len(file.Vectors) != file.Count {
		t.Fatalf("%d vectors, the file says %d", len(file.Vectors), file.Count)
	}
	return file.Vectors
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatalf("%q: %v", s, err)
	}
	return b
}

func TestVectors(t *testing.T) {
	for _, v := range loadVectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			in := unhex(t, v.Hex)
			switch {
			case v.Decoded.Table != nil:
				checkTable(t, in, v.Decoded.Table)
			case v.Decoded.FCS != nil:
				got := FCS(in)
				wire := hex.EncodeToString([]byte{byte(got), byte(got >> 8)})
				if got != *v.Decoded.FCS || wire != v.Decoded.FCSWire {
					t.Errorf("FCS %#04x, on the wire %s; want %#04x, %s", got, wire, *v.Decoded.FCS, v.Decoded.FCSWire)
				}
			default:
				for _, r := range []io.Reader{bytes.NewReader(in), iotest.OneByteReader(bytes.NewReader(in)),
					iotest.DataErrReader(bytes.NewReader(in))} {
					checkStream(t, r, v)
				}
				if len(v.Decoded.Frames) == 1 && v.Name[:6] == "frame/" {
					if got := AppendFrame(nil, unhex(t, v.Decoded.Frames[0])); !bytes.Equal(got, in) {
						t.Errorf("AppendFrame gives %x, want %x", got, in)
					}
				}
			}
		})
	}
}

// checkTable holds the register, run over one byte from zero, against the reference's table.
func checkTable(t *testing.T, in []byte, want []uint16) {
	if len(in) != len(want) {
		t.Fatalf("%d bytes, %d entries", len(in), len(want))
	}
	for i, b := range in {
		if got := update(0, []byte{b}); got != want[i] {
			t.Errorf("entry %d is %#04x, want %#04x", i, got, want[i])
		}
	}
}

func checkStream(t *testing.T, in io.Reader, v vector) {
	t.Helper()
	r := NewReader(in)
	frames, words := readAll(t, r)
	var got []string
	for _, f := range frames {
		got = append(got, hex.EncodeToString(f))
	}
	if !slices.Equal(got, v.Decoded.Frames) || !slices.Equal(words, v.Decoded.Errors) || r.Pending() != v.Decoded.Pending {
		t.Errorf("%T: frames %v, errors %v, pending %v\nwant frames %v, errors %v, pending %v",
			in, got, words, r.Pending(), v.Decoded.Frames, v.Decoded.Errors, v.Decoded.Pending)
	}
}

// readAll takes everything out of r until its end.
func readAll(t testing.TB, r *Reader) (frames [][]byte, words []string) {
	t.Helper()
	for {
		p, err := r.Next()
		var bad FrameError
		switch {
		case err == nil:
			frames = append(frames, bytes.Clone(p))
		case errors.As(err, &bad):
			words = append(words, bad.Word())
		case err == io.EOF:
			return frames, words
		default:
			t.Fatalf("Next: %v", err)
		}
	}
}
