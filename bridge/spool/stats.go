package spool

import (
	"time"
)

// Stats says what the spool holds and what it has done since it was opened.
type Stats struct {
	Records    uint64    // that some reader in force has not acknowledged; all, if there is none
	Bytes      int64     // of those, on the disk, about
	Stored     uint64    // records in the files, acknowledged ones included
	Size       int64     // bytes of the files
	Segments   int       // files with records
	Oldest     uint64    // sequence of the oldest of Records; Next if there is none
	OldestTime time.Time // its time; zero if there is none
	Next       uint64    // sequence of the next record that reaches the disk
	Err        error     // what the last append failed with; nil when the disk works
	counters
}

// counters count since the spool was opened.
type counters struct {
	Appended  uint64  // records
	Dropped   Dropped // records
	Damaged   uint64  // records that were on the disk and could not be read any more
	Repaired  uint64  // headers, footers and cursor slots that were damaged, at no loss
	Bad       int     // segments that were set aside
	Foreign   int     // files and segments of later versions that were left alone
	LateSyncs uint64  // appends that came back before the disk had answered
	Commits   uint64  // groups of appends
	Syncs     int64   // flushes that were asked for, of all kinds
	Failures  uint64  // writes, flushes and chores the disk has failed
	Written   Written // bytes
}

// Dropped counts records by the reason why no reader got them.
type Dropped struct {
	Size    uint64 // MaxSize
	Age     uint64 // MaxAge
	Space   uint64 // the disk was full
	Refused uint64 // Append gave ErrFull
}

// Written counts bytes by what they were written for.
type Written struct {
	Records int64
	Headers int64 // and footers
	Fill    int64 // zeros for new segments
	Cursors int64
}

// oldestTime remembers the time of the oldest record, which is read from the disk.
type oldestTime struct {
	seq  uint64
	time time.Time
}

// Stats gives the state of this moment.
func (s *Spool) Stats() Stats {
	s.mu.Lock()
	st := Stats{Segments: len(s.segs), Size: s.diskSize(), Next: s.synced + 1, Oldest: s.synced + 1, Err: s.failed, counters: s.stats}
	done, any := s.delivered()
	for _, g := range s.segs {
		st.Stored += uint64(g.count)
		n := s.waiting(g)
		st.Records += n
		if g.count > 0 {
			st.Bytes += int64(float64(g.end-headerBlock) * min(1, float64(n)/float64(g.count)))
		}
	}
	if len(s.segs) > 0 && st.Records > 0 {
		if st.Oldest = s.segs[0].first; any {
			st.Oldest = done.after(st.Oldest)
		}
	}
	known := s.oldest
	s.mu.Unlock()
	if st.Records > 0 {
		if known.seq != st.Oldest {
			known = s.readOldest(st.Oldest)
		}
		st.OldestTime = known.time
	}
	return st
}

// readOldest finds the time of the record seq, or of the first after it.
func (s *Spool) readOldest(seq uint64) oldestTime {
	l := lane{spool: s, seq: seq, to: maxSeq}
	defer l.close()
	rec, _, _ := l.next(nil)
	known := oldestTime{seq, rec.Time}
	s.mu.Lock()
	s.oldest = known
	s.mu.Unlock()
	return known
}
