package spool

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"
	"time"
)

// maxSpares is how many freed segments are kept to be written again.
const maxSpares = 4

// begin makes the next segment, whose first record has the sequence first.
func (s *Spool) begin(first uint64) error {
	if first > maxSeq {
		return errors.New("spool: sequences are used up")
	}
	s.setBeginning(int64(s.opt.SegmentSize))
	defer s.setBeginning(0)
	from, err := s.takeFile()
	if err != nil {
		return err
	}
	seg := &segment{generation: s.newGeneration(), first: first, size: int64(s.opt.SegmentSize), created: time.Now(), extent: emptyExtent(first)}
	name := segName(seg.generation)
	if err := s.dir.rename(from.name, name); err != nil {
		if !errors.Is(err, os.ErrNotExist) {
			s.keepSpare(from)
		}
		return fmt.Errorf("spool: new segment: %w", err)
	}
	f, err := s.dir.open(name, toWrite)
	if err == nil {
		_, err = f.WriteAt(appendHeader(nil, seg), 0)
	}
	if err != nil {
		if f != nil {
			f.Close()
		}
		s.note("remove", s.dir.remove(name))
		return fmt.Errorf("spool: new segment: %w", err)
	}
	s.count(&s.stats.Written.Headers, headerBlock)
	s.tail = &tail{seg: seg, f: f, cur: seg.extent, pub: seg.extent, header: true}
	s.mu.Lock()
	s.segs, s.tails, s.names, s.beginning = append(s.segs, seg), append(s.tails, s.tail), true, 0
	s.mu.Unlock()
	poke(s.chores)
	return nil
}

// setBeginning has the file that is taken for a new segment counted, so that no spare is made in its place.
func (s *Spool) setBeginning(size int64) {
	s.mu.Lock()
	s.beginning = size
	s.mu.Unlock()
}

// newGeneration gives a number that no file has had.
func (s *Spool) newGeneration() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nextGen++
	return s.nextGen - 1
}

// takeFile finds a file for a new segment: the spare that was freed first, else a new one, else the oldest segment.
func (s *Spool) takeFile() (spare, error) {
	size := int64(s.opt.SegmentSize)
	for {
		old, ok, room := s.takeSpare(size)
		if ok && old.size == size {
			return old, nil
		} else if ok {
			s.note("remove", s.dir.remove(old.name))
			continue
		}
		what := func(d *Dropped) *uint64 { return &d.Size }
		if room {
			name, err := s.makeFile(size)
			if !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EDQUOT) {
				return spare{name, size}, err
			}
			what = func(d *Dropped) *uint64 { return &d.Space }
		}
		if s.opt.WhenFull == DropNewest {
			return spare{}, ErrFull
		}
		if old, ok = s.dropOldest(what); !ok {
			return spare{}, ErrFull
		} else if old.size == size {
			return old, nil
		}
		s.note("remove", s.dir.remove(old.name))
	}
}

// takeSpare gives the oldest spare, and whether MaxSize has room for a new file. Without room it waits for a spare that is
// being made, before anything is dropped or refused.
func (s *Spool) takeSpare(size int64) (old spare, ok, room bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if len(s.spares) > 0 {
			old, ok = s.spares[0], true
			s.spares = slices.Delete(s.spares, 0, 1)
		}
		room = s.opt.MaxSize == 0 || s.diskSize()+size <= s.opt.MaxSize
		if ok || room || s.filling == 0 {
			return old, ok, room
		}
		filled := waitOn(&s.filled)
		s.mu.Unlock()
		<-filled
		s.mu.Lock()
	}
}

// keepSpare puts a spare back, as the oldest.
func (s *Spool) keepSpare(f spare) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spares = slices.Insert(s.spares, 0, f)
}

// diskSize gives the bytes of all files that hold records or will. The lock is held.
func (s *Spool) diskSize() int64 {
	n := s.filling
	for _, g := range s.segs {
		n += g.size
	}
	for _, f := range s.spares {
		n += f.size
	}
	return n
}

