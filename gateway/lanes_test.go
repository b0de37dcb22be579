package gateway

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meshgate/meshgate/bridge"
	"github.com/meshgate/meshgate/bridge/brokertest"
	"github.com/meshgate/meshgate/bridge/spool"
	"github.com/meshgate/meshgate/smartmesh/sim"
)

// fill puts records into the spool before the gateway starts.
func (w *world) fill(recs ...spool.Record) {
	w.t.Helper()
	s, err := spool.Open(filepath.Join(w.cfg.StateDir, "spool"), spool.Options{MaxSize: w.cfg.Spool.MaxSize, Readers: []string{"cloud"}})
	if err != nil {
		w.t.Fatal(err)
	}
	defer s.Close()
	if len(recs) > 0 {
		if _, err := s.Append(recs...); err != nil {
			w.t.Fatal(err)
		}
	}
}

// slow is a connection whose upward line takes so many bytes a second, behind a buffer as a modem
// has it.
type slow struct {
	net.Conn
	queue chan []byte
	end   chan struct{}
	once  sync.Once
}

func newSlow(wg *sync.WaitGroup, c net.Conn, rate int) *slow {
	s := &slow{Conn: c, queue: make(chan []byte, 64), end: make(chan struct{})}
	wg.Go(func() {
		for {
			select {
			case b := <-s.queue:
				time.Sleep(time.Duration(len(b)+40) * time.Second / time.Duration(rate))
				if _, err := c.Write(b); err != nil {
					return
				}
			case <-s.end:
				return
			}
		}
	})
	return s
}

func (s *slow) Write(b []byte) (int, error) {
	for rest := b; len(rest) > 0; {
		n := min(len(rest), 512)
		select {
		case s.queue <- bytes.Clone(rest[:n]):
		case <-s.end:
			return 0, net.ErrClosed
		}
		rest = rest[n:]
	}
	return len(b), nil
}

func (s *slow) Close() error {
	s.once.Do(func() { close(s.end) })
	return s.Conn.Close()
}

// TestSlowLink: over 64 kbit/s, with what 100 motes have measured in a day waiting, live readings
// arrive within two seconds and the backlog arrives whole.
func TestSlowLink(t *testing.T) {
	const motes, waiting = 100, 100 * 96 // one in a quarter of an hour
	inWorld(t, sim.Config{Motes: motes, Period: 30 * time.Second, Seed: 5}, func(w *world) {
		var recs []spool.Record
		for i := range waiting {
			r := sampleRecord(fmt.Sprintf("mote/00-17-0d-00-00-00-00-%02x/temperature", i%motes), 2000+i, "main")
			r.Time, r.Synced = time.Now().Add(time.Duration(i-waiting)*9*time.Second), true
			recs = append(recs, r)
		}
		for part := range slices.Chunk(recs, 500) {
			w.fill(part...)
		}
		var mu sync.Mutex
		var late []time.Duration
		old, done := 0, time.Duration(0)
		var start time.Time
		allowed := false
		w.broker.Set(func(b *brokertest.Behaviour) {
			b.Cut = func(_ string, p brokertest.Packet) bool {
				_, body, found := bytes.Cut(p.Body, []byte(`{"time":"`))
				if p.Type != brokertest.PUBLISH || !found || !bytes.Contains(p.Body, []byte("/temperature")) {
					return false
				}
				at, err := time.Parse(time.RFC3339, string(body[:len("2000-01-01T00:00:00.000Z")]))
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				if bytes.Contains(p.Body, []byte("/mote/00-17-0d-00-00-00-00-")) {
					if old++; old == waiting {
						done = time.Since(start)
					}
				} else if done == 0 && !bytes.Contains(body, []byte(`"historical":true`)) {
					late = append(late, time.Since(at))
				}
				return false
			}
		})
		w.startWith(nil, func(hw *Hardware) {
			hw.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
				c, err := w.broker.Dial(ctx, network, addr)
				mu.Lock()
				defer mu.Unlock()
				if err != nil || !allowed {
					return nil, cmp.Or(err, net.ErrClosed)
				}
				return newSlow(&w.wg, c, 8000), nil
			}
		})
		time.Sleep(5 * time.Minute) // all motes have joined
		mu.Lock()
		allowed, start = true, time.Now()
		mu.Unlock()
		time.Sleep(20 * time.Minute)
		mu.Lock()
		defer mu.Unlock()
		if done == 0 {
			t.Fatalf("only %d of %d have come:\n%s", old, waiting, &w.log)
		}
		slices.Sort(late)
		p95 := late[len(late)*95/100]
		t.Logf("the backlog took %v; of %d live readings, half arrived within %v, 95 %% within %v", done, len(late), late[len(late)/2], p95)
		if len(late) < 100 || p95 > 2*time.Second {
			t.Errorf("95 %% of %d live readings arrived within %v", len(late), p95)
		}
		if best := time.Duration(waiting) * 240 * time.Second / 8000; done > best*2 {
			t.Errorf("the backlog took %v, which the line could take in %v", done, best)
		}
	})
}

