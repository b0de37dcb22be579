package spool

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// keepLoop is the housekeeper: it saves the cursors, has a spare segment ready, removes what is too much, and drops what is
// too old.
func (s *Spool) keepLoop() {
	select {
	case <-s.loaded:
	case <-s.closing:
		return
	}
	save := time.NewTimer(saveEvery)
	defer save.Stop()
	age := time.NewTicker(ageEvery(s.opt.MaxAge))
	defer age.Stop()
	for {
		select {
		case <-s.chores:
			s.tidy()
			s.mu.Lock()
			dirty := s.saved.dirty
			s.mu.Unlock()
			if dirty {
				save.Reset(max(0, saveEvery-time.Since(s.saved.at)))
			}
		case <-save.C:
			unflushed, err := s.saveCursors(false)
			s.note("save cursors", err)
			if err != nil {
				save.Reset(saveEvery)
			} else if unflushed {
				save.Reset(flushEvery)
			}
		case <-age.C:
			if s.opt.MaxAge > 0 {
				s.expire()
				s.tidy()
			}
		case <-s.closing:
			return
		}
	}
}

func ageEvery(limit time.Duration) time.Duration {
	if limit <= 0 {
		return 24 * time.Hour
	}
	return min(max(limit/10, time.Second), time.Minute)
}

// tidy removes spare segments that are too many, and makes one when there is none.
func (s *Spool) tidy() {
	for {
		s.mu.Lock()
		var old spare
		if len(s.spares) > maxSpares {
			old = s.spares[0]
			s.spares = slices.Delete(s.spares, 0, 1)
		}
		s.mu.Unlock()
		if old.name == "" {
			break
		}
		s.note("remove", s.dir.remove(old.name))
	}
	s.prepare()
}

// prepare makes a spare when one will be needed soon, so that no append has to wait for it.
func (s *Spool) prepare() {
	size := int64(s.opt.SegmentSize)
	s.mu.Lock()
	need := len(s.spares) == 0 && (s.opt.MaxSize == 0 || s.diskSize()+s.beginning+size <= s.opt.MaxSize)
	if need {
		s.filling = size
	}
	s.mu.Unlock()
	if !need {
		return
	}
	name, err := s.makeFile(size)
	s.mu.Lock()
	s.filling = 0
	wake(&s.filled)
	if err == nil {
		s.spares = append(s.spares, spare{name, size})
	}
	s.mu.Unlock()
	s.note("make a spare segment", err)
}

// saveCursors writes the cursors if they have changed, and flushes them when it is time or asked for. It gives whether
// something waits to be flushed.
func (s *Spool) saveCursors(flush bool) (unflushed bool, err error) {
	c := &s.saved
	c.mu.Lock()
	defer c.mu.Unlock()
	s.mu.Lock()
	dirty := c.dirty || flush && s.synced+1 != c.next
	c.dirty = false
	s.mu.Unlock()
	c.at = time.Now()
	if dirty {
		err = s.writeCursors()
	}
	if err == nil && c.written && (flush || time.Since(c.flushed) >= flushEvery) {
		err = s.flushCursors()
	}
	if err != nil {
		err = errors.Join(err, s.closeCursors())
		s.mu.Lock()
		c.dirty = true
		s.mu.Unlock()
	}
	return c.written, err
}

// hurryCursors writes the cursors ahead of their time, into the system's memory: it costs the disk nothing, and outlives a
// killed process.
func (s *Spool) hurryCursors() {
	s.saved.mu.Lock()
	defer s.saved.mu.Unlock()
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	if closed {
		return
	}
	if err := s.writeCursors(); err != nil {
		s.note("save cursors", errors.Join(err, s.closeCursors()))
	}
}

// cursorsToSave copies the lowest ranges of each cursor, and forgets those that are not in force and point to nothing. The
// lock is held.
func (s *Spool) cursorsToSave() map[string]spans {
	oldest := s.synced + 1
	if len(s.segs) > 0 {
		oldest = s.segs[0].first
	}
	all := map[string]spans{}
	for name, c := range s.cursors {
		if !c.inForce() && c.low()+1 < oldest {
			delete(s.cursors, name)
			continue
		}
		c.unsaved = 0
		all[name] = slices.Clone(c.acked[:min(len(c.acked), 1+savedRanges)])
	}
	return all
}

func (s *Spool) writeCursors() error {
	c := &s.saved
	s.mu.Lock()
	next, cursors := s.synced+1, s.cursorsToSave()
	s.mu.Unlock()
	if c.f == nil {
		f, err := s.dir.open(cursorFile, toWrite)
		if err != nil {
			if f, err = s.newCursorFile(); err != nil {
				return err
			}
		}
		c.f = f
	}
	b := appendCursors(nil, c.serial+1, next, cursors, savedRanges)
	if len(b) > slotSize {
		return fmt.Errorf("spool: %d cursors do not fit into their file", len(cursors))
	}
	if _, err := c.f.WriteAt(b, c.slot*slotSize); err != nil {
		return err
	}
	c.serial++
	c.written, c.next = true, next
	s.count(&s.stats.Written.Cursors, len(b))
	return nil
}

func (s *Spool) newCursorFile() (file, error) {
	f, err := s.dir.open(cursorFile, toCreate)
	if err != nil {
		return nil, err
	}
	if _, err := f.WriteAt(make([]byte, 2*slotSize), 0); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, errors.Join(f.Sync(), s.dir.sync())
}

func (s *Spool) flushCursors() error {
	c := &s.saved
	if err := c.f.Sync(); err != nil {
		return err
	}
	s.count(&s.stats.Syncs, 1)
	c.flushed, c.written, c.slot = time.Now(), false, 1-c.slot
	return nil
}

func (s *Spool) closeCursors() error {
	c := &s.saved
	if c.f == nil {
		return nil
	}
	f := c.f
	c.f = nil
	return f.Close()
}
