package spool

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func rngOf(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

// ackAll reads the backlog and acknowledges what want says.
func ackAll(t testing.TB, s *Spool, name string, want func(seq uint64) bool) {
	t.Helper()
	r, err := s.Reader(name)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for rec, ok := r.NextBacklog(); ok; rec, ok = r.NextBacklog() {
		if want(rec.Seq) {
			r.Ack(rec.Seq)
		}
	}
}

// Acknowledgements in any order survive a restart; of more ranges than are saved only the highest are forgotten.
func TestCursorRanges(t *testing.T) {
	d := newDisk()
	s := mustOpen(t, d, small)
	mustAppend(t, s, 1, 400)
	ackAll(t, s, "r", func(seq uint64) bool { return seq <= 10 || seq%2 == 0 })
	mustClose(t, s)
	s = mustOpen(t, d, small)
	defer s.Close()
	var want []uint64
	for seq := uint64(11); seq <= 400; seq++ {
		if seq%2 == 1 || seq > 10+2*savedRanges {
			want = append(want, seq)
		}
	}
	if got := drain(t, s, "r"); !slices.Equal(got, want) {
		t.Fatalf("got %d\nwant %d", got, want)
	}
}

// Acknowledgements that come together are taken together; those of what is not there, not.
func TestAckTogether(t *testing.T) {
	s := mustOpen(t, newDisk(), small)
	defer s.Close()
	mustAppend(t, s, 1, 400)
	r, err := s.Reader("r")
	if err != nil {
		t.Fatal(err)
	}
	before := s.Stats().Records
	var all []uint64
	for seq := uint64(300); seq > 0; seq-- {
		all = append(all, seq)
	}
	r.Ack(append(all, 0, 401, 305)...)
	mustAppend(t, s, 401, 401)
	if n := r.Waiting(); n != 100 {
		t.Errorf("%d wait", n)
	}
	if after := s.Stats().Records; after > before-200 {
		t.Errorf("%d records after what was delivered is gone, of %d", after, before)
	}
	if got := drain(t, s, "r"); got[0] != 301 || slices.Contains(got, 305) || len(got) != 100 {
		t.Errorf("%d are left", got)
	}
}

// Cursors are saved once a second, and reach the disk within twenty more. A kill costs a second at most, a power cut 21, none
// a record.
func TestCursorSaved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		s := mustOpen(t, d, small)
		mustAppend(t, s, 1, 400)
		r, err := s.Reader("r")
		if err != nil {
			t.Fatal(err)
		}
		first := func(d *disk) uint64 {
			s := mustOpen(t, d, small)
			defer s.Close()
			return drain(t, s, "r")[0]
		}
		for seq := uint64(1); seq <= 300; seq++ {
			if rec, ok := r.NextBacklog(); !ok || rec.Seq != seq {
				t.Fatal(rec.Seq, ok)
			}
			r.Ack(seq)
			time.Sleep(100 * time.Millisecond)
			if seq%7 == 0 {
				if got := first(d.kill()); got+11 < seq || got > seq+1 {
					t.Fatalf("killed at %d: at %d", seq, got)
				}
				if got := first(d.powerCut(rngOf(seq))); got+211 < seq || got > seq+1 {
					t.Fatalf("cut at %d: at %d", seq, got)
				}
			}
		}
		if st := s.Stats(); st.Written.Cursors > 32*(slotHead+20) {
			t.Fatalf("%+v", st)
		}
		mustClose(t, s)
	})
}

