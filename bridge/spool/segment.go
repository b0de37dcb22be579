package spool

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
	"time"
)

// Sizes in bytes.
const (
	block       = 4096 // what a filesystem writes at a time
	headerBlock = 4096 // records begin here; both copies of the header are before
	headerCopy  = 512  // where the second copy is: another sector
	headerSize  = 64
	footerSize  = 64 // at the end of the file, written when the segment is full
	quiet       = 16 // zeros after the last record, which tell a clean end from a torn one
	minSegment  = headerBlock + 512
	maxSegment  = 64 << 20
	version     = 1
)

var (
	headerMagic = []byte("mgspool\n")
	footerMagic = []byte("mgsealed")
)

// A segment is one file of the spool. The spool's lock guards it.
type segment struct {
	generation uint64
	first      uint64 // sequence of its first record
	size       int64  // of the file
	created    time.Time
	extent
	lost spans // sequences that are known to be damaged

	headless bool // both copies of its header are damaged: found by its name
	cut      bool // the file is not of the size that it was made
}

// An extent is how far a segment is filled.
type extent struct {
	last    uint64 // sequence of its newest record; one less than the first of the segment if it has none
	end     int64  // where the next record goes
	count   int64  // whole records
	minTime int64  // of all records, in microseconds since 1970; maxTime < minTime: none
	maxTime int64
	synced  int64 // newest time of a Synced record; noTime: none
	undated int64 // records that are not Synced
}

func emptyExtent(first uint64) extent {
	return extent{last: first - 1, end: headerBlock, minTime: 1<<63 - 1, maxTime: -1 << 63, synced: noTime}
}

// note takes the times of a record that is in.
func (e *extent) note(rec []byte) {
	e.count++
	us, synced := timesOf(rec)
	if us != noTime {
		e.minTime, e.maxTime = min(e.minTime, us), max(e.maxTime, us)
	}
	if synced && us != noTime {
		e.synced = max(e.synced, us)
	} else {
		e.undated++
	}
}

// capacity is where records of a segment of that size must end.
func capacity(size int64) int64 { return size - footerSize }

// maxRecords is more than any segment of that size can hold.
func maxRecords(size int64) uint64 { return uint64(size)/minRecord + 1 }

func segName(generation uint64) string { return fmt.Sprintf("%016x.seg", generation) }
func newName(generation uint64) string { return fmt.Sprintf("%016x.new", generation) }

// parseName splits the name of a file of ours into its number and its kind: "seg", "new" or "bad".
func parseName(name string) (generation uint64, kind string, ok bool) {
	num, kind, _ := strings.Cut(name, ".")
	generation, err := strconv.ParseUint(num, 16, 64)
	if err != nil || len(num) != 16 || generation == 0 || generation >= 1<<62 || num != strings.ToLower(num) {
		return 0, "", false
	}
	return generation, kind, kind == "seg" || kind == "new" || kind == "bad"
}

// appendHeader writes the header block: two copies, and zeros up to where the terminator of an empty segment ends.
func appendHeader(dst []byte, s *segment) []byte {
	var h [headerSize]byte
	copy(h[:], headerMagic)
	binary.LittleEndian.PutUint16(h[8:], version)
	binary.LittleEndian.PutUint32(h[12:], uint32(s.size))
	binary.LittleEndian.PutUint64(h[16:], s.generation)
	binary.LittleEndian.PutUint64(h[24:], s.first)
	binary.LittleEndian.PutUint64(h[32:], uint64(micros(s.created)))
	binary.LittleEndian.PutUint32(h[60:], crc32.Checksum(h[:60], castagnoli))
	at := len(dst)
	dst = append(dst, make([]byte, headerBlock+quiet)...)
	copy(dst[at:], h[:])
	copy(dst[at+headerCopy:], h[:])
	return dst
}

// A headerState says what a header block holds.
type headerState int

const (
	headerGood    headerState = iota
	headerDamaged             // something, but no header
	headerEmpty               // zeros: a segment that was never begun
	headerNewer               // of a version that this program does not know
)

// parseHeader reads the first of the two copies that is whole. Without a good one the segment is nil.
func parseHeader(b []byte) (*segment, headerState) {
	state := headerEmpty
	for _, at := range []int{0, headerCopy} {
		if len(b) < at+headerSize {
			break
		}
		h := b[at : at+headerSize]
		if !isZero(h) {
			state = headerDamaged
		}
		if !bytes.Equal(h[:8], headerMagic) || binary.LittleEndian.Uint32(h[60:]) != crc32.Checksum(h[:60], castagnoli) {
			continue
		}
		s := &segment{
			generation: binary.LittleEndian.Uint64(h[16:]),
			first:      binary.LittleEndian.Uint64(h[24:]),
			size:       int64(binary.LittleEndian.Uint32(h[12:])),
			created:    timeOf(int64(binary.LittleEndian.Uint64(h[32:]))),
		}
		if binary.LittleEndian.Uint16(h[8:]) > version {
			return s, headerNewer
		}
		if s.first == 0 || s.first > maxSeq || s.size < minSegment || s.size > maxSegment {
			continue
		}
		s.extent = emptyExtent(s.first)
		return s, headerGood
	}
	return nil, state
}

func isZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// appendFooter writes what a full segment holds, so that it need not be read to be opened.
func appendFooter(dst []byte, s *segment, e extent) []byte {
	at := len(dst)
	dst = append(dst, footerMagic...)
	for _, v := range []int64{int64(s.first), int64(e.last), e.minTime, e.maxTime, e.synced} {
		dst = binary.LittleEndian.AppendUint64(dst, uint64(v))
	}
	dst = binary.LittleEndian.AppendUint32(dst, uint32(e.end))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(e.count))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(e.undated))
	return binary.LittleEndian.AppendUint32(dst, crc32.Update(seedOf(s.generation), castagnoli, dst[at:]))
}

func parseFooter(b []byte, generation uint64) (first uint64, e extent, ok bool) {
	if len(b) != footerSize || !bytes.Equal(b[:8], footerMagic) ||
		binary.LittleEndian.Uint32(b[60:]) != crc32.Update(seedOf(generation), castagnoli, b[:60]) {
		return 0, extent{}, false
	}
	var v [5]int64
	for i := range v {
		v[i] = int64(binary.LittleEndian.Uint64(b[8+8*i:]))
	}
	e = extent{last: uint64(v[1]), minTime: v[2], maxTime: v[3], synced: v[4],
		end: int64(binary.LittleEndian.Uint32(b[48:])), count: int64(binary.LittleEndian.Uint32(b[52:])),
		undated: int64(binary.LittleEndian.Uint32(b[56:]))}
	first = uint64(v[0])
	return first, e, first > 0 && e.last <= maxSeq && e.last+1 >= first && e.count <= int64(e.last+1-first)
}