// makeFile fills a new file with zeros, so that writing on it later needs no metadata.
func (s *Spool) makeFile(size int64) (string, error) {
	name := newName(s.newGeneration())
	err := s.fill(name, size)
	if err != nil {
		_ = s.dir.remove(name)
		return "", fmt.Errorf("spool: new segment: %w", err)
	}
	return name, nil
}

func (s *Spool) fill(name string, size int64) error {
	f, err := s.dir.open(name, toCreate)
	if err != nil {
		return err
	}
	defer f.Close()
	zeros := make([]byte, min(size, 64<<10))
	for off := int64(0); off < size; off += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros[:min(int64(len(zeros)), size-off)], off); err != nil {
			return err
		}
	}
	s.count(&s.stats.Written.Fill, int(size))
	s.count(&s.stats.Syncs, 1)
	return f.Sync()
}

// dropOldest takes the oldest segment out though not all of it was acknowledged, and counts what is lost. The one that is
// written to, and those that are not yet on the disk, stay.
func (s *Spool) dropOldest(what func(*Dropped) *uint64) (spare, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dropLocked(what)
}

func (s *Spool) dropLocked(what func(*Dropped) *uint64) (spare, bool) {
	if len(s.segs) == 0 || s.inTails(s.segs[0]) {
		return spare{}, false
	}
	old := s.segs[0]
	n := s.waiting(old)
	*what(&s.stats.Dropped) += n
	s.segs = slices.Delete(s.segs, 0, 1)
	last := s.synced
	if len(s.segs) > 0 {
		last = s.segs[0].first - 1
	}
	for _, c := range s.cursors {
		c.acked.add(0, last)
	}
	s.touchCursors()
	if n > 0 {
		s.log.Warn("spool drops its oldest records", "records", n, "last", old.last)
	}
	return spare{segName(old.generation), old.size}, true
}

func (s *Spool) inTails(g *segment) bool {
	return slices.ContainsFunc(s.tails, func(t *tail) bool { return t.seg == g })
}

// releaseLocked frees the segments that every reader in force has acknowledged. The lock is held.
func (s *Spool) releaseLocked() {
	low, any := s.low()
	for any && len(s.segs) > 0 && s.segs[0].last <= low && !s.inTails(s.segs[0]) {
		old := s.segs[0]
		s.segs = slices.Delete(s.segs, 0, 1)
		s.spares = append(s.spares, spare{segName(old.generation), old.size})
		if len(s.spares) > maxSpares {
			poke(s.chores)
		}
	}
}

// waiting gives how many records of g some reader in force has not acknowledged; without readers, all. The lock is held.
func (s *Spool) waiting(g *segment) uint64 {
	if g.last < g.first {
		return 0
	}
	done, any := s.delivered()
	if !any {
		done = nil
	}
	n := g.last - g.first + 1 - done.count(g.first, g.last)
	for _, l := range g.lost {
		n -= min(n, l.hi-l.lo+1-done.count(l.lo, l.hi))
	}
	return n
}

// An ageClock tells how late it is by the records' own times.
type ageClock struct {
	newest int64 // of a Synced record of this process, microseconds since 1970
	at     time.Time
}

func (a *ageClock) see(us int64) {
	if us != noTime && us > a.newest {
		a.newest, a.at = us, time.Now()
	}
}

// now is 0 when nothing is known.
func (a *ageClock) now() int64 {
	if a.at.IsZero() {
		return 0
	}
	return min(a.newest+time.Since(a.at).Microseconds(), time.Now().UnixMicro())
}

// expire drops the segments that are older than MaxAge.
func (s *Spool) expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	limit := s.age.now() - s.opt.MaxAge.Microseconds()
	for s.expired(limit) {
		old, ok := s.dropLocked(func(d *Dropped) *uint64 { return &d.Age })
		if !ok {
			return
		}
		s.spares = append(s.spares, old)
	}
}

// expired tells whether the oldest segment is older than limit. Records that are not Synced are as old as those that were
// appended after them.
func (s *Spool) expired(limit int64) bool {
	old := func(i int) bool { return i < len(s.segs) && s.segs[i].synced != noTime && s.segs[i].synced < limit }
	return old(0) && (s.segs[0].undated == 0 || old(1))
}
