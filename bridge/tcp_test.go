package bridge

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/meshgate/meshgate/bridge/brokertest"
)

// leftovers fails the test when goroutines of this room or of the MQTT client still run at its end. They may take a moment
// to return after their last word.
func leftovers(t *testing.T) {
	t.Cleanup(func() {
		var stacks string
		for range 200 {
			buf := make([]byte, 1<<20)
			stacks = ""
			for _, g := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
				if strings.Contains(g, "paho") || strings.Contains(g, "bridge.(*") || strings.Contains(g, "brokertest.(*") {
					stacks += g + "\n\n"
				}
			}
			if stacks == "" {
				return
			}
			runtime.Gosched()
			<-time.After(10 * time.Millisecond)
		}
		t.Errorf("still running:\n%s", stacks)
	})
}

// listen returns a broker on a TCP port, and a proxy before it.
func listen(t *testing.T, faults ...brokertest.Fault) (*brokertest.Broker, *brokertest.Proxy) {
	t.Helper()
	leftovers(t)
	b := brokertest.New()
	address, err := b.Listen(nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := brokertest.NewProxy(address, faults...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Close()
		b.Close()
	})
	return b, p
}

// ended waits for the end of a session.
func ended(t *testing.T, s *Session) error {
	t.Helper()
	result := make(chan error, 1)
	go func() { result <- s.Wait() }()
	select {
	case err := <-result:
		return err
	case <-time.After(20 * time.Second):
		t.Fatal("the session does not end")
		return nil
	}
}

// Fifty connections, lost in turn in different ways, leave nothing behind.
func TestNothingLeft(t *testing.T) {
	b, p := listen(t)
	before := runtime.NumGoroutine()
	for i := range 50 {
		cfg := Config{URL: "mqtt://" + p.Addr(), ClientID: "gw", Subscribe: []Subscription{{"t", 1}}}
		s := connect(t, cfg)
		<-publish(t, s, "t", "x", 1).Done()
		switch i % 3 {
		case 0:
			b.Cut("gw")
			if err := ended(t, s); !errors.Is(err, ErrHungUp) {
				t.Error(err)
			}
		case 1:
			if err := s.Close(within(t, 10*time.Second)); err != nil {
				t.Error(err)
			}
		case 2:
			cfg.URL = "mqtt://127.0.0.1:1"
			if _, err := Connect(t.Context(), cfg, nil); err == nil {
				t.Error("connected to nothing")
			}
			s.Close(t.Context())
		}
	}
	for range 200 {
		if runtime.NumGoroutine() <= before {
			return
		}
		<-time.After(10 * time.Millisecond)
	}
	t.Errorf("%d goroutines, %d before", runtime.NumGoroutine(), before)
}

// Wherever the connection is cut or reset, in either direction, every receipt gets its answer, what has one was delivered,
// and the next connection delivers the rest.
func TestCutEverywhere(t *testing.T) {
	for _, do := range []brokertest.Action{brokertest.Cut, brokertest.Reset} {
		for _, down := range []bool{false, true} {
			limit := int64(170)
			if down {
				limit = 60
			}
			for after := int64(0); after < limit; after += 3 {
				t.Run(fmt.Sprint(do, down, after), func(t *testing.T) {
					cutAt(t, brokertest.Fault{After: after, Do: do, Down: down})
				})
			}
		}
	}
}

func cutAt(t *testing.T, f brokertest.Fault) {
	b, p := listen(t, f)
	cfg := Config{URL: "mqtt://" + p.Addr(), ClientID: "gw", Subscribe: []Subscription{{"cmd/#", 1}}}
	acked := map[string]bool{}
	start := time.Now()
	lost := deliver(t, cfg, acked)
	if d := time.Since(start); d > writeTimeout*3/4 {
		t.Errorf("took %v: somebody waited for a dead client", d)
	}
	p.Set()
	if again := deliver(t, cfg, acked); again != nil {
		t.Fatalf("without a fault: %v", again)
	}
	got := map[string]bool{}
	for _, m := range b.Published() {
		got[m.Topic] = true
	}
	if len(got) != 10 || len(acked) != 10 {
		t.Errorf("%d arrived, %d acknowledged; %v", len(got), len(acked), lost)
	}
}

