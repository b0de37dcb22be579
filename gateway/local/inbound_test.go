package local

import (
	"encoding/binary"
	"net"
	"strings"
	"testing"

	"github.com/meshgate/meshgate/bridge"
	"github.com/meshgate/meshgate/bridge/brokertest"
)

// A message that is too long is acknowledged, told, and holds up nothing.
func TestDialLongMessage(t *testing.T) {
	t.Parallel()
	b := brokertest.New()
	t.Cleanup(b.Close)
	address, err := b.Listen(nil)
	if err != nil {
		t.Fatal(err)
	}
	in := newBox()
	c := dial(t, DialOptions{URL: "tcp://" + address, ClientID: "gw", Keep: true, Subscribe: []string{"#"}, Intake: in.intake})
	up(t, c)
	b.Send("a", make([]byte, 4<<20), 1, false)
	b.Send("b", []byte("behind"), 1, false)
	got := in.wait(t, 2)
	for _, m := range got {
		if m.Truncated != (m.Topic == "a") || m.Truncated != (len(m.Payload) == 0) {
			t.Errorf("%s, %d bytes, truncated %v", m.Topic, len(m.Payload), m.Truncated)
		}
	}
	eventually(t, "two acknowledgements", func() bool { return len(b.Acks("gw")) == 2 })
	b.SendRaw("gw", binary.AppendUvarint([]byte{0x90}, 1<<20))
	eventually(t, "another connection", func() bool { return c.Stats().Reconnects == 1 })
}

// What no broker sends ends the connection, and not the gateway: more answers to a SUBSCRIBE than it had filters, for one.
func TestDialRoughBroker(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, answer := range []string{"\x90\x05\x00\x01\x01\x01\x01", "\x36\x05\x00\x01a\x00\x01", "\x30\x00", "\x20\x02\x00\x00", "\x82\x06\x00\x01\x00\x01a\x01"} {
		c := dial(t, DialOptions{URL: "tcp://" + l.Addr().String(), ClientID: "gw", Subscribe: []string{"a", "b"}})
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		readPacket(t, conn) // CONNECT
		conn.Write([]byte("\x20\x02\x00\x00"))
		readPacket(t, conn) // SUBSCRIBE
		conn.Write([]byte(answer))
		eventually(t, "the error", func() bool { return strings.Contains(c.Status().Error, bridge.ErrProtocol.Error()) })
		conn.Close()
		c.Close()
	}
}
