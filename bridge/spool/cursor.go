package spool

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"slices"
	"sort"
	"sync"
	"time"
)

const (
	cursorFile  = "cursors"
	slotSize    = 16 << 10
	slotHead    = 36
	maxName     = 100 // bytes
	maxCursors  = 100 // all fit into a slot, if need be without their ranges
	savedRanges = 64  // ranges of a cursor that are saved
	knownRanges = 4096
	saveEvery   = time.Second
	saveAfter   = 16               // acknowledgements of a reader: so many a crash may repeat, and those in flight
	flushEvery  = 20 * time.Second // a power cut repeats at most what was acknowledged since
)

var cursorMagic = []byte("mgcursor")

// A cursor is what a reader has acknowledged. Its first range begins at 0; it ends at the low-water mark.
type cursor struct {
	acked  spans
	opened int  // readers of this name that are open
	listed bool // named by Options.Readers

	unsaved int // acknowledgements since it was written last
}

func (c *cursor) inForce() bool { return c.opened > 0 || c.listed }

// low gives the sequence up to which everything is acknowledged.
func (c *cursor) low() uint64 { return c.acked.after(0) - 1 }

// ack notes lo to hi. When there are too many ranges the highest is forgotten: that repeats records, and loses none.
func (c *cursor) ack(lo, hi uint64) {
	c.acked.add(lo, hi)
	if len(c.acked) > knownRanges {
		c.acked = c.acked[:knownRanges]
	}
}

// low gives the sequence up to which every reader in force has acknowledged everything, and whether there is any. The lock
// is held.
func (s *Spool) low() (low uint64, any bool) {
	for _, c := range s.cursors {
		if c.inForce() && (!any || c.low() < low) {
			low, any = c.low(), true
		}
	}
	return low, any
}

// delivered gives what every reader in force has acknowledged. The lock is held.
func (s *Spool) delivered() (done spans, any bool) {
	for _, c := range s.cursors {
		if !c.inForce() {
			continue
		}
		if done = done.and(c.acked); !any {
			done, any = slices.Clone(c.acked), true
		}
	}
	return done, any
}

// cursorOf gives the cursor of a name. A new one begins where the lowest that is known is, else at the oldest record. The
// lock is held.
func (s *Spool) cursorOf(name string) *cursor {
	if c := s.cursors[name]; c != nil {
		return c
	}
	from := s.synced
	if len(s.segs) > 0 {
		from = s.segs[0].first - 1
	}
	if lows := s.lows(); len(lows) > 0 {
		from = max(from, slices.Min(lows))
	}
	c := &cursor{acked: spans{{0, from}}}
	s.cursors[name] = c
	s.touchCursors()
	return c
}

// lows gives the low-water marks of all cursors.
func (s *Spool) lows() (all []uint64) {
	for _, c := range s.cursors {
		all = append(all, c.low())
	}
	return all
}

// SetReaders replaces Options.Readers, for a changed configuration.
func (s *Spool) SetReaders(names ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.setReaders(names)
	s.releaseLocked()
}

func (s *Spool) setReaders(names []string) {
	for _, c := range s.cursors {
		c.listed = false
	}
	for _, name := range names {
		s.cursorOf(name).listed = true
	}
}

// savedCursors is the state of their file. Its two slots take turns, but only when the one that was written last is on the
// disk: a power cut leaves one of them whole.
type savedCursors struct {
	// Guarded by the spool's lock.
	dirty bool

	mu      sync.Mutex // guards what follows; held while the file is written; taken before the spool's lock
	f       file
	next    uint64 // sequence that it says comes next
	serial  uint64
	slot    int64
	written bool // since the last flush
	flushed time.Time

	// The housekeeper's.
	at time.Time
}

// touchCursors has them saved within a second. The lock is held.
func (s *Spool) touchCursors() {
	if !s.saved.dirty {
		s.saved.dirty = true
		poke(s.chores)
	}
}

// adoptCursors takes over what the file says. A sequence that a cursor knows is not given again, even if its record is gone.
// Readers that are open already go on from there. The lock is held.
func (s *Spool) adoptCursors(state cursorState, torn bool) {
	s.saved.serial, s.saved.slot, s.saved.next = state.serial, 1-state.slot, max(state.next, 1)
	if state.damaged {
		s.stats.Repaired++
		s.log.Warn("cursor file is damaged", "lost", len(state.cursors) == 0)
	}
	if state.next > s.written+1 {
		s.stats.Damaged += state.next - s.written - 1
		if torn {
			s.stats.Damaged-- // is one of them, and was counted
		}
		s.written = state.next - 1
	}
	oldest := s.written
	if len(s.segs) > 0 {
		oldest = s.segs[0].first - 1
	} else {
		s.synced = s.written // new readers begin here
	}
	known := s.cursors
	s.cursors = map[string]*cursor{}
	for name, acked := range state.cursors {
		acked.add(0, oldest)
		s.cursors[name] = &cursor{acked: acked}
	}
	for name, c := range known {
		c.acked = s.cursorOf(name).acked
		s.cursors[name] = c
	}
}

