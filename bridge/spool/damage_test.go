package spool

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Random flips, cuts, zeroed and swapped sectors in all files at once: the spool opens, what it gives is what was appended,
// and what is appended then is there.
func TestRandomDamage(t *testing.T) {
	rounds := 300
	if *soak {
		rounds = 10000
	}
	image, _ := builtDisk(t, 100)
	for round := range rounds {
		damaged := map[string][]byte{}
		r := rngOf(uint64(round))
		for name, b := range image {
			b = slices.Clone(b)
			for range r.IntN(4) {
				at := r.IntN(len(b)/sector) * sector
				switch r.IntN(8) {
				case 0:
					clear(b[at:][:sector])
				case 1:
					b = b[:at]
				case 2:
					copy(b[at:], b[r.IntN(len(b)/sector)*sector:][:sector])
				default:
					b[r.IntN(len(b))] ^= 1 << r.IntN(8)
				}
				if len(b) < sector {
					break
				}
			}
			damaged[name] = b
		}
		d := diskOf(damaged)
		s := mustOpen(t, d, small)
		got := drain(t, s, "r")
		next := s.Stats().Next
		mustAppend(t, s, int(next), int(next)+20)
		mustClose(t, s)
		s = mustOpen(t, d, small)
		if again := drain(t, s, "r"); len(again) < 21 || again[len(again)-1] != next+20 || again[len(again)-21] != next || !slices.IsSorted(got) {
			t.Fatalf("round %d: %d, then %d", round, got, again)
		}
		mustClose(t, s)
	}
}

// Arbitrary bytes in the place of headers, records and cursors.
func FuzzOpen(f *testing.F) {
	image, _ := builtDisk(f, 30)
	for _, b := range image {
		if len(b) == minSegment {
			f.Add(b[:headerSize], b[headerBlock:], appendCursors(nil, 1, 31, map[string]spans{"r": {{0, 3}, {5, 6}}}, 1))
		}
	}
	f.Fuzz(func(t *testing.T, header, records, cursors []byte) {
		if len(header) > headerSize || len(records) > 1<<12 || len(cursors) > slotSize {
			return
		}
		b := make([]byte, headerBlock, headerBlock+len(records))
		copy(b, header)
		copy(b[headerCopy:], header)
		b = append(b, records...)
		d := newDisk()
		d.put(segName(5), b)
		d.put(segName(6), slices.Clone(b))
		d.put(cursorFile, slices.Clone(cursors))
		s := mustOpen(t, d, small)
		r, err := s.Reader("r")
		if err != nil {
			t.Fatal(err)
		}
		for last := uint64(0); ; {
			rec, ok := r.NextBacklog()
			if !ok {
				break
			}
			if rec.Seq <= last {
				t.Fatalf("%d after %d", rec.Seq, last)
			}
			last = rec.Seq
		}
		next := s.Stats().Next
		if next > 1<<47 {
			s.Close()
			return
		}
		for i := range uint64(20) {
			if seq, err := s.Append(recordOf(int(next + i))); err != nil || seq != next+i {
				t.Fatal(seq, next+i, err)
			}
		}
		r.Ack(next)
		mustClose(t, s)
		s = mustOpen(t, d, small)
		if r, err = s.Reader("r"); err != nil {
			t.Fatal(err)
		}
		found := 0
		for rec, ok := r.NextBacklog(); ok; rec, ok = r.NextBacklog() {
			if rec.Seq >= next && same(rec, withSeq(recordOf(int(rec.Seq)), rec.Seq)) {
				found++
			}
		}
		if found != 19 {
			t.Fatalf("%d of 19 from %d", found, next)
		}
		mustClose(t, s)
	})
}

func withSeq(r Record, seq uint64) Record {
	r.Seq = seq
	return r
}

func FuzzRecord(f *testing.F) {
	r := recordOf(1)
	b := appendRecord(nil, &r)
	stamp(b, 1, 77)
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		if head, size := frame(b); size == 0 || size != len(b) || head == 0 {
			return
		}
		stamp(b, 1, 77)
		if !whole(b, 1) || seqOf(b) != 77 {
			t.Fatal("does not pass its own check")
		}
		rec, err := parseRecord(b, "")
		if err != nil {
			return
		}
		again := appendRecord(nil, &rec)
		stamp(again, 1, rec.Seq)
		if back, err := parseRecord(again, ""); err != nil || !same(back, rec) {
			t.Fatalf("%+v\n%+v %v", rec, back, err)
		}
	})
}

// A segment of which nothing can be read is set aside; of those only the newest few are kept.
func TestUnreadableSegment(t *testing.T) {
	image, last := builtDisk(t, 100)
	n := 0
	for name := range image {
		if strings.HasSuffix(name, ".seg") && name != last {
			image[name] = noise(minSegment)
			n++
		}
	}
	d := diskOf(image)
	s := mustOpen(t, d, small)
	g := s.segs[0]
	if got := drain(t, s, "r"); len(got) == 0 || got[0] != g.first || got[len(got)-1] != 100 {
		t.Fatal(got)
	}
	if st := s.Stats(); st.Bad != n || st.Next != 101 {
		t.Fatalf("%+v", st)
	}
	mustClose(t, s)
	bad := 0
	for name := range d.image() {
		if strings.HasSuffix(name, ".bad") {
			bad++
		}
	}
	if bad != maxBad {
		t.Fatalf("%d of %d kept", bad, n)
	}
}