// unanswered is the receipt of a message that the broker does not acknowledge before the channel is closed.
type unanswered chan struct{}

func (u unanswered) Done() <-chan struct{} { return u }
func (u unanswered) Err() error            { return bridge.ErrNoAck }

// TestWindow: no more records of a lane are on their way than its window.
func TestWindow(t *testing.T) {
	for _, window := range []int{liveWindow, backlogWindow} {
		synctest.Test(t, func(t *testing.T) {
			l, u := lane{window: window}, make(unanswered)
			sent, published := l.flights(), 0
			for range cap(sent) {
				published++
				sent <- flight{receipt: u}
			}
			go func() {
				defer close(sent)
				for published < 2*window {
					published++ // as records does, before there is room for the flight
					sent <- flight{receipt: u}
				}
			}()
			ended := make(chan error)
			go func() { ended <- new(forward).acknowledged(l, sent) }()
			synctest.Wait()
			if published != window {
				t.Errorf("%d records are on their way, the window is %d", published, window)
			}
			close(u)
			if err := <-ended; !errors.Is(err, bridge.ErrNoAck) {
				t.Error(err)
			}
		})
	}
}

// watched is a receipt that tells when it is looked at.
type watched struct {
	unanswered
	looked *bool
}

func (a watched) Err() error { *a.looked = true; return bridge.ErrNoAck }

// TestAcknowledgedAtOnce: each acknowledgement is taken when it comes, with the whole window on its way too.
func TestAcknowledgedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, first, rest, looked := lane{window: backlogWindow}, make(unanswered), make(unanswered), false
		sent := l.flights()
		sent <- flight{receipt: watched{first, &looked}}
		for len(sent) < cap(sent) {
			sent <- flight{receipt: rest}
		}
		go new(forward).acknowledged(l, sent)
		close(first)
		synctest.Wait()
		if !looked {
			t.Error("the first waits for those behind it")
		}
		close(rest)
		close(sent)
	})
}

// TestLanesKeepOrder: within a lane the records of a topic come in their order, with a backlog
// rate and a connection that is cut again and again.
func TestLanesKeepOrder(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		var recs []spool.Record
		for i := range 300 {
			r := sampleRecord(fmt.Sprintf("mote/m%d/temperature", i%3), i, "main")
			r.Time = time.Now()
			recs = append(recs, r)
		}
		w.fill(recs...)
		w.cfg.Bridges[0].BacklogRate = 5
		w.start()
		for range 5 {
			time.Sleep(20 * time.Second)
			w.broker.Cut("meshgate-t")
		}
		w.until("all", func() bool {
			return len(w.published("mote/+/temperature")) > 300 && slices.Contains(seqs(t, w.broker.Published()), 300)
		})
		if d := time.Since(started); d < 300/5*time.Second {
			t.Errorf("300 records at 5 a second took %v", d)
		}
		last, seen := map[string]int{}, map[string]bool{}
		for _, p := range w.broker.Published() {
			if !strings.HasSuffix(p.Topic, "/temperature") {
				continue
			}
			lane := fmt.Sprint(p.Topic, bytes.Contains(p.Payload, []byte("historical")))
			for _, seq := range seqs(t, []brokertest.Publish{p}) {
				// what was in flight at a loss comes again; what comes for the first time is in order
				if first := fmt.Sprint(lane, seq); !seen[first] {
					if seq < last[lane] {
						t.Errorf("%s: record %d after %d", lane, seq, last[lane])
					}
					seen[first], last[lane] = true, seq
				}
			}
		}
	})
}

