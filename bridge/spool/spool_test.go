package spool

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestAppendAndRead(t *testing.T) {
	path := t.TempDir()
	s, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	mustAppend(t, s, 1, 500)
	r, err := s.Reader("cloud")
	if err != nil {
		t.Fatal(err)
	}
	for seq := uint64(1); seq <= 500; seq++ {
		rec, err := r.Next(t.Context())
		if err != nil || rec.Seq != seq || string(rec.Payload) != fmt.Sprint(seq) {
			t.Fatal(seq, rec, err)
		}
		if seq <= 400 {
			r.Ack(rec.Seq)
		}
	}
	if st := s.Stats(); st.Records != 100 || st.Oldest != 401 || st.Next != 501 || !st.OldestTime.Equal(recordOf(401).Time) || st.Err != nil {
		t.Fatalf("%+v", st)
	}
	mustClose(t, s)
	if s, err = Open(path, Options{Readers: []string{"cloud"}}); err != nil {
		t.Fatal(err)
	}
	if st := s.Stats(); st.Records != 100 || st.Oldest != 401 || st.Next != 501 || st.Damaged+st.Repaired+st.Failures != 0 {
		t.Fatalf("%+v", st)
	}
	if got := drain(t, s, "cloud"); len(got) != 100 || got[0] != 401 {
		t.Fatal(got)
	}
	mustAppend(t, s, 501, 501)
	mustClose(t, s)
	if err := s.Close(); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
	if _, err := s.Append(recordOf(1)); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
}

// Every field comes back as it was given, at the ends of its range.
func TestRecordFields(t *testing.T) {
	us := func(s string) time.Time {
		at, err := time.Parse(time.RFC3339Nano, s)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	for _, r := range []Record{
		{},
		{Kind: 15, Retain: true, Synced: true, Topic: "t", Payload: []byte("p"), Time: us("2026-03-01T12:00:00.123456Z")},
		{Time: us("1969-12-31T23:59:59.999999Z"), Anchor: Anchor{Session: 65535, Clock: us("2106-02-07T06:28:15.99609375Z")}},
		{Time: us("1970-01-01T00:00:00Z"), Anchor: Anchor{Session: 1, Clock: us("1970-01-01T00:00:00.00390625Z")}},
		{Time: us("3110-12-31T23:59:59.999999Z")}, {Time: us("0829-01-01T00:00:00Z")},
		{Topic: strings.Repeat("x", maxTopic), Payload: make([]byte, 70000)},
	} {
		r.Seq = 1<<47 + 3
		b := appendRecord(nil, &r)
		stamp(b, 7, r.Seq)
		if len(b) != recordSize(&r) || !whole(b, 7) || whole(b, 8) {
			t.Fatalf("%+v: %x", r, b[:min(len(b), 64)])
		}
		got, err := parseRecord(b, "t")
		if err != nil || !same(got, r) {
			t.Fatalf("got %+v, %v; want %+v", got, err, r)
		}
		if n := len(r.Topic) + len(r.Payload); n < 128 && len(b)-n > 30 {
			t.Fatalf("%d bytes more than its topic and payload", len(b)-n)
		}
	}
}

func TestGoldenRecord(t *testing.T) {
	r := Record{
		Kind: 3, Retain: true, Synced: true, Topic: "a/b", Payload: []byte("on"), Time: time.UnixMicro(1772366400123456),
		Anchor: Anchor{Session: 2, Clock: time.Unix(1025665262, 500e6)},
	}
	b := appendRecord(nil, &r)
	stamp(b, seedOf(9), 0x010203040506)
	// Made by another program from docs/spool.md.
	const want = "1b921bbd86" + "060504030201" + "33" + "40f2b035f54b06" + "0200" + "ee68223d80" + "03612f626f6e"
	if got := fmt.Sprintf("%x", b); got != want {
		t.Fatalf("got  %s\nwant %s", got, want)
	}
}

func TestTooLarge(t *testing.T) {
	s := mustOpen(t, newDisk(), small)
	defer s.Close()
	for _, recs := range [][]Record{
		{{Payload: make([]byte, s.room()-minRecord)}}, // a longer length
		{{Payload: make([]byte, 1<<20)}},
		{{Topic: strings.Repeat("x", maxTopic+1)}},
		{{Payload: make([]byte, s.room()/2)}, {Payload: make([]byte, s.room()/2)}},
	} {
		if _, err := s.Append(recs...); !errors.Is(err, ErrTooLarge) {
			t.Fatal(err)
		}
	}
	if seq, err := s.Append(Record{Payload: make([]byte, s.room()-minRecord-1)}); err != nil || seq != 1 {
		t.Fatal(seq, err)
	}
	if seq, err := s.Append(); err != nil || seq != 0 {
		t.Fatal(seq, err)
	}
}

// Two processes never share a folder, and the error names the other.
func TestLock(t *testing.T) {
	path := t.TempDir()
	s, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = Open(path, Options{})
	if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), fmt.Sprintf("process %d", os.Getpid())) || !strings.Contains(err.Error(), path) {
		t.Fatal(err)
	}
	mustClose(t, s)
	if s, err = Open(path, Options{}); err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
}

func TestOpenNoFolder(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(file, Options{}); !errors.Is(err, syscall.ENOTDIR) {
		t.Fatal(err)
	}
	if _, err := Inspect(file); err == nil {
		t.Fatal("inspected a file")
	}
}

