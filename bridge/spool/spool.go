package spool

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
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

	// Flush stands around each flush of records, which it may hold up or fail, in tests of who waits for the disk; nil: nothing does.
	Flush func(sync func() error) error
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
	if o.Flush == nil {
		o.Flush = func(sync func() error) error { return sync() }
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
}

// A Spool is an open folder. It is safe for use by many goroutines.
type Spool struct {
	dir folder
	opt Options
	log *slog.Logger

	begun   time.Time
	loaded  chan struct{} // closed when the folder was taken and read
	held    io.Closer     // its lock, once it was
	writing chan struct{} // capacity 1: who puts in owns the next four fields, and loads
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
	flushed   int64         // bytes of the records of the last commit
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
	if isClosed(s.loaded) {
		_, err := s.saveCursors(true)
		errs = append(errs, err, s.closeCursors(), s.held.Close())
	}
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
