package bridge

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// wrong is a broker that answers what is published late, in any order, twice, with the wrong type or identifier, or never, and
// that goes away at some packet.
type wrong struct {
	net.Conn
	rnd  *rand.Rand
	open map[uint16]*packets.PublishPacket // unanswered
	has  map[string]bool                   // payloads whose acknowledgement was sent
	last map[string]string                 // payload by topic
	errs []string
}

func (w *wrong) serve(limit int) {
	defer w.Close()
	for n := range limit {
		w.Conn.SetReadDeadline(time.Now().Add(100 * time.Second))
		switch p, _ := packets.ReadPacket(w.Conn); p := p.(type) {
		case *packets.ConnectPacket:
			w.Write([]byte{typeConnack << 4, 2, 0, 0})
		case *packets.SubscribePacket:
			w.Write([]byte{typeSuback << 4, 3, 0, byte(p.MessageID), 1})
		case *packets.PingreqPacket:
			w.Write([]byte{typePingresp << 4, 0})
		case *packets.PublishPacket:
			if w.open[p.MessageID] != nil || p.Qos > 0 && p.MessageID < firstID || string(p.Payload[:8]) <= w.last[p.TopicName] {
				w.errs = append(w.errs, fmt.Sprintf("packet %d: identifier %x, %s after %s", n, p.MessageID, p.Payload[:8], w.last[p.TopicName]))
			}
			w.last[p.TopicName] = string(p.Payload[:8])
			if p.Qos > 0 {
				w.open[p.MessageID] = p
			}
		case *packets.PubrelPacket:
		default:
			return
		}
		for id := range w.open { // any
			for range w.rnd.IntN(3) {
				w.answer([]byte{typePuback, typePubrec, typePubrel, typePubcomp}[w.rnd.IntN(4)], id)
			}
			w.answer(typePuback, uint16(w.rnd.IntN(100)))
			break
		}
	}
}

func (w *wrong) answer(kind byte, id uint16) {
	if p := w.open[id]; p != nil && (kind == typePuback && p.Qos == 1 || kind == typePubcomp && p.Qos == 2) {
		w.has[p.TopicName+string(p.Payload[:8])] = true
		delete(w.open, id)
	}
	w.Write(binary.BigEndian.AppendUint16([]byte{kind << 4, 2}, id))
}

// Whatever a broker answers, nothing is reported as delivered without its PUBACK or PUBCOMP, each topic keeps its order, no
// identifier is used twice at once, and all receipts are done when the session has ended.
func TestWrongAnswers(t *testing.T) {
	for seed := range uint64(100) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { synctest.Test(t, func(t *testing.T) { wrongAnswers(t, seed) }) })
	}
}

func wrongAnswers(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	near, far := net.Pipe()
	w := &wrong{far, rand.New(rand.NewPCG(seed, 2)), map[uint16]*packets.PublishPacket{}, map[string]bool{}, map[string]string{}, nil}
	var broker, users sync.WaitGroup
	limit := 3 + rnd.IntN(400)
	broker.Go(func() { w.serve(limit) })
	s := connect(t, Config{URL: "mqtt://broker", ClientID: "gw", Keepalive: 5 * time.Second, Subscribe: []Subscription{{"a", 1}},
		Dial: func(context.Context, string, string) (net.Conn, error) { return near, nil }})
	var sent [3]map[string]Receipt
	for user := range sent {
		sent[user] = map[string]Receipt{}
		rnd, topic := rand.New(rand.NewPCG(seed, 3+uint64(user))), fmt.Sprint("t/", user)
		users.Go(func() {
			for i := range 200 {
				m := Message{Topic: topic, QoS: byte(rnd.IntN(3)), Payload: fmt.Appendf(nil, "%08d%*s", i+1, rnd.IntN(2)*rnd.IntN(20000), "")}
				if r, err := s.Publish(t.Context(), m); err == nil && m.QoS > 0 {
					sent[user][topic+string(m.Payload[:8])] = r
				}
				time.Sleep(time.Duration(rnd.IntN(500)) * time.Millisecond)
			}
		})
	}
	time.Sleep(time.Duration(rnd.IntN(60)) * time.Second)
	s.Close(within(t, time.Duration(rnd.IntN(10))*time.Second))
	users.Wait()
	broker.Wait()
	for _, of := range sent {
		for what, r := range of {
			if !closed(r.Done()) || r.Err() == nil && !w.has[what] {
				t.Errorf("%s: done %v, %v, acknowledged %v", what, closed(r.Done()), r.Err(), w.has[what])
			}
		}
	}
	if len(w.errs) > 0 {
		t.Error(w.errs)
	}
}