// TestBacklogRetained: what waited never replaces a newer retained message: each topic's go out in
// the order they came, and the newest stays.
func TestBacklogRetained(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		w.cfg.Bridges[0].Rules = append(w.cfg.Bridges[0].Rules, bridge.Rule{Pattern: "lamp/#", Direction: bridge.Out, QoS: 1, RemotePrefix: prefix})
		lamp := func(topic, payload string) spool.Record {
			return messageRecord(message{topic: topic, payload: []byte(payload), retain: true}, 1)
		}
		w.fill(lamp("lamp/1", "a"), lamp("lamp/2", "x"), lamp("lamp/1", "b"), lamp("lamp/2", "y"))
		w.broker.Set(func(b *brokertest.Behaviour) { b.Refuse = 3 })
		door := newPipes()
		w.startWith(door, nil)
		time.Sleep(time.Minute)
		door.post(t, "pub", `{"topic":"lamp/2","payload":"z","retain":true}`)
		w.broker.Set(func(b *brokertest.Behaviour) { b.Refuse = 0 })
		w.until("lamps", func() bool { return len(w.published("lamp/+")) >= 5 })
		time.Sleep(time.Second)
		got := map[string]string{}
		for _, p := range w.broker.Published() {
			if local, ok := strings.CutPrefix(p.Topic, prefix+"lamp/"); ok && p.Retain {
				got[local] += string(p.Payload)
			}
		}
		if got["1"] != "ab" || got["2"] != "xyz" {
			t.Errorf("retained one after the other: %v", got)
		}
		for topic, want := range map[string]string{"lamp/1": "b", "lamp/2": "z"} {
			if p, _ := w.broker.Retained(prefix + topic); string(p.Payload) != want {
				t.Errorf("%s is retained as %q, want %q", topic, p.Payload, want)
			}
		}
	})
}

// TestBacklogRetainedBefore: nor does it when the newer one was delivered by another process.
func TestBacklogRetainedBefore(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		w.cfg.Bridges[0].Rules = append(w.cfg.Bridges[0].Rules, bridge.Rule{Pattern: "lamp/#", Direction: bridge.Out, QoS: 1, RemotePrefix: prefix})
		s, err := spool.Open(filepath.Join(w.cfg.StateDir, "spool"), spool.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, payload := range []string{"a", "b", "c"} {
			if _, err := s.Append(messageRecord(message{topic: "lamp/1", payload: []byte(payload), retain: true}, 1)); err != nil {
				t.Fatal(err)
			}
		}
		r, err := s.Reader("cloud")
		if err != nil {
			t.Fatal(err)
		}
		r.Ack(2)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		w.start()
		w.until("what waited", func() bool { return len(w.published("lamp/1")) >= 2 })
		var got []string
		for _, p := range w.broker.Published() {
			if strings.HasSuffix(p.Topic, "lamp/1") {
				got = append(got, fmt.Sprint(string(p.Payload), p.Retain))
			}
		}
		if want := []string{"afalse", "ctrue"}; !slices.Equal(got, want) {
			t.Errorf("came %q, want %q", got, want)
		}
	})
}

// A lane finds the same way for a topic again, also when it has forgotten it.
func TestRoutes(t *testing.T) {
	rules := bridge.Rules{{Pattern: "b/#", Direction: bridge.Out, QoS: 2, RemotePrefix: "far/"}}
	ways := routes{}
	for i := range 3 * maxRoutes {
		for range 2 {
			topic := fmt.Sprint("b/", i)
			if to := ways.of(topic, rules); !to.ok || to.remote != "far/"+topic || to.rule.QoS != 2 {
				t.Fatalf("%s: %+v", topic, to)
			}
			if to := ways.of(fmt.Sprint("a/", i), rules); to.ok {
				t.Fatalf("a/%d: %+v", i, to)
			}
		}
	}
	if len(ways) > maxRoutes {
		t.Errorf("%d are remembered", len(ways))
	}
}

func TestThrottle(t *testing.T) {
	p := newThrottle()
	if _, err := p.enter(t.Context(), 10*firstPace); err != nil {
		t.Fatal(err) // a single message always may
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.enter(ctx, 1); err == nil {
		t.Error("two messages beyond the window")
	}
	p.left(10*firstPace, 50*time.Millisecond)
	p.full = true
	p.left(100, 50*time.Millisecond)
	if p.window <= firstPace {
		t.Error("a quick acknowledgement does not widen the window")
	}
	wide := p.window
	p.left(0, 3*time.Second)
	if p.window >= wide {
		t.Error("a late acknowledgement does not narrow it")
	}
	for range 1000 {
		p.cut = time.Time{}
		p.left(0, 3*time.Second)
	}
	if p.window != leastPace {
		t.Errorf("window %d", p.window)
	}
}
