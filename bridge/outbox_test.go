package bridge

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
	"github.com/meshgate/meshgate/bridge/brokertest"
)

func open(s *Session, qos byte) (*receipt, uint16) {
	r := &receipt{s: s, at: time.Since(s.started), qos: qos}
	return r, s.outbox.add(r)
}

// An answer completes the message that it belongs to, and nothing else completes one.
func TestOutbox(t *testing.T) {
	s := &Session{started: time.Now(), past: make(chan struct{})}
	close(s.past)
	o := &s.outbox
	one, first := open(s, 1)
	two, second := open(s, 2)
	for _, a := range []struct {
		kind    byte
		id      uint16
		release bool
	}{
		{typePuback, first - 1, false}, {typePuback, second + 1, false}, {typePuback, 1, false}, {typePuback, 0, false},
		{typePubrec, first, false}, {typePubcomp, first, false}, {typePuback, second, false},
		{typePubrec, second, true}, {typePubrec, second, true},
	} {
		if got := o.answered(a.kind, a.id); got != a.release || closed(one.Done()) || closed(two.Done()) {
			t.Errorf("type %d for %x: release %v; done %v, %v", a.kind, a.id, got, closed(one.Done()), closed(two.Done()))
		}
	}
	o.answered(typePubcomp, second)
	if !closed(two.Done()) || closed(one.Done()) || two.Err() != nil {
		t.Errorf("PUBCOMP: %v, %v, %v", closed(one.Done()), closed(two.Done()), two.Err())
	}
	if w := o.waiting(); len(w) != 1 || w[0] != one {
		t.Errorf("%d wait", len(w))
	}
	o.answered(typePuback, first)
	o.answered(typePuback, first) // twice
	if w := o.waiting(); !closed(one.Done()) || len(w) != 0 {
		t.Errorf("%d wait", len(w))
	}
}

// All identifiers are used, from firstID up and round again, no two at once, in whatever order the answers come; a message
// that is never answered stands in nobody's way.
func TestOutboxIdentifiers(t *testing.T) {
	s := &Session{started: time.Now(), past: make(chan struct{})}
	close(s.past)
	o := &s.outbox
	used, most := map[uint16]*receipt{}, uint16(0)
	rnd := rand.New(rand.NewPCG(1, 2))
	never, _ := open(s, 1)
	for i := range 3 * maxOpen {
		r, id := open(s, 1)
		if id < firstID || used[id] != nil {
			t.Fatalf("message %d has identifier %x, in use %v", i, id, used[id] != nil)
		}
		used[id], most = r, max(most, id)
		if len(used) > 50 {
			for id, r := range used { // any
				if rnd.IntN(3) == 0 {
					break
				}
				if o.answered(typePuback, id); !closed(r.Done()) {
					t.Fatalf("%x is not done", id)
				}
				delete(used, id)
			}
		}
	}
	if most != 0xffff {
		t.Errorf("the last identifier used is %x", most)
	}
	if w := o.waiting(); len(w) != len(used)+1 || w[0] != never {
		t.Errorf("%d wait, want %d", len(w), len(used)+1)
	}
	o.end()
	for id, r := range used {
		if !closed(r.Done()) || r.Err() == nil {
			t.Errorf("%x after the end: done %v, %v", id, closed(r.Done()), r.Err())
		}
	}
	if r, _ := open(s, 1); !closed(r.Done()) || r.Err() == nil {
		t.Error("one that comes after the end is not lost")
	}
}

// When the broker leaves 32768 messages without an answer, the next is refused and what was sent goes on.
func TestAllIdentifiersTaken(t *testing.T) {
	bubble(t, func(t *testing.T, b *brokertest.Broker, cfg Config) {
		b.Set(func(h *brokertest.Behaviour) { h.NoAck = true })
		s := connect(t, cfg)
		var last Receipt
		for range maxOpen {
			last = publish(t, s, "t", "", 1)
		}
		_, err := s.Publish(t.Context(), Message{Topic: "t", QoS: 1})
		contains(t, err, "32768 messages are not acknowledged")
		publish(t, s, "t", "", 0)
		if s.Close(within(t, time.Second)) == nil || last.Err() == nil {
			t.Error("all is well")
		}
	})
}

