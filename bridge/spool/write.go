package spool

import (
	"errors"
	"fmt"
	"slices"
	"syscall"
)

// A tail is a segment that is open for writing, or full and not yet on the disk whole.
type tail struct {
	seg  *segment
	f    file
	cur  extent // written; guarded by writing
	full bool   // nothing more is written; guarded by writing

	// Guarded by the lock.
	pub     extent // cur after the last whole request
	pubFull bool
	header  bool // the header is not yet on the disk
}

// flush writes what is pending. It gives up waiting for another writer when enough is closed.
func (s *Spool) flush(enough <-chan struct{}) {
	s.mu.Lock()
	idle := len(s.pending) == 0
	s.mu.Unlock()
	if idle {
		return
	}
	select {
	case s.writing <- struct{}{}:
	case <-enough:
		return
	}
	defer func() { <-s.writing }()
	s.mu.Lock()
	reqs := s.pending
	s.pending = nil
	free := s.gap(reqs)
	s.mu.Unlock()
	if len(reqs) == 0 {
		return
	}
	err := s.load()
	if err == nil {
		err = s.write(reqs, free)
	}
	whole := 0
	for whole < len(reqs) && reqs[whole].first != 0 && reqs[whole].last() <= s.written {
		whole++
	}
	s.publish(reqs[:whole], reqs[whole:], err)
}

// write hands the records of reqs to the system, after so many bytes that stay free. On an error s.written says how far whole
// requests have come.
func (s *Spool) write(reqs []*request, free int64) error {
	seq, next := s.written+1, extent{}
	s.handed, s.batch = s.written, s.batch[:0]
	if s.tail != nil {
		next = s.tail.cur
		next.end += free
	}
	for _, req := range reqs {
		if req.first != seq {
			req.first = seq
		}
		for buf := req.buf; len(buf) > 0; seq++ {
			_, size := frame(buf)
			if s.tail == nil || next.end+int64(size) > capacity(s.tail.seg.size) {
				if err := s.turn(next, seq); err != nil {
					return s.abandon(reqs, err)
				}
				next = s.tail.cur
			}
			at := len(s.batch)
			s.batch = append(s.batch, buf[:size]...)
			stamp(s.batch[at:], seedOf(s.tail.seg.generation), seq)
			next.note(s.batch[at:])
			next.last, next.end = seq, next.end+int64(size)
			buf = buf[size:]
		}
	}
	if err := s.writeOut(next); err != nil {
		return s.abandon(reqs, err)
	}
	s.written = seq - 1
	return nil
}

// gap gives how much is left free before reqs: what there is up to the next block, if they touch one block less then, and if
// it is little beside them. The first write of a window of Options.Sync stands for all, as many as in the one before; who has
// one wants to spare the card rather than the room on it, a third of which may be free then. The lock is held.
func (s *Spool) gap(reqs []*request) int64 {
	if s.tail == nil {
		return 0
	}
	n, end, share := int64(0), s.tail.cur.end, int64(8)
	for _, req := range reqs {
		n += int64(len(req.buf))
	}
	if s.opt.Sync > 0 && end == s.tail.seg.end {
		n, share = max(n, s.flushed), 2
	}
	free, blocks := (block-end%block)%block, func(n int64) int64 { return (n + quiet + block - 1) / block }
	if free > min(n, block)/share || blocks(end%block+n) == blocks(n) {
		return 0
	}
	return free
}

// turn ends the active segment, if there is one, and begins the next with seq.
func (s *Spool) turn(next extent, seq uint64) error {
	if s.tail != nil {
		if err := s.writeOut(next); err != nil {
			return err
		}
		foot := appendFooter(nil, s.tail.seg, s.tail.cur)
		if _, err := s.tail.f.WriteAt(foot, capacity(s.tail.seg.size)); err == nil {
			s.count(&s.stats.Written.Headers, len(foot))
		} // without it the segment is read when it is opened
		s.tail.full = true
		s.tail = nil
	}
	return s.begin(seq)
}

// writeOut writes the batch, and zeros behind it that tell its end from what an earlier generation left.
func (s *Spool) writeOut(next extent) error {
	if len(s.batch) == 0 {
		return nil
	}
	t, n := s.tail, len(s.batch)
	s.batch = append(s.batch, make([]byte, min(quiet, capacity(t.seg.size)-next.end))...)
	for try := 0; ; try++ {
		_, err := t.f.WriteAt(s.batch, next.end-int64(n))
		if err == nil {
			break
		}
		if !errors.Is(err, syscall.ENOSPC) || try == 3 || s.opt.WhenFull != DropOldest || !s.shed() {
			return fmt.Errorf("spool: write: %w", err)
		}
	}
	s.count(&s.stats.Written.Records, n)
	t.cur, s.handed = next, next.last
	s.batch = s.batch[:0]
	return nil
}

// shed removes the oldest segment of a full disk.
func (s *Spool) shed() bool {
	old, ok := s.dropOldest(func(d *Dropped) *uint64 { return &d.Space })
	if ok {
		s.note("remove", s.dir.remove(old.name))
	}
	return ok
}

// abandon gives the active segment up after an error: what follows goes into a new one, whose first sequence says where the
// records of this one end. Requests that are not whole are void.
func (s *Spool) abandon(reqs []*request, err error) error {
	for _, req := range reqs {
		if req.first == 0 || req.last() > s.handed {
			break
		}
		s.written = req.last()
	}
	if s.tail != nil {
		s.tail.full = true
		s.tail = nil
	}
	s.mu.Lock()
	var gone []*tail
	for _, t := range s.tails {
		if t.cur.last = min(t.cur.last, max(s.written, t.seg.first-1)); t.seg.first > s.written {
			gone = append(gone, t)
		}
	}
	s.discard(gone)
	s.mu.Unlock()
	s.removeTails(gone)
	return err
}

// discard takes segments that hold nothing which counts out of the index. The lock is held.
func (s *Spool) discard(gone []*tail) {
	for _, t := range gone {
		s.segs = slices.DeleteFunc(s.segs, func(g *segment) bool { return g == t.seg })
		s.tails = slices.DeleteFunc(s.tails, func(o *tail) bool { return o == t })
	}
}

// removeTails removes their files, which the disk has failed to write.
func (s *Spool) removeTails(gone []*tail) {
	for _, t := range gone {
		t.f.Close()
		s.note("remove", s.dir.remove(segName(t.seg.generation)))
	}
}
