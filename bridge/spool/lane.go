package spool

import (
	"errors"
	"fmt"
	"io"
	"sort"
	"time"
)

// skipAfter is how long a place that the disk fails to read is tried before it counts as damaged.
const skipAfter = time.Minute

// A lane reads forward through the segments, a few kilobytes at a time.
type lane struct {
	spool *Spool
	seq   uint64 // the next; guarded by the spool's lock
	to    uint64 // the last; guarded by the spool's lock

	seg   *segment // that scan is in
	scan  *scanner
	topic string
	stuck struct { // a place that cannot be read
		off   int64
		since time.Time
	}
}

func (l *lane) close() {
	if l.scan != nil {
		l.scan.f.Close()
	}
	l.seg, l.scan = nil, nil
}

// A place is where a record is to be found.
type place struct {
	seq  uint64
	seg  *segment
	last uint64
	end  int64
}

// next gives the next record that c has not acknowledged, or false at the end of the lane. What turns out to be damaged
// counts as acknowledged.
func (l *lane) next(c *cursor) (Record, bool, error) {
	for {
		p, ok := l.find(c)
		if !ok {
			return Record{}, false, nil
		}
		if p.seq > p.last { // the rest of the segment is gone
			l.lose(c, p, p.seq, p.last)
			continue
		}
		rec, err := l.read(p)
		if errors.Is(err, io.EOF) {
			l.lose(c, p, p.seq, p.last)
			continue
		}
		if err != nil && l.live(p.seg) {
			return Record{}, false, fmt.Errorf("spool: read: %w", err)
		}
		if err != nil || rec.Seq > p.seq && !l.lose(c, p, p.seq, rec.Seq-1) {
			continue // the segment was dropped meanwhile
		}
		if l.advance(c, rec.Seq) {
			return rec, true, nil
		}
	}
}

// find gives the place of the next record, after those that are acknowledged and those that are gone.
func (l *lane) find(c *cursor) (place, bool) {
	s := l.spool
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if c != nil {
			l.seq = c.acked.after(l.seq)
		}
		i := sort.Search(len(s.segs), func(i int) bool { return s.segs[i].first > l.seq }) - 1
		if i < 0 && len(s.segs) > 0 {
			l.seq, i = s.segs[0].first, 0
		}
		if i < 0 || l.seq > min(s.synced, l.to) {
			return place{}, false
		}
		g := s.segs[i]
		if l.seq <= g.last {
			return place{l.seq, g, g.last, g.end}, true
		}
		if i+1 == len(s.segs) {
			return place{}, false
		}
		next := s.segs[i+1].first
		if c != nil {
			c.ack(l.seq, next-1)
			s.touchCursors()
		}
		l.seq = next
	}
}

// advance notes that seq was given out, unless it was acknowledged meanwhile.
func (l *lane) advance(c *cursor, seq uint64) bool {
	l.spool.mu.Lock()
	defer l.spool.mu.Unlock()
	if seq > l.to || seq < l.seq {
		return false // rewound, or past the end of the lane
	}
	l.seq = seq
	if c != nil && c.acked.after(seq) != seq {
		return false
	}
	l.seq = seq + 1
	return true
}

func (l *lane) live(g *segment) bool {
	l.spool.mu.Lock()
	defer l.spool.mu.Unlock()
	return l.spool.has(g)
}

func (s *Spool) has(g *segment) bool {
	i := sort.Search(len(s.segs), func(i int) bool { return s.segs[i].first >= g.first })
	return i < len(s.segs) && s.segs[i] == g
}

// lose notes that lo to hi are damaged, once for all readers, unless the segment was dropped meanwhile. It gives whether
// they are passed.
func (l *lane) lose(c *cursor, p place, lo, hi uint64) bool {
	s := l.spool
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.has(p.seg) {
		return false
	}
	if n := p.seg.lost.add(lo, hi); n > 0 {
		s.stats.Damaged += n
		p.seg.count -= min(p.seg.count, int64(n))
		s.log.Warn("records are damaged", "first", lo, "last", hi)
	}
	if c != nil {
		c.ack(lo, hi)
		s.touchCursors()
		s.releaseLocked()
	}
	if l.seq == lo {
		l.seq = hi + 1
	}
	return true
}

// read gives the record at p, or the first whole one after it. io.EOF: there is none in this segment.
func (l *lane) read(p place) (Record, error) {
	if l.seg != p.seg || l.scan.last >= p.seq {
		l.close()
		f, err := l.spool.dir.open(segName(p.seg.generation), toRead)
		if err != nil {
			return Record{}, err
		}
		l.seg, l.scan = p.seg, newScanner(f, p.seg, p.last, p.end)
	}
	l.scan.limit, l.scan.max = p.end, p.last
	for {
		b, err := l.scan.next()
		if err != nil {
			return Record{}, l.readFailed(err)
		}
		if seqOf(b) < p.seq {
			continue
		}
		rec, err := parseRecord(b, l.topic)
		if err != nil {
			continue // of a later format: as good as damaged
		}
		l.topic = rec.Topic
		return rec, nil
	}
}

// readFailed decides when a place that the disk fails to read is given up: after a minute, and if the segment's header can
// be read, which tells a bad block from a missing disk.
func (l *lane) readFailed(err error) error {
	var disk readError
	if !errors.As(err, &disk) {
		return err
	}
	if now := time.Now(); l.stuck.since.IsZero() || l.stuck.off != l.scan.off {
		l.stuck.off, l.stuck.since = l.scan.off, now
	} else if now.Sub(l.stuck.since) >= skipAfter {
		if _, err := l.scan.f.ReadAt(make([]byte, headerSize), 0); err == nil {
			l.stuck.since = time.Time{}
			return io.EOF
		}
	}
	return err
}
