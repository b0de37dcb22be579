package spool

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A disk that stalls in a flush does not hold an append for longer than LateSync, and the write is done by then.
func TestLateSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		s := mustOpen(t, d, Options{SegmentSize: 16 << 10})
		if _, err := s.Append(Record{Payload: make([]byte, 8000)}); err != nil {
			t.Fatal(err)
		}
		stall(d, 10*time.Second)
		start := time.Now()
		done := make(chan time.Duration)
		for i := 2; i <= 60; i++ {
			go func() {
				if _, err := s.Append(Record{Payload: make([]byte, 100)}); err != nil {
					t.Error(err)
				}
				done <- time.Since(start)
			}()
		}
		for i := 2; i <= 60; i++ {
			if took := <-done; took > 150*time.Millisecond {
				t.Fatalf("took %v", took)
			}
		}
		r, err := s.Reader("r")
		if err != nil {
			t.Fatal(err)
		}
		if st := s.Stats(); st.LateSyncs != 59 || st.Next != 2 {
			t.Fatalf("%+v", st)
		}
		killed := mustOpen(t, d.kill(), Options{SegmentSize: 16 << 10})
		if st := killed.Stats(); st.Next != 61 || st.Damaged != 0 || st.Segments != 2 {
			t.Fatalf("after a kill: %+v", st)
		}
		mustClose(t, killed)
		if rec, err := r.Next(t.Context()); err != nil || rec.Seq != 1 {
			t.Fatal(rec.Seq, err)
		}
		if rec, err := r.Next(t.Context()); err != nil || rec.Seq != 2 || time.Since(start) < 10*time.Second {
			t.Fatal(rec.Seq, err, time.Since(start)) // not given out before it is on the disk
		}
		mustClose(t, s)
	})
}

// stall makes flushes of the segment that is written to take that long.
func stall(d *disk, long time.Duration) {
	d.setFail(func(op, name string) error {
		if op == "sync" && strings.HasSuffix(name, ".seg") {
			time.Sleep(long)
		}
		return nil
	})
}

// While the disk stalls, what is on its way is bounded: the next append waits.
func TestBackPressure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		s := mustOpen(t, d, Options{SegmentSize: 8 << 10})
		mustAppend(t, s, 1, 1)
		stall(d, time.Minute)
		start := time.Now()
		waited := 0
		for range 20 {
			if _, err := s.Append(Record{Payload: make([]byte, 1000)}); err != nil {
				t.Fatal(err)
			}
			if s.queued > s.room() {
				t.Fatal(s.queued)
			}
			if time.Since(start) > 30*time.Second {
				waited++
				start = time.Now()
			}
		}
		if waited == 0 {
			t.Fatal("no append waited for the disk")
		}
		mustClose(t, s)
	})
}

// What came back late is not lost when the flush fails in the end: it is written again, under its sequence.
func TestLateSyncFails(t *testing.T) {
	for _, window := range []time.Duration{0, time.Second} {
		synctest.Test(t, func(t *testing.T) {
			d := newDisk()
			s := mustOpen(t, d, Options{SegmentSize: minSegment, Sync: window})
			mustAppend(t, s, 1, 3)
			fails := 3
			d.setFail(func(op, name string) error {
				if op != "sync" || !strings.HasSuffix(name, ".seg") || fails == 0 {
					return nil
				}
				time.Sleep(time.Second)
				fails--
				return errDisk
			})
			kept, failed := map[uint64]string{}, 0
			for i := range 40 {
				if seq, err := s.Append(Record{Payload: fmt.Append(nil, i)}); err == nil {
					kept[seq] = fmt.Sprint(i)
				} else if failed++; !errors.Is(err, errDisk) {
					t.Fatal(err)
				}
			}
			time.Sleep(20 * time.Second)
			if st := s.Stats(); st.Err != nil || st.Failures == 0 || len(kept)+failed != 40 || len(kept) < 20 {
				t.Fatalf("%d failed, %+v", failed, st)
			}
			checkKept(t, "power cut", d.powerCut(rngOf(1)), kept, 0)
			mustClose(t, s)
		})
	}
}

// With a window, appends return after the write, and the disk is flushed once a window.
func TestSyncWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		s := mustOpen(t, d, Options{Sync: 250 * time.Millisecond})
		start := time.Now()
		for i := 1; i <= 100; i++ {
			mustAppend(t, s, i, i)
			time.Sleep(10 * time.Millisecond)
		}
		if st := s.Stats(); st.Commits < 3 || st.Commits > 5 || time.Since(start) != time.Second {
			t.Fatalf("%+v", st)
		}
		r, err := s.Reader("r")
		if err != nil {
			t.Fatal(err)
		}
		mustAppend(t, s, 101, 101)
		for want := uint64(1); want <= 101; want++ {
			if rec, err := r.Next(t.Context()); err != nil || rec.Seq != want {
				t.Fatal(rec, err)
			}
		}
		mustAppend(t, s, 102, 102)
		mustClose(t, s)
		s = mustOpen(t, d.powerCut(rngOf(1)), small)
		if st := s.Stats(); st.Next != 103 {
			t.Fatalf("%+v", st)
		}
		mustClose(t, s)
	})
}
