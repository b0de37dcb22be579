package spool

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// retryAfter is how long records that came back late wait for a disk that failed.
const retryAfter = time.Second

// commitLoop writes and flushes what is pending, group by group.
func (s *Spool) commitLoop() {
	retry := time.NewTimer(retryAfter)
	defer retry.Stop()
	for open := true; open; {
		select {
		case <-s.kick:
		case <-retry.C:
		case <-s.closing:
			open = false
		}
		if s.opt.Sync == 0 && open {
			s.rally()
		}
		s.committing <- struct{}{}
		if !isClosed(s.loaded) {
			s.retryLoad()
		}
		s.flush(nil)
		if s.opt.Sync > 0 && open {
			s.gather()
		}
		s.sync()
		<-s.committing
		s.mu.Lock()
		owed := len(s.pending) > 0 && s.failed != nil || !isClosed(s.loaded)
		s.mu.Unlock()
		if owed {
			retry.Reset(retryAfter)
		}
	}
}

// rally waits for those who appended together before, so that one flush does for all: at most half as long as a flush takes.
func (s *Spool) rally() {
	const most = 5 * time.Millisecond
	s.mu.Lock()
	want, patience, here := s.crowd, min(s.took/2, most), len(s.pending)
	s.mu.Unlock()
	if here >= want || want <= 1 {
		return
	}
	over := time.NewTimer(patience)
	defer over.Stop()
	for here < want {
		select {
		case <-s.kick:
		case <-over.C:
			return
		case <-s.closing:
			return
		}
		s.mu.Lock()
		here = len(s.pending)
		s.mu.Unlock()
	}
}

// gather goes on writing until the window of Options.Sync is over.
func (s *Spool) gather() {
	over := time.NewTimer(s.opt.Sync)
	defer over.Stop()
	for {
		select {
		case <-s.kick:
			s.flush(nil)
		case <-over.C:
			return
		case <-s.closing:
			s.flush(nil)
			return
		}
	}
}

// publish tells who waits for a write how it went. What was promised already stays pending when it failed.
func (s *Spool) publish(whole, rest []*request, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.tails {
		t.pub, t.pubFull = t.cur, t.full
		s.age.see(t.cur.synced)
	}
	s.published = s.written
	for _, req := range whole {
		req.written = true
		req.acked = req.acked || s.opt.Sync > 0
		if !isClosed(req.wrote) {
			close(req.wrote)
		}
	}
	s.unsynced = append(s.unsynced, whole...)
	if err != nil {
		s.fail(rest, err)
	}
}

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// fail ends requests that were not promised, and keeps those that were, and what is before them, for another try. The lock
// is held.
func (s *Spool) fail(reqs []*request, err error) {
	owed := 0
	for i, req := range reqs {
		if req.acked {
			owed = i + 1
		}
	}
	if slices.ContainsFunc(s.pending, func(r *request) bool { return r.acked }) {
		owed = len(reqs) // what comes after them keeps its sequences
	}
	for i, req := range reqs {
		req.written = false
		if i >= owed {
			s.queued -= len(req.buf)
			if errors.Is(err, ErrFull) {
				s.stats.Dropped.Refused += uint64(req.n)
			}
		}
		if !req.acked && !req.finished {
			req.finished, req.err = true, err
			close(req.done)
		}
	}
	s.pending = append(slices.Clone(reqs[:owed]), s.pending...)
	if s.failed == nil {
		s.log.Warn("spool cannot append", "error", err)
	}
	s.failures++
	if !errors.Is(err, ErrFull) {
		s.stats.Failures++
	}
	s.failed = err
	wake(&s.space)
}

// A stage is what one flush is about: files, and how far they were written when it began.
type stage struct {
	tails []*tail
	pubs  []extent
	full  []bool
	names bool
	last  uint64
}

// sync flushes what was written, and tells who waits for it. The caller owns committing.
func (s *Spool) sync() {
	g := &s.stage
	s.mu.Lock()
	g.tails, g.pubs, g.full = append(g.tails[:0], s.tails...), g.pubs[:0], g.full[:0]
	for _, t := range s.tails {
		g.pubs, g.full = append(g.pubs, t.pub), append(g.full, t.pubFull)
	}
	g.names, g.last = s.names, s.published
	idle := g.last == s.synced && !s.names
	s.names = false
	s.mu.Unlock()
	if idle && !slices.Contains(g.full, true) {
		return
	}
	start := time.Now()
	flushes, err := s.flushFiles(g)
	if err != nil {
		s.syncFailed(fmt.Errorf("spool: flush: %w", err))
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Syncs, s.took = s.stats.Syncs+flushes, time.Since(start)
	for i, t := range g.tails {
		t.seg.extent, t.header = g.pubs[i], false
		if g.full[i] {
			t.f.Close()
			s.tails = slices.DeleteFunc(s.tails, func(o *tail) bool { return o == t })
		}
	}
	s.done(g.last)
}

// flushFiles makes names, then files durable, in the order in which they were written.
func (s *Spool) flushFiles(g *stage) (flushes int64, err error) {
	if g.names {
		if err := s.dir.sync(); err != nil {
			return flushes, err
		}
		flushes++
	}
	for i, t := range g.tails {
		if t.header || g.pubs[i].end != t.seg.end || i < len(g.tails)-1 {
			if err := s.opt.Flush(t.f.Sync); err != nil {
				return flushes, err
			}
			flushes++
		}
	}
	return flushes, nil
}

// done finishes the requests up to target, which are on the disk. The lock is held.
func (s *Spool) done(target uint64) {
	n, size := 0, 0
	for ; n < len(s.unsynced) && s.unsynced[n].last() <= target; n++ {
		req := s.unsynced[n]
		size += len(req.buf)
		if !req.finished {
			req.finished = true
			close(req.done)
			s.stats.Appended += uint64(req.n)
		}
	}
	s.unsynced, s.queued = slices.Delete(s.unsynced, 0, n), s.queued-size
	if target > s.synced {
		s.synced, s.flushed, s.crowd = target, int64(size), n+len(s.pending)
		s.stats.Commits++
		wake(&s.commit)
	}
	if s.failed != nil && n > 0 && !slices.ContainsFunc(s.pending, func(r *request) bool { return r.acked }) {
		s.log.Info("spool appends again")
		s.failed = nil
	}
	wake(&s.space)
	s.releaseLocked()
}

// syncFailed gives all up that was not yet on the disk: after a failed flush nobody knows what of it is, and the next flush
// would not say. What was promised (late, or in the window of Options.Sync) is written again, under the same sequences, into
// a new segment; the rest fails.
func (s *Spool) syncFailed(err error) {
	s.writing <- struct{}{}
	defer func() { <-s.writing }()
	s.mu.Lock()
	var gone, kept []*tail
	for _, t := range s.tails {
		if t.seg.first > s.synced {
			gone = append(gone, t)
		} else {
			kept = append(kept, t)
		}
	}
	s.discard(gone)
	s.tails, s.tail, s.names = nil, nil, true
	s.written, s.published = s.synced, s.synced
	reqs := s.unsynced
	s.unsynced = nil
	s.fail(reqs, err)
	s.mu.Unlock()
	for _, t := range kept {
		t.f.Close()
	}
	s.removeTails(gone)
}

func (s *Spool) count(what *int64, n int) {
	s.mu.Lock()
	*what += int64(n)
	s.mu.Unlock()
}
