package spool

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// groupDisk gives a disk with groups of 25 records of one segment, each a window if there are any; how many records there are,
// and where gaps begin and end in it.
func groupDisk(t *testing.T, window time.Duration, groups int) (image map[string][]byte, name string, n int, gaps []span) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		s := mustOpen(t, d, Options{Sync: window, SegmentSize: 32 << 10})
		for range groups {
			before := int64(headerBlock)
			if s.tail != nil {
				before = s.tail.cur.end
			}
			size, recs := 0, make([]Record, 25)
			for i := range recs {
				n++
				recs[i] = recordOf(n)
				recs[i].Topic = strings.Repeat("t", 91)
				size += recordSize(&recs[i])
			}
			if _, err := s.Append(recs...); err != nil {
				t.Fatal(err)
			}
			if from := s.tail.cur.end - int64(size); from != before {
				gaps = append(gaps, span{uint64(before), uint64(from)})
			}
			time.Sleep(time.Second)
		}
		name = segName(s.tail.seg.generation)
		mustClose(t, s)
		image = d.image()
	})
	return image, name, n, gaps
}

// Groups that would touch one block more leave a little free instead, and that costs little.
func TestGap(t *testing.T) {
	image, name, n, gaps := groupDisk(t, 0, 9)
	free := uint64(0)
	for _, g := range gaps {
		if free += g.hi - g.lo; g.hi%block != 0 || g.hi-g.lo > block/8 {
			t.Errorf("a gap from %d to %d", g.lo, g.hi)
		}
	}
	if len(gaps) < 2 || free > uint64(5*n) {
		t.Fatalf("%d gaps, %d bytes, %d records", len(gaps), free, n)
	}
	s := mustOpen(t, diskOf(image), Options{SegmentSize: 32 << 10})
	if st := s.Stats(); st.Damaged != 0 || st.Stored != uint64(n) || len(drainAny(t, s)) != n {
		t.Errorf("%+v", st)
	}
	mustClose(t, s)
	g, _ := parseHeader(image[name])
	f, _ := diskOf(image).open(name, toRead)
	if torn, err := g.scan(f, maxSeq); torn || err != nil || g.count != int64(n) {
		t.Error(torn, err, g.count)
	}
}

// With a window, records that come one by one keep to blocks like a group: a window that fills two thirds of a block and more
// writes that one, also when the one before it had a record more or fewer, and a third of the room is free at most.
func TestGapInWindow(t *testing.T) {
	for _, sizes := range [][]int{{18}, {23}, {25}, {26}, {33}, {25, 26, 26}, {24, 27, 25, 24}} {
		synctest.Test(t, func(t *testing.T) {
			s := mustOpen(t, newDisk(), Options{Sync: 250 * time.Millisecond, SegmentSize: 1 << 20})
			rec := Record{Payload: make([]byte, 93)}
			touched, filled, size := int64(0), int64(0), int64(recordSize(&rec))
			const windows = 60
			most := int64(windows + 1)
			if sizes[0]*int(size) < block*2/3 {
				most = windows * 8 / 5 // as many as without gaps
			}
			for w := range windows {
				for i := range sizes[w%len(sizes)] {
					if _, err := s.Append(rec); err != nil {
						t.Fatal(err)
					}
					if filled += size; i == 0 {
						touched -= (s.tail.cur.end-size)/block - 1
					}
				}
				time.Sleep(time.Second)
				touched += (s.tail.cur.end + quiet - 1) / block
			}
			if room := s.tail.cur.end - headerBlock; touched > most || room > filled*3/2 {
				t.Errorf("%d: %d blocks in %d windows, %d bytes on %d", sizes, touched, windows, filled, room)
			}
			mustClose(t, s)
		})
	}
}

// Around a gap the segment is cut at every byte, and what is in the gap is overwritten: a small gap, and one of a window.
func TestGapDamaged(t *testing.T) {
	for _, window := range []time.Duration{0, 250 * time.Millisecond} {
		image, name, n, gaps := groupDisk(t, window, 6)
		at, gap := ends(t, image[name], name), gaps[0]
		if large := gap.hi-gap.lo > block/8; large != (window > 0) {
			t.Fatalf("%v: a gap from %d to %d", window, gap.lo, gap.hi)
		}
		for cut := gap.lo - 150; cut < gap.hi+150; cut++ {
			if skip(int(cut)) {
				continue
			}
			b := slices.Clone(image[name])
			clear(b[cut:])
			whole := 0
			for whole < n && at[whole] <= int64(cut) {
				whole++
			}
			s := mustOpen(t, diskOf(map[string][]byte{name: b}), Options{SegmentSize: 32 << 10})
			if got := drainAny(t, s); !slices.Equal(got, upTo(whole)) || s.Stats().Damaged > 1 {
				t.Fatalf("cut at %d: %d records, not %d; %d damaged", cut, len(got), whole, s.Stats().Damaged)
			}
			mustClose(t, s)
			if cut < gap.lo || cut >= gap.hi {
				continue
			}
			b = slices.Clone(image[name])
			b[cut] ^= 0x55
			s = mustOpen(t, diskOf(map[string][]byte{name: b}), Options{SegmentSize: 32 << 10})
			if got := drainAny(t, s); len(got) != n || s.Stats().Damaged > 1 {
				t.Fatalf("flip at %d: %d records, %d damaged", cut, len(got), s.Stats().Damaged)
			}
			mustClose(t, s)
		}
	}
}

// drainAny gives the sequences of all that a reader gets.
func drainAny(t *testing.T, s *Spool) (seqs []uint64) {
	t.Helper()
	r, err := s.Reader("r")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for rec, ok := r.NextBacklog(); ok; rec, ok = r.NextBacklog() {
		seqs = append(seqs, rec.Seq)
	}
	return seqs
}
