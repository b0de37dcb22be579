package tape

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"
)

// ring is the file being written.
type ring struct {
	f      *os.File
	blocks int
	now    block
	dirty  bool // now holds entries that are not in the file
}

// openRing opens a recording, or makes one of at most size bytes, and goes on behind its last block. A recording that is
// there keeps its size.
func openRing(path string, size int64, began time.Time) (*ring, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("tape: %w", err)
	}
	r := &ring{f: f}
	next, err := r.find(size)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("tape: %s: %w", path, err)
	}
	r.now = block{number: next, run: began.UnixMicro()}
	return r, nil
}

// find reads what is there, and gives the number of the next block.
func (r *ring) find(size int64) (next uint64, err error) {
	head := make([]byte, blockSize)
	n, err := io.ReadFull(r.f, head)
	switch {
	case errors.Is(err, io.EOF): // a new file
		r.blocks = int(min(max(size/blockSize-1, minBlocks), maxBlocks))
		if _, err := r.f.WriteAt(header(r.blocks), 0); err != nil {
			return 0, err
		}
		return 0, r.f.Sync()
	case err != nil && !errors.Is(err, io.ErrUnexpectedEOF):
		return 0, err
	}
	blocks, ok := parseHeader(head[:n])
	if !ok {
		return 0, ErrNotTape
	}
	r.blocks = blocks
	all, err := readBlocks(r.f)
	if err != nil || len(all) == 0 {
		return 0, err
	}
	return all[len(all)-1].number + 1, nil
}

// add records an entry; a block that is full is written and put on the disk first.
func (r *ring) add(kind Kind, at uint64, data []byte) error {
	if !r.now.fits(len(data)) {
		if err := r.flush(); err != nil {
			return err
		}
		if err := r.f.Sync(); err != nil {
			return fmt.Errorf("tape: %w", err)
		}
		r.now.number++
		r.now.body = r.now.body[:0]
	}
	if len(r.now.body) == 0 {
		r.now.start, r.now.last = at, at
	}
	r.now.add(kind, at, data)
	r.dirty = true
	return nil
}

// flush writes the present block as it is.
func (r *ring) flush() error {
	if !r.dirty {
		return nil
	}
	place := int64(1+r.now.number%uint64(r.blocks)) * blockSize
	if _, err := r.f.WriteAt(r.now.bytes(), place); err != nil {
		return fmt.Errorf("tape: %w", err)
	}
	r.dirty = false
	return nil
}

// close writes what is left.
func (r *ring) close() error {
	return errors.Join(r.flush(), r.f.Sync(), r.f.Close())
}

// readBlocks gives all blocks of a file that are whole, in the order in which they were written. The file is at the first.
func readBlocks(f io.Reader) ([]block, error) {
	var all []block
	for {
		raw := make([]byte, blockSize)
		n, err := io.ReadFull(f, raw)
		if b, ok := parseBlock(raw[:n]); ok {
			all = append(all, b)
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			slices.SortFunc(all, func(a, b block) int { return cmp.Compare(a.number, b.number) })
			return all, nil
		case err != nil:
			return nil, err
		}
	}
}

// Read gives a recording from its oldest entry to its latest. It may be one that is being written.
func Read(f io.Reader) ([]Entry, error) {
	head := make([]byte, blockSize)
	n, err := io.ReadFull(f, head)
	if _, ok := parseHeader(head[:n]); !ok {
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, fmt.Errorf("tape: %w", err)
		}
		return nil, fmt.Errorf("tape: %w", ErrNotTape)
	}
	blocks, err := readBlocks(f)
	if err != nil {
		return nil, fmt.Errorf("tape: %w", err)
	}
	var all []Entry
	for _, b := range blocks {
		all = append(all, b.entries()...)
	}
	return all, nil
}
