package spool

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The two halves of `make powercut`, run by packaging/systest/powercut: a writer on a disk whose power will be cut, and a
// judge of what is left. Segments are small, so that every instant is near a rotation.

const (
	cutLag     = 20  // the reader acknowledges nothing newer than that many records ago
	cutRestart = 400 // the spool is closed and opened again after so many
)

// cutOptions has appends wait for the disk, or with POWERCUT_SYNC return that much before it.
func cutOptions(t *testing.T) Options {
	opt := Options{SegmentSize: 8 << 10, MaxSize: 128 << 10, LateSync: 1 << 40, Readers: []string{"r"}}
	if sync := os.Getenv("POWERCUT_SYNC"); sync != "" {
		var err error
		if opt.Sync, err = time.ParseDuration(sync); err != nil {
			t.Fatal(err)
		}
	}
	return opt
}

// A pledge is what was promised: records up to seq were acknowledged, those up to safe are said to be on the disk, and so many
// were said to be dropped by the bound. Without POWERCUT_SYNC what is acknowledged is safe.
type pledge struct{ seq, safe, dropped uint64 }

// cutRecord is a record of a size of its own that can be told from its sequence alone.
func cutRecord(i int) Record {
	rec := recordOf(i)
	rec.Payload = append(rec.Payload, bytes.Repeat([]byte{' ', byte('a' + i%26)}, i*37%200)...)
	return rec
}

// withheld tells which records the reader never acknowledges: they hold on to their segments until the bound drops these.
// The others' stretches are recycled.
func withheld(seq uint64) bool { return seq%1000 >= 500 && seq%10 == 0 }

func withheldBelow(seq uint64) (n uint64) {
	for i := range seq {
		if withheld(i) {
			n++
		}
	}
	return n
}

// TestPowerCutWriter appends, reads and restarts, and prints `ack SEQUENCE SAFE DROPPED` for each append that returned.
func TestPowerCutWriter(t *testing.T) {
	path, count := os.Getenv("POWERCUT_DIR"), os.Getenv("POWERCUT_RECORDS")
	if path == "" || count == "" {
		t.Skip("run by make powercut")
	}
	last, err := strconv.Atoi(count)
	if err != nil {
		t.Fatal(err)
	}
	dropped, opt := uint64(0), cutOptions(t)
	for n := 0; n < last; {
		s := mustOpen(t, dir(path), opt)
		late := lateness{limit: opt.Sync + 5*time.Second}
		r, err := s.Reader("r")
		if err != nil {
			t.Fatal(err)
		}
		given := uint64(0)
		for end := min(n+cutRestart, last); n < end; {
			n = cutAppend(t, s, n)
			p := pledge{seq: uint64(n), safe: uint64(n), dropped: dropped + s.Stats().Dropped.Size}
			if opt.Sync > 0 {
				p.safe = s.Stats().Next - 1
				late.look(t, p)
			}
			promise(t, p)
			given = deliver(t, r, given, n-cutLag)
		}
		dropped += s.Stats().Dropped.Size
		r.Close()
		mustClose(t, s)
	}
	if dropped == 0 {
		t.Fatal("the bound dropped nothing")
	}
}

// lateness watches that nothing which was acknowledged waits for the disk for longer than the window, and some time to flush.
type lateness struct {
	limit time.Duration
	seq   uint64 // acknowledged at since, and not safe yet
	since time.Time
}

func (l *lateness) look(t *testing.T, p pledge) {
	if l.seq <= p.safe {
		l.seq, l.since = p.seq, time.Now()
	} else if waits := time.Since(l.since); waits > l.limit {
		t.Fatalf("%d was acknowledged %v ago, and only %d is on the disk", l.seq, waits, p.safe)
	}
}

// promise prints an ack, and goes on when it was read: what the writer does next must not be on the disk before it.
func promise(t *testing.T, p pledge) {
	fmt.Println("ack", p.seq, p.safe, p.dropped)
	for {
		unread, err := unix.IoctlGetInt(int(os.Stdout.Fd()), unix.TIOCINQ)
		if err != nil {
			t.Fatal("standard output is not a pipe:", err)
		}
		if unread == 0 {
			return
		}
		runtime.Gosched()
	}
}

// cutAppend appends one record after n, each seventh time three, and gives the last. Every second time it waits for the disk
// however long it takes.
func cutAppend(t *testing.T, s *Spool, n int) int {
	group := []Record{cutRecord(n + 1)}
	if n%7 == 0 {
		group = append(group, cutRecord(n+2), cutRecord(n+3))
	}
	add := s.Append
	if n%2 == 0 {
		add = s.AppendDurable
	}
	if first, err := add(group...); err != nil || first != uint64(n+1) {
		t.Fatalf("append %d: %d, %v", n+1, first, err)
	}
	return n + len(group)
}