// However fast a reader acknowledges, a kill costs no more than saveAfter, and nothing is flushed for it.
func TestCursorKilledInAHurry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		s := mustOpen(t, d, small)
		mustAppend(t, s, 1, 400)
		r, err := s.Reader("r")
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * saveEvery)
		flushes := s.Stats().Syncs
		for rec, ok := r.NextBacklog(); ok; rec, ok = r.NextBacklog() {
			r.Ack(rec.Seq)
			killed := mustOpen(t, d.kill(), small)
			if low := killed.cursors["r"].low(); low > rec.Seq || low+saveAfter <= rec.Seq {
				t.Errorf("killed at %d: at %d", rec.Seq, low)
			}
			mustClose(t, killed)
		}
		if n := s.Stats().Syncs - flushes; n != 0 {
			t.Errorf("%d flushes", n)
		}
		mustClose(t, s)
	})
}

// A cursor file that is gone or damaged costs repeats, never records.
func TestCursorFileLost(t *testing.T) {
	d := newDisk()
	s := mustOpen(t, d, small)
	mustAppend(t, s, 1, 100)
	ackAll(t, s, "r", func(seq uint64) bool { return seq <= 3 })
	mustClose(t, s)
	image := d.image()
	whole := image[cursorFile]
	flipped := slices.Clone(whole)
	flipped[30] ^= 1
	flipped[slotSize+30] ^= 1
	for what, b := range map[string][]byte{"gone": nil, "empty": {}, "noise": noise(len(whole)), "flipped": flipped, "zeros": make([]byte, len(whole))} {
		if image[cursorFile] = b; b == nil {
			delete(image, cursorFile)
		}
		s := mustOpen(t, diskOf(image), small)
		if got := drain(t, s, "r"); !slices.Equal(got, upTo(100)) {
			t.Fatalf("%s: %d", what, got)
		}
		if st := s.Stats(); st.Next != 101 || st.Repaired != map[string]uint64{"noise": 1, "flipped": 1}[what] {
			t.Fatalf("%s: %+v", what, st)
		}
		mustClose(t, s)
	}
}

func noise(n int) []byte {
	b := make([]byte, n)
	r := rngOf(uint64(n))
	for i := range b {
		b[i] = byte(r.Int())
	}
	return b
}

// A new name begins where the reader that is furthest behind is, opened or not.
func TestNewReader(t *testing.T) {
	d := newDisk()
	s := mustOpen(t, d, Options{LateSync: time.Hour})
	mustAppend(t, s, 1, 20)
	if got := drain(t, s, "first"); !slices.Equal(got, upTo(20)) {
		t.Fatal(got)
	}
	ackAll(t, s, "first", func(seq uint64) bool { return seq <= 15 })
	ackAll(t, s, "second", func(seq uint64) bool { return true })
	mustClose(t, s)
	s = mustOpen(t, d, Options{LateSync: time.Hour})
	defer s.Close()
	if got := drain(t, s, "second"); got != nil {
		t.Fatal(got)
	}
	if got := drain(t, s, "third"); len(got) != 5 || got[0] != 16 {
		t.Fatal(got)
	}
}

// Only readers in force hold on to segments; with none, nothing is freed.
func TestReadersInForce(t *testing.T) {
	opt := small
	opt.Readers = []string{"a", "b"}
	d := newDisk()
	s := mustOpen(t, d, opt)
	mustAppend(t, s, 1, 200)
	all := func(uint64) bool { return true }
	ackAll(t, s, "a", all)
	ackAll(t, s, "stranger", all)
	if st := s.Stats(); st.Stored != 200 || st.Records != 200 {
		t.Fatalf("%+v", st)
	}
	s.SetReaders("a")
	if st := s.Stats(); st.Segments != 1 || st.Records != 0 {
		t.Fatalf("%+v", st)
	}
	mustAppend(t, s, 201, 300)
	s.SetReaders()
	if st := s.Stats(); st.Records != st.Stored || st.Stored < 100 {
		t.Fatalf("%+v", st)
	}
	mustClose(t, s)
	s = mustOpen(t, d, small)
	if st := s.Stats(); st.Stored < 100 {
		t.Fatalf("%+v", st)
	}
	if got := drain(t, s, "a"); len(got) != 100 || got[0] != 201 {
		t.Fatal(got)
	}
	mustClose(t, s)
}

