package tape_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meshgate/meshgate/hdlc"
	"github.com/meshgate/meshgate/smartmesh"
	"github.com/meshgate/meshgate/smartmesh/sim"
	"github.com/meshgate/meshgate/smartmesh/tape"
)

// said is a notification as a client got it.
type said struct {
	at       time.Duration // since the first
	reliable bool
	raw      string
}

// ear notes what a client is told.
type ear struct {
	mu    sync.Mutex
	began time.Time
	all   []said
}

func (e *ear) note(n smartmesh.Notification) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.all) == 0 {
		e.began = time.Now()
	}
	e.all = append(e.all, said{time.Since(e.began), n.Reliable, hex.EncodeToString(n.Raw)})
}

// visit has a session with a manager for a while: it subscribes, and asks for a few things.
func visit(t *testing.T, port io.ReadWriteCloser, d time.Duration) (all []said, info smartmesh.SystemInfo, stats *smartmesh.Stats) {
	t.Helper()
	e, stats := new(ear), new(smartmesh.Stats)
	s, err := smartmesh.Connect(t.Context(), port, smartmesh.Options{OnNotify: e.note, Stats: stats})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if info, err = s.GetSystemInfo(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := s.GetTime(t.Context()); err != nil {
		t.Error(err)
	}
	if err := s.Subscribe(t.Context(), 0xf6, 0x10); err != nil {
		t.Error(err)
	}
	motes := 0
	for _, err := range s.Motes(t.Context()) {
		if motes++; err != nil {
			t.Error(err)
		}
	}
	if motes != 4 {
		t.Errorf("%d motes", motes)
	}
	select {
	case <-time.After(d):
	case <-s.Done():
	}
	s.Close() // until then it hears more
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.all, info, stats
}

// recorded is a session with a simulated manager on a bad line, and its recording.
func recorded(t *testing.T) (entries []tape.Entry, all []said, info smartmesh.SystemInfo) {
	path := filepath.Join(t.TempDir(), "tape")
	rec := tape.NewRecorder(nil)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { rec.Write(ctx, path, tape.Size, func() {}) })
	m := sim.New(sim.Config{Motes: 3, Period: 2 * time.Second, Seed: 5, HealthPeriod: 10 * time.Second,
		Faults: sim.Faults{Noise: 0.1, Duplicate: 0.2, Gap: 0.2, LostAck: 0.1}}, nil)
	wg.Go(func() { m.Run(ctx) })
	time.Sleep(30 * time.Second) // for the motes to join
	ours, theirs := net.Pipe()
	wg.Go(func() { m.Serve(ctx, theirs) })
	all, info, _ = visit(t, rec.Tap(ours), 2*time.Minute)
	cancel()
	wg.Wait()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if entries, err = tape.Read(f); err != nil {
		t.Fatal(err)
	}
	return entries, all, info
}

// TestPlay: a client of the player gets what the client of the manager got, at the same pace or faster.
func TestPlay(t *testing.T) {
	for _, speed := range []float64{0, 1, 10} {
		synctest.Test(t, func(t *testing.T) {
			entries, want, info := recorded(t)
			if len(want) < 150 {
				t.Fatalf("%d notifications are recorded", len(want))
			}
			p := tape.NewPlayer(entries)
			p.Speed = speed
			ours, theirs := net.Pipe()
			var wg sync.WaitGroup
			wg.Go(func() { p.Serve(t.Context(), theirs) })
			got, again, stats := visit(t, ours, 3*time.Minute)
			wg.Wait()
			if again != info {
				t.Errorf("it says it is %+v, not %+v", again, info)
			}
			if stats.Repeats.Load() == 0 || stats.Gaps.Load() == 0 || stats.BadFCS.Load()+stats.TooShort.Load() == 0 {
				t.Errorf("%d repeats, %d gaps, %d bad frames: the faults are not played", stats.Repeats.Load(), stats.Gaps.Load(), stats.BadFCS.Load())
			}
			compare(t, got, want, max(1, speed))
			select {
			case <-p.Over():
			default:
				t.Error("it is not over")
			}
		})
	}
}

func compare(t *testing.T, got, want []said, speed float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d notifications, %d are recorded", len(got), len(want))
	}
	for i, g := range got {
		w := want[i]
		due := time.Duration(float64(w.at) / speed)
		if g.raw != w.raw || g.reliable != w.reliable || (g.at-due).Abs() > 100*time.Millisecond {
			t.Fatalf("notification %d: %v %s after %v, recorded %v %s after %v", i, g.reliable, g.raw, g.at, w.reliable, w.raw, w.at)
		}
	}
}

