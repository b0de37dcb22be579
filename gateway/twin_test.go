package gateway

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/meshgate/meshgate/bridge"
)

// TestTwin: another client with our id throws us out whenever we connect. It is named once, and
// not fought; when it has gone, all goes on.
func TestTwin(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		var b beats
		w.hw = func(hw *Hardware) { hw.Alive = b.alive }
		w.start()
		other := 0
		ours := func() int { return len(w.broker.Connects()) - other }
		for end := time.Now().Add(time.Hour); time.Now().Before(end); time.Sleep(2 * time.Second) {
			n := ours()
			s, err := bridge.Connect(context.Background(), bridge.Config{Name: "twin", URL: "mqtt://broker:1883", ClientID: "meshgate-t", Dial: w.broker.Dial}, nil)
			if other++; err != nil {
				continue // thrown out before it was in
			}
			s.Wait() // until the gateway throws it out
			if ours() == n {
				t.Fatal("the other was thrown out by nobody")
			}
		}
		n := ours()
		if n < 8 || n > 40 {
			t.Errorf("%d connections in an hour, want one every few minutes", n)
		}
		if n := strings.Count(w.log.String(), "uses the client id"); n != 1 {
			t.Errorf("told %d times:\n%s", n, &w.log)
		}
		if !b.ever(`uses the client id "meshgate-t"`) {
			t.Errorf("the status line has never told; it is %q", b.said())
		}
		if n := b.in(10 * time.Minute); n < 119 {
			t.Errorf("the watchdog was fed %d times in ten minutes", n)
		}
		seen := len(w.published("mote/+/temperature"))
		w.until("readings again", func() bool { return len(w.published("mote/+/temperature")) > seen+100 })
	})
}

// TestNoTwin: a broker that goes away at times is none.
func TestNoTwin(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		w.start()
		for range 20 {
			time.Sleep(2 * time.Minute)
			w.broker.Cut("meshgate-t")
		}
		if strings.Contains(w.log.String(), "uses the client id") {
			t.Errorf("a twin was seen:\n%s", &w.log)
		}
		if n := len(w.broker.Connects()); n < 20 {
			t.Errorf("%d connections", n)
		}
	})
}
