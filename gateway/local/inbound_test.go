package local

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/eclipse/paho.mqtt.golang/packets"
	"github.com/meshgate/meshgate/bridge/brokertest"
)

// What a broker sends comes as it is, in whatever pieces; a payload that is too long is left out, and what follows it comes.
func TestInbound(t *testing.T) {
	long := make([]byte, maxInbound+1)
	var sent []byte
	sent = append(sent, 0x20, 2, 0, 0)
	sent = brokertest.AppendPublish(sent, brokertest.Publish{Topic: "a", Payload: []byte("1"), QoS: 1, ID: 7, Retain: true})
	sent = brokertest.AppendPublish(sent, brokertest.Publish{Topic: "b", Payload: long, QoS: 2, ID: 8})
	sent = brokertest.AppendPublish(sent, brokertest.Publish{Topic: "c", Payload: long[:1000]})
	sent = brokertest.AppendPublish(sent, brokertest.Publish{Topic: strings.Repeat("d", 1<<16-1), Payload: long})
	sent = append(sent, 0xd0, 0)
	for name, r := range map[string]io.Reader{"whole": bytes.NewReader(sent), "halves": iotest.HalfReader(bytes.NewReader(sent)), "bytes": iotest.OneByteReader(bytes.NewReader(sent))} {
		in := newInbound(r)
		var topics, kinds []string
		for {
			p, err := packets.ReadPacket(in)
			if err != nil {
				if err != io.EOF {
					t.Errorf("%s: %v", name, err)
				}
				break
			}
			kinds = append(kinds, packets.PacketNames[kind(p)])
			if p, ok := p.(*packets.PublishPacket); ok {
				topics = append(topics, p.TopicName[:1])
				if in.truncated(p.Payload) != strings.Contains("bd", p.TopicName[:1]) {
					t.Errorf("%s: %s with %d bytes", name, p.TopicName[:1], len(p.Payload))
				}
			}
		}
		if strings.Join(topics, "") != "abcd" || strings.Join(kinds, " ") != "CONNACK PUBLISH PUBLISH PUBLISH PUBLISH PINGRESP" {
			t.Errorf("%s: %v %v", name, topics, kinds)
		}
	}
}

func kind(p packets.ControlPacket) byte {
	switch p.(type) {
	case *packets.ConnackPacket:
		return packets.Connack
	case *packets.PublishPacket:
		return packets.Publish
	case *packets.PingrespPacket:
		return packets.Pingresp
	}
	return 0
}

// What is no packet ends the connection before anything of its length is allocated.
func TestInboundBad(t *testing.T) {
	for name, sent := range map[string][]byte{
		"a SUBACK of 1 MB":          binary.AppendUvarint([]byte{0x90}, 1<<20),
		"a length of five bytes":    {0x30, 0xff, 0xff, 0xff, 0xff, 0x7f},
		"a PUBLISH that breaks off": append(binary.AppendUvarint([]byte{0x32}, 256<<20-1), 0, 3, 'a'),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		p, err := packets.ReadPacket(newInbound(bytes.NewReader(sent)))
		runtime.ReadMemStats(&after)
		if err == nil || !errors.Is(err, errPacket) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: %v, %v", name, p, err)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
			t.Errorf("%s: %d bytes allocated", name, n)
		}
	}
}

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