// TestPlayAgain: a client that goes away and comes back loses nothing that is acknowledged; the recording waits for it.
func TestPlayAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		entries, want, _ := recorded(t)
		p := tape.NewPlayer(entries)
		var got []said
		for range 5 {
			ours, theirs := net.Pipe()
			var wg sync.WaitGroup
			wg.Go(func() { p.Serve(t.Context(), theirs) })
			part, _, _ := visit(t, ours, 40*time.Second)
			wg.Wait()
			got = append(got, part...)
			time.Sleep(time.Hour)
		}
		for _, w := range want {
			if w.reliable && !slices.ContainsFunc(got, func(g said) bool { return g.raw == w.raw }) {
				t.Errorf("missing: %+v", w)
			}
		}
	})
}

// TestPlayTime: the manager's clock runs on from what it was in the recording.
func TestPlayTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		entries, _, _ := recorded(t)
		p := tape.NewPlayer(entries)
		ours, theirs := net.Pipe()
		var wg sync.WaitGroup
		wg.Go(func() { p.Serve(t.Context(), theirs) })
		s, err := smartmesh.Connect(t.Context(), ours, smartmesh.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Subscribe(t.Context(), 0xf6, 0); err != nil {
			t.Fatal(err)
		}
		var was smartmesh.TimeInfo
		for i := range 6 {
			now, err := s.GetTime(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if d := now.UTC.Sub(was.UTC) - 20*time.Second; i > 0 && d.Abs() > 200*time.Millisecond {
				t.Errorf("after 20 s it is %v later", now.UTC.Sub(was.UTC))
			}
			was = now
			time.Sleep(20 * time.Second)
		}
		if _, err := s.GetLicense(t.Context()); err == nil {
			t.Error("a request that was not recorded is answered")
		}
		s.Close()
		wg.Wait()
	})
}

// TestPlayGreeting: where the manager lost its session in the recording, it loses it again, once.
func TestPlayGreeting(t *testing.T) {
	const greeting, answer = "000300020400", "000200050004000000"
	var entries []tape.Entry
	for i, packet := range []string{greeting, answer, "021401020301", greeting, greeting, answer, "021402020302"} {
		b, err := hex.DecodeString(packet)
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, tape.Entry{Kind: tape.FromManager, Run: time.Unix(1e9, 0),
			At: time.Duration(i) * time.Second, Data: hdlc.AppendFrame(nil, b)})
	}
	entries = slices.Insert(entries, 0, tape.Entry{Kind: tape.Opened, Run: time.Unix(1e9, 0)})
	synctest.Test(t, func(t *testing.T) {
		p := tape.NewPlayer(entries)
		for _, want := range []string{"0301", "0302"} {
			if got := hearing(t, p); len(got) != 1 || got[0].raw != want {
				t.Errorf("heard %v, want %s", got, want)
			}
		}
		select {
		case <-p.Over():
		default:
			t.Error("it is not over")
		}
	})
}

// hearing has a session with the player until that is lost by a greeting, or everything has been played.
func hearing(t *testing.T, p *tape.Player) []said {
	t.Helper()
	ours, theirs := net.Pipe()
	var wg sync.WaitGroup
	wg.Go(func() { p.Serve(t.Context(), theirs) })
	defer wg.Wait()
	e := new(ear)
	s, err := smartmesh.Connect(t.Context(), ours, smartmesh.Options{OnNotify: e.note})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Subscribe(t.Context(), 8, 0); err != nil {
		t.Fatal(err)
	}
	select {
	case <-s.Done():
		if err := s.Wait(); !errors.Is(err, smartmesh.ErrManagerHello) {
			t.Error(err)
		}
	case <-p.Over():
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.all
}

// TestPlayUnrecordedTime: a recording in which nobody asks for the time has one nevertheless, by its readings.
func TestPlayUnrecordedTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		entries, _, _ := recorded(t)
		timeless := slices.DeleteFunc(slices.Clone(entries), func(e tape.Entry) bool {
			b, err := hdlc.NewReader(bytes.NewReader(e.Data)).Next()
			return err == nil && len(b) > 1 && b[1] == 0x17
		})
		if len(timeless) == len(entries) {
			t.Fatal("nobody has asked for the time")
		}
		want, got := timeIn(t, entries), timeIn(t, timeless)
		if d := got.UTC.Sub(want.UTC); d > 0 || d < -2*time.Second {
			t.Errorf("%v, not %v", got.UTC, want.UTC)
		}
	})
}

// timeIn is what the player of a recording says the time is, after a minute.
func timeIn(t *testing.T, entries []tape.Entry) smartmesh.TimeInfo {
	t.Helper()
	p := tape.NewPlayer(entries)
	ours, theirs := net.Pipe()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { p.Serve(t.Context(), theirs) })
	s, err := smartmesh.Connect(t.Context(), ours, smartmesh.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Subscribe(t.Context(), 0xf6, 0); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Minute)
	now, err := s.GetTime(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return now
}