// deliver reads on from given to the record upTo, and acknowledges what is not withheld.
func deliver(t *testing.T, r *Reader, given uint64, upTo int) uint64 {
	for int(given) < upTo {
		rec, err := r.Next(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if given = rec.Seq; !withheld(given) {
			r.Ack(given)
		}
	}
	return given
}

// lastAck gives what was promised before the cut.
func lastAck(t *testing.T, file string) (p pledge) {
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if _, err := fmt.Sscan(lines.Text(), &p.seq, &p.safe, &p.dropped); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// TestPowerCutJudge opens what the power cut has left. Every record that was acknowledged (and safe) is there, but for those
// that were delivered or dropped by the bound and counted; the cursor knows of no other; and no sequence is given twice.
func TestPowerCutJudge(t *testing.T) {
	path, acked := os.Getenv("POWERCUT_DIR"), os.Getenv("POWERCUT_ACKED")
	if path == "" || acked == "" {
		t.Skip("run by make powercut")
	}
	p, opt := lastAck(t, acked), cutOptions(t)
	left, _ := Inspect(path)
	s, err := Open(path, opt)
	if err != nil {
		t.Fatal("does not open:", err)
	}
	if left != nil {
		judgeCursors(t, left, p.seq, opt)
	}
	oldest, newest := judgeStored(t, path, p.safe)
	judgeDropped(t, s, oldest, newest, p.dropped)
	judgeReader(t, s, oldest, newest)
	seq, err := s.Append(cutRecord(1))
	if err != nil || seq <= max(p.safe, newest) {
		t.Errorf("the next append gives %d, %v, after %d", seq, err, max(p.safe, newest))
	}
	mustClose(t, s)
	again, err := Inspect(path)
	if err != nil || again.Next != seq+1 {
		t.Errorf("opened once more: next %d, %v, want %d", again.Next, err, seq+1)
	}
}

// judgeCursors: nothing is acknowledged that had not been delivered, or was about to be dropped with the oldest segment.
func judgeCursors(t *testing.T, left *Snapshot, promised uint64, opt Options) {
	gone := left.Oldest
	if len(left.Segments) > 1 && left.Size > opt.MaxSize-2*int64(opt.SegmentSize) {
		gone = left.Segments[1].First
	}
	for _, c := range left.Cursors {
		for _, r := range append([][2]uint64{{gone, c.Low}}, c.Above...) {
			for seq := r[0]; seq <= r[1]; seq++ {
				if withheld(seq) || seq > promised {
					t.Errorf("cursor has %d, which was not delivered; promised %d, stored from %d", seq, promised, left.Oldest)
				}
			}
		}
	}
}

// judgeStored: what is stored is whole and without gaps up to what was promised.
func judgeStored(t *testing.T, path string, promised uint64) (oldest, newest uint64) {
	snap, err := Inspect(path)
	if err != nil {
		t.Fatal(err)
	}
	oldest, newest = snap.Oldest, snap.Oldest-1
	for rec, err := range snap.All(Filter{}) {
		var gap *Damage
		if errors.As(err, &gap) && gap.First > promised {
			break // never acknowledged
		} else if err != nil {
			t.Fatalf("after %d of %d promised: %v", newest, promised, err)
		}
		want := cutRecord(int(rec.Seq))
		if want.Seq = rec.Seq; rec.Seq != newest+1 && rec.Seq <= promised || !same(rec, want) {
			t.Fatalf("after %d of %d promised comes %+v", newest, promised, rec)
		}
		newest = rec.Seq
	}
	if newest < promised {
		t.Fatalf("lost: %d to %d were acknowledged; stored are %d to %d", newest+1, promised, oldest, newest)
	}
	return oldest, newest
}

// judgeDropped: what is no longer stored was delivered, or dropped by the bound and counted; one segment may be on its way out.
// What was not yet flushed when appends had returned may be there still though it is counted.
func judgeDropped(t *testing.T, s *Spool, oldest, newest, dropped uint64) {
	late := s.opt.Sync > 0
	if oldest > 1 && (oldest+cutLag > newest+1 && !late || oldest > newest+1) {
		t.Errorf("stored are %d to %d: some that were not delivered are gone", oldest, newest)
	}
	missing, segment := withheldBelow(oldest), uint64(20)
	if missing < dropped && !late || missing > dropped+segment/10 {
		t.Errorf("%d undelivered records are gone, %d are counted as dropped", missing, dropped)
	}
	if s.Stats().Size > s.opt.MaxSize {
		t.Errorf("%d bytes are over the bound", s.Stats().Size)
	}
}

// judgeReader: the reader gets all that is not acknowledged, in order.
func judgeReader(t *testing.T, s *Spool, oldest, newest uint64) {
	r, err := s.Reader("r")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	known := slices.Clone(s.cursors["r"].acked)
	for seq := oldest; seq <= newest; seq++ {
		if known.count(seq, seq) > 0 {
			continue
		}
		if rec, ok := r.NextBacklog(); !ok || rec.Seq != seq {
			t.Fatalf("the reader gets %d, %v, want %d; acknowledged are %v", rec.Seq, ok, seq, known)
		}
	}
}
