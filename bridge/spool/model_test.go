package spool

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// A model is what a spool promises, beside a spool on a disk that fails, is killed and loses power.
type model struct {
	d     *disk
	s     *Spool
	r     *Reader
	opt   Options
	mu    sync.Mutex
	count int
	tried map[string]bool   // payloads that Append was called with
	kept  map[uint64]string // those that it returned for, and the reader has not acknowledged
	seen  map[uint64]string // what a reader was ever given
	at    uint64            // the record read last, since the last rewind
}

func (m *model) open(t *rapid.T) {
	s, err := open(m.d, m.opt)
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.Reader("r")
	if err != nil {
		t.Fatal(err)
	}
	m.s, m.r, m.at = s, r, 0
}

// become goes on with another disk, as after a crash.
func (m *model) become(t *rapid.T, after *disk) {
	m.d.die(errors.New("gone"))
	m.s.Close()
	m.d = after
	m.open(t)
}

// appendSome appends n records of up to size bytes in one call.
func (m *model) appendSome(t *rapid.T, n, size int) {
	recs := make([]Record, n)
	m.mu.Lock()
	for i := range recs {
		m.count++
		p := fmt.Sprintf("%d", m.count)
		p += fmt.Sprintf("%*s", size-len(p), "")
		recs[i] = Record{Topic: "t", Payload: []byte(p), Time: time.UnixMicro(int64(m.count))}
		m.tried[p] = true
	}
	m.mu.Unlock()
	add := m.s.Append
	if n%2 == 0 {
		add = m.s.AppendDurable
	}
	first, err := add(recs...)
	if err != nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, rec := range recs {
		seq := first + uint64(i)
		if old, ok := m.seen[seq]; ok {
			t.Fatalf("sequence %d was %q and is %q", seq, old, rec.Payload)
		}
		if old, ok := m.kept[seq]; ok {
			t.Fatalf("sequence %d was given for %q and for %q", seq, old, rec.Payload)
		}
		m.kept[seq] = string(rec.Payload)
	}
}

func (m *model) read(t *rapid.T) (uint64, bool) {
	rec, ok := m.r.NextBacklog()
	if !ok {
		return 0, false
	}
	p := string(rec.Payload)
	if !m.tried[p] {
		t.Fatalf("%d holds %q, which was never appended", rec.Seq, p)
	}
	if want, ok := m.kept[rec.Seq]; ok && want != p {
		t.Fatalf("%d is %q, want %q", rec.Seq, p, want)
	}
	if old, ok := m.seen[rec.Seq]; ok && old != p {
		t.Fatalf("%d was %q and is %q", rec.Seq, old, p)
	}
	if rec.Seq <= m.at {
		t.Fatalf("%d after %d", rec.Seq, m.at)
	}
	m.seen[rec.Seq], m.at = p, rec.Seq
	return rec.Seq, true
}

func (m *model) rewind() {
	m.r.Rewind()
	m.at = 0
}

// audit reads all that is not acknowledged.
func (m *model) audit(t *rapid.T) {
	m.d.setFail(nil)
	m.rewind()
	got := map[uint64]bool{}
	for {
		seq, ok := m.read(t)
		if !ok {
			break
		}
		got[seq] = true
	}
	for seq, p := range m.kept {
		if !got[seq] {
			t.Fatalf("%d (%q) was appended and is missing; %+v", seq, p, m.s.Stats())
		}
	}
	m.rewind()
}

func (m *model) actions() map[string]func(*rapid.T) {
	draw := func(t *rapid.T, lo, hi int, what string) int { return rapid.IntRange(lo, hi).Draw(t, what) }
	return map[string]func(*rapid.T){
		"append": func(t *rapid.T) { m.appendSome(t, draw(t, 1, 4, "n"), draw(t, 0, 90, "size")) },
		"appendAtOnce": func(t *rapid.T) {
			size := draw(t, 0, 90, "size")
			var wg sync.WaitGroup
			for i := range draw(t, 2, 5, "goroutines") {
				wg.Go(func() { m.appendSome(t, 1+i%3, size) })
			}
			wg.Wait()
		},
		"read": func(t *rapid.T) {
			for range draw(t, 1, 20, "n") {
				seq, ok := m.read(t)
				if ok && draw(t, 0, 4, "ack") > 0 {
					m.r.Ack(seq)
					delete(m.kept, seq)
				}
			}
		},
		"rewind": func(t *rapid.T) { m.rewind() },
		"audit":  m.audit,
		"restart": func(t *rapid.T) {
			m.d.setFail(nil)
			m.appendSome(t, 1, 1) // what is owed goes with it
			if err := m.s.Close(); err != nil {
				t.Fatal(err)
			}
			m.open(t)
		},
		"kill": func(t *rapid.T) { m.become(t, m.d.kill()) },
		"cut":  func(t *rapid.T) { m.become(t, m.d.powerCut(rng(t))) },
		"cutLater": func(t *rapid.T) {
			m.failAfter(draw(t, 0, 15, "calls"), 1<<30)
			for range 6 {
				m.appendSome(t, draw(t, 1, 4, "n"), draw(t, 0, 90, "size"))
			}
			m.become(t, m.d.powerCut(rng(t)))
		},
		"fail": func(t *rapid.T) { m.failAfter(draw(t, 0, 10, "calls"), draw(t, 1, 5, "times")) },
	}
}

func rng(t *rapid.T) *rand.Rand {
	return rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "cut"), 0))
}

func (m *model) failAfter(calls, times int) {
	n, d := 0, m.d
	d.setFail(func(op, name string) error {
		d.mu.Lock()
		defer d.mu.Unlock()
		if n++; n > calls && n <= calls+times && op != "read" {
			return errDisk
		}
		return nil
	})
}

// Whatever happens to the disk: what Append returned for is given to the reader until it acknowledges it, in order, and no
// sequence ever stands for two records.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &model{d: newDisk(), tried: map[string]bool{}, kept: map[uint64]string{}, seen: map[uint64]string{}}
		m.opt = Options{SegmentSize: minSegment, LateSync: time.Hour}
		m.open(t)
		t.Repeat(m.actions())
		m.audit(t)
		m.become(t, m.d.powerCut(rng(t)))
		m.audit(t)
		m.s.Close()
	})
}