// FuzzPublishPacket: what is published is what the client's own decoder reads.
func FuzzPublishPacket(f *testing.F) {
	f.Add("meshgate/gw/mote/1/temperature", []byte(`{"value":22.97}`), byte(1), true, uint16(firstID))
	f.Add("t", bytes.Repeat([]byte("x"), 200), byte(2), false, uint16(0xffff))
	f.Add("t", []byte{}, byte(0), false, uint16(0))
	f.Fuzz(func(t *testing.T, topic string, payload []byte, qos byte, retain bool, id uint16) {
		m := Message{Topic: topic, Payload: payload, QoS: qos % 3, Retain: retain}
		if ValidTopic(topic) != nil {
			return
		}
		raw := appendPublish([]byte("before"), m, id)
		r := bytes.NewReader(raw[len("before"):])
		p, err := packets.ReadPacket(r)
		if err != nil || r.Len() > 0 {
			t.Fatalf("%x: %v, %d bytes left", raw, err, r.Len())
		}
		got := p.(*packets.PublishPacket)
		if got.TopicName != topic || !bytes.Equal(got.Payload, payload) || got.Qos != m.QoS || got.Retain != retain || got.Dup {
			t.Fatalf("%x is %v", raw, got)
		}
		if m.QoS > 0 && got.MessageID != id {
			t.Fatalf("%x has identifier %x", raw, got.MessageID)
		}
	})
}

// A line that is used both ways needs no PINGREQ. One that is not needs it in time: no two packets are further apart than the
// keepalive (MQTT-3.1.2-23).
func TestPings(t *testing.T) {
	for name, c := range map[string]struct {
		every     time.Duration
		qos       byte
		keepalive time.Duration
		want      [2]int // pings in an hour
	}{
		"busy":         {20 * time.Second, 1, 30 * time.Second, [2]int{0, 0}},
		"never heard":  {20 * time.Second, 0, 30 * time.Second, [2]int{100, 132}},
		"now and then": {301100 * time.Millisecond, 1, 30 * time.Second, [2]int{100, 132}},
		"idle":         {2 * time.Hour, 1, 30 * time.Second, [2]int{100, 132}},
		"short":        {2 * time.Hour, 1, time.Second, [2]int{3600, 4800}},
		"long":         {2 * time.Hour, 1, 20 * time.Minute, [2]int{2, 3}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *brokertest.Broker, cfg Config) {
				var pings atomic.Int64
				last := time.Now()
				b.Set(func(h *brokertest.Behaviour) {
					h.Cut = func(_ string, p brokertest.Packet) bool {
						if d := time.Since(last); d > c.keepalive {
							t.Errorf("nothing was sent for %v", d)
						}
						if last = time.Now(); p.Type == brokertest.PINGREQ {
							pings.Add(1)
						}
						return false
					}
				})
				cfg.Keepalive = c.keepalive
				s := connect(t, cfg)
				for range time.Hour / c.every {
					<-publish(t, s, "t", "", c.qos).Done()
					time.Sleep(c.every)
				}
				if c.every > time.Hour {
					time.Sleep(time.Hour)
				}
				synctest.Wait()
				if n := int(pings.Load()); n < c.want[0] || n > c.want[1] {
					t.Errorf("%d pings", n)
				}
				if err := s.Close(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// DISCONNECT is the last packet, whatever comes from the broker then (MQTT-3.14.4-2).
func TestNothingAfterDisconnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		w := newWire(near, near, NewInbound(near), func(error) {}, func() {})
		go func() {
			w.finish(disconnect, linger)
			w.Close()
		}()
		synctest.Wait()
		time.Sleep(linger / 2)
		w.ping(0)
		w.Write([]byte{typePuback << 4, 2, 0, 1})
		if got, err := io.ReadAll(far); err != nil || !bytes.Equal(got, disconnect) {
			t.Errorf("sent %x, %v", got, err)
		}
		<-w.writer
	})
}
