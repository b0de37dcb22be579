package spool

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"slices"
	"strings"
	"time"
)

// A Snapshot is a look into a folder, of a spool that is open in this or another process, or of one that is dead.
type Snapshot struct {
	Segments []SegmentInfo // oldest first
	Cursors  []CursorInfo  // by name
	Records  uint64        // whole ones that are known; a damaged one is found when it is read
	Bytes    int64         // of the records
	Size     int64         // of the segment files
	Oldest   uint64        // sequence of the first record; Next if there is none
	Next     uint64        // sequence of the next
	Damaged  uint64        // records that are known to be lost
	Torn     bool          // the end is cut, or just being written
	Foreign  []string      // files that are not the spool's
	Bad      []string      // segments that cannot be read

	dir  folder
	segs []*segment
}

// A SegmentInfo describes a file.
type SegmentInfo struct {
	File           string
	Generation     uint64
	First, Last    uint64 // sequences; Last is First-1 when it is empty
	Records        int64
	Bytes, Size    int64     // of the records, of the file
	Created        time.Time // by the host's clock of that moment
	MinTime        time.Time // of the records; zero if none has a time
	MaxTime        time.Time
	HeaderRepaired bool // both copies of the header are damaged
}

// A CursorInfo is what a reader has acknowledged, as it was saved last.
type CursorInfo struct {
	Name  string
	Low   uint64      // everything up to it
	Above [][2]uint64 // ranges above it, both ends included
}

// A Damage is a range of sequences that cannot be read.
type Damage struct{ First, Last uint64 }

func (d *Damage) Error() string {
	return fmt.Sprintf("spool: records %d to %d are damaged", d.First, d.Last)
}

// A Filter chooses records. Its zero value chooses all.
type Filter struct {
	From, To      uint64    // sequences, both included; 0: no limit
	After, Before time.Time // After <= time < Before; zero: no limit. With a limit, records without a time are left out
}

// Inspect reads the headers in the folder path. It writes nothing and takes no lock.
func Inspect(path string) (*Snapshot, error) {
	if info, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	} else if !info.IsDir() {
		return nil, fmt.Errorf("spool: %s is not a folder", path)
	}
	return inspect(dir(path))
}

func inspect(d folder) (*Snapshot, error) {
	x, err := readIndex(d)
	if err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	s := &Snapshot{Next: x.next, Oldest: x.next, Damaged: x.damaged, Torn: x.torn, Foreign: x.foreign, dir: d, segs: x.segs}
	if x.torn {
		s.Damaged--
	}
	for i, g := range x.segs {
		if i == 0 {
			s.Oldest = g.first
		}
		s.Records += uint64(g.count)
		s.Bytes += g.end - headerBlock
		s.Size += g.size
		s.Segments = append(s.Segments, infoOf(g))
	}
	for _, b := range x.bad {
		s.Bad = append(s.Bad, b.name)
	}
	state := loadCursorFile(d)
	s.Next = max(s.Next, state.next)
	for name, set := range state.cursors {
		c := CursorInfo{Name: name, Low: set[0].hi}
		for _, r := range set[1:] {
			c.Above = append(c.Above, [2]uint64{r.lo, r.hi})
		}
		s.Cursors = append(s.Cursors, c)
	}
	slices.SortFunc(s.Cursors, func(a, b CursorInfo) int { return strings.Compare(a.Name, b.Name) })
	return s, nil
}

func infoOf(g *segment) SegmentInfo {
	info := SegmentInfo{
		File: segName(g.generation), Generation: g.generation, First: g.first, Last: g.last, Records: g.count,
		Bytes: g.end - headerBlock, Size: g.size, Created: g.created, HeaderRepaired: g.headless,
	}
	if g.minTime <= g.maxTime {
		info.MinTime, info.MaxTime = timeOf(g.minTime), timeOf(g.maxTime)
	}
	return info
}

// All gives the records that f chooses, in order; each is valid until the next. Segments that can hold none are not read.
// A *Damage as error says what is missing there; the records after it follow. Any other error is the disk's, and that
// segment ends. What the daemon frees meanwhile is left out.
func (s *Snapshot) All(f Filter) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for _, g := range s.segs {
			if f.touches(g) && !s.walk(g, f, yield) {
				return
			}
		}
	}
}

// touches tells whether a segment can hold what f chooses.
func (f Filter) touches(g *segment) bool {
	return g.last >= g.first && g.last >= f.From && (f.To == 0 || g.first <= f.To) &&
		(f.After.IsZero() || g.maxTime >= micros(f.After)) && (f.Before.IsZero() || g.minTime < micros(f.Before))
}

func (f Filter) chooses(seq uint64, us int64) bool {
	return seq >= f.From && (f.To == 0 || seq <= f.To) && (us != noTime || f.After.IsZero() && f.Before.IsZero()) &&
		(f.After.IsZero() || us >= micros(f.After)) && (f.Before.IsZero() || us < micros(f.Before))
}

// walk gives the records of one segment.
func (s *Snapshot) walk(g *segment, f Filter, yield func(Record, error) bool) bool {
	file, err := s.dir.open(segName(g.generation), toRead)
	if errors.Is(err, os.ErrNotExist) {
		return true
	} else if err != nil {
		return yield(Record{}, err)
	}
	defer file.Close()
	r, seq, topic := newScanner(file, g, g.last, g.end), g.first, ""
	for {
		b, err := r.next()
		if err != nil && !errors.Is(err, io.EOF) {
			return yield(Record{}, err)
		}
		at := g.last + 1
		if err == nil {
			at = seqOf(b)
		}
		if at > seq && max(seq, f.From) < at && (f.To == 0 || seq <= f.To) {
			if !s.isStill(file, g) {
				return true
			}
			if !yield(Record{}, &Damage{seq, at - 1}) {
				return false
			}
		}
		if seq = at + 1; err != nil || f.To != 0 && at > f.To {
			return true
		}
		if us, _ := timesOf(b); !f.chooses(at, us) {
			continue
		}
		rec, err := parseRecord(b, topic)
		if topic = rec.Topic; !yield(rec, err) {
			return false
		}
	}
}

// isStill tells whether the file was not taken for a new segment meanwhile.
func (s *Snapshot) isStill(file file, g *segment) bool {
	block := make([]byte, headerBlock)
	n, _ := file.ReadAt(block, 0)
	now, state := parseHeader(block[:n])
	return state != headerGood || now.generation == g.generation
}
