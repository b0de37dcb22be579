package tape

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meshgate/meshgate/hdlc"
)

// pieces cuts a stream that comes in parts of at most n bytes.
func pieces(stream []byte, n int, secret func(byte) bool) [][]byte {
	c := cutter{secret: secret}
	var all [][]byte
	emit := func(p []byte) { all = append(all, bytes.Clone(p)) }
	for len(stream) > 0 {
		k := min(n, len(stream))
		c.add(stream[:k], emit)
		stream = stream[k:]
	}
	c.rest(emit)
	return all
}

func none(byte) bool { return false }

func TestCutter(t *testing.T) {
	a, b := hdlc.AppendFrame(nil, []byte{2, 0x2e, 7, 0}), hdlc.AppendFrame(nil, []byte{3, 0x14, 0x7e, 1, 0x7d})
	stream := append([]byte("noise"), a...)
	stream = append(stream, b...)
	stream = append(stream, b[1:]...) // one flag ends a frame and begins the next
	stream = append(stream, "cut"...)
	want := []string{"noise~", string(a[1:]), string(b), string(b[1:]), "cut"}
	for n := 1; n <= len(stream); n++ {
		var got []string
		for _, p := range pieces(stream, n, none) {
			got = append(got, string(p))
		}
		if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
			t.Fatalf("in parts of %d: got %q, want %q", n, got, want)
		}
	}
	long := bytes.Repeat([]byte{1}, 2*maxPiece+5)
	if got := pieces(long, 1000, none); len(got) != 3 || len(got[0]) != maxPiece || !bytes.Equal(bytes.Join(got, nil), long) {
		t.Errorf("a long piece: %d pieces", len(got))
	}
}

// TestScrub: no byte of a secret is in what is recorded, also when the frame was damaged or cut.
func TestScrub(t *testing.T) {
	secret := func(command byte) bool { return command == 40 }
	key := []byte("joinkey~}joinkey")
	request := hdlc.AppendFrame(nil, append([]byte{2, 40, 5, 16}, key...))
	response := hdlc.AppendFrame(nil, append([]byte{3, 40, 5, 17, 0}, key...))
	damaged := bytes.Clone(response)
	damaged[len(damaged)-2] ^= 1
	for _, tt := range []struct {
		name         string
		stream, want []byte
	}{
		{"request", request, hdlc.AppendFrame(nil, append([]byte{2, 40, 5, 16}, make([]byte, 16)...))},
		{"response", response, hdlc.AppendFrame(nil, append([]byte{3, 40, 5, 17, 0}, make([]byte, 17-1)...))},
		{"damaged", damaged, nil},
		{"cut", response[:14], nil},
		{"flag shared", response[1:], nil},
	} {
		for n := 1; n < len(tt.stream); n++ {
			got := bytes.Join(pieces(tt.stream, n, secret), nil)
			if bytes.Contains(got, []byte("join")) || bytes.Contains(got, []byte("key")) || tt.want != nil && !bytes.Equal(got, tt.want) {
				t.Errorf("%s in parts of %d: %q", tt.name, n, got)
			}
		}
	}
}

func FuzzCutter(f *testing.F) {
	f.Add([]byte("~~a~b~~"), 3)
	f.Fuzz(func(t *testing.T, stream []byte, n int) {
		all := pieces(stream, max(1, n%64), none)
		if !bytes.Equal(bytes.Join(all, nil), stream) {
			t.Errorf("%q became %q", stream, all)
		}
		for _, p := range all {
			if len(p) > maxPiece {
				t.Errorf("a piece of %d bytes", len(p))
			}
		}
	})
}

