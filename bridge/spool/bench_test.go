package spool

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"
)

// reading is a record as the gateway keeps most.
func reading(i int) Record {
	at := time.UnixMicro(1772366400e6 + int64(i)*1e6)
	return Record{
		Kind: 1, Synced: true, Topic: fmt.Sprintf("mote/00-17-0d-00-00-38-05-%02x/temperature", i%100), Time: at,
		Anchor: Anchor{Session: 1, Clock: at}, Payload: fmt.Appendf(nil, `{"value":22.97,"unit":"C","manager":"main","n":%d}`, i),
	}
}

func median(d []time.Duration) float64 {
	slices.Sort(d)
	return float64(d[len(d)/2])
}

// BenchmarkAppend compares a durable append of one record, and one that would be told after 150 ms, with a bare write and flush
// of the same bytes, in turns.
func BenchmarkAppend(b *testing.B) {
	rec := reading(1)
	s, err := Open(b.TempDir(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	raw := rawFile(b, recordSize(&rec))
	ways := []func() error{
		raw,
		func() error { _, err := s.AppendDurable(rec); return err },
		func() error { _, err := s.Append(rec); return err },
	}
	took := make([][]time.Duration, len(ways))
	for b.Loop() {
		for _, way := range rand.Perm(len(ways)) { // a flush takes longer after some than after others
			start := time.Now()
			if err := ways[way](); err != nil {
				b.Fatal(err)
			}
			took[way] = append(took[way], time.Since(start))
		}
	}
	bare := median(took[0])
	b.ReportMetric(median(took[1])/1e3, "p50-µs")
	b.ReportMetric(bare/1e3, "raw-µs")
	b.ReportMetric(median(took[1])/bare, "ratio")
	b.ReportMetric(median(took[2])/bare, "late-ratio")
}

// rawFile gives a function that writes n bytes after those it has written, to a file that is there already, and flushes them.
func rawFile(b *testing.B, n int) func() error {
	const size = 1 << 20
	f, err := os.Create(filepath.Join(b.TempDir(), "raw"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { f.Close() })
	if _, err := f.Write(make([]byte, size)); err != nil {
		b.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		b.Fatal(err)
	}
	bytes, at := make([]byte, n), int64(0)
	return func() error {
		if at += int64(n); at+int64(n) > size {
			at = 0
		}
		if _, err := f.WriteAt(bytes, at); err != nil {
			return err
		}
		return datasync(f)
	}
}

// fillFolder appends n readings.
func fillFolder(b *testing.B, path string, n int) {
	b.Helper()
	s, err := Open(path, Options{})
	if err != nil {
		b.Fatal(err)
	}
	group := make([]Record, 0, 500)
	for i := range n {
		if group = append(group, reading(i)); len(group) == cap(group) || i == n-1 {
			if _, err := s.Append(group...); err != nil {
				b.Fatal(err)
			}
			group = group[:0]
		}
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
}

const million = 1_000_000

// BenchmarkOpen opens a spool that holds a million records, and reports what they take on the disk beyond topic and payload.
func BenchmarkOpen(b *testing.B) {
	path := b.TempDir()
	fillFolder(b, path, million)
	snap, err := Inspect(path)
	if err != nil || snap.Records != million {
		b.Fatal(snap, err)
	}
	useful := int64(0)
	for rec := range snap.All(Filter{}) {
		useful += int64(len(rec.Topic) + len(rec.Payload))
	}
	for b.Loop() {
		s, err := Open(path, Options{})
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if st := s.Stats(); st.Stored != million {
			b.Fatalf("%+v", st)
		}
		s.Close()
		b.StartTimer()
	}
	b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms/open")
	b.ReportMetric(float64(snap.Size-useful)/million, "extra-B/record")
}

// BenchmarkDrain gives a million records to a reader that acknowledges a hundred later, and reports the memory it takes.
func BenchmarkDrain(b *testing.B) {
	path := b.TempDir()
	fillFolder(b, path, million)
	for b.Loop() {
		s, err := Open(path, Options{})
		if err != nil {
			b.Fatal(err)
		}
		r, err := s.Reader("r")
		if err != nil {
			b.Fatal(err)
		}
		var before, now runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		most := uint64(0)
		start := time.Now()
		for i := uint64(1); i <= million; i++ {
			rec, ok := r.NextBacklog()
			if !ok || rec.Seq != i {
				b.Fatal(rec.Seq, i)
			}
			if i > 100 {
				r.Ack(i - 100)
			}
			if i%100_000 == 0 {
				runtime.ReadMemStats(&now)
				most = max(most, now.HeapInuse)
			}
		}
		b.ReportMetric(million/time.Since(start).Seconds(), "records/s")
		b.ReportMetric(float64(most-min(most, before.HeapInuse))/1e6, "MB")
		b.ReportMetric(float64(now.Mallocs-before.Mallocs)/million, "allocs/record")
		b.StopTimer()
		os.Remove(filepath.Join(path, cursorFile)) // so that the next round begins at the beginning
		for range r.cursor.acked {
			r.cursor.acked = spans{{0, 0}}
		}
		s.Close()
		if err := os.RemoveAll(path); err != nil {
			b.Fatal(err)
		}
		fillFolder(b, path, million)
		b.StartTimer()
	}
}

// BenchmarkDropOldest appends to a spool that is full, and reports the appends that drop a segment.
func BenchmarkDropOldest(b *testing.B) {
	s, err := Open(b.TempDir(), Options{MaxSize: 8 << 20})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	rec := Record{Payload: make([]byte, 300<<10)}
	for range 40 {
		if _, err := s.Append(rec); err != nil {
			b.Fatal(err)
		}
	}
	var took, plain []time.Duration
	for b.Loop() {
		before := s.Stats().Dropped.Size
		start := time.Now()
		if _, err := s.Append(rec); err != nil {
			b.Fatal(err)
		}
		if d := time.Since(start); s.Stats().Dropped.Size > before {
			took = append(took, d)
		} else {
			plain = append(plain, d)
		}
	}
	if len(took) > 0 && len(plain) > 0 {
		b.ReportMetric((median(took)-median(plain))/1e6, "ms/drop")
		b.ReportMetric(float64(took[len(took)-1])/1e6, "ms-max")
	}
}

// BenchmarkLastHour reads the last hour of one mote out of ten, 36,000 records in all.
func BenchmarkLastHour(b *testing.B) {
	path := b.TempDir()
	fillFolder(b, path, 36_000)
	end := reading(36_000).Time
	for b.Loop() {
		snap, err := Inspect(path)
		if err != nil {
			b.Fatal(err)
		}
		n := 0
		for rec, err := range snap.All(Filter{After: end.Add(-time.Hour)}) {
			if err != nil {
				b.Fatal(err)
			}
			if rec.Topic == "mote/00-17-0d-00-00-38-05-07/temperature" {
				n++
			}
		}
		if n != 36 {
			b.Fatal(n)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/1e3, "ms/query")
}
