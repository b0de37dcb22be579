package spool

import (
	"context"
	"fmt"
	"iter"
	"slices"
)

// A Reader gives the records that its name has not acknowledged, in two lanes: the backlog, which is what was there when the
// reader was opened or rewound, and what came since. A lane is for one goroutine at a time; the two may be read at once.
type Reader struct {
	spool   *Spool
	name    string
	cursor  *cursor
	backlog lane
	live    lane
	closed  bool // guarded by the spool's lock
}

// Reader opens the reader of a name. Its place is kept in the folder; a new name begins where the reader that is furthest
// behind is, else at the oldest record.
func (s *Spool) Reader(name string) (*Reader, error) {
	if len(name) > maxName {
		return nil, fmt.Errorf("spool: reader's name of %d bytes", len(name))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	if s.cursors[name] == nil && len(s.cursors) >= maxCursors {
		return nil, fmt.Errorf("spool: more than %d readers", maxCursors)
	}
	r := &Reader{spool: s, name: name, cursor: s.cursorOf(name)}
	r.cursor.opened++
	r.backlog.spool, r.live.spool = s, s
	r.rewind()
	s.releaseLocked()
	return r, nil
}

// Rewind begins again with the oldest record that is not acknowledged. What is in the spool now is the backlog.
func (r *Reader) Rewind() {
	r.spool.mu.Lock()
	defer r.spool.mu.Unlock()
	r.rewind()
}

func (r *Reader) rewind() {
	r.backlog.seq, r.backlog.to = r.cursor.low()+1, r.spool.synced
	r.live.seq, r.live.to = r.spool.synced+1, maxSeq
}

// Close lets go of the reader's files. Its name is no longer in force, unless it is listed or open elsewhere.
func (r *Reader) Close() {
	r.spool.mu.Lock()
	if !r.closed {
		r.closed = true
		r.cursor.opened--
	}
	r.spool.mu.Unlock()
	r.backlog.close()
	r.live.close()
}

// Ack notes that records were delivered, in any order.
func (r *Reader) Ack(seqs ...uint64) {
	if r.acked(seqs) >= saveAfter {
		r.spool.hurryCursors()
	}
}

// acked gives how many acknowledgements are not yet written down.
func (r *Reader) acked(seqs []uint64) int {
	s := r.spool
	s.mu.Lock()
	defer s.mu.Unlock()
	low := r.cursor.low()
	for _, seq := range seqs {
		if seq > 0 && seq <= s.synced {
			r.cursor.ack(seq, seq)
			r.cursor.unsaved++
			s.touchCursors()
		}
	}
	if r.cursor.low() != low {
		s.releaseLocked()
	}
	return r.cursor.unsaved
}

// Next gives the next record of the backlog, then of what came since, and waits for one. What it gives stays valid until
// the next call. An error is that of ctx, ErrClosed, or of the disk; after the latter Next may be called again.
func (r *Reader) Next(ctx context.Context) (Record, error) {
	rec, ok, err := r.backlog.next(r.cursor)
	if ok || err != nil {
		return rec, err
	}
	return r.NextLive(ctx)
}

// NextBacklog gives the next record of the backlog, without waiting; false at its end. When the disk fails to read it is
// false too, and Backlog tells that something is left: it may be called again.
func (r *Reader) NextBacklog() (Record, bool) {
	rec, ok, err := r.backlog.next(r.cursor)
	if err != nil {
		r.spool.note("read", err)
	}
	return rec, ok
}

// NextLive gives the next record that was appended since the reader was opened or rewound, and waits for one.
func (r *Reader) NextLive(ctx context.Context) (Record, error) {
	for {
		if err := ctx.Err(); err != nil {
			return Record{}, err
		}
		r.spool.mu.Lock()
		more, closed := waitOn(&r.spool.commit), r.spool.closed
		r.spool.mu.Unlock()
		if closed {
			return Record{}, ErrClosed
		}
		if rec, ok, err := r.live.next(r.cursor); ok || err != nil {
			return rec, err
		}
		select {
		case <-more:
		case <-ctx.Done():
		}
	}
}

// Delivered gives the records that the reader has acknowledged though older ones wait, in order, as far as they can be read;
// each is valid until the next.
func (r *Reader) Delivered() iter.Seq[Record] {
	return func(yield func(Record) bool) {
		r.spool.mu.Lock()
		above := slices.Clone(r.cursor.acked[1:])
		r.spool.mu.Unlock()
		l := lane{spool: r.spool}
		defer l.close()
		for _, part := range above {
			l.seq, l.to = part.lo, part.hi
			for rec, ok, _ := l.next(nil); ok; rec, ok, _ = l.next(nil) {
				if !yield(rec) {
					return
				}
			}
		}
	}
}

// Waiting gives how many records the reader has not acknowledged, given out or not.
func (r *Reader) Waiting() (n uint64) {
	s := r.spool
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.segs {
		if g.last >= g.first {
			n += g.last - g.first + 1 - r.cursor.acked.count(g.first, g.last)
		}
	}
	return n
}

// Left gives how many records of the backlog are neither acknowledged nor given out.
func (r *Reader) Left() (n uint64) {
	s := r.spool
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.segs {
		lo, hi := max(g.first, r.backlog.seq), min(g.last, r.backlog.to)
		if hi >= lo && g.count > 0 {
			n += hi - lo + 1 - r.cursor.acked.count(lo, hi)
		}
	}
	return n
}
