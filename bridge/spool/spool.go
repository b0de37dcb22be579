package spool

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"
)

// Errors a caller can branch on. Others are those of the disk, wrapped.
var (
	ErrFull     = errors.New("spool: full")
	ErrClosed   = errors.New("spool: closed")
	ErrTooLarge = errors.New("spool: record too large")
	ErrLocked   = errors.New("in use by another process")
)

const (
	lockFile = "lock"
	maxBad   = 4 // unreadable segments that are kept for an inquest
)

// A Policy says what goes when there is no room.
type Policy int

const (
	DropOldest Policy = iota // the oldest segment, counted
	DropNewest               // what is to be appended, with ErrFull, counted
)

// Options of a spool. The zero value of each stands for its default.
type Options struct {
	MaxSize     int64         // bytes on the disk, spare segments included; 0: no bound
	MaxAge      time.Duration // see Open; 0: no bound
	WhenFull    Policy
	Sync        time.Duration // 0: Append waits for the disk; else it returns after the write, and the disk is flushed that often
	LateSync    time.Duration // Append does not wait longer for a disk that stalls; default 150 ms
	SegmentSize int           // bytes of a file, default 1 MiB, at most a quarter of MaxSize, 4.5 KiB to 64 MiB
	Readers     []string      // readers in force, opened or not: they hold on to what they have not acknowledged
	Log         *slog.Logger
}

