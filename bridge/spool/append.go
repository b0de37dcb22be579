package spool

import (
	"fmt"
	"time"
)

// A request is one call of Append on its way.
type request struct {
	buf   []byte // its records, one after the other
	n     int    // how many
	first uint64 // sequence of the first, given when they are written

	// Guarded by the spool's lock.
	written  bool // handed to the system
	acked    bool // Append has returned, or will, without error: the records are owed to the caller
	finished bool // on the disk or failed
	err      error

	wrote chan struct{} // closed when written
	done  chan struct{} // closed when finished
}

func (r *request) last() uint64 { return r.first + uint64(r.n) - 1 }

// Append adds records and gives the sequence of the first; they follow each other. It returns when they are on the disk,
// or after Options.LateSync if they are written but the disk does not answer (counted). With an error none of them counts
// as appended. Calls that come together share one write and one flush; what does not fit into the queue waits (back
// pressure). Seq of the records is not looked at. All records of one call must fit into one segment.
func (s *Spool) Append(recs ...Record) (first uint64, err error) {
	if len(recs) == 0 {
		return 0, nil
	}
	req, lead, err := s.submit(recs)
	if err != nil {
		return 0, err
	}
	if lead {
		s.flush(nil)
		<-s.committing
		poke(s.kick)
	}
	return s.await(req)
}

// AppendDurable is Append without Options.LateSync: it returns when the records are on the disk, however long that takes.
// Who is alone writes and flushes himself, so that nobody has to be woken. With Options.Sync it is Append.
func (s *Spool) AppendDurable(recs ...Record) (first uint64, err error) {
	if len(recs) == 0 || s.opt.Sync > 0 {
		return s.Append(recs...)
	}
	req, lead, err := s.submit(recs)
	if err != nil {
		return 0, err
	}
	if lead {
		s.flush(nil)
		s.sync()
		<-s.committing
	}
	<-req.done
	return req.outcome()
}

// submit encodes records and puts them into the queue.
func (s *Spool) submit(recs []Record) (req *request, lead bool, err error) {
	if req, err = s.encode(recs); err == nil {
		lead, err = s.enqueue(req)
	}
	return req, lead, err
}

// room is what the records of one segment may take.
func (s *Spool) room() int { return s.opt.SegmentSize - headerBlock - footerSize }

func (s *Spool) encode(recs []Record) (*request, error) {
	size := 0
	for i := range recs {
		if len(recs[i].Topic) > maxTopic {
			return nil, fmt.Errorf("%w: topic of %d bytes", ErrTooLarge, len(recs[i].Topic))
		}
		if n := len(recs[i].Payload); n > s.room() {
			return nil, fmt.Errorf("%w: payload of %d bytes", ErrTooLarge, n)
		}
		size += recordSize(&recs[i])
		if size > s.room() {
			return nil, fmt.Errorf("%w: %d bytes, a segment holds %d", ErrTooLarge, size, s.room())
		}
	}
	req := &request{buf: make([]byte, 0, size), n: len(recs), wrote: make(chan struct{}), done: make(chan struct{})}
	for i := range recs {
		req.buf = appendRecord(req.buf, &recs[i])
	}
	return req, nil
}

// enqueue waits for a place in the queue: at most a segment's worth is on its way. Who leads owns committing then.
func (s *Spool) enqueue(req *request) (lead bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for failures := s.failures; ; {
		switch {
		case s.closed:
			return false, ErrClosed
		case s.failures != failures && s.failed != nil:
			return false, s.failed
		case s.queued == 0 || s.queued+len(req.buf) <= s.room():
			s.queued += len(req.buf)
			s.pending = append(s.pending, req)
			return s.lead(), nil
		}
		freed := waitOn(&s.space)
		s.mu.Unlock()
		<-freed
		s.mu.Lock()
	}
}

// lead takes committing for who is alone. Else the committer is woken, but not for each of a crowd. The lock is held.
func (s *Spool) lead() bool {
	if s.crowd <= 1 {
		select {
		case s.committing <- struct{}{}:
			return true
		default:
		}
	}
	if n := len(s.pending); n == 1 || n >= s.crowd || s.failed != nil {
		poke(s.kick)
	}
	return false
}

// await waits for what Append promises. When the disk stalls in a flush it writes the records itself, half way to the limit.
func (s *Spool) await(req *request) (uint64, error) {
	if s.opt.Sync > 0 {
		select {
		case <-req.wrote:
			return req.first, nil
		case <-req.done:
			return req.outcome()
		}
	}
	half := time.NewTimer(s.opt.LateSync / 2)
	defer half.Stop()
	select {
	case <-req.done:
		return req.outcome()
	case <-half.C:
	}
	half.Reset(s.opt.LateSync - s.opt.LateSync/2)
	s.flush(req.done)
	select {
	case <-req.done:
		return req.outcome()
	case <-half.C:
	}
	select {
	case <-req.done:
	case <-req.wrote:
	}
	return s.late(req)
}

// outcome gives what Append returns for a request that is done.
func (r *request) outcome() (uint64, error) {
	if r.err != nil {
		return 0, r.err
	}
	return r.first, nil
}

// late gives what Append returns for one that was written, and notes that it did.
func (s *Spool) late(req *request) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if req.finished {
		return req.outcome()
	}
	s.stats.LateSyncs++
	req.acked = true
	return req.first, nil
}
