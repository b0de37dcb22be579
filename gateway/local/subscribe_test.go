package local

import (
	"bytes"
	"net"
	"strings"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"
)

// subscribePacket asks for filters with QoS 1.
func subscribePacket(filters ...string) []byte {
	body := []byte{0, 9}
	for _, f := range filters {
		body = append(append(body, byte(len(f)>>8), byte(len(f))), f+"\x01"...)
	}
	return append([]byte{0x82, byte(len(body)&0x7f | 0x80), byte(len(body) >> 7)}, body...)
}

// sleeper is a raw client that is connected.
func sleeper(t *testing.T, b *Broker, id string) net.Conn {
	t.Helper()
	c := raw(t, b)
	c.Write(connectPacket(id, true))
	readPacket(t, c)
	return c
}

// codes gives the answer to a SUBSCRIBE.
func codes(t *testing.T, c net.Conn, filters ...string) []byte {
	t.Helper()
	c.Write(subscribePacket(filters...))
	typ, body := readPacket(t, c)
	if typ != 9 {
		t.Fatalf("packet of type %d", typ)
	}
	return body[2:]
}

func TestSubscriptionsOfOnePacket(t *testing.T) {
	log := &logBuffer{}
	b := startBroker(t, Options{Log: log.logger(), MaxSubscriptions: 2})
	c := sleeper(t, b, "c")
	if got := codes(t, c, "a", "a", "a", "b", "c", "b"); !bytes.Equal(got, []byte{1, 1, 1, 1, 0x80, 1}) {
		t.Errorf("% x", got)
	}
	c.Write(subscribePacket(strings.Split(strings.Repeat("a", 9), "")...))
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("it is still connected")
	}
	if !strings.Contains(log.String(), "too many filters in one packet") {
		t.Error(log)
	}
}

// A client that subscribes faster than it takes what is retained does not fill the memory with it.
func TestRetainedWaitOnce(t *testing.T) {
	b := startBroker(t, Options{})
	c := newConn(nil, nil, 0, &b.waiters)
	c.sending = true // as long as a goroutine is at an earlier one
	cl := b.srv.NewClient(nil, "", "c", false)
	cl.Net.Conn = c
	for range 10 {
		b.deliver(cl, c, []delivery{{sub: packets.Subscription{Filter: "#"}}, {sub: packets.Subscription{Filter: "a"}}})
	}
	if len(c.want) != 2 {
		t.Errorf("%d wait", len(c.want))
	}
	(&hook{b: b}).OnUnsubscribed(cl, packets.Packet{Filters: packets.Subscriptions{{Filter: "#"}}})
	if len(c.want) != 1 || c.want[0].sub.Filter != "a" {
		t.Errorf("%+v waits", c.want)
	}
	c.end(nil)
}

// The levels of all subscriptions are bounded; who has few of them still gets his share.
func TestLevels(t *testing.T) {
	b := startBroker(t, Options{MaxLevels: 20})
	greedy, modest := sleeper(t, b, "greedy"), sleeper(t, b, "modest")
	if got := codes(t, greedy, "a/b/c/d/e/f", "g/h/i/j/k/l", "m/n/o/p/q/r", "s/t/u"); !bytes.Equal(got, []byte{1, 1, 1, 0x80}) {
		t.Errorf("% x", got)
	}
	if got := codes(t, modest, "a/b/c/d/e/f", "g/h/i/j", "k"); !bytes.Equal(got, []byte{1, 1, 0x80}) {
		t.Errorf("% x", got)
	}
	greedy.Close()
	eventually(t, "room", func() bool { return codes(t, modest, "k")[0] == 1 })
}
