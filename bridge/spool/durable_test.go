package spool

import (
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// AppendDurable waits for a disk that stalls, and those that came meanwhile share the next flush. Who did not want to wait so
// long does not.
func TestAppendDurable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		s := mustOpen(t, d, Options{})
		mustAppend(t, s, 1, 1)
		before := s.Stats()
		stall(d, 10*time.Second)
		start := time.Now()
		var all sync.WaitGroup
		durable := func(want time.Duration) {
			if _, err := s.AppendDurable(Record{}); err != nil || time.Since(start) != want {
				t.Error(err, time.Since(start))
			}
		}
		all.Go(func() { durable(10 * time.Second) })
		synctest.Wait()
		for range 5 {
			all.Go(func() { durable(20 * time.Second) })
		}
		if _, err := s.Append(Record{}); err != nil || time.Since(start) != 150*time.Millisecond {
			t.Error(err, time.Since(start))
		}
		all.Wait()
		if st := s.Stats(); st.Commits != before.Commits+2 || st.LateSyncs != 1 || st.Next != 9 {
			t.Errorf("%+v", st)
		}
		mustClose(t, s)
	})
}

// Who appends alone flushes on his own goroutine.
func TestAppendDurableAlone(t *testing.T) {
	d := newDisk()
	s := mustOpen(t, d, Options{})
	mustAppend(t, s, 1, 1)
	var mu sync.Mutex
	own, other := 0, 0
	d.setFail(func(op, name string) error {
		if op == "sync" && strings.HasSuffix(name, ".seg") {
			mu.Lock()
			defer mu.Unlock()
			if strings.Contains(string(debug.Stack()), "(*Spool).AppendDurable(") {
				own++
			} else {
				other++
			}
		}
		return nil
	})
	for range 20 {
		if _, err := s.AppendDurable(Record{}); err != nil {
			t.Fatal(err)
		}
	}
	if own < 19 || other > 1 { // the one before may not have had its committer go to sleep
		t.Errorf("%d of its own, %d by another", own, other)
	}
	mustClose(t, s)
}

// When the flush of one that waits fails, what came back late is written again, though nobody appends any more.
func TestAppendDurableFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		s := mustOpen(t, d, Options{})
		mustAppend(t, s, 1, 1)
		fails := 1
		d.setFail(func(op, name string) error {
			if op != "sync" || !strings.HasSuffix(name, ".seg") || fails == 0 {
				return nil
			}
			time.Sleep(time.Second)
			fails--
			return errDisk
		})
		failed := make(chan error)
		go func() {
			_, err := s.AppendDurable(Record{Payload: []byte("durable")})
			failed <- err
		}()
		synctest.Wait()
		seq, err := s.Append(Record{Payload: []byte("late")})
		if err != nil || <-failed == nil {
			t.Fatal(seq, err)
		}
		time.Sleep(time.Minute)
		if st := s.Stats(); st.Err != nil || st.LateSyncs != 1 {
			t.Fatalf("%+v", st)
		}
		checkKept(t, "power cut", d.powerCut(rngOf(1)), map[uint64]string{seq: "late"}, 0)
		mustClose(t, s)
	})
}

// Close waits for one that is at the disk.
func TestCloseWaitsForAppendDurable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		s := mustOpen(t, d, Options{})
		mustAppend(t, s, 1, 1)
		stall(d, 10*time.Second)
		var all sync.WaitGroup
		all.Go(func() {
			if _, err := s.AppendDurable(Record{}); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		start := time.Now()
		mustClose(t, s)
		if time.Since(start) != 10*time.Second {
			t.Error(time.Since(start))
		}
		all.Wait()
	})
}

// Those who append again and again share a flush, though they need a while after one; who is left alone waits for the others
// once, for half of a flush.
func TestRally(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		s := mustOpen(t, d, Options{})
		mustAppend(t, s, 1, 1)
		const flush, rounds = 10 * time.Millisecond, 50
		stall(d, flush)
		before := s.Stats().Commits
		add := func() {
			if _, err := s.AppendDurable(Record{}); err != nil {
				t.Error(err)
			}
		}
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				for range rounds {
					add()
					time.Sleep(time.Duration(i+1) * 100 * time.Microsecond)
				}
			})
		}
		all.Wait()
		if n := s.Stats().Commits - before; n > rounds+5 {
			t.Errorf("%d commits in %d rounds", n, rounds)
		}
		for i, limit := range []time.Duration{flush * 3 / 2, flush, flush} {
			start := time.Now()
			if add(); time.Since(start) > limit {
				t.Errorf("%d: alone it took %v", i, time.Since(start))
			}
		}
		mustClose(t, s)
	})
}
