package smartmesh

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meshgate/meshgate/hdlc"
)

// A model is a manager that keeps the protocol's rules, at the end of a line that loses, cuts, damages and repeats. It
// sends numbered events, reliably, one at a time, and answers getMoteConfigById with the id it was asked for.
type model struct {
	t    *testing.T
	rng  *rand.Rand
	port net.Conn

	open     bool
	number   byte // of the last reliable packet
	event    uint32
	flying   *Packet // the event that is not acknowledged yet
	tries    int
	request  []byte // the last request, and its response
	response []byte
	begun    bool // a request has come in this session
	client   byte // the client's last number
	ticks    int

	mu       sync.Mutex
	acked    map[uint32]bool
	executed map[uint16]int // requests by what they ask for
	sessions int
	noise    float64 // how much of the line's traffic comes to harm
}

// transmit sends a frame over the bad line.
func (m *model) transmit(packet []byte) {
	f := hdlc.AppendFrame(nil, packet)
	if m.rng.Float64() < m.noise {
		switch m.rng.IntN(4) {
		case 0:
			return
		case 1:
			f = f[:m.rng.IntN(len(f))]
		case 2:
			f[m.rng.IntN(len(f))] ^= 1 << m.rng.IntN(8)
		case 3:
			f = append(f, f...)
		}
	}
	if _, err := m.port.Write(f); err != nil && !errors.Is(err, io.ErrClosedPipe) {
		m.t.Errorf("write: %v", err)
	}
}

// run lives until the client closes the port.
func (m *model) run(in <-chan []byte) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case b, ok := <-in:
			if !ok {
				return
			}
			if p, err := ParsePacket(b); err != nil {
				m.t.Errorf("the client sends %x: %v", b, err)
			} else if m.rng.Float64() >= m.noise {
				m.take(p, b)
			}
		case <-tick.C:
			m.tick()
		}
	}
}

func (m *model) tick() {
	m.ticks++
	switch {
	case !m.open:
		if m.rng.IntN(20) == 0 {
			m.transmit([]byte{0, typeManagerHello, 0, 2, 4, 0})
		}
	case m.ticks%1900 == 0: // it boots
		m.open, m.flying = false, nil
	case m.flying == nil:
		m.event++
		m.number++
		payload := binary.BigEndian.AppendUint32([]byte{byte(NotifEvent)}, m.event)
		m.flying = &Packet{controlReliable, typeNotification, m.number, append(payload, byte(EventNetworkReset))}
		m.tries = 1
		m.transmit(m.flying.Append(nil))
	case m.tries == 8:
		m.open, m.flying = false, nil
	case m.ticks%4 == 0:
		m.tries++
		m.transmit(m.flying.Append(nil))
	}
}

func (m *model) take(p Packet, b []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case p.Control == 0 && p.Type == typeHello:
		m.open, m.begun, m.client = true, false, p.Payload[1]
		m.number, m.flying = byte(m.rng.Uint32()), nil
		m.sessions++
		m.transmit([]byte{0, typeHelloResponse, 0, 5, 0, 4, m.number, m.client, 0})
	case !m.open:
	case p.isAck():
		if m.flying != nil && p.Seq == m.flying.Seq {
			m.acked[m.event] = true
			m.flying = nil
		}
	case p.Seq == m.client && m.begun: // a repeat
		if !bytes.Equal(b, m.request) {
			m.t.Errorf("number %d was %x, now %x", p.Seq, m.request, b)
		}
		m.transmit(m.response)
	case p.Seq != m.client+1:
		m.t.Errorf("request %x after number %d", b, m.client)
	default:
		m.client, m.begun, m.request = p.Seq, true, bytes.Clone(b)
		answer := Packet{controlAck | controlReliable, p.Type, p.Seq, []byte{0}}
		if p.Type == getMoteConfigByID.id {
			m.executed[binary.BigEndian.Uint16(p.Payload)]++
			answer.Payload = append(append(make([]byte, 9), p.Payload...), 0, 4, 0, 1)
		}
		m.response = answer.Append(nil)
		m.transmit(m.response)
	}
}

// TestSessionModel runs sessions over bad lines, one after the other as a supervisor would, with several goroutines that
// ask and a manager that events pour out of. However bad the line: what is acknowledged was delivered, nothing is
// delivered twice by repeats, numbers are kept, no answer goes to another question, and nothing is done twice.
func TestSessionModel(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := &model{t: t, rng: rand.New(rand.NewPCG(seed, 1)), acked: map[uint32]bool{}, executed: map[uint16]int{},
					noise: []float64{0, 0.02, 0.1, 0.3}[seed%4]}
				delivered, answered := m.play(5 * time.Minute)
				for id := range m.acked {
					if delivered[id] == 0 {
						t.Errorf("event %d is acknowledged, but was not delivered", id)
					}
				}
				for id, n := range delivered {
					if n > 1 {
						t.Errorf("event %d was delivered %d times", id, n)
					}
				}
				for id, n := range m.executed {
					if n > 1 {
						t.Errorf("request %d was carried out %d times", id, n)
					}
				}
				t.Logf("noise %.2f: %d sessions, %d events acknowledged, %d requests answered", m.noise, m.sessions, len(m.acked), answered)
				if len(m.acked) < 100 || answered < 100 || m.sessions < 2 {
					t.Error("too little happened")
				}
			})
		})
	}
}

// play opens one session after the other until the time is up. It returns the events delivered, and how many questions
// were answered.
func (m *model) play(length time.Duration) (delivered map[uint32]int, answered int) {
	ctx, cancel := context.WithTimeout(m.t.Context(), length)
	defer cancel()
	delivered = map[uint32]int{}
	var question uint16
	for ctx.Err() == nil {
		here, there := net.Pipe()
		m.port = there
		in := make(chan []byte, 100)
		var wg sync.WaitGroup
		wg.Go(func() { read(there, in) })
		wg.Go(func() { m.run(in) })
		s, err := Connect(ctx, here, Options{OnNotify: func(n Notification) { delivered[n.EventID]++ }})
		if err != nil && ctx.Err() == nil {
			m.t.Errorf("Connect: %v", err)
		}
		if err == nil {
			answered += m.ask(ctx, s, &question)
			if err := s.Close(); err != nil {
				m.t.Error(err)
			}
		}
		wg.Wait()
		_ = there.Close()
	}
	return delivered, answered
}

// read passes the client's packets on.
func read(port net.Conn, in chan<- []byte) {
	defer close(in)
	r := hdlc.NewReader(port)
	for {
		b, err := r.Next()
		if err != nil {
			return
		}
		in <- bytes.Clone(b)
	}
}

// ask asks until the session is over, from three goroutines, some of whom lose patience.
func (m *model) ask(ctx context.Context, s *Session, question *uint16) (answered int) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for ctx.Err() == nil {
				mu.Lock()
				*question++
				id := *question
				mu.Unlock()
				patience, cancel := context.WithTimeout(ctx, time.Duration(1+id%4)*time.Second)
				c, err := s.GetMoteConfigByID(patience, id)
				cancel()
				if errors.Is(err, ErrSessionLost) {
					return
				}
				if err == nil && c.MoteID != id {
					m.t.Errorf("asked for %d, answered for %d", id, c.MoteID)
				}
				if err == nil {
					mu.Lock()
					answered++
					mu.Unlock()
				}
				time.Sleep(time.Duration(id%7) * 30 * time.Millisecond)
			}
		})
	}
	wg.Wait()
	return answered
}
