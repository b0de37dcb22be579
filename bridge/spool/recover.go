package spool

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
)

// An index is what a folder holds: found by reading the headers and footers of its segments, and the records of the last.
type index struct {
	segs     []*segment // in order, their sequences rise
	spares   []spare    // files of ours that hold nothing, oldest first
	junk     []spare    // files of ours that are of no use
	bad      []spare    // set aside: those named .bad, and those that are to be
	foreign  []string   // what is not ours
	alone    int        // segments of a later version, or that the disk fails to read: left alone
	unread   error      // what the disk has failed to read
	next     uint64     // sequence of the next record
	nextGen  uint64
	damaged  uint64 // records found to be lost
	repaired uint64 // headers and footers that were damaged, without loss
	open     bool   // the last segment can be written on
	torn     bool   // it ends with something that is no record; counted in damaged
}

// A spare is a file that may be taken for a new segment.
type spare struct {
	name string
	size int64
}

// readIndex never fails for what the files hold; it does when the folder cannot be listed.
func readIndex(d folder) (*index, error) {
	files, err := d.list()
	if err != nil {
		return nil, err
	}
	x := &index{next: 1, nextGen: 1}
	for _, e := range files {
		x.take(d, e)
	}
	slices.SortFunc(x.segs, func(a, b *segment) int { return cmp.Compare(a.generation, b.generation) })
	x.measureAll(d)
	x.join()
	slices.SortFunc(x.spares, func(a, b spare) int { return cmp.Compare(a.name, b.name) })
	return x, nil
}

// take sorts one file in.
func (x *index) take(d folder, e entry) {
	if e.name == lockFile || e.name == cursorFile {
		return
	}
	generation, kind, ours := parseName(e.name)
	if !ours || e.size < 0 {
		x.foreign = append(x.foreign, e.name)
		return
	}
	x.nextGen = max(x.nextGen, generation+1)
	switch kind {
	case "new":
		block, err := readAt(d, e.name, 0, headerBlock)
		s, state := parseHeader(block)
		x.takeSpare(spare(e), s, err == nil && (state == headerGood || isZero(block)))
	case "bad":
		x.bad = append(x.bad, spare(e))
	default:
		x.takeSegment(d, e, generation)
	}
}

func (x *index) takeSegment(d folder, e entry, generation uint64) {
	block, err := readAt(d, e.name, 0, headerBlock)
	s, state := parseHeader(block)
	switch {
	case state == headerNewer:
		x.alone++
		x.next = max(x.next, s.first+maxRecords(s.size))
		return
	case err == nil && isZero(block), state == headerGood && s.generation != generation:
		x.takeSpare(spare(e), s, true) // begun, but the power went before its header or its name was on the disk
		return
	case state != headerGood:
		s = &segment{generation: generation, size: e.size, headless: true, created: timeOf(noTime)}
		x.repaired++
	case len(block) < headerBlock || !bytes.Equal(block[:headerSize], block[headerCopy:][:headerSize]):
		x.repaired++
	}
	s.cut = s.size != e.size || s.size < minSegment
	s.size = e.size
	x.segs = append(x.segs, s)
}

// takeSpare keeps a file to be written again. If it was begun and its name was lost, its generation must not be given again:
// what it holds would pass.
func (x *index) takeSpare(f spare, s *segment, known bool) {
	if s != nil {
		x.nextGen = max(x.nextGen, s.generation+1)
	}
	if known {
		x.spares = append(x.spares, f)
	} else {
		x.junk = append(x.junk, f)
	}
}

// readAt reads up to n bytes of a file at off.
func readAt(d folder, name string, off int64, n int) ([]byte, error) {
	f, err := d.open(name, toRead)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, n)
	n, err = f.ReadAt(b, off)
	return b[:n], notEOF(err)
}

func notEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// measureAll finds out how far each segment is filled, and puts those of which nothing can be read aside.
func (x *index) measureAll(d folder) {
	last := uint64(0)
	var kept []*segment
	for i, s := range x.segs {
		limit := uint64(maxSeq)
		if s.headless {
			s.first = last + 1
			if i+1 < len(x.segs) && !x.segs[i+1].headless {
				limit = x.segs[i+1].first - 1
			}
		}
		ok, err := x.measure(d, s, limit, i == len(x.segs)-1)
		x.unread = errors.Join(x.unread, err)
		switch {
		case ok:
			kept, last = append(kept, s), s.last
		case err != nil:
			x.alone++
		default:
			x.bad = append(x.bad, spare{segName(s.generation), s.size})
		}
	}
	x.segs = kept
}

// measure fills in the extent of s, from its footer if it has one, else by reading it. It gives whether anything can be read,
// and what the disk has failed to read.
func (x *index) measure(d folder, s *segment, limit uint64, newest bool) (ok bool, err error) {
	s.extent = emptyExtent(s.first)
	f, err := d.open(segName(s.generation), toRead)
	if err != nil {
		x.next = max(x.next, s.first+maxRecords(s.size))
		return false, err
	}
	defer f.Close()
	if !s.cut {
		foot := make([]byte, footerSize)
		n, _ := f.ReadAt(foot, capacity(s.size))
		if first, e, ok := parseFooter(foot[:n], s.generation); ok && e.end <= capacity(s.size) {
			s.first, s.extent = first, e
			return true, nil
		}
	}
	if !newest {
		x.repaired++
	}
	torn, err := s.scan(f, limit)
	if err != nil {
		x.next = max(x.next, s.first+maxRecords(s.size))
	}
	x.damaged += s.lost.count(0, maxSeq)
	if torn && s.lost == nil {
		x.damaged++ // at least one was cut at the end
		x.torn = newest
	}
	x.open = newest && err == nil && !s.headless && !s.cut
	return !s.headless || s.count > 0, err
}

// scan reads all records of s, none of them above limit, and notes which are lost between them.
func (s *segment) scan(f file, limit uint64) (torn bool, err error) {
	r := newScanner(f, s, min(limit, s.first+maxRecords(s.size)), capacity(s.size))
	if s.cut || s.headless {
		r.limit = s.size
	}
	if s.headless {
		r.max = limit
	}
	for {
		rec, err := r.next()
		if err != nil {
			return r.torn, notEOF(err)
		}
		seq := seqOf(rec)
		if s.headless && s.count == 0 {
			s.first, r.max = seq, min(limit, seq+maxRecords(s.size))
		} else if seq > s.last+1 {
			s.lost.add(s.last+1, seq-1)
		}
		s.last, s.end = seq, r.off
		s.note(rec)
	}
}

// join makes the sequences of the segments rise: what a later segment says of a sequence counts.
func (x *index) join() {
	limit := uint64(maxSeq + 1)
	var kept []*segment
	for i, s := range slices.Backward(x.segs) {
		last := i == len(x.segs)-1
		if s.first >= limit || s.last < s.first && !last {
			x.spares = append(x.spares, spare{segName(s.generation), s.size})
			continue
		}
		s.last = min(s.last, limit-1)
		if !last {
			x.damaged += limit - s.last - 1
		}
		kept, limit = append(kept, s), s.first
	}
	slices.Reverse(kept)
	if n := len(kept); n > 0 {
		x.next = max(x.next, kept[n-1].last+1)
	}
	x.segs = kept
}

// String names what a folder holds, for the log.
func (x *index) String() string {
	return fmt.Sprintf("%d segments, %d spare, %d bad, %d left alone, %d foreign files",
		len(x.segs), len(x.spares), len(x.bad), x.alone, len(x.foreign))
}
