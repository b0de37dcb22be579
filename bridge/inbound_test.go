package bridge

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
	"github.com/meshgate/meshgate/bridge/brokertest"
)

const connack = "\x20\x02\x00\x00"

var testMark = []byte("0123456789abcdef0123456789abcdef")

// filtered is what the client gets to read when the broker sends raw.
func filtered(raw []byte) ([]byte, error) {
	r := iotest.HalfReader(bytes.NewReader(raw))
	if len(raw) < 1000 {
		r = iotest.OneByteReader(bytes.NewReader(raw))
	}
	return io.ReadAll(newInbound(r, testMark))
}

func long(topic string, qos byte, id uint16, payload int) []byte {
	return brokertest.AppendPublish(nil, brokertest.Publish{Topic: topic, QoS: qos, ID: id, Payload: make([]byte, payload)})
}

func TestInbound(t *testing.T) { synctest.Test(t, testInbound) } // no time passes, no PINGRESP is put in

func testInbound(t *testing.T) {
	fits := long("topic", 1, 7, MaxPacket-9)
	for name, raw := range map[string]string{
		"every type":        connack + "\x30\x04\x00\x01ab" + "\x40\x02\x00\x01" + "\x50\x02\x00\x02" + "\x62\x02\x00\x03" + "\x70\x02\x00\x04" + "\x90\x03\x00\x05\x80" + "\xb0\x02\x00\x06" + "\xd0\x00",
		"empty payload":     connack + "\x30\x03\x00\x01a",
		"just short enough": connack + string(fits) + "\xd0\x00",
	} {
		if got, err := filtered([]byte(raw)); err != nil || string(got) != raw {
			t.Errorf("%s: %x, %v", name, got, err)
		}
	}
	for _, qos := range []byte{0, 1, 2} {
		topic := strings.Repeat("t", 65535)
		raw := append([]byte(connack), long(topic, qos, 7, MaxPacket)...)
		raw = append(raw, "\xd0\x00"...)
		want := connack + string(brokertest.AppendPublish(nil, brokertest.Publish{Topic: topic, QoS: qos, ID: 7, Payload: testMark})) + "\xd0\x00"
		if got, err := filtered(raw); err != nil || string(got) != want {
			t.Errorf("long, qos %d: %d bytes, want %d; %v", qos, len(got), len(want), err)
		}
	}
}

