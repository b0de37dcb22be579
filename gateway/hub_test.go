package gateway

import (
	"fmt"
	"testing"
)

func topics(ch <-chan message) (got []string) {
	for {
		select {
		case m := <-ch:
			got = append(got, m.topic+"="+string(m.payload))
		default:
			return got
		}
	}
}

func TestHubListen(t *testing.T) {
	h := newHub()
	h.publish(message{topic: "mote/1/status", payload: []byte("a"), retain: true})
	h.publish(message{topic: "mote/1/status", payload: []byte("b"), retain: true})
	h.publish(message{topic: "mote/1/temperature", payload: []byte("gone")})
	h.publish(message{topic: "actuator/led/state", payload: []byte("off"), retain: true})
	ch, stop := h.listen("mote/#")
	h.publish(message{topic: "mote/1/temperature", payload: []byte("1")})
	h.publish(message{topic: "actuator/led/state", payload: []byte("on"), retain: true})
	if got := fmt.Sprint(topics(ch)); got != "[mote/1/status=b mote/1/temperature=1]" {
		t.Errorf("got %s", got)
	}
	stop()
	h.publish(message{topic: "mote/1/temperature"})
	if got := topics(ch); len(got) != 0 {
		t.Errorf("after stop: %v", got)
	}
}

func TestHubSlowListenerHurtsNobody(t *testing.T) {
	h := newHub()
	slow, stop := h.listen("#")
	defer stop()
	for i := range 2 * tapSize {
		h.publish(message{topic: "t", payload: fmt.Append(nil, i)})
	}
	if got := topics(slow); len(got) != tapSize || got[0] != "t=0" {
		t.Errorf("%d messages, first %s", len(got), got[0])
	}
}

func TestHubNewer(t *testing.T) {
	h := newHub()
	h.publish(message{topic: "a", payload: []byte("1"), retain: true})
	h.publish(message{topic: "b", payload: []byte("1"), retain: true})
	h.publish(message{topic: "a", payload: []byte("2"), retain: true})
	list, version, more := h.newer(0)
	if len(list) != 2 || list[0].topic != "b" || string(list[1].payload) != "2" {
		t.Errorf("got %+v", list)
	}
	select {
	case <-more:
		t.Error("told of a change that has not been")
	default:
	}
	h.publish(message{topic: "c", payload: []byte("not retained")})
	h.publish(message{topic: "b", payload: []byte("2"), retain: true})
	<-more
	if list, _, _ := h.newer(version); len(list) != 1 || string(list[0].payload) != "2" {
		t.Errorf("got %+v", list)
	}
}

// A flood of one side does not crowd out what others say of the tap that leaves that side out.
func TestHubListenBut(t *testing.T) {
	h := newHub()
	ch, stop := h.listenBut("#", lanName)
	defer stop()
	for range 10 * tapSize {
		h.publish(message{topic: "flood", from: lanName, stored: true})
	}
	h.publish(message{topic: "mote/1/temperature", payload: []byte("1")})
	if got := fmt.Sprint(topics(ch)); got != "[mote/1/temperature=1]" {
		t.Errorf("got %s", got)
	}
}

// What others have retained is kept within bounds; beyond them it is live only, and the gateway's own
// is kept all the same.
func TestHubBounds(t *testing.T) {
	h := newHub()
	h.publish(message{topic: "dev", retain: true, stored: true, from: lanName})
	for i := range maxBrought + 5 {
		h.publish(message{topic: fmt.Sprint("x/", i), retain: true, stored: true, from: "cloud"})
	}
	h.publish(message{topic: "x/1", payload: []byte("new"), retain: true, stored: true, from: "cloud"})
	h.publish(message{topic: "actuator/led/state", retain: true})
	if n := len(h.states); n != maxBrought+1 || string(h.states["x/1"].payload) != "new" {
		t.Errorf("%d states, x/1 %q", n, h.states["x/1"].payload)
	}
}
