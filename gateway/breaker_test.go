package gateway

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/meshgate/meshgate/bridge"
	"github.com/meshgate/meshgate/bridge/brokertest"
	"github.com/meshgate/meshgate/gateway/config"
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
