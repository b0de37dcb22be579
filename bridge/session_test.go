package bridge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meshgate/meshgate/bridge/brokertest"
)

// bubble runs f with a broker at the end of a pipe, in a synctest bubble, which fails when anything of the session or the
// broker still runs at its end.
func bubble(t *testing.T, f func(t *testing.T, b *brokertest.Broker, cfg Config)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := brokertest.New()
		defer b.Close()
		f(t, b, Config{Name: "cloud", URL: "mqtt://broker.example", ClientID: "gw", Dial: b.Dial})
	})
}

func connect(t *testing.T, cfg Config) *Session {
	t.Helper()
	s, err := Connect(t.Context(), cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func publish(t *testing.T, s *Session, topic, payload string, qos byte) Receipt {
	t.Helper()
	r, err := s.Publish(t.Context(), Message{Topic: topic, Payload: []byte(payload), QoS: qos})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// within returns a context that ends after d.
func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func contains(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", words)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q does not have %q in it", err, w)
		}
	}
}

func TestConnectPacket(t *testing.T) {
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte("open sesame\n\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	bubble(t, func(t *testing.T, b *brokertest.Broker, cfg Config) {
		cfg.Username, cfg.PasswordFile = "user", password
		cfg.Keepalive = 1500 * time.Millisecond
		cfg.Will = Message{Topic: "p/gateway/status", Payload: []byte("gone"), QoS: 1, Retain: true}
		s := connect(t, cfg)
		got := b.Connects()[0]
		if got.Protocol != "MQTT" || got.Level != 4 || !got.Clean || got.ClientID != "gw" || got.Keepalive != 2 {
			t.Errorf("CONNECT %+v", got)
		}
		if got.Username != "user" || got.Password != "open sesame\n" {
			t.Errorf("user %q, password %q; one newline is dropped, no more", got.Username, got.Password)
		}
		w := got.Will
		if w == nil || w.Topic != "p/gateway/status" || string(w.Payload) != "gone" || w.QoS != 1 || !w.Retain {
			t.Errorf("will %+v", w)
		}
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if n := len(b.Wills()); n != 0 {
			t.Errorf("%d wills after Close", n)
		}

		// A password that was replaced is taken up by the next connection.
		if err := os.WriteFile(password, []byte("new\r\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		s = connect(t, cfg)
		if got := b.Connects()[1].Password; got != "new" {
			t.Errorf("password %q", got)
		}
		b.Cut("gw")
		contains(t, s.Wait(), "connection lost", "closed the connection", `another client with the id "gw"`)
		if len(b.Wills()) != 1 {
			t.Error("no will after a loss")
		}
	})
}

func TestPublishAcknowledged(t *testing.T) {
	bubble(t, func(t *testing.T, b *brokertest.Broker, cfg Config) {
		s := connect(t, cfg)
		payload := []byte("21.5")
		var receipts []Receipt
		for i := range 500 {
			r, err := s.Publish(t.Context(), Message{Topic: fmt.Sprintf("t/%d", i), Payload: payload, QoS: byte(i % 3), Retain: i%2 == 0})
			if err != nil {
				t.Fatal(err)
			}
			receipts = append(receipts, r)
		}
		clear(payload) // was copied
		for i, r := range receipts {
			<-r.Done()
			if r.Err() != nil {
				t.Fatal(i, r.Err())
			}
		}
		got := b.Published()
		if len(got) != 500 {
			t.Fatalf("%d published", len(got))
		}
		for i, p := range got {
			if p.Topic != fmt.Sprintf("t/%d", i) || string(p.Payload) != "21.5" || p.QoS != byte(i%3) || p.Retain != (i%2 == 0) || p.Dup {
				t.Fatalf("message %d arrived as %+v", i, p)
			}
		}
		if n := s.Stats().Published; n != 500 {
			t.Errorf("counted %d", n)
		}
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if err := s.Wait(); err != nil {
			t.Error(err)
		}
		if err := s.Close(t.Context()); err != nil {
			t.Error("second Close:", err)
		}
		if _, err := s.Publish(t.Context(), Message{Topic: "t"}); !errors.Is(err, ErrClosed) {
			t.Errorf("Publish after Close: %v", err)
		}
	})
}

func TestPublishInvalid(t *testing.T) {
	bubble(t, func(t *testing.T, b *brokertest.Broker, cfg Config) {
		s := connect(t, cfg)
		defer s.Close(t.Context())
		for _, m := range []Message{{Topic: ""}, {Topic: "a/+"}, {Topic: "#"}, {Topic: "a\x00"}, {Topic: "a\x80"}, {Topic: "a", QoS: 3}, {Topic: strings.Repeat("a", 65536)}} {
			if _, err := s.Publish(t.Context(), m); err == nil {
				t.Errorf("took %.20q with qos %d", m.Topic, m.QoS)
			}
		}
		<-publish(t, s, "ok", "", 1).Done()
		if n := len(b.Published()); n != 1 {
			t.Errorf("%d published", n)
		}
	})
}

// Of many topics some are forgotten; one that is not valid is refused each time.
func TestManyTopics(t *testing.T) {
	bubble(t, func(t *testing.T, b *brokertest.Broker, cfg Config) {
		s := connect(t, cfg)
		defer s.Close(t.Context())
		for i := range maxTopics + 100 {
			publish(t, s, fmt.Sprint("t/", i), "", 0)
			if _, err := s.Publish(t.Context(), Message{Topic: "a/+"}); err == nil {
				t.Fatal("took a wildcard")
			}
		}
		if n := len(s.topics); n > maxTopics {
			t.Errorf("%d are remembered", n)
		}
	})
}

// A message that is in doubt is never reported as delivered.
func TestLossInFlight(t *testing.T) {
	bubble(t, func(t *testing.T, b *brokertest.Broker, cfg Config) {
		b.Set(func(h *brokertest.Behaviour) {
			h.Cut = func(_ string, p brokertest.Packet) bool { return p.Type == brokertest.PUBLISH && p.Nth == 4 }
			h.NoRoute = true
		})
		s := connect(t, cfg)
		var receipts []Receipt
		for range 3 {
			receipts = append(receipts, publish(t, s, "t", "x", 1))
		}
		synctest.Wait()
		b.Set(func(h *brokertest.Behaviour) { h.NoAck = true })
		for range 3 {
			if r, err := s.Publish(t.Context(), Message{Topic: "t", QoS: 1}); err == nil {
				receipts = append(receipts, r)
			}
		}
		contains(t, s.Wait(), "connection lost")
		for i, r := range receipts {
			select {
			case <-r.Done():
			default:
				t.Errorf("receipt %d is not done after the session", i)
			}
			if (r.Err() == nil) != (i < 3) {
				t.Errorf("receipt %d: %v", i, r.Err())
			}
		}
		if _, err := s.Publish(t.Context(), Message{Topic: "t"}); err == nil {
			t.Error("published on a dead session")
		}
		var lost *LostError
		if !errors.As(s.Close(t.Context()), &lost) || !errors.Is(lost, ErrHungUp) {
			t.Errorf("Close: %v", lost)
		}
	})
}

// A broker that takes messages and never acknowledges them is found out, and no sooner than it should.
func TestNeverAcknowledged(t *testing.T) {
	bubble(t, func(t *testing.T, b *brokertest.Broker, cfg Config) {
		b.Set(func(h *brokertest.Behaviour) { h.NoAck = true })
		cfg.AckTimeout = 20 * time.Second
		s := connect(t, cfg)
		start := time.Now()
		for range 10 {
			publish(t, s, "t", "x", 1)
		}
		err := s.Wait()
		contains(t, err, "10, the oldest", "does not acknowledge")
		if !errors.Is(err, ErrNoAck) {
			t.Errorf("not ErrNoAck: %v", err)
		}
		if d := time.Since(start); d < 20*time.Second || d > 23*time.Second {
			t.Errorf("after %v", d)
		}
	})
}

// One message without its acknowledgement is enough, though others have theirs.
func TestOneNotAcknowledged(t *testing.T) {
	bubble(t, func(t *testing.T, b *brokertest.Broker, cfg Config) {
		s := connect(t, cfg)
		b.Set(func(h *brokertest.Behaviour) { h.NoAck = true })
		publish(t, s, "t", "x", 1)
		synctest.Wait()
		b.Set(func(h *brokertest.Behaviour) { h.NoAck = false })
		var wg sync.WaitGroup
		wg.Go(func() {
			for {
				r, err := s.Publish(context.Background(), Message{Topic: "t", QoS: 1})
				if err != nil {
					return
				}
				<-r.Done()
				time.Sleep(time.Second)
			}
		})
		if err := s.Wait(); !errors.Is(err, ErrNoAck) {
			t.Error(err)
		}
		start := time.Now()
		wg.Wait()
		if d := time.Since(start); d > time.Second {
			t.Errorf("a publisher waited %v for a dead client", d)
		}
	})
}

func TestAckTwice(t *testing.T) {
	bubble(t, func(t *testing.T, b *brokertest.Broker, cfg Config) {
		b.Set(func(h *brokertest.Behaviour) { h.AckTwice = true })
		s := connect(t, cfg)
		for range 100 {
			<-publish(t, s, "t", "x", 1).Done()
		}
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestCloseWaits(t *testing.T) {
	bubble(t, func(t *testing.T, b *brokertest.Broker, cfg Config) {
		b.Set(func(h *brokertest.Behaviour) { h.Delay = time.Second })
		s := connect(t, cfg)
		r := publish(t, s, "t", "x", 1)
		if err := s.Close(within(t, 5*time.Second)); err != nil {
			t.Error(err)
		}
		if r.Err() != nil {
			t.Error(r.Err())
		}
	})
	bubble(t, func(t *testing.T, b *brokertest.Broker, cfg Config) {
		b.Set(func(h *brokertest.Behaviour) { h.NoAck = true })
		cfg.Will = Message{Topic: "will"}
		s := connect(t, cfg)
		r := publish(t, s, "t", "x", 1)
		start := time.Now()
		contains(t, s.Close(within(t, 5*time.Second)), "1 messages not acknowledged")
		if d := time.Since(start); d != 5*time.Second {
			t.Errorf("Close took %v", d)
		}
		<-r.Done()
		contains(t, r.Err(), "not acknowledged")
		if len(b.Wills()) != 0 {
			t.Error("a will after DISCONNECT")
		}
	})
}

// A link that takes nothing any more does not hold up Publish beyond its context, nor Close, nor the session's end.
func TestStalledLink(t *testing.T) {
	bubble(t, func(t *testing.T, b *brokertest.Broker, cfg Config) {
		s := connect(t, cfg)
		b.Stall(true)
		ctx := within(t, 2*time.Second)
		var err error
		for err == nil {
			_, err = s.Publish(ctx, Message{Topic: "t", Payload: make([]byte, 4096), QoS: 1})
		}
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		start := time.Now()
		if err := s.Wait(); !errors.Is(err, ErrStuck) {
			t.Error(err)
		}
		if d := time.Since(start); d > writeTimeout {
			t.Errorf("noticed after %v", d)
		}
	})
	bubble(t, func(t *testing.T, b *brokertest.Broker, cfg Config) {
		s := connect(t, cfg)
		b.Stall(true)
		publish(t, s, "t", "x", 1)
		start := time.Now()
		if err := s.Close(within(t, time.Second)); err == nil {
			t.Error("Close of a stalled link says all is well")
		}
		if d := time.Since(start); d > 2*time.Second+500*time.Millisecond {
			t.Errorf("Close took %v", d)
		}
	})
}

// A half-open link that is idle is found by keepalive.
func TestSilentBroker(t *testing.T) {
	bubble(t, func(t *testing.T, b *brokertest.Broker, cfg Config) {
		b.Set(func(h *brokertest.Behaviour) { h.NoPing = true })
		s := connect(t, cfg)
		start := time.Now()
		err := s.Wait()
		if !errors.Is(err, ErrSilent) {
			t.Error(err)
		}
		if d := time.Since(start); d < 35*time.Second || d > 45*time.Second {
			t.Errorf("after %v", d)
		}
	})
}

func TestIdleLives(t *testing.T) {
	bubble(t, func(t *testing.T, b *brokertest.Broker, cfg Config) {
		s := connect(t, cfg)
		time.Sleep(24 * time.Hour)
		<-publish(t, s, "t", "x", 1).Done()
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestTakeover(t *testing.T) {
	bubble(t, func(t *testing.T, b *brokertest.Broker, cfg Config) {
		first := connect(t, cfg)
		second := connect(t, cfg)
		var lost *LostError
		if err := first.Wait(); !errors.As(err, &lost) || !lost.Takeover() {
			t.Errorf("taken over: %v", err)
		}
		time.Sleep(time.Minute)
		b.Cut("gw")
		if err := second.Wait(); !errors.As(err, &lost) || lost.Takeover() || lost.After < time.Minute {
			t.Errorf("cut after a minute: %v", err)
		}
	})
}

// Many publishers, and a loss in the middle: everybody gets to know, nothing hangs.
func TestConcurrentLoss(t *testing.T) {
	for _, nth := range []int{1, 2, 17, 300} {
		bubble(t, func(t *testing.T, b *brokertest.Broker, cfg Config) {
			b.Set(func(h *brokertest.Behaviour) {
				h.CutAfter = func(_ string, p brokertest.Packet) bool { return p.Type == brokertest.PUBLISH && p.Nth == nth }
			})
			s := connect(t, cfg)
			start := time.Now()
			var wg sync.WaitGroup
			for i := range 8 {
				wg.Go(func() {
					for {
						r, err := s.Publish(context.Background(), Message{Topic: fmt.Sprint("t/", i), QoS: byte(i % 3)})
						if err != nil {
							return
						}
						<-r.Done()
						r.Err()
					}
				})
			}
			if err := s.Wait(); !errors.Is(err, ErrHungUp) {
				t.Error(err)
			}
			wg.Wait()
			if d := time.Since(start); d > 0 {
				t.Errorf("somebody waited %v for a dead client", d)
			}
		})
	}
}

// brokenConn takes nothing, and has an answer on its way.
type brokenConn struct {
	net.Conn
	answer string
}

func (c *brokenConn) Write([]byte) (int, error) { return 0, syscall.EPIPE }

func (c *brokenConn) Read(p []byte) (int, error) {
	time.Sleep(100 * time.Millisecond)
	n := copy(p, c.answer)
	if c.answer = c.answer[n:]; n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// A broker that says why it refuses, and closes the connection while we still write: the reason is reported.
func TestLastWords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer far.Close()
		_, err := Connect(t.Context(), Config{URL: "mqtt://x", ClientID: "gw", Dial: func(context.Context, string, string) (net.Conn, error) {
			return &brokenConn{near, "\x20\x02\x00\x04"}, nil
		}}, nil)
		contains(t, err, "wrong user name or password")
	})
}
