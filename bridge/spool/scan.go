package spool

import (
	"encoding/binary"
	"errors"
	"io"
)

const (
	window    = 16 << 10 // bytes read at a time
	searchMax = 32 << 20 // bytes checked in vain before a search for the next record is given up
)

// A scanner reads the records of one segment in order. Where a record is damaged it searches for the next one that is
// whole, belongs to this generation and has a sequence that can follow.
type scanner struct {
	f     file
	seed  uint32
	last  uint64 // sequence of the record read before; what follows is greater
	max   uint64 // no sequence is greater
	off   int64  // of the next record
	limit int64  // where records must end
	buf   []byte // what was read: buf[0] is at base
	base  int64
	torn  bool // something that is no record was met
}

// A readError is one of the disk, not of what is on it.
type readError struct{ error }

func (e readError) Unwrap() error { return e.error }

// at gives the n bytes at off, which are before limit, or fewer where the file ends. They are valid until the next call.
func (s *scanner) at(off int64, n int) ([]byte, error) {
	if off >= s.base && off+int64(n) <= s.base+int64(len(s.buf)) {
		return s.buf[off-s.base:][:n], nil
	}
	want := int(min(int64(max(n, window)), s.limit-off))
	if want < n {
		n = max(want, 0)
	}
	if want <= 0 {
		return nil, nil
	}
	if cap(s.buf) < want || cap(s.buf) > 4*window && want <= window {
		s.buf = make([]byte, max(want, window))
	}
	s.base = off
	got, err := s.f.ReadAt(s.buf[:want], off)
	s.buf = s.buf[:got]
	if err != nil && !errors.Is(err, io.EOF) {
		s.buf = s.buf[:0]
		return nil, readError{err}
	}
	return s.buf[:min(n, got)], nil
}

// next gives the next whole record, valid until the next call, or io.EOF.
func (s *scanner) next() ([]byte, error) {
	rec, err := s.take(s.off)
	if err == nil && rec == nil {
		rec, err = s.takeNextBlock()
	}
	if err != nil || rec != nil {
		return rec, err
	}
	if clean, err := s.clean(); err != nil {
		return nil, err
	} else if !clean {
		s.torn = true
	}
	return s.search()
}

// take gives the record at off if it is one, else nil.
func (s *scanner) take(off int64) ([]byte, error) {
	b, err := s.at(off, minRecord)
	if err != nil || len(b) < minRecord {
		return nil, err
	}
	_, size := frame(b)
	if size == 0 || off+int64(size) > s.limit {
		return nil, nil
	}
	if b, err = s.at(off, size); err != nil || len(b) < size {
		return nil, err
	}
	if seq := seqOf(b); seq <= s.last || seq > s.max || !whole(b, s.seed) {
		return nil, nil
	}
	s.off, s.last = off+int64(size), seqOf(b)
	return b, nil
}

// takeNextBlock gives the record at the beginning of the next block, if zeros lead there.
func (s *scanner) takeNextBlock() ([]byte, error) {
	free := (block - s.off%block) % block
	n := int(min(quiet, free))
	if b, err := s.at(s.off, n); err != nil || len(b) < n || !isZero(b) {
		return nil, err
	}
	return s.take(s.off + free)
}

// clean tells whether the segment ends here as a commit leaves it: with zeros.
func (s *scanner) clean() (bool, error) {
	n := int(min(quiet, s.limit-s.off))
	b, err := s.at(s.off, n)
	return err == nil && len(b) == n && isZero(b), err
}

// search goes on at the next place that holds a whole record.
func (s *scanner) search() ([]byte, error) {
	const before = crcSize + 5 // a sequence is at most so far behind the start of its record
	budget := searchMax
	for off := s.off; off+minRecord <= s.limit; {
		b, err := s.at(off, int(min(window, s.limit-off)))
		if err != nil {
			return nil, err
		}
		if len(b) < minRecord {
			break
		}
		from := off
		for p := 0; p+8 <= len(b); p++ {
			if seq := binary.LittleEndian.Uint64(b[p:]) & maxSeq; seq <= s.last || seq > s.max {
				continue
			}
			for head := 1; head <= 4; head++ {
				start := from + int64(p-crcSize-head)
				if start <= s.off || !s.maybe(b, start, start-from, head, &budget) {
					continue
				}
				if rec, err := s.take(start); err != nil || rec != nil {
					s.torn = true
					return rec, err
				}
				if b, err = s.at(from, len(b)); err != nil {
					return nil, err
				}
			}
		}
		if off += int64(len(b)) - before - 8; len(b) < window {
			break
		}
	}
	return nil, io.EOF
}

// maybe tells whether a record with a length of head bytes can be at off, which is at b[i:] unless that is before b.
// Each costs what checking it will.
func (s *scanner) maybe(b []byte, off, i int64, head int, budget *int) bool {
	const attempt = 1 << 10
	if i < 0 {
		b, i = make([]byte, 5), 0
		if n, err := s.f.ReadAt(b, off); n < head && err != nil {
			return false
		}
	}
	h, size := frame(b[i:])
	if h != head || off+int64(size) > s.limit || *budget < size {
		return false
	}
	*budget -= size + attempt
	return true
}

// newScanner reads s from its first record up to the sequence last, all of which end before limit.
func newScanner(f file, s *segment, last uint64, limit int64) *scanner {
	return &scanner{f: f, seed: seedOf(s.generation), last: s.first - 1, max: last, off: headerBlock, limit: limit}
}