func readFile(t *testing.T, path string) []Entry {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all, err := Read(f)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// numbered writes entries n to m, a second apart, and gives what the file then holds: its first and its last number. All
// between have to be there, in order and with their times.
func numbered(t *testing.T, path string, n, m int) (first, last int) {
	t.Helper()
	r, err := openRing(path, 20*blockSize, time.Unix(1e9, 0))
	if err != nil {
		t.Fatal(err)
	}
	for i := n; i <= m; i++ {
		if err := r.add(FromManager, uint64(i)*1e6, fmt.Appendf(nil, "%0100d", i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.close(); err != nil {
		t.Fatal(err)
	}
	return span(t, readFile(t, path))
}

func span(t *testing.T, all []Entry) (first, last int) {
	t.Helper()
	for i, e := range all {
		var n int
		fmt.Sscan(string(bytes.TrimLeft(e.Data, "0")), &n)
		if i == 0 {
			first = n
		} else if n != last+1 {
			t.Errorf("%d after %d", n, last)
		}
		last = n
		if e.At != time.Duration(n)*time.Second || !e.Run.Equal(time.Unix(1e9, 0)) || e.Kind != FromManager {
			t.Errorf("entry %d: %v %v %v", n, e.Kind, e.At, e.Run)
		}
	}
	return first, last
}

func TestRing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tape")
	if first, last := numbered(t, path, 1, 10); first != 1 || last != 10 {
		t.Errorf("holds %d to %d", first, last)
	}
	if first, last := numbered(t, path, 11, 500); first != 1 || last != 500 {
		t.Errorf("after it was opened again, holds %d to %d", first, last)
	}
	for i := 501; i < 5000; i += 499 { // round and round
		first, last := numbered(t, path, i, i+498)
		if last != i+498 || first > last-600 && first != 1 {
			t.Errorf("after %d, holds %d to %d", i+498, first, last)
		}
		if st, err := os.Stat(path); err != nil || st.Size() > 20*blockSize || st.Mode().Perm() != 0o600 {
			t.Errorf("the file has %d bytes, mode %v: %v", st.Size(), st.Mode(), err)
		}
	}
}

// TestTorn: whatever a power cut does to the block that was being written, the others are read, and writing goes on.
func TestTorn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tape")
	numbered(t, path, 1, 3000)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for range 50 {
		torn := bytes.Clone(whole)
		place := 1 + rng.IntN(19)
		for i := range blockSize {
			if i > rng.IntN(blockSize) {
				torn[place*blockSize+i] = byte(rng.Uint32())
			}
		}
		all, err := Read(bytes.NewReader(torn))
		if err != nil || len(all) < 18*30 || len(all) > 19*40 {
			t.Fatalf("block %d torn: %d entries, %v", place, len(all), err)
		}
	}
	if err := os.Truncate(path, 7*blockSize+100); err != nil {
		t.Fatal(err)
	}
	before := len(readFile(t, path))
	r, err := openRing(path, 1<<20, time.Unix(2e9, 0))
	if err != nil {
		t.Fatal(err)
	}
	r.add(ToManager, 1, []byte("after"))
	if err := r.close(); err != nil {
		t.Fatal(err)
	}
	all := readFile(t, path)
	if e := all[len(all)-1]; string(e.Data) != "after" || len(all) < before-40 {
		t.Errorf("%d entries of %d, the last is %q", len(all), before, e.Data)
	}
}

// TestNotTape: a file that is something else is not touched.
func TestNotTape(t *testing.T) {
	path := filepath.Join(t.TempDir(), "precious")
	if err := os.WriteFile(path, []byte("precious"), 0o644); err != nil {
		t.Fatal(err)
	}
	err := NewRecorder(nil).Write(t.Context(), path, Size, func() { t.Error("opened") })
	if !errors.Is(err, ErrNotTape) {
		t.Errorf("got %v", err)
	}
	if b, _ := os.ReadFile(path); string(b) != "precious" {
		t.Errorf("it is now %q", b)
	}
	if _, err := Read(bytes.NewReader(nil)); !errors.Is(err, ErrNotTape) {
		t.Errorf("an empty file: %v", err)
	}
}

// loop is a port whose reads and writes are the test's.
type loop struct {
	in     chan []byte
	closed chan struct{}
}

func (l loop) Read(b []byte) (int, error) {
	select {
	case p := <-l.in:
		return copy(b, p), nil
	case <-l.closed:
		return 0, io.EOF
	}
}
func (l loop) Write(b []byte) (int, error) { return len(b), nil }
func (l loop) Close() error                { close(l.closed); return nil }

func TestRecorder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tape")
	synctest.Test(t, func(t *testing.T) {
		rec := NewRecorder(nil)
		ctx, cancel := context.WithCancel(t.Context())
		end := make(chan error, 1)
		go func() { end <- rec.Write(ctx, path, Size, func() {}) }()
		l := loop{make(chan []byte), make(chan struct{})}
		port := rec.Tap(l)
		go io.Copy(io.Discard, port)
		time.Sleep(time.Second)
		l.in <- []byte("~ab")
		time.Sleep(time.Second)
		l.in <- []byte("c~d")
		synctest.Wait()
		port.Write([]byte("~request~"))
		time.Sleep(2 * time.Second)
		if got := len(readFile(t, path)); got != 3 {
			t.Errorf("after two seconds %d entries are in the file", got)
		}
		port.Close()
		cancel()
		if err := <-end; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		var got string
		for _, e := range readFile(t, path) {
			got += fmt.Sprintf("%v %v %q; ", e.At, e.Kind, e.Data)
		}
		if want := `0s opened ""; 2s from "~abc~"; 2s to "~request~"; 4s from "d"; 4s closed ""; `; got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	})
}

// TestRecorderWithoutDisk: what cannot be written is bounded and counted, and comes when the file does.
func TestRecorderWithoutDisk(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		rec := NewRecorder(nil)
		if err := rec.Write(t.Context(), filepath.Join(dir, "none", "tape"), Size, nil); err == nil {
			t.Error("no error for a folder that is not there")
		}
		l := loop{make(chan []byte), make(chan struct{})}
		port := rec.Tap(l)
		for range 10000 {
			port.Write(append(make([]byte, 99), '~'))
		}
		rec.taken()
		port.Write([]byte("~a~"))
		all := rec.taken()
		if len(all) != 2 || all[0].kind != Lost || all[0].data[0] == 0 && all[0].data[1] == 0 {
			t.Errorf("pending: %+v", all)
		}
	})
}

func FuzzRead(f *testing.F) {
	path := filepath.Join(f.TempDir(), "tape")
	r, err := openRing(path, 5*blockSize, time.Unix(1e9, 0))
	if err != nil {
		f.Fatal(err)
	}
	r.add(FromManager, 7, []byte("~abc~"))
	r.close()
	b, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b[blockSize:])
	f.Fuzz(func(t *testing.T, data []byte) {
		all, err := Read(bytes.NewReader(append(header(4), data...)))
		if err != nil {
			t.Fatal(err)
		}
		NewPlayer(all).Length()
		b := block{body: data, last: 0}
		for _, e := range b.entries() {
			if len(e.Data) > len(data) {
				t.Errorf("an entry of %d bytes", len(e.Data))
			}
		}
	})
}
