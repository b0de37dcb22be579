package local

import (
	"fmt"
	"net"
	"strings"
	"testing"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// A client that uses the packet identifiers of messages that wait for it loses neither.
func TestPacketIdentifiersDoNotMix(t *testing.T) {
	b := startBroker(t, Options{})
	opt := func() *mqtt.ClientOptions { return pahoOptions(b.tcp(), "sleeper").SetCleanSession(false) }
	s := connect(t, opt())
	s.subscribe(t, "in/#", 1)
	s.Disconnect(50)
	eventually(t, "it sleeps", func() bool { return b.Stats().Clients == 0 })
	for i := range 5 {
		b.Publish("in/x", []byte(fmt.Sprint(i)), false)
	}
	eventually(t, "they wait", func() bool { return b.Stats().Published == 5 })

	c := raw(t, b)
	c.Write(connectPacket("sleeper", false))
	c.Write([]byte{0x82, 6, 0, 1, 0, 1, 'y', 1})             // SUBSCRIBE 1, while message 1 waits
	c.Write([]byte{0x32, 6, 0, 2, 'a', 'b', 0, 2})           // PUBLISH QoS 1, 2
	c.Write([]byte{0x34, 6, 0, 2, 'a', 'b', 0, 3})           // PUBLISH QoS 2, 3
	c.Write([]byte{0x3c, 6, 0, 2, 'a', 'b', 0, 3})           // again
	c.Write([]byte{0x62, 2, 0, 3, 0xa2, 5, 0, 4, 0, 1, 'y'}) // PUBREL 3, UNSUBSCRIBE 4
	var answers []string
	for range 12 {
		typ, body := readPacket(t, c)
		id := 0
		if typ == 0x3 {
			id = int(body[6])<<8 | int(body[7])
			c.Write([]byte{0x40, 2, body[6], body[7]})
		} else if len(body) >= 2 {
			id = int(body[0])<<8 | int(body[1])
		}
		s := fmt.Sprintf("%x:%d", typ, id)
		if typ == 9 {
			s += fmt.Sprintf(":%d", body[2])
		}
		answers = append(answers, s)
	}
	got := strings.Join(answers, " ")
	want(t, got, "2:256 3:1 3:2 3:3 3:4 3:5 9:1:1 4:2 5:3 5:3 7:3 b:4")
	c.Close()
	eventually(t, "it sleeps", func() bool { return b.Stats().Clients == 0 })
	s = connect(t, opt())
	b.Publish("in/x", []byte("last"), false)
	want(t, s.next(t), "in/x=last")
}

// readPacket reads one packet.
func readPacket(t *testing.T, c net.Conn) (typ byte, body []byte) {
	t.Helper()
	head := make([]byte, 1)
	readFull(t, c, head)
	typ, length := head[0]>>4, 0
	for shift := 0; ; shift += 7 {
		readFull(t, c, head)
		length |= int(head[0]&0x7f) << shift
		if head[0] < 0x80 {
			break
		}
	}
	body = make([]byte, length)
	readFull(t, c, body)
	return typ, body
}

func readFull(t *testing.T, c net.Conn, p []byte) {
	t.Helper()
	for n := 0; n < len(p); {
		k, err := c.Read(p[n:])
		if err != nil {
			t.Fatalf("read: %v", err)
		}
		n += k
	}
}

// Messages for a client that is away are bounded in number and bytes, and come in order.
func TestSleepingClient(t *testing.T) {
	b := startBroker(t, Options{MaxQueue: 100, MaxQueueBytes: 100_000})
	opt := func() *mqtt.ClientOptions { return pahoOptions(b.tcp(), "sleeper").SetCleanSession(false) }
	s := connect(t, opt())
	s.subscribe(t, "#", 1)
	s.Disconnect(50)
	eventually(t, "it sleeps", func() bool { return b.Stats().Clients == 0 })
	for i := range 150 {
		b.Publish("n", []byte(fmt.Sprint(i)), false)
	}
	eventually(t, "they wait", func() bool { return b.Stats().Published == 150 })
	s = connect(t, opt())
	for i := range 100 {
		want(t, s.next(t), fmt.Sprint("n=", i))
	}
	s.Disconnect(50)
	eventually(t, "it sleeps", func() bool { return b.Stats().Clients == 0 })
	for range 50 {
		b.Publish("n", make([]byte, 10_000), false)
	}
	eventually(t, "they wait", func() bool { return b.Stats().Published == 200 })
	if n := b.Stats().Slow; n < 50+30 {
		t.Errorf("%d left out", n)
	}
}