// deliver publishes ten messages, but for those that have been acknowledged, which must be at the broker.
func deliver(t *testing.T, cfg Config, acked map[string]bool) error {
	s, err := Connect(t.Context(), cfg, nil)
	if err != nil {
		return err
	}
	receipts := map[string]Receipt{}
	for i := range 10 {
		topic := fmt.Sprint("t/", i)
		if acked[topic] {
			continue
		}
		if receipts[topic], err = s.Publish(t.Context(), Message{Topic: topic, QoS: 1}); err != nil {
			delete(receipts, topic)
			break
		}
	}
	closed := s.Close(within(t, 5*time.Second))
	for topic, r := range receipts {
		select {
		case <-r.Done():
		case <-time.After(10 * time.Second):
			t.Fatal("a receipt is not done after the session")
		}
		acked[topic] = r.Err() == nil
		if !acked[topic] {
			delete(acked, topic)
		}
	}
	return errors.Join(err, closed)
}

// A link on which nothing passes any more, either way, while both ends think that it is there.
func TestHalfOpen(t *testing.T) {
	for _, down := range []bool{false, true} {
		t.Run(fmt.Sprint(down), func(t *testing.T) {
			_, p := listen(t, brokertest.Fault{After: 60, Do: brokertest.Stall, Down: down})
			s := connect(t, Config{URL: "mqtt://" + p.Addr(), ClientID: "gw", Keepalive: time.Second, AckTimeout: time.Second})
			for range 1000 {
				if _, err := s.Publish(t.Context(), Message{Topic: "some/topic", Payload: make([]byte, 100), QoS: 1}); err != nil {
					break
				}
			}
			if err := ended(t, s); !errors.Is(err, ErrNoAck) {
				t.Error(err)
			}
		})
	}
}

func TestSlowLink(t *testing.T) {
	b, p := listen(t, brokertest.Fault{Do: brokertest.Delay, For: 200 * time.Microsecond}, brokertest.Fault{Do: brokertest.Delay, For: 200 * time.Microsecond, Down: true})
	s := connect(t, Config{URL: "mqtt://" + p.Addr(), ClientID: "gw"})
	var wg sync.WaitGroup
	for i := range 5 {
		wg.Go(func() {
			for range 5 {
				r, err := s.Publish(t.Context(), Message{Topic: fmt.Sprint(i), QoS: 1})
				if err != nil {
					t.Error(err)
					return
				}
				<-r.Done()
			}
		})
	}
	wg.Wait()
	if err := s.Close(within(t, 20*time.Second)); err != nil || len(b.Published()) != 25 {
		t.Error(err, len(b.Published()))
	}
}

// The option that makes the kernel end a dead connection is set.
func TestUserTimeout(t *testing.T) {
	b, _ := listen(t)
	address, err := b.Listen(nil)
	if err != nil {
		t.Fatal(err)
	}
	c, err := dialTCP(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got, err := readUserTimeout(c); err != nil || got != tcpUserTimeout {
		t.Errorf("TCP_USER_TIMEOUT %v, %v", got, err)
	}
}

func TestContextEndsPublish(t *testing.T) {
	b, _ := listen(t)
	address, err := b.Listen(nil)
	if err != nil {
		t.Fatal(err)
	}
	s := connect(t, Config{URL: "mqtt://" + address, ClientID: "gw"})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Publish(ctx, Message{Topic: "t"}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

var benchPayload = []byte(`{"time":"2026-11-21T12:00:00.000Z","value":22.97,"unit":"C","seq":123456,"time_quality":"synced","manager":"main"}`)

func BenchmarkPublish(b *testing.B) {
	broker := brokertest.New()
	defer broker.Close()
	broker.Set(func(h *brokertest.Behaviour) { h.NoRoute = true })
	address, err := broker.Listen(nil)
	if err != nil {
		b.Fatal(err)
	}
	benchmark(b, "mqtt://"+address)
}

// benchmark publishes with 100 messages in flight.
func benchmark(b *testing.B, url string) {
	s, err := Connect(b.Context(), Config{URL: url, ClientID: fmt.Sprint("bench-", os.Getpid())}, nil)
	if err != nil {
		b.Fatal(err)
	}
	window := make(chan Receipt, 100)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		if len(window) == cap(window) {
			r := <-window
			<-r.Done()
			if err := r.Err(); err != nil {
				b.Fatal(err)
			}
		}
		r, err := s.Publish(b.Context(), Message{Topic: "meshgate/gw/mote/00-17-0d-00-00-38-05-e9/temperature", Payload: benchPayload, QoS: 1})
		if err != nil {
			b.Fatal(err)
		}
		window <- r
	}
	if err := s.Close(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
}