// A cursorState is what a cursor file says.
type cursorState struct {
	serial  uint64
	slot    int64
	next    uint64
	cursors map[string]spans
	damaged bool  // a slot that is not empty makes no sense
	unread  error // the disk has failed to read it
}

func loadCursorFile(d folder) (state cursorState) {
	raw, err := readAt(d, cursorFile, 0, 2*slotSize)
	if err != nil {
		state.unread = err
		return state
	}
	for slot := range int64(2) {
		b := raw[min(int(slot*slotSize), len(raw)):min(int((slot+1)*slotSize), len(raw))]
		serial, next, cursors, err := parseCursors(b)
		if err != nil {
			state.damaged = state.damaged || !isZero(b)
		} else if serial >= state.serial {
			state.serial, state.slot, state.next, state.cursors = serial, slot, next, cursors
		}
	}
	return state
}

// appendCursors writes a slot. What does not fit is forgotten: the ranges, never the low-water marks.
func appendCursors(dst []byte, serial, next uint64, cursors map[string]spans, ranges int) []byte {
	at := len(dst)
	dst = append(dst, cursorMagic...)
	dst = append(dst, version, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	dst = binary.LittleEndian.AppendUint64(dst, serial)
	dst = binary.LittleEndian.AppendUint64(dst, next)
	names := make([]string, 0, len(cursors))
	for name := range cursors {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		set := cursors[name]
		dst = binary.AppendUvarint(dst, uint64(len(name)))
		dst = append(dst, name...)
		dst = binary.AppendUvarint(dst, set[0].hi)
		above := set[1:min(len(set), 1+ranges)]
		dst = binary.AppendUvarint(dst, uint64(len(above)))
		for i, r := range above {
			dst = binary.AppendUvarint(dst, r.lo-set[i].hi)
			dst = binary.AppendUvarint(dst, r.hi-r.lo)
		}
	}
	if len(dst)-at > slotSize && ranges > 0 {
		return appendCursors(dst[:at], serial, next, cursors, ranges/2)
	}
	b := dst[at:]
	binary.LittleEndian.PutUint32(b[12:], uint32(len(b)))
	binary.LittleEndian.PutUint32(b[16:], slotCheck(b))
	return dst
}

// slotCheck covers a slot but for the check itself.
func slotCheck(b []byte) uint32 {
	return crc32.Update(crc32.Checksum(b[:16], castagnoli), castagnoli, b[20:])
}

var errCursors = errors.New("spool: cursor slot does not parse")

func parseCursors(b []byte) (serial, next uint64, cursors map[string]spans, err error) {
	if len(b) < slotHead || !bytes.Equal(b[:8], cursorMagic) || b[8] != version {
		return 0, 0, nil, errCursors
	}
	n := binary.LittleEndian.Uint32(b[12:])
	if n < slotHead || int64(n) > int64(len(b)) || slotCheck(b[:n]) != binary.LittleEndian.Uint32(b[16:]) {
		return 0, 0, nil, errCursors
	}
	serial, next = binary.LittleEndian.Uint64(b[20:]), binary.LittleEndian.Uint64(b[28:])
	r := &varints{b: b[slotHead:n]}
	cursors = map[string]spans{}
	for len(r.b) > 0 && !r.short {
		name := r.text()
		set := spans{{0, r.next()}}
		for range min(r.next(), uint64(len(r.b))) {
			lo := set[len(set)-1].hi + r.next()
			set = append(set, span{lo, lo + r.next()})
		}
		if last := set[len(set)-1]; last.hi > maxSeq || last.hi < last.lo {
			return 0, 0, nil, errCursors
		}
		cursors[name] = set
	}
	if r.short || next > maxSeq {
		return 0, 0, nil, errCursors
	}
	return serial, next, cursors, nil
}

// varints reads numbers until one is missing.
type varints struct {
	b     []byte
	short bool
}

func (r *varints) next() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.short, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *varints) text() string {
	n := r.next()
	if n > uint64(len(r.b)) {
		r.short, r.b = true, nil
		return ""
	}
	s := string(r.b[:n])
	r.b = r.b[n:]
	return s
}