func TestInboundBad(t *testing.T) {
	for raw, words := range map[string]string{
		"":                                        "",
		connack:                                   "",
		"\x20":                                    "unexpected EOF",
		"\x20\x02\x00":                            "unexpected EOF",
		"\x20\x02\x00\x05":                        "not authorised",
		"\x20\x02\x00\x63":                        "code 99",
		"\x20\x03\x00\x00\x00":                    "CONNACK with 3 bytes",
		"\xd0\x00":                                "where CONNACK is due",
		connack + connack:                         "second CONNACK",
		connack + "\x10\x00":                      "type 1, which no broker sends",
		connack + "\x80\x00":                      "type 8,",
		connack + "\xa0\x00":                      "type 10,",
		connack + "\xc0\x00":                      "type 12,",
		connack + "\xe0\x00":                      "type 14,",
		connack + "\xf0\x00":                      "type 15,",
		connack + "\x00\x00":                      "type 0,",
		connack + "\x40\x01\x00":                  "type 4 with 1 bytes instead of 2",
		connack + "\x90\x04\x00\x01\x00\x00":      "type 9 with 4 bytes instead of 3", // one answer too many: the client would panic
		connack + "\xd0\x01\x00":                  "type 13 with 1 bytes",
		connack + "\x36\x05\x00\x01a\x00\x01":     "qos 3",
		connack + "\x30\x00":                      "PUBLISH with 0 bytes",
		connack + "\x30\x03\x00\x02a":             "ends beyond",
		connack + "\x32\x04\x00\x01a\x00":         "ends beyond",
		connack + "\x30\xff\xff\xff\xff\x7f":      "more than four bytes",
		connack + "\x30\xff\xff\xff\x7f":          "unexpected EOF",
		connack + "\x30\xff\xff\xff\x7f\x00\x01a": "unexpected EOF",
		connack + "\x30\x05\x00\x01a":             "unexpected EOF",
	} {
		got, err := filtered([]byte(raw))
		if words == "" {
			if err != nil {
				t.Errorf("%x: %v", raw, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%x: %x, %v, want %q", raw, got, err, words)
		}
	}
}

// FuzzInbound: whatever a broker sends, the client reads packets that fit, allocates no more than MaxPacket for one, and
// does not panic; and what needs no change is not changed.
func FuzzInbound(f *testing.F) {
	f.Add([]byte(connack + "\x30\x04\x00\x01ab\xd0\x00"))
	f.Add(append([]byte(connack), long("a/b", 1, 9, MaxPacket)...))
	f.Add([]byte(connack + "\x90\x03\x00\x01\x80\x32\x05\x00\x01a\x00\x07"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, err := filtered(raw)
		r := bytes.NewReader(got)
		for r.Len() > 0 {
			start := len(got) - r.Len()
			p, perr := packets.ReadPacket(r)
			if perr != nil {
				if err == nil || !errors.Is(perr, io.ErrUnexpectedEOF) && !errors.Is(perr, io.EOF) {
					t.Fatalf("%x: client reads %v, session %v", got[start:], perr, err)
				}
				break
			}
			if pub, ok := p.(*packets.PublishPacket); ok && pub.RemainingLength > MaxPacket {
				t.Fatalf("PUBLISH of %d bytes passed", pub.RemainingLength)
			}
		}
		if want := shortest(raw); len(raw) <= MaxPacket && !bytes.HasPrefix(want, got) {
			t.Fatalf("%x\nbecame\n%x", want, got)
		}
	})
}

// shortest returns raw with every length written in as few bytes as it needs, as far as it has packets.
func shortest(raw []byte) []byte {
	var out []byte
	for r := bytes.NewReader(raw); r.Len() > 0; {
		head, _ := r.ReadByte()
		n, err := readLength(r)
		if err != nil {
			break
		}
		body := make([]byte, min(n, r.Len()))
		r.Read(body)
		out = append(appendHead(out, head, n), body...)
	}
	return out
}

// A payload of 1 MB does not hurt: the message comes without it, is acknowledged, and the connection lives on.
func TestLongMessage(t *testing.T) {
	bubble(t, func(t *testing.T, b *brokertest.Broker, cfg Config) {
		b.Send("lamp/set", make([]byte, 1<<20), 1, true) // retained: comes again with every connection
		b.Send("lamp/get", make([]byte, 1<<20), 0, true)
		cfg.Subscribe = []Subscription{{"lamp/+", 2}}
		for range 2 {
			s := connect(t, cfg)
			for range 2 {
				if m := <-s.Messages(); !m.Truncated || len(m.Payload) != 0 || !m.Retain || !strings.HasPrefix(m.Topic, "lamp/") {
					t.Errorf("%s truncated %v, retained %v, %d bytes", m.Topic, m.Truncated, m.Retain, len(m.Payload))
				}
			}
			b.Send("lamp/x", []byte("on"), 2, false)
			if m := <-s.Messages(); m.Truncated || string(m.Payload) != "on" || m.QoS != 2 {
				t.Errorf("after it: %+v", m)
			}
			<-publish(t, s, "t", "x", 1).Done()
			synctest.Wait()
			if got := s.Stats(); got.Truncated != 2 || got.Received != 3 || got.Dropped != 0 {
				t.Errorf("%+v", got)
			}
			if err := s.Close(t.Context()); err != nil {
				t.Error(err)
			}
		}
		if acks := b.Acks("gw"); len(acks) != 4 {
			t.Errorf("acknowledged %v", acks)
		}
	})
}

// slowConn reads as from a line of so many bytes a second.
type slowConn struct {
	net.Conn
	rate int
}

func (c slowConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p[:min(len(p), c.rate/10)])
	time.Sleep(time.Duration(n) * time.Second / time.Duration(c.rate))
	return n, err
}

// On a slow line a long payload takes longer than any timeout, and pings and acknowledgements wait behind it; the session
// lives through that. After it, silence is silence again.
func TestLongMessageSlowLine(t *testing.T) {
	bubble(t, func(t *testing.T, b *brokertest.Broker, cfg Config) {
		cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := b.Dial(ctx, network, address)
			return slowConn{c, 8000}, err
		}
		cfg.Subscribe = []Subscription{{"lamp/+", 1}}
		b.Set(func(h *brokertest.Behaviour) { h.Strict = true })
		s := connect(t, cfg)
		b.Send("lamp/set", make([]byte, 4<<20), 1, false) // 8 min 44 s
		time.Sleep(time.Minute)
		r := publish(t, s, "t", "x", 1)
		<-r.Done()
		if r.Err() != nil {
			t.Error(r.Err())
		}
		if m := <-s.Messages(); !m.Truncated {
			t.Error("not truncated")
		}
		b.Set(func(h *brokertest.Behaviour) { h.NoPing = true })
		if err := s.Wait(); !errors.Is(err, ErrSilent) {
			t.Error(err)
		}
	})
}

