package gateway

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meshgate/meshgate/bridge"
	"github.com/meshgate/meshgate/gateway/config"
	"github.com/meshgate/meshgate/gateway/local"
)

// onDisk is the LAN side of a gateway whose disk takes as long for a flush as flush does, with a bridge that carries dev/#.
func onDisk(t *testing.T, flush func() error) *lan {
	g := &Gateway{log: quiet, hub: newHub(), breaker: newBreaker(quiet), hw: Hardware{ClockRight: func() bool { return true }, flush: func(sync func() error) error {
		return errors.Join(flush(), sync())
	}}}
	cfg := config.Demo(t.TempDir())
	cfg.Bridges = []config.Bridge{{Name: "cloud", Rules: bridge.Rules{{Pattern: "dev/#", Direction: bridge.Out, QoS: 1}}}}
	g.cfg.Store(cfg)
	g.dates = newDates(cfg.StateDir, g.hw, "boot", quiet)
	if err := g.openSpool(); err != nil {
		t.Fatal(err)
	}
	return &lan{g: g}
}

// TestLocalMessageIsDurable: a client's message is taken, so that it is acknowledged, when it is on the disk: not after the
// 150 ms that the manager waits, and for a client that is alone as soon as the disk has it, not with others later. What
// the disk fails is not taken.
func TestLocalMessageIsDurable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var slow time.Duration
		var bad error
		l := onDisk(t, func() error { time.Sleep(slow); return bad })
		defer l.g.spool.Close()
		take := func() error {
			return l.take(local.Message{Topic: "dev/1", Payload: []byte("1"), QoS: 1, Client: "dev"})
		}
		for i, long := range []time.Duration{time.Hour, 2 * time.Millisecond, 2 * time.Millisecond} {
			slow = long
			before := l.g.spool.Stats()
			start := time.Now()
			if err := take(); err != nil || time.Since(start) != slow {
				t.Errorf("%d: taken after %v, the disk has it after %v: %v", i, time.Since(start), slow, err)
			}
			if st := l.g.spool.Stats(); st.Next != before.Next+1 || st.Appended != before.Appended+1 || st.LateSyncs != 0 {
				t.Errorf("%d: %+v", i, st)
			}
		}
		bad = errors.New("the disk is broken")
		if err := take(); err == nil || l.g.spool.Stats().Next != 4 {
			t.Errorf("%v, %+v", err, l.g.spool.Stats())
		}
	})
}

// TestBringing: a bridge that brings more than the LAN side takes waits for it, a second at most, and no more until it takes
// something: its commands come by the same way.
func TestBringing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var none *lan
		none.pace(t.Context())
		l := &lan{}
		took := func() time.Duration {
			start := time.Now()
			l.pace(t.Context())
			return time.Since(start)
		}
		ch := make(chan message, 4)
		var live <-chan message = ch
		l.live.Store(&live)
		ch <- message{}
		if d := took(); d != 0 {
			t.Errorf("waited %v with room", d)
		}
		ch <- message{}
		time.AfterFunc(99*time.Millisecond, func() { <-ch })
		if d := took(); d != 100*time.Millisecond {
			t.Errorf("waited %v for room", d)
		}
		ch <- message{}
		if a, b := took(), took(); a != time.Second || b != 0 {
			t.Errorf("waited %v, then %v in vain", a, b)
		}
		<-ch
		took()
		ch <- message{}
		if d := took(); d != time.Second {
			t.Errorf("waited %v once more", d)
		}
	})
}
