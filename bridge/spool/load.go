package spool

import (
	"errors"
	"fmt"
	"syscall"
	"time"
)

// Open opens the spool in the folder dir, which is made if it is missing. It fails only when the folder cannot be used at
// all or another process has it; damaged files cost what is damaged in them, and a disk that cannot be written fails the
// appends until it can. If such a disk does not have the folder either, it is taken when it can be.
//
// MaxAge drops segments, oldest first and never the one that is written to, whose newest Synced record is older than that; a
// segment that holds others too, when the one after it is too old as well.
// "Now" is the newest Synced record appended by this process plus the time that has gone by since, and never later than the
// host's clock: neither a clock that starts in 1970 nor one that jumps ahead drops anything by itself.
func Open(path string, opt Options) (*Spool, error) {
	s, err := open(dir(path), opt)
	if err != nil {
		return nil, fmt.Errorf("spool: %s: %w", path, err)
	}
	return s, nil
}

func open(d folder, opt Options) (*Spool, error) {
	opt.setDefaults()
	s := &Spool{
		dir: d, opt: opt, log: opt.Log, loaded: make(chan struct{}), writing: make(chan struct{}, 1), committing: make(chan struct{}, 1),
		kick: make(chan struct{}, 1), chores: make(chan struct{}, 1), closing: make(chan struct{}),
		begun: time.Now(), nextGen: 1, names: true, cursors: map[string]*cursor{},
	}
	s.setReaders(opt.Readers)
	if err := s.load(); err != nil {
		if !Passes(err) {
			return nil, err
		}
		s.loadFailed(err)
	}
	poke(s.chores)
	s.running.Go(s.commitLoop)
	s.running.Go(s.keepLoop)
	return s, nil
}

// Passes tells whether an error is of a disk that may get well again: one that is read-only, full, or fails.
func Passes(err error) bool {
	for _, e := range []error{syscall.EROFS, syscall.EIO, syscall.ENOSPC, syscall.EDQUOT} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// passing gives the first of errs that passes.
func passing(errs ...error) error {
	for _, err := range errs {
		if Passes(err) {
			return err
		}
	}
	return nil
}

// load takes the folder and reads what it holds, if that is not done. What the disk fails to read may be there later: that is
// waited for, but not for long. The caller owns writing.
func (s *Spool) load() error {
	if isClosed(s.loaded) {
		return nil
	}
	held, err := s.dir.lock()
	if err != nil {
		return err
	}
	x, err := readIndex(s.dir)
	saved := loadCursorFile(s.dir)
	if err == nil && time.Since(s.begun) < skipAfter {
		err = passing(x.unread, saved.unread)
	}
	if err != nil {
		return errors.Join(err, held.Close())
	}
	s.held = held
	s.log.Debug("spool opened", "holds", x.String())
	for _, name := range x.foreign {
		s.log.Warn("file in the spool's folder is not its own", "file", name)
	}
	s.adopt(x, saved)
	s.setAside(x.bad)
	for _, f := range x.junk {
		s.note("remove", s.dir.remove(f.name))
	}
	if len(s.segs) > 0 && s.settle() == nil && x.open {
		s.resume()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.published, s.synced, s.failed = s.written, s.written, nil
	s.releaseLocked()
	wake(&s.commit)
	close(s.loaded)
	return nil
}

// adopt makes what the folder holds the spool's.
func (s *Spool) adopt(x *index, saved cursorState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.segs, s.spares, s.nextGen = x.segs, x.spares, x.nextGen
	s.stats.Damaged, s.stats.Repaired, s.stats.Foreign, s.stats.Bad = x.damaged, x.repaired, len(x.foreign)+x.alone, len(x.bad)
	s.written = x.next - 1
	s.adoptCursors(saved, x.torn)
}

// retryLoad tries again to load, for a disk that has not had the folder.
func (s *Spool) retryLoad() {
	s.writing <- struct{}{}
	defer func() { <-s.writing }()
	if err := s.load(); err != nil {
		s.loadFailed(err)
	}
}

func (s *Spool) loadFailed(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed == nil {
		s.log.Warn("spool cannot be opened; it is tried again", "error", err)
	}
	s.failed = fmt.Errorf("spool: %w", err)
	s.stats.Failures++
}

// setAside renames segments of which nothing can be read, so that they are not tried again, and keeps the newest few.
func (s *Spool) setAside(bad []spare) {
	for i, b := range bad {
		generation, kind, _ := parseName(b.name)
		if i < len(bad)-maxBad {
			s.note("remove", s.dir.remove(b.name))
		} else if kind != "bad" {
			s.log.Warn("segment cannot be read, set aside", "file", b.name)
			s.note("set aside", s.dir.rename(b.name, fmt.Sprintf("%016x.bad", generation)))
		}
	}
}

// settle makes durable what a process that was killed may have written last: a reader may be given it, and what a reader
// was given must not go. More than this many segments are never on their way.
func (s *Spool) settle() error {
	const newest = 4
	err := s.dir.sync()
	for _, seg := range s.segs[max(0, len(s.segs)-newest):] {
		f, e := s.dir.open(segName(seg.generation), toRead)
		if e == nil {
			e = errors.Join(f.Sync(), f.Close())
		}
		err = errors.Join(err, e)
	}
	s.note("flush", err)
	return err
}

// resume goes on in the last segment.
func (s *Spool) resume() {
	seg := s.segs[len(s.segs)-1]
	if seg.last+1 != s.written+1 {
		return // a cursor knows of later ones: a new segment says so
	}
	f, err := s.dir.open(segName(seg.generation), toWrite)
	if err != nil {
		return
	}
	s.tail = &tail{seg: seg, f: f, cur: seg.extent, pub: seg.extent}
	s.mu.Lock()
	s.tails = []*tail{s.tail}
	s.mu.Unlock()
}