func (o *Options) setDefaults() {
	if o.LateSync <= 0 {
		o.LateSync = 150 * time.Millisecond
	}
	if o.SegmentSize <= 0 {
		o.SegmentSize = 1 << 20
	}
	if o.MaxSize > 0 {
		o.SegmentSize = int(min(int64(o.SegmentSize), o.MaxSize/4))
	}
	o.SegmentSize = min(max(o.SegmentSize, minSegment), maxSegment) / 512 * 512
	if o.MaxSize > 0 {
		o.MaxSize = max(o.MaxSize, 4*int64(o.SegmentSize))
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
}

// A Spool is an open folder. It is safe for use by many goroutines.
type Spool struct {
	dir  folder
	opt  Options
	log  *slog.Logger
	held io.Closer // the lock of the folder

	writing chan struct{} // capacity 1: who puts in owns the next four fields
	tail    *tail         // where the next record goes; nil: a new segment is needed
	written uint64        // newest sequence of a whole request that was handed to the system
	handed  uint64        // newest sequence of any record that was
	batch   []byte
	nextGen uint64 // also taken by the housekeeper, under mu

	committing chan struct{} // capacity 1: who puts in may flush, and owns the stage
	stage      stage

	mu        sync.Mutex // guards what follows; never held while the disk is asked for something
	segs      []*segment
	spares    []spare       // oldest first
	filling   int64         // bytes of a spare that is being made
	filled    chan struct{} // closed when it is made
	beginning int64         // bytes of the file that is being taken for a new segment
	tails     []*tail       // files that are not yet on the disk whole; the active one is the last
	names     bool          // names of files are not yet on the disk
	published uint64        // newest sequence that was written, as the flush sees it
	synced    uint64        // newest sequence on the disk
	pending   []*request
	unsynced  []*request
	queued    int           // bytes of both
	flushed   int64         // bytes of the last flush
	crowd     int           // appends that were in the last commit, or waited for the next when it was done
	took      time.Duration // what the last flush took
	space     chan struct{} // closed when queued shrinks
	commit    chan struct{} // closed when synced grows
	failures  uint64
	failed    error // the last thing the disk was asked for failed so
	closed    bool
	cursors   map[string]*cursor
	saved     savedCursors
	age       ageClock
	oldest    oldestTime
	stats     counters

	kick     chan struct{} // capacity 1: the committer has work
	chores   chan struct{} // capacity 1: the housekeeper has
	closing  chan struct{}
	running  sync.WaitGroup
	finished sync.Once
}

// Open opens the spool in the folder dir, which is made if it is missing. It fails only when the folder cannot be used at
// all or another process has it; damaged files cost what is damaged in them, and a disk that cannot be written fails the
// appends until it can.
//
// MaxAge drops segments, oldest first and never the one that is written to, whose newest Synced record is older than that; a
// segment that holds others too, when the one after it is too old as well.
// "Now" is the newest Synced record appended by this process plus the time that has gone by since, and never later than the
// host's clock: neither a clock that starts in 1970 nor one that jumps ahead drops anything by itself.
func Open(path string, opt Options) (*Spool, error) {
	if err := os.MkdirAll(path, 0o750); err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	s, err := open(dir(path), opt)
	if err != nil {
		return nil, fmt.Errorf("spool: %s: %w", path, err)
	}
	return s, nil
}

func open(d folder, opt Options) (*Spool, error) {
	opt.setDefaults()
	held, err := d.lock()
	if err != nil {
		return nil, err
	}
	x, err := readIndex(d)
	if err != nil {
		held.Close()
		return nil, err
	}
	s := &Spool{
		dir: d, opt: opt, log: opt.Log, held: held,
		writing: make(chan struct{}, 1), committing: make(chan struct{}, 1), kick: make(chan struct{}, 1), chores: make(chan struct{}, 1), closing: make(chan struct{}),
		segs: x.segs, spares: x.spares, nextGen: x.nextGen, names: true,
		cursors: map[string]*cursor{},
	}
	s.stats.Damaged, s.stats.Repaired, s.stats.Foreign, s.stats.Bad = x.damaged, x.repaired, len(x.foreign)+x.newer, len(x.bad)
	s.log.Debug("spool opened", "holds", x.String())
	for _, name := range x.foreign {
		s.log.Warn("file in the spool's folder is not its own", "file", name)
	}
	s.setAside(x.bad)
	for _, f := range x.junk {
		s.note("remove", s.dir.remove(f.name))
	}
	s.written = x.next - 1
	s.loadCursors(x.torn)
	s.published, s.synced = s.written, s.written
	if len(s.segs) > 0 && s.settle() == nil && x.open {
		s.resume()
	}
	s.release()
	poke(s.chores)
	s.running.Go(s.commitLoop)
	s.running.Go(s.keepLoop)
	return s, nil
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
	s.tails = []*tail{s.tail}
}

// note keeps an error of a chore, none of which is worth failing for.
func (s *Spool) note(what string, err error) {
	if err == nil {
		return
	}
	s.log.Debug("spool chore failed", "what", what, "error", err)
	s.mu.Lock()
	s.stats.Failures++
	s.mu.Unlock()
}

// Close waits until everything that was appended is on the disk, saves the cursors and lets the folder go.
func (s *Spool) Close() (err error) {
	err = ErrClosed
	s.finished.Do(func() {
		s.mu.Lock()
		s.closed = true
		wake(&s.space)
		wake(&s.commit)
		s.mu.Unlock()
		close(s.closing)
		s.running.Wait()
		err = s.shut()
	})
	return err
}

// shut lets go of the files; the goroutines are gone.
func (s *Spool) shut() error {
	var errs []error
	for _, t := range s.tails {
		errs = append(errs, t.f.Close())
	}
	if len(s.pending) > 0 {
		errs = append(errs, fmt.Errorf("spool: %d appends that came back late are not on the disk: %w", len(s.pending), s.failed))
	}
	_, err := s.saveCursors(true)
	errs = append(errs, err, s.closeCursors(), s.held.Close())
	return errors.Join(errs...)
}

// poke puts a token into a channel of capacity 1.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// wake closes a channel that others may wait on. The next that waits makes a new one.
func wake(c *chan struct{}) {
	if *c != nil {
		close(*c)
		*c = nil
	}
}

// waitOn gives a channel that wake closes.
func waitOn(c *chan struct{}) <-chan struct{} {
	if *c == nil {
		*c = make(chan struct{})
	}
	return *c
}
