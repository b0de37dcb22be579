package bridge

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meshgate/meshgate/bridge/brokertest"
)

// What we publish to a topic that is subscribed to comes back, and says so; the same from another does not.
func TestEcho(t *testing.T) {
	bubble(t, func(t *testing.T, b *brokertest.Broker, cfg Config) {
		b.Send("lamp/1", []byte("on"), 1, true)
		cfg.Subscribe = []Subscription{{"lamp/+", 1}}
		s := connect(t, cfg)
		expect := func(payload string, echo bool) {
			t.Helper()
			if m := <-s.Messages(); string(m.Payload) != payload || m.Echo != echo {
				t.Errorf("got %s, echo %v", m.Payload, m.Echo)
			}
		}
		publish(t, s, "lamp/1", "on", 1)
		expect("on", false) // the retained one
		expect("on", true)
		b.Send("lamp/1", []byte("on"), 1, false)
		expect("on", false)
		publish(t, s, "lamp/1", "off", 0)
		b.Send("lamp/1", []byte("other"), 1, false)
		publish(t, s, "lamp/1", "off", 0)
		synctest.Wait()
		for range 3 {
			if m := <-s.Messages(); m.Echo != (string(m.Payload) == "off") {
				t.Errorf("got %s, echo %v", m.Payload, m.Echo)
			}
		}

		// One that did not come back is forgotten.
		b.Set(func(h *brokertest.Behaviour) { h.NoRoute = true })
		<-publish(t, s, "lamp/1", "toggle", 1).Done()
		time.Sleep(echoTime + 1)
		b.Send("lamp/1", []byte("toggle"), 1, false)
		expect("toggle", false)
		for i := range 2 * echoMax {
			<-publish(t, s, "lamp/1", fmt.Sprint(i), 1).Done()
		}
		if n := len(s.echoes.sent); n > echoMax {
			t.Errorf("%d remembered", n)
		}
		<-publish(t, s, "else", "x", 1).Done()
		s.Close(t.Context())
	})
}