// Nobody takes the messages: they are dropped, after a second for the first; the session does not mind.
func TestMessagesNotTaken(t *testing.T) {
	bubble(t, func(t *testing.T, b *brokertest.Broker, cfg Config) {
		cfg.Subscribe = []Subscription{{"#", 1}}
		s := connect(t, cfg)
		const n = waitingMessages + 500
		for i := range n {
			b.Send("t", fmt.Append(nil, i), 1, false)
		}
		start := time.Now()
		if err := b.Wait(t.Context(), func() bool { return len(b.Acks("gw")) == n }); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(start); d != patience {
			t.Errorf("held up for %v", d)
		}
		if got := s.Stats(); got.Received != waitingMessages || got.Dropped != 500 {
			t.Errorf("%+v", got)
		}
		for i := range waitingMessages {
			if m := <-s.Messages(); string(m.Payload) != fmt.Sprint(i) {
				t.Fatalf("message %d is %s", i, m.Payload)
			}
		}
		b.Send("t", []byte("again"), 0, false)
		if m := <-s.Messages(); string(m.Payload) != "again" {
			t.Errorf("got %s", m.Payload)
		}
		b.Cut("gw")
		if _, ok := <-s.Messages(); ok {
			t.Error("a message after the end")
		}
		if s.Wait() == nil {
			t.Error("no error")
		}
	})
}

// A broker that sends a topic which is none, or anything else that it should not.
func TestBrokerMisbehaves(t *testing.T) {
	bubble(t, func(t *testing.T, b *brokertest.Broker, cfg Config) {
		s := connect(t, cfg)
		b.SendRaw("gw", brokertest.AppendPublish(nil, brokertest.Publish{Topic: "a/#"}))
		b.SendRaw("gw", brokertest.AppendPublish(nil, brokertest.Publish{Topic: "a\x00"}))
		b.SendRaw("gw", brokertest.AppendPublish(nil, brokertest.Publish{Topic: "good", Dup: true, Retain: true, QoS: 1, ID: 65535}))
		b.SendRaw("gw", []byte("\x40\x02\x12\x34\x90\x03\x12\x34\x00\x70\x02\x12\x34")) // acknowledges what was never sent
		if m := <-s.Messages(); m.Topic != "good" || !m.Duplicate || !m.Retain {
			t.Errorf("%+v", m)
		}
		synctest.Wait()
		if got := s.Stats(); got.Dropped != 2 {
			t.Errorf("%+v", got)
		}
		b.SendRaw("gw", binary.BigEndian.AppendUint32(nil, 0x10000000))
		if err := s.Wait(); !errors.Is(err, ErrProtocol) {
			t.Error(err)
		}
	})
}
