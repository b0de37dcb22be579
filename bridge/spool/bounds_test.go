package spool

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// Segments come and go; freed ones are written again, and no more than a few are kept.
func TestRecycle(t *testing.T) {
	d := newDisk()
	s := mustOpen(t, d, small)
	r, err := s.Reader("r")
	if err != nil {
		t.Fatal(err)
	}
	for i := 1; i <= 1000; i++ {
		mustAppend(t, s, i, i)
		rec, err := r.Next(t.Context())
		if err != nil || rec.Seq != uint64(i) {
			t.Fatal(rec, err)
		}
		r.Ack(rec.Seq)
	}
	st := s.Stats()
	if st.Segments > 2 || st.Size > 8*minSegment || st.Written.Fill > 6*minSegment {
		t.Fatalf("%+v", st)
	}
	mustClose(t, s)
	s = mustOpen(t, d, small)
	if st := s.Stats(); st.Damaged != 0 || st.Next != 1001 {
		t.Fatalf("%+v", st)
	}
	mustClose(t, s)
}

// DropOldest at MaxSize: what is dropped is counted to the record, by what the readers in force lack.
func TestDropOldest(t *testing.T) {
	for _, acked := range []uint64{0, 5, 40} {
		opt := small
		opt.MaxSize = 6 * minSegment
		s := mustOpen(t, newDisk(), opt)
		r, err := s.Reader("r")
		if err != nil {
			t.Fatal(err)
		}
		mustAppend(t, s, 1, 50)
		for seq := uint64(1); seq <= acked; seq++ {
			r.Ack(seq)
		}
		mustAppend(t, s, 51, 500)
		r.Rewind()
		first, n := uint64(0), uint64(0)
		for rec, ok := r.NextBacklog(); ok; rec, ok = r.NextBacklog() {
			if n++; n == 1 {
				first = rec.Seq
			} else if rec.Seq != first+n-1 {
				t.Fatalf("%d is %d", n, rec.Seq)
			}
		}
		st := s.Stats()
		if first+n != 501 || st.Dropped != (Dropped{Size: first - 1 - acked}) || st.Size > opt.MaxSize || st.Records != n || st.Oldest != first || st.Damaged != 0 {
			t.Fatalf("%d from %d: %+v", n, first, st)
		}
		mustClose(t, s)
	}
}

func TestDropNewest(t *testing.T) {
	opt := small
	opt.MaxSize, opt.WhenFull = 6*minSegment, DropNewest
	s := mustOpen(t, newDisk(), opt)
	r, err := s.Reader("r")
	if err != nil {
		t.Fatal(err)
	}
	n := 1
	for ; ; n++ {
		if _, err := s.Append(recordOf(n)); err != nil {
			if !errors.Is(err, ErrFull) {
				t.Fatal(err)
			}
			break
		}
	}
	if _, err := s.Append(recordOf(0), recordOf(0)); !errors.Is(err, ErrFull) {
		t.Fatal(err)
	}
	if st := s.Stats(); st.Dropped != (Dropped{Refused: 3}) || st.Failures != 0 || !errors.Is(st.Err, ErrFull) || st.Records != uint64(n-1) {
		t.Fatalf("%+v", st)
	}
	for range 30 {
		rec, _ := r.NextBacklog()
		r.Ack(rec.Seq)
	}
	r.Rewind()
	for rec, err := r.Next(t.Context()); rec.Seq < 30; rec, err = r.Next(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		r.Ack(rec.Seq)
	}
	mustAppend(t, s, n, n+5)
	if st := s.Stats(); st.Err != nil {
		t.Fatalf("%+v", st)
	}
	mustClose(t, s)
}

// A full disk: the oldest go, or appends are refused; when there is room again all is well, without a restart.
func TestDiskFull(t *testing.T) {
	for _, policy := range []Policy{DropOldest, DropNewest} {
		d := newDisk()
		d.free = 5*minSegment + 2*slotSize
		opt := small
		opt.WhenFull = policy
		s := mustOpen(t, d, opt)
		refused, next := uint64(0), 1
		for range 200 {
			if _, err := s.Append(recordOf(next)); errors.Is(err, ErrFull) {
				refused++
			} else if err != nil {
				t.Fatal(err)
			} else {
				next++
			}
		}
		st := s.Stats()
		if policy == DropOldest && (refused > 0 || st.Dropped.Space == 0 || st.Dropped.Space+st.Records != 200) {
			t.Fatalf("%d refused, %+v", refused, st)
		}
		if policy == DropNewest && (st.Dropped != Dropped{Refused: refused} || st.Records != uint64(next-1) || refused == 0) {
			t.Fatalf("%d refused, %+v", refused, st)
		}
		d.mu.Lock()
		d.free = -1
		d.mu.Unlock()
		mustAppend(t, s, next, next+50)
		mustClose(t, s)
	}
}