// A cursor that is not in force is kept until what it points to is gone.
func TestForgottenCursor(t *testing.T) {
	d := newDisk()
	s := mustOpen(t, d, small)
	mustAppend(t, s, 1, 200)
	ackAll(t, s, "old", func(seq uint64) bool { return seq <= 100 })
	mustClose(t, s)
	names := func() (all []string) {
		snap, err := inspect(d)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range snap.Cursors {
			all = append(all, fmt.Sprint(c.Name, c.Low))
		}
		return all
	}
	opt := small
	opt.Readers = []string{"new"}
	s = mustOpen(t, d, opt)
	mustClose(t, s)
	if got := names(); !slices.Equal(got, []string{"new100", "old100"}) {
		t.Fatal(got)
	}
	s = mustOpen(t, d, opt)
	ackAll(t, s, "new", func(seq uint64) bool { return true })
	mustAppend(t, s, 201, 300)
	mustClose(t, s)
	if got := names(); !slices.Equal(got, []string{"new200"}) {
		t.Fatal(got)
	}
}

// Every byte of the saved cursors is cut and flipped in turn: the other slot, or none, counts.
func TestCursorSlots(t *testing.T) {
	two := map[string]spans{"a": {{0, 5}, {7, 9}}, "bb": {{0, 1 << 40}}, "": {{0, 0}}}
	b := appendCursors(nil, 7, 99, two, savedRanges)
	serial, next, got, err := parseCursors(b)
	if err != nil || serial != 7 || next != 99 || fmt.Sprint(got) != fmt.Sprint(two) {
		t.Fatal(serial, next, got, err)
	}
	for i := range b {
		if _, _, _, err := parseCursors(b[:i]); err == nil {
			t.Fatalf("cut at %d passes", i)
		}
		for bit := range 8 {
			b[i] ^= 1 << bit
			if _, _, _, err := parseCursors(b); err == nil {
				t.Fatalf("bit %d of byte %d passes", bit, i)
			}
			b[i] ^= 1 << bit
		}
	}
}

func TestManyCursorsFit(t *testing.T) {
	many := map[string]spans{}
	for i := range 100 {
		set := spans{{0, uint64(i)}}
		for j := range 200 {
			set.add(uint64(1000+10000*j), uint64(1000+10000*j))
		}
		many[fmt.Sprintf("reader-%d", i)] = set
	}
	b := appendCursors(nil, 1, 1, many, savedRanges)
	if len(b) > slotSize {
		t.Fatal(len(b))
	}
	_, _, got, err := parseCursors(b)
	if err != nil || len(got) != 100 || got["reader-42"][0] != (span{0, 42}) {
		t.Fatal(got, err)
	}
}

func TestSpans(t *testing.T) {
	r := rngOf(1)
	for range 200 {
		var s, u spans
		in, in2 := [64]bool{}, [64]bool{}
		for range 20 {
			lo := r.IntN(60)
			hi := lo + r.IntN(4)
			fresh := uint64(0)
			for i := lo; i <= hi; i++ {
				if !in[i] {
					fresh++
				}
				in[i] = true
			}
			if got := s.add(uint64(lo), uint64(hi)); got != fresh {
				t.Fatal(s, lo, hi, got, fresh)
			}
			k := r.IntN(64)
			in2[k] = true
			u.add(uint64(k), uint64(k))
		}
		both, n := s.and(u), uint64(0)
		for i := range in {
			if in[i] != (s.after(uint64(i)) != uint64(i)) || (in[i] && in2[i]) != (both.after(uint64(i)) != uint64(i)) {
				t.Fatal(s, u, both, i)
			}
			if in[i] {
				n++
			}
		}
		if s.count(0, 63) != n {
			t.Fatal(s, n)
		}
		for i := 1; i < len(s); i++ {
			if s[i].lo <= s[i-1].hi+1 {
				t.Fatal(s)
			}
		}
	}
}
