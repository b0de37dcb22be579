package spool

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

var soak = flag.Bool("spool.soak", false, "run the long tests")

// skip tells whether a case of an exhaustive test is left out.
func skip(i int) bool { return !*soak && i%stride != 0 }

// small makes segments of a dozen records.
var small = Options{SegmentSize: minSegment, LateSync: time.Hour}

func mustOpen(t testing.TB, d folder, opt Options) *Spool {
	t.Helper()
	s, err := open(d, opt)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustClose(t testing.TB, s *Spool) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// recordOf gives a record that can be told from its payload alone.
func recordOf(i int) Record {
	return Record{
		Kind: uint8(i % 16), Retain: i%2 == 0, Synced: i%3 == 0, Topic: fmt.Sprintf("t/%d", i%3),
		Time: time.UnixMicro(1.7e15 + int64(i)).UTC(), Payload: fmt.Appendf(nil, "%d", i),
	}
}

func mustAppend(t testing.TB, s *Spool, from, to int) {
	t.Helper()
	for i := from; i <= to; i++ {
		if seq, err := s.Append(recordOf(i)); err != nil || seq != uint64(i) {
			t.Fatalf("append %d: %d, %v", i, seq, err)
		}
	}
}

// drain gives the sequences of all that a reader gets, and checks that each record is what was appended under it.
func drain(t testing.TB, s *Spool, name string) (seqs []uint64) {
	t.Helper()
	r, err := s.Reader(name)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for {
		rec, ok := r.NextBacklog()
		if !ok {
			return seqs
		}
		want := recordOf(int(rec.Seq))
		want.Seq = rec.Seq
		if !same(rec, want) {
			t.Fatalf("got %+v, want %+v", rec, want)
		}
		seqs = append(seqs, rec.Seq)
	}
}

func same(a, b Record) bool {
	return a.Seq == b.Seq && a.Kind == b.Kind && a.Retain == b.Retain && a.Synced == b.Synced && a.Topic == b.Topic &&
		a.Time.Equal(b.Time) && a.Anchor.Session == b.Anchor.Session && a.Anchor.Clock.Equal(b.Anchor.Clock) && bytes.Equal(a.Payload, b.Payload)
}

func upTo(n int) (seqs []uint64) {
	for i := 1; i <= n; i++ {
		seqs = append(seqs, uint64(i))
	}
	return seqs
}

// builtDisk gives a disk with n records, closed, and the name of its last segment.
func builtDisk(t testing.TB, n int) (image map[string][]byte, last string) {
	d := newDisk()
	s := mustOpen(t, d, small)
	mustAppend(t, s, 1, n)
	last = segName(s.segs[len(s.segs)-1].generation)
	mustClose(t, s)
	return d.image(), last
}

// ends gives where each record of a segment ends.
func ends(t testing.TB, b []byte, name string) (at []int64) {
	g, state := parseHeader(b)
	if state != headerGood {
		t.Fatal("no header in", name)
	}
	d := newDisk()
	d.put(name, b)
	f, _ := d.open(name, toRead)
	r := newScanner(f, g, maxSeq, capacity(g.size))
	for {
		if _, err := r.next(); err != nil {
			return at
		}
		at = append(at, r.off)
	}
}

// The last segment is cut at every byte: by its end, by zeros, and by noise from there on.
func TestCutAtEveryByte(t *testing.T) {
	image, name := builtDisk(t, 36)
	whole := image[name]
	first, _ := parseHeader(whole)
	at := ends(t, whole, name)
	if len(at) < 3 {
		t.Fatalf("%d records in the last segment", len(at))
	}
	noise := make([]byte, len(whole))
	for i := range noise {
		noise[i] = byte(rand.Int())
	}
	for how, rest := range map[string][]byte{"end": nil, "zeros": make([]byte, len(whole)), "noise": noise} {
		for cut := range len(whole) {
			if how != "end" && cut > int(at[len(at)-1])+quiet || cut > 1024 && cut < headerBlock && cut%64 != 0 {
				continue
			}
			if skip(cut) {
				continue
			}
			image[name] = append(slices.Clone(whole[:cut]), rest[min(cut, len(rest)):]...)
			kept := int(first.first) - 1
			for _, end := range at {
				if int64(cut) >= end {
					kept++
				}
			}
			checkCut(t, image, fmt.Sprintf("%s at %d", how, cut), kept, how == "end" || cut >= headerBlock)
		}
	}
}

// checkCut opens a damaged disk and expects its first records, then that it goes on as if nothing had been.
func checkCut(t *testing.T, image map[string][]byte, what string, kept int, exact bool) {
	t.Helper()
	d := diskOf(image)
	delete(d.names, cursorFile)
	s := mustOpen(t, d, small)
	if got := drain(t, s, "r"); !slices.Equal(got, upTo(kept)) && (exact || len(got) < kept) {
		t.Fatalf("%s: got %d, want %d", what, got, kept)
	}
	next := s.Stats().Next
	mustAppend(t, s, int(next), int(next)+12)
	mustClose(t, s)
	s = mustOpen(t, diskOf(d.image()), small)
	if got := drain(t, s, "r"); !slices.Equal(got[len(got)-13:], []uint64{next, next + 1, next + 2, next + 3, next + 4, next + 5, next + 6, next + 7, next + 8, next + 9, next + 10, next + 11, next + 12}) {
		t.Fatalf("%s: after more %d", what, got)
	}
	mustClose(t, s)
}

// Every bit of a small spool is flipped: at most two records are lost, and it is counted.
func TestFlipEveryBit(t *testing.T) {
	image, _ := builtDisk(t, 30)
	for name, whole := range image {
		if !strings.HasSuffix(name, ".seg") && name != cursorFile {
			continue
		}
		for at := range len(whole) {
			used := isUsed(t, name, whole, at)
			if !used && at%61 != 0 {
				continue
			}
			for bit := range 8 {
				if skip(8*at + bit) {
					continue
				}
				image[name] = slices.Clone(whole)
				image[name][at] ^= 1 << bit
				checkFlip(t, image, fmt.Sprintf("%s byte %d bit %d", name, at, bit), used)
			}
		}
		image[name] = whole
	}
}

// isUsed tells whether a byte of a file means something.
func isUsed(t *testing.T, name string, b []byte, at int) bool {
	if name == cursorFile {
		return !isZero(b[at:min(at+8, len(b))])
	}
	records := ends(t, b, name)
	return at < headerSize || at >= headerCopy && at < headerCopy+headerSize || at >= headerBlock && at < int(records[len(records)-1]) ||
		at >= int(capacity(int64(len(b)))) && !isZero(b[at:])
}

func checkFlip(t *testing.T, image map[string][]byte, what string, used bool) {
	t.Helper()
	s := mustOpen(t, diskOf(image), small)
	got := drain(t, s, "r")
	st := s.Stats()
	mustClose(t, s)
	want := upTo(30)
	missing := 0
	for _, seq := range want {
		if !slices.Contains(got, seq) {
			missing++
		}
	}
	if missing > 2 || len(got)+missing != len(want) || !slices.IsSorted(got) {
		t.Fatalf("%s: got %d", what, got)
	}
	if uint64(missing) > st.Damaged || missing == 0 && st.Damaged > 1 {
		t.Fatalf("%s: %d lost, %d counted", what, missing, st.Damaged)
	}
	if used && st.Damaged+st.Repaired == 0 {
		t.Fatalf("%s: not noticed", what)
	}
	if st.Next != 31 {
		t.Fatalf("%s: next is %d", what, st.Next)
	}
}

// Everything the spool asks of the disk is made to fail, one after the other: for once, three times, for a while. What was
// appended is there afterwards, also when the process is killed or the power goes.
func TestEveryFailure(t *testing.T) {
	for _, times := range []int{1, 3, 40} {
		for at := 0; ; at++ {
			if skip(at / 2) { // both of two that follow each other
				continue
			}
			if !failFrom(t, at, times) {
				break
			}
		}
	}
}

// failFrom lets the calls from the at-th on fail, and tells whether there was such a call.
func failFrom(t *testing.T, at, times int) bool {
	t.Helper()
	d := newDisk()
	opt := small
	opt.MaxSize = 6 * minSegment
	s := mustOpen(t, d, opt)
	var calls atomic.Int64
	d.setFail(func(op, name string) error {
		if n := int(calls.Add(1)); n > at && n <= at+times {
			return fmt.Errorf("%s %s: %w", op, name, errDisk)
		}
		return nil
	})
	r, err := s.Reader("r")
	if err != nil {
		t.Fatal(err)
	}
	good := map[uint64]string{}
	for i := range 60 {
		rec := recordOf(i)
		seq, err := s.Append(rec)
		if err == nil {
			if good[seq] != "" {
				t.Fatalf("at %d: sequence %d given twice", at, seq)
			}
			good[seq] = string(rec.Payload)
		} else if !errors.Is(err, errDisk) {
			t.Fatalf("at %d: %v", at, err)
		}
		if i == 40 {
			for got, ok := r.NextBacklog(); ok && got.Seq < 30; got, ok = r.NextBacklog() {
				r.Ack(got.Seq)
			}
			r.Rewind()
		}
	}
	hit := int(calls.Load()) > at
	d.setFail(nil)
	if seq, err := s.Append(recordOf(60)); err != nil {
		t.Fatalf("at %d: does not recover: %v", at, err)
	} else {
		good[seq] = "60"
	}
	dropped := s.Stats().Dropped.Size
	for how, after := range map[string]*disk{"killed": d.kill(), "cut": d.powerCut(rand.New(rand.NewPCG(uint64(at), 1)))} {
		checkKept(t, fmt.Sprintf("%d calls from %d, %s", times, at, how), after, good, dropped)
	}
	d.die(errDisk)
	s.Close()
	return hit
}

// checkKept opens a disk and expects all that was appended, but for what was dropped.
func checkKept(t *testing.T, what string, d *disk, good map[uint64]string, dropped uint64) {
	t.Helper()
	s := mustOpen(t, d, small)
	defer s.Close()
	r, err := s.Reader("other")
	if err != nil {
		t.Fatal(err)
	}
	last, low := uint64(0), r.cursor.low()
	for {
		rec, ok := r.NextBacklog()
		if !ok {
			break
		}
		if want, ok := good[rec.Seq]; ok && want != string(rec.Payload) {
			t.Fatalf("%s: %d is %q, want %q", what, rec.Seq, rec.Payload, want)
		}
		if rec.Seq <= last {
			t.Fatalf("%s: %d after %d", what, rec.Seq, last)
		}
		last = rec.Seq
		delete(good, rec.Seq)
	}
	for seq := range good {
		if seq > s.Stats().Next-1 || (seq > 30 || low == 0) && dropped == 0 {
			t.Fatalf("%s: %d is missing, next is %d", what, seq, s.Stats().Next)
		}
	}
}