// A place that the disk fails to read is tried for a minute, then costs what is in it, unless the whole disk is away.
func TestReadError(t *testing.T) {
	for _, away := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			image, _ := builtDisk(t, 40)
			d := diskOf(image)
			s := mustOpen(t, d, small)
			broken := segName(s.segs[1].generation)
			r, err := s.Reader("r")
			if err != nil {
				t.Fatal(err)
			}
			from, to := s.segs[1].first, s.segs[1].last
			reads := 0
			d.setFail(func(op, name string) error {
				if op == "read" && name == broken {
					if reads++; away || reads%2 == 1 { // every other is of the header
						return errDisk
					}
				}
				return nil
			})
			start := time.Now()
			for seq := uint64(1); seq < from; seq++ {
				if rec, err := r.Next(t.Context()); err != nil || rec.Seq != seq {
					t.Fatal(rec, err)
				}
			}
			for time.Since(start) < time.Hour {
				rec, err := r.Next(t.Context())
				if err == nil {
					if rec.Seq != to+1 || time.Since(start) < skipAfter || away {
						t.Fatal(rec.Seq, time.Since(start))
					}
					break
				} else if !errors.Is(err, errDisk) {
					t.Fatal(err)
				}
				reads = 0
				time.Sleep(time.Second)
			}
			if st := s.Stats(); away && st.Damaged != 0 || !away && st.Damaged != to-from+1 {
				t.Fatalf("%+v", st)
			}
			d.setFail(nil)
			if rec, err := r.Next(t.Context()); away && (err != nil || rec.Seq != from) {
				t.Fatal(rec, err)
			}
			mustClose(t, s)
		})
	}
}

// A look into a folder while it is written to, and when it is dead.
func TestInspect(t *testing.T) {
	path := t.TempDir()
	s, err := Open(path, Options{SegmentSize: 8 << 10, Readers: []string{"b"}})
	if err != nil {
		t.Fatal(err)
	}
	mustAppend(t, s, 1, 1000)
	ackAll(t, s, "a", func(seq uint64) bool { return seq <= 20 || seq == 30 })
	look := func() *Snapshot {
		snap, err := Inspect(path)
		if err != nil {
			t.Fatal(err)
		}
		return snap
	}
	collect := func(snap *Snapshot, f Filter) (seqs []uint64) {
		for rec, err := range snap.All(f) {
			if err != nil || !same(rec, withSeq(recordOf(int(rec.Seq)), rec.Seq)) {
				t.Fatal(rec, err)
			}
			seqs = append(seqs, rec.Seq)
		}
		return seqs
	}
	if got := collect(look(), Filter{}); !slices.Equal(got, upTo(1000)) {
		t.Fatal(len(got))
	}
	mustClose(t, s)
	snap := look()
	if snap.Records != 1000 || snap.Oldest != 1 || snap.Next != 1001 || snap.Damaged != 0 || len(snap.Segments) < 5 || snap.Torn {
		t.Fatalf("%+v", snap)
	}
	if c := snap.Cursors; len(c) != 2 || c[0].Name != "a" || c[0].Low != 20 || len(c[0].Above) != 1 || c[0].Above[0] != [2]uint64{30, 30} || c[1].Low != 0 {
		t.Fatalf("%+v", snap.Cursors)
	}
	at := func(i int) time.Time { return recordOf(i).Time }
	for _, f := range []Filter{{From: 700, To: 799}, {After: at(700), Before: at(800)}, {From: 700, Before: at(800)}, {To: 799, After: at(700)}} {
		if got := collect(look(), f); !slices.Equal(got, upTo(799)[699:]) {
			t.Fatalf("%+v: %d", f, got)
		}
	}
	for rec := range snap.All(Filter{}) {
		if rec.Seq == 5 {
			break
		}
	}
}

func TestInspectDamage(t *testing.T) {
	path := t.TempDir()
	s, err := Open(path, Options{SegmentSize: 8 << 10})
	if err != nil {
		t.Fatal(err)
	}
	mustAppend(t, s, 1, 1000)
	mustClose(t, s)
	name := filepath.Join(path, segName(s.segs[2].generation))
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	b[5000] ^= 1
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	snap, err := Inspect(path)
	if err != nil {
		t.Fatal(err)
	}
	n, lost := 0, 0
	for rec, err := range snap.All(Filter{}) {
		var d *Damage
		if errors.As(err, &d) {
			lost += int(d.Last - d.First + 1)
		} else if err != nil || rec.Seq == 0 {
			t.Fatal(err)
		} else {
			n++
		}
	}
	if n != 999 || lost != 1 {
		t.Fatal(n, lost)
	}
	for _, err := range snap.All(Filter{From: 1, To: s.segs[2].first - 1}) {
		if err != nil {
			t.Fatal(err)
		}
	}
}