// A filesystem that turns read-only: the spool opens, gives what it holds, fails appends, and goes on when it can.
func TestReadOnly(t *testing.T) {
	image, _ := builtDisk(t, 30)
	d := diskOf(image)
	readOnly := func(op, name string) error {
		if op != "lock" && op != "open" && op != "read" && op != "list" && op != "sync" && op != "syncdir" {
			return fmt.Errorf("%s %s: %w", op, name, syscall.EROFS)
		}
		return nil
	}
	d.setFail(readOnly)
	s := mustOpen(t, d, small)
	if got := drain(t, s, "r"); !slices.Equal(got, upTo(30)) {
		t.Fatal(got)
	}
	for range 3 {
		if _, err := s.Append(recordOf(31)); !errors.Is(err, syscall.EROFS) {
			t.Fatal(err)
		}
	}
	if st := s.Stats(); !errors.Is(st.Err, syscall.EROFS) || st.Next != 31 {
		t.Fatalf("%+v", st)
	}
	d.setFail(nil)
	mustAppend(t, s, 31, 60)
	if st := s.Stats(); st.Err != nil {
		t.Fatalf("%+v", st)
	}
	if got := drain(t, s, "r"); !slices.Equal(got, upTo(60)) {
		t.Fatal(got)
	}
	mustClose(t, s)
}

// MaxAge goes by the records' own times: a host whose clock jumps loses nothing by it.
func TestMaxAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opt := small
		opt.MaxAge = time.Hour
		s := mustOpen(t, newDisk(), opt)
		add := func(n int, at time.Time, synced bool) {
			for range n {
				if _, err := s.Append(Record{Time: at, Synced: synced}); err != nil {
					t.Fatal(err)
				}
			}
		}
		start := time.Now()
		add(40, start, true)
		add(40, start.Add(-30*365*24*time.Hour), false) // a clock in the past says nothing
		add(40, start.Add(30*365*24*time.Hour), true)   // one in the future no more than the host's
		time.Sleep(50 * time.Minute)
		if st := s.Stats(); st.Dropped.Age != 0 || st.Records != 120 {
			t.Fatalf("%+v", st)
		}
		time.Sleep(20 * time.Minute)
		st := s.Stats()
		if st.Dropped.Age < 20 || st.Dropped.Age > 40 || st.Records+st.Dropped.Age != 120 {
			t.Fatalf("%+v", st)
		}
		mustClose(t, s)
	})
}

// Readers keep their place while segments are dropped and written again under them: each record is given once, in order,
// whole, and what is missing was dropped.
func TestDropUnderReaders(t *testing.T) {
	s, err := Open(t.TempDir(), Options{SegmentSize: 16 << 10, MaxSize: 64 << 10, Sync: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	const total = 20_000
	half := make(chan struct{})
	var wg sync.WaitGroup
	for i := range 2 {
		r, err := s.Reader(fmt.Sprint(i))
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			for last := uint64(0); last < total; {
				rec, err := r.Next(t.Context())
				if err != nil || rec.Seq <= last || !same(rec, withSeq(recordOf(int(rec.Seq)), rec.Seq)) {
					t.Errorf("%+v after %d: %v", rec, last, err)
					return
				}
				last = rec.Seq
				if r.Ack(last); i == 1 && last == 20 {
					<-half // this one falls behind by more than there is room for
				}
			}
		})
	}
	mustAppend(t, s, 1, total/2)
	close(half)
	mustAppend(t, s, total/2+1, total)
	wg.Wait()
	st := s.Stats()
	if st.Dropped.Size == 0 || st.Damaged != 0 || st.Records != 0 || st.Next != total+1 || st.Size > 64<<10 {
		t.Fatalf("%+v", st)
	}
	mustClose(t, s)
}

// A segment is dropped and written again between the moment a reader finds it and the moment it reads: nothing is damaged.
func TestDropWhileRead(t *testing.T) {
	d := newDisk()
	opt := small
	opt.MaxSize = 6 * minSegment
	s := mustOpen(t, d, opt)
	mustAppend(t, s, 1, 60)
	r, err := s.Reader("r")
	if err != nil {
		t.Fatal(err)
	}
	oldest, once := segName(s.segs[0].generation), false
	d.setFail(func(op, name string) error {
		if op == "read" && name == oldest && !once {
			once = true
			mustAppend(t, s, 61, 300)
		}
		return nil
	})
	rec, ok := r.NextBacklog()
	if ok { // what was the backlog is gone by now
		t.Fatal(rec.Seq)
	}
	if rec, err = r.Next(t.Context()); err != nil || !once || rec.Seq != s.segs[0].first || rec.Seq < 100 {
		t.Fatal(rec.Seq, once, err)
	}
	if st := s.Stats(); st.Damaged != 0 || st.Dropped.Size != rec.Seq-1 {
		t.Fatalf("%+v", st)
	}
	mustClose(t, s)
}
