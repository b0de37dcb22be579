package gateway

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/meshgate/meshgate/bridge"
	"github.com/meshgate/meshgate/bridge/brokertest"
	"github.com/meshgate/meshgate/gateway/config"
	"github.com/meshgate/meshgate/gateway/local"
)

// TestBreaker: somebody joins the brokers of our two bridges, so that a message goes round. It
// comes to rest, its topic works again when the circle is gone, and other topics never stop.
func TestBreaker(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		second := brokertest.New()
		defer second.Close()
		w.cfg.Bridges[0].Rules = bridge.Rules{{Pattern: "x/#", Direction: bridge.In, QoS: 1}}
		w.cfg.Bridges = append(w.cfg.Bridges, config.Bridge{Name: "other", URLs: []string{"mqtt://second:1883"}, ClientID: "meshgate-t",
			Keepalive: 30 * time.Second, Prefix: prefix, Rules: bridge.Rules{{Pattern: "x/#", Direction: bridge.Out, QoS: 1}}})
		w.startWith(nil, func(hw *Hardware) {
			hw.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
				if strings.HasPrefix(addr, "second") {
					return second.Dial(ctx, network, addr)
				}
				return w.broker.Dial(ctx, network, addr)
			}
		})
		count := func(topic string) (n int) {
			for _, p := range second.Published() {
				if p.Topic == topic {
					n++
				}
			}
			return n
		}
		ctx, cancel := context.WithCancel(context.Background())
		w.wg.Go(func() { // the third party
			for n := 0; second.Wait(ctx, func() bool { return count("x/1") > n }) == nil; n++ {
				time.Sleep(50 * time.Millisecond)
				w.broker.Send("x/1", []byte("round"), 1, false)
			}
		})
		time.Sleep(time.Second)
		w.broker.Send("x/1", []byte("round"), 1, false)
		time.Sleep(30 * time.Second)
		if n := count("x/1"); n < maxLaps/2 || n > maxLaps+5 {
			t.Errorf("it went round %d times", n)
		}
		if n := strings.Count(w.log.String(), "circle"); n != 1 {
			t.Errorf("told %d times:\n%s", n, &w.log)
		}
		w.broker.Send("x/2", []byte("other"), 1, false)
		time.Sleep(time.Second)
		if count("x/2") != 1 {
			t.Error("another topic is cut too")
		}
		cancel()
		time.Sleep(time.Minute)
		n := count("x/1")
		w.broker.Send("x/1", []byte("round"), 1, false)
		time.Sleep(time.Second)
		if count("x/1") != n+1 {
			t.Error("the topic stays cut")
		}
	})
}

// TestBreakerAndTheLAN: what a device says as often as it likes is carried, until the LAN side is known to be joined to a
// bridge's broker.
func TestBreakerAndTheLAN(t *testing.T) {
	b := newBreaker(slog.New(slog.DiscardHandler))
	device, cloud := message{topic: "x", payload: []byte("on"), from: lanName}, message{topic: "x", payload: []byte("on"), from: "cloud"}
	for i, step := range []struct {
		m     message
		to    string
		apart bool // watched while they are not known to be joined
		round bool // watched when they are
	}{
		{device, "cloud", false, true}, {device, "", false, false}, {cloud, "", false, true}, {cloud, "other", true, true},
		{message{topic: "x"}, "cloud", false, true},
	} {
		for _, joined := range []bool{false, true} {
			b.joined.Store(joined)
			if want := step.apart && !joined || step.round && joined; b.watches(step.m, step.to) != want {
				t.Errorf("%d: joined %v: watched %v", i, joined, !want)
			}
		}
	}
	side := &lan{g: &Gateway{boot: "77"}}
	for topic, want := range map[string]bool{"p/gateway/status": true, "p/gateway/canary": true, "gateway/canary": true, "gateway/status": false, "x": false} {
		if got := side.joins(local.Message{Topic: topic, Payload: []byte(`{"boot":"77"}`)}); got != want {
			t.Errorf("%s: %v", topic, got)
		}
		if side.joins(local.Message{Topic: topic, Payload: []byte(`{"boot":"78"}`)}) {
			t.Errorf("%s: another gateway's", topic)
		}
	}
}
