package sim

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Packets need time through the mesh and may overtake each other; their stamps stay those of the motes.
func TestLatency(t *testing.T) {
	in(t, Config{Motes: 1, Period: time.Second, HealthPeriod: -1, Latency: 3 * time.Second, Numbered: true, Count: 100},
		func(t *testing.T, m *Manager, p *peer) {
			p.hello(0)
			p.subscribe(0x30)
			time.Sleep(2 * time.Minute)
			seen, last, swapped := map[uint16]bool{}, uint16(0), 0
			for _, oap := range data(p.takeNotes()) {
				n := be.Uint16(oap[25:])
				if n < last {
					swapped++
				}
				last, seen[n] = n, true
			}
			if len(seen) != 100 || swapped == 0 || !seen[1] || !seen[100] {
				t.Errorf("%d samples, %d out of order", len(seen), swapped)
			}
		})
}

// Numbered motes wait while nobody listens, and go on where they were.
func TestNumberedWaits(t *testing.T) {
	in(t, Config{Motes: 3, Period: time.Second, HealthPeriod: -1, Numbered: true}, func(t *testing.T, m *Manager, p *peer) {
		time.Sleep(time.Minute)
		var got []uint16
		for range 3 {
			p.hello(0)
			p.subscribe(0)
			time.Sleep(10 * time.Second)
			for _, q := range p.takeNotes() {
				if q.payload[0] == notifData && [8]byte(q.payload[13:21]) == m.Motes()[1] {
					got = append(got, be.Uint16(q.payload[len(q.payload)-2:]))
				}
			}
			p.want(rcOK, 22, 0, 0, 0, 0, 0, 0, 0, 0)
			time.Sleep(time.Minute)
		}
		for i, n := range got {
			if int(n) != i+1 {
				t.Fatalf("numbers %v", got)
			}
		}
		if len(got) < 28 || len(got) > 31 {
			t.Errorf("%d samples", len(got))
		}
	})
}

// Every notification of a long life decodes by the published layouts, health reports included.
func TestLongLife(t *testing.T) {
	in(t, Config{Motes: 20, Period: time.Minute}, func(t *testing.T, m *Manager, p *peer) {
		l := readLayouts(t)
		p.hello(0)
		p.subscribe(0)
		time.Sleep(2 * time.Hour)
		reports := map[byte]int{}
		for _, q := range p.takeNotes() {
			if _, err := l.notification(q.payload); err != nil {
				t.Fatalf("%x: %v", q.payload, err)
			}
			if q.payload[0] != notifHealth {
				continue
			}
			id, length, body := q.payload[9], int(q.payload[10]), q.payload[11:]
			reports[id]++
			if sent := be.Uint16(body[8:]); id == 0x80 && sent > 25 {
				t.Errorf("%d packets sent in 15 min: not counted anew for each report", sent)
			}
			sizes := map[byte]int{0x80: 27, 0x81: 1 + 10*int(body[0]), 0x82: 2 + 4*int(body[1])}
			if length != len(body) || length != sizes[id] {
				t.Errorf("report %x", q.payload[9:])
			}
		}
		if reports[0x80] != 160 || reports[0x81] < 160 || reports[0x82] != 160 {
			t.Errorf("reports by kind: %v", reports)
		}
		for _, mac := range m.Motes() {
			got := p.want(rcOK, 62, mac[:]...)
			if v, err := l.response(62, got); err != nil || v["numJoins"] != 1 || v["hopDepth"].(int) < 10 {
				t.Errorf("getMoteInfo %v, %v", v, err)
			}
		}
		clean(t, m)
	})
}

func TestRunOnce(t *testing.T) {
	in(t, Config{}, func(t *testing.T, m *Manager, p *peer) {
		if err := m.Run(t.Context()); err != ErrRunning {
			t.Error(err)
		}
	})
}

// A client that stops reading costs the manager nothing but what it cannot send.
func TestClientThatDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := New(Config{Motes: 50, Period: 20 * time.Millisecond}, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { m.Run(ctx) })
		p := plug(t, ctx, &wg, m)
		p.hello(0)
		p.subscribe(0x10)
		p.set(func() { p.ackWait = time.Hour }) // the reader stops at its next reliable packet
		m.Inject([]byte{2})
		time.Sleep(5 * time.Second)
		if s := m.Stats(); s.Overrun == 0 || s.Dropped != 1 || s.Samples < 9000 {
			t.Errorf("%+v", s)
		}
		cancel()
		wg.Wait()
	})
}