// Files that are not the spool's are named and left alone, of which kind they ever are.
func TestForeignFiles(t *testing.T) {
	path := t.TempDir()
	if err := errors.Join(os.WriteFile(filepath.Join(path, "notes.txt"), []byte("x"), 0o600), os.Mkdir(filepath.Join(path, segName(7)), 0o700),
		os.WriteFile(filepath.Join(path, "00000000000000AB.seg"), []byte("x"), 0o600)); err != nil {
		t.Fatal(err)
	}
	s, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	mustAppend(t, s, 1, 3)
	if st := s.Stats(); st.Foreign != 3 || st.Damaged != 0 {
		t.Fatalf("%+v", st)
	}
	mustClose(t, s)
	if b, err := os.ReadFile(filepath.Join(path, "notes.txt")); err != nil || string(b) != "x" {
		t.Fatal(string(b), err)
	}
}

// A segment of a later version is left alone, and its sequences are not given again.
func TestLaterVersion(t *testing.T) {
	image, last := builtDisk(t, 30)
	b := image[last]
	for _, at := range []int{0, headerCopy} {
		copyHeaderVersion(b[at:], 2)
	}
	d := diskOf(image)
	s := mustOpen(t, d, small)
	if seq, err := s.Append(recordOf(1)); err != nil || seq < 31 {
		t.Fatal(seq, err)
	}
	mustClose(t, s)
	if !bytes.Equal(d.names[last].data, b) {
		t.Fatal("it was written to")
	}
}

// Appends that come together share writes and flushes; all are there, each goroutine's in its order.
func TestAppendAtOnce(t *testing.T) {
	s, err := Open(t.TempDir(), Options{SegmentSize: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r, err := s.Reader("r")
	if err != nil {
		t.Fatal(err)
	}
	const writers, each = 8, 200
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				if _, err := s.Append(Record{Kind: uint8(w), Payload: fmt.Appendf(nil, "%d", 2*i)}, Record{Kind: uint8(w), Payload: fmt.Appendf(nil, "%d", 2*i+1)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	var next [writers]int
	for seq := uint64(1); seq <= 2*writers*each; seq++ {
		rec, err := r.Next(t.Context())
		if err != nil || rec.Seq != seq || string(rec.Payload) != fmt.Sprint(next[rec.Kind]) {
			t.Fatalf("%+v, %v, want %d", rec, err, next[rec.Kind])
		}
		next[rec.Kind]++
		r.Ack(rec.Seq)
	}
	wg.Wait()
	if st := s.Stats(); st.Appended != 2*writers*each || st.Commits > writers*each || st.Records != 0 {
		t.Fatalf("%+v", st)
	} else {
		t.Logf("%d appends in %d commits", writers*each, st.Commits)
	}
}

func TestNextWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mustOpen(t, newDisk(), small)
		r, err := s.Reader("r")
		if err != nil {
			t.Fatal(err)
		}
		got := make(chan error)
		next := func() {
			rec, err := r.Next(t.Context())
			if err == nil && rec.Seq != 1 {
				err = fmt.Errorf("got %d", rec.Seq)
			}
			got <- err
		}
		go next()
		synctest.Wait()
		mustAppend(t, s, 1, 1)
		if err := <-got; err != nil {
			t.Fatal(err)
		}
		go next()
		synctest.Wait()
		mustClose(t, s)
		if err := <-got; !errors.Is(err, ErrClosed) {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if _, err := r.Next(ctx); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	})
}

// What was there before the reader was rewound is its backlog; what came since is read at once.
func TestLanes(t *testing.T) {
	s := mustOpen(t, newDisk(), small)
	defer s.Close()
	mustAppend(t, s, 1, 50)
	r, err := s.Reader("r")
	if err != nil {
		t.Fatal(err)
	}
	mustAppend(t, s, 51, 60)
	for want := uint64(51); want <= 60; want++ {
		rec, err := r.NextLive(t.Context())
		if err != nil || rec.Seq != want {
			t.Fatal(rec.Seq, want, err)
		}
		r.Ack(want)
		if old, ok := r.NextBacklog(); !ok || old.Seq != want-50 {
			t.Fatal(old.Seq, ok)
		} else if old.Seq%2 == 0 {
			r.Ack(old.Seq)
		}
	}
	var done []uint64
	for rec := range r.Delivered() {
		done = append(done, rec.Seq)
	}
	if want := []uint64{2, 4, 6, 8, 10, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60}; !slices.Equal(done, want) {
		t.Fatalf("delivered: %d", done)
	}
	if r.Left() != 40 || r.Waiting() != 45 {
		t.Fatal(r.Left(), r.Waiting())
	}
	r.Rewind()
	if n := r.Left(); n != 45 {
		t.Fatal(n)
	}
	for i := range 45 {
		want := uint64(i + 6)
		if i < 5 {
			want = uint64(2*i + 1)
		}
		if rec, ok := r.NextBacklog(); !ok || rec.Seq != want {
			t.Fatal(rec.Seq, want)
		}
	}
	if rec, ok := r.NextBacklog(); ok {
		t.Fatal(rec.Seq)
	}
}

func copyHeaderVersion(h []byte, v byte) {
	g, _ := parseHeader(h)
	fresh := appendHeader(nil, g)
	copy(h, fresh[:headerSize])
	h[8] = v
	binary.LittleEndian.PutUint32(h[60:], crc32.Checksum(h[:60], castagnoli))
}
