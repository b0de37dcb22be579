package gateway

import (
	"encoding/hex"
	"log/slog"
	"runtime"
	"testing"
	"time"

	"github.com/meshgate/meshgate/bridge/spool"
	"github.com/meshgate/meshgate/gateway/config"
	"github.com/meshgate/meshgate/smartmesh"
	"github.com/meshgate/meshgate/smartmesh/health"
	"github.com/meshgate/meshgate/smartmesh/oap"
)

// deaf is a mesh without a manager, whose clock is known.
func deaf(tb testing.TB) *mesh {
	hw := Hardware{ClockRight: func() bool { return true }}
	log := slog.New(slog.DiscardHandler)
	g := &Gateway{hw: hw, log: log, hub: newHub(), dates: newDates(tb.TempDir(), hw, "boot", log)}
	g.cfg.Store(config.Default())
	m := newMesh(config.Manager{Name: "main"}, g)
	m.clock.Observe(time.Now(), time.Now(), smartmesh.TimeInfo{UTC: time.Unix(1025665990, 0).UTC()})
	return m
}

// BenchmarkReading is the way of a data notification from its packet to the record for the disk:
// at most 3 microseconds and 6 allocations are allowed.
func BenchmarkReading(b *testing.B) {
	m, payload := deaf(b), readingPayload(b)
	var recs []spool.Record
	b.ReportAllocs()
	for b.Loop() {
		recs = m.reading(payload)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "µs/reading")
	if len(recs) != 1 || recs[0].Kind != kindSample {
		b.Errorf("got %+v", recs)
	}
}

// TestReadingAllocates: at most 6 times.
func TestReadingAllocates(t *testing.T) {
	m, payload := deaf(t), readingPayload(t)
	if n := testing.AllocsPerRun(1000, func() { m.reading(payload) }); n > 6 {
		t.Errorf("%v allocations", n)
	}
}

func (m *mesh) reading(payload []byte) []spool.Record {
	n := smartmesh.ParseNotification(smartmesh.Packet{Control: 2, Type: 20, Payload: payload})
	return m.data(n.Body.(*smartmesh.DataNotification), time.Now())
}

func readingPayload(tb testing.TB) []byte {
	tb.Helper()
	payload, err := hex.DecodeString("04" + "000000003d226bc6" + "00060eb3" + "00170d00003805e9" + "f0b9f0b9" +
		"00000500ff0105" + "000000003d226bc6" + "00060eb3" + "00007530" + "0110" + "08f9")
	if err != nil {
		tb.Fatal(err)
	}
	return payload
}

// TestMemoryOf100Motes: it is below 2 MiB.
func TestMemoryOf100Motes(t *testing.T) {
	if kept := memoryOf100Motes(t); kept > 2<<20 {
		t.Errorf("%d KiB", kept>>10)
	}
}

// BenchmarkMemoryOf100Motes tells how much it is.
func BenchmarkMemoryOf100Motes(b *testing.B) {
	var kept uint64
	for b.Loop() {
		kept = max(kept, memoryOf100Motes(b))
	}
	b.ReportMetric(float64(kept)/1024, "KiB")
	b.ReportMetric(0, "ns/op")
}

// memoryOf100Motes is what a mesh keeps of them, in bytes: with 30 neighbours each, reports of all kinds and all their paths.
func memoryOf100Motes(tb testing.TB) uint64 {
	m := deaf(tb)
	used := func() uint64 {
		var s runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&s)
		return s.HeapAlloc
	}
	before := used()
	mac := func(n int) smartmesh.MAC { return smartmesh.MAC{6: byte(n >> 8), 7: byte(n)} }
	for n := range 101 {
		m.motes.created(mac(n), uint16(n+1))
	}
	for n := range 101 {
		r := health.Report{Devices: make([]health.Device, 1), RSSI: make([]health.RSSI, 1)}
		nbrs, disc := health.Neighbors{}, health.Discovered{}
		s := surveyed{known: true}
		for k := range 30 {
			nbrs.Neighbors = append(nbrs.Neighbors, health.Neighbor{NeighborID: uint16((n+k)%101 + 1)})
			disc.DiscoveredNeighbors = append(disc.DiscoveredNeighbors, health.Discovery{NeighborID: uint16((n+k+30)%101 + 1)})
			s.paths = append(s.paths, smartmesh.NextPathInfo{Source: mac(n), Dest: mac((n + k) % 101)})
		}
		r.Neighbors, r.Discovered = []health.Neighbors{nbrs}, []health.Discovered{disc}
		m.motes.report(mac(n), r, time.Now())
		m.motes.sampled(mac(n), oap.Sample{Channel: oap.Temperature, Rate: time.Second}, time.Now())
		m.oap.mote(mac(n))
		m.survey.motes[mac(n)] = s
	}
	kept := int64(used()) - int64(before)
	runtime.KeepAlive(m)
	return uint64(max(kept, 0))
}
