package local

import (
	"errors"
	"hash/maphash"
	"sync"
	"sync/atomic"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/meshgate/meshgate/bridge"
)

const (
	lanes  = 16 // Intakes at once, so that they share a disk sync
	window = 64 // messages taken and not yet acknowledged
)

// intake hands over what one connection brings. Messages of one topic follow each other through the same lane;
// acknowledgements leave in the order in which the messages came [MQTT-4.6.0-2]. When all is full, take waits, and with
// it the connection: the broker keeps what it has.
//
//	paho -> take -> lane[hash(topic)] -> Intake -> result
//	             -> order (chan) -> acknowledge <-----+
type intake struct {
	c      *Client
	read   *bridge.Inbound
	fail   func(error)
	seed   maphash.Seed
	lane   [lanes]chan *arrival
	order  chan *arrival
	quit   chan struct{}
	broken atomic.Bool
	mu     sync.RWMutex // held for reading by take
	wg     sync.WaitGroup
}

type arrival struct {
	mqtt.Message
	result chan error
}

func newIntake(c *Client, read *bridge.Inbound, fail func(error)) *intake {
	in := &intake{c: c, read: read, fail: fail, seed: maphash.MakeSeed(), order: make(chan *arrival, window), quit: make(chan struct{})}
	for i := range in.lane {
		in.lane[i] = make(chan *arrival, window)
		in.wg.Go(func() { in.work(in.lane[i]) })
	}
	in.wg.Go(in.acknowledge)
	return in
}

// take is paho's handler.
func (in *intake) take(m mqtt.Message) {
	if in.c.echo.heard(m.Topic(), m.Payload(), m.Retained()) {
		m.Ack()
		return
	}
	in.c.count.received.Add(1)
	a := &arrival{Message: m, result: make(chan error, 1)}
	in.mu.RLock()
	defer in.mu.RUnlock()
	select {
	case <-in.quit:
		return
	default:
	}
	select {
	case in.order <- a: // bounds the lanes, too: each has room for all of them
		in.lane[maphash.String(in.seed, m.Topic())%lanes] <- a
	case <-in.quit:
	}
}

// work calls Intake. Once a message was not taken that the broker will send again, nothing behind it is taken: it
// would overtake it.
func (in *intake) work(lane <-chan *arrival) {
	for a := range lane {
		if in.broken.Load() {
			a.result <- errNotStored
			continue
		}
		m := Message{Topic: a.Topic(), Payload: a.Payload(), QoS: a.Qos(), Retain: a.Retained()}
		if in.read.Truncated(m.Payload) {
			m.Payload, m.Truncated = nil, true
		}
		err := in.c.opt.Intake(m)
		if err != nil && a.Qos() > 0 && in.c.opt.Keep && !errors.Is(err, ErrNever) {
			in.broken.Store(true)
			in.fail(errNotStored)
		}
		a.result <- err
	}
}

func (in *intake) acknowledge() {
	for a := range in.order {
		switch err := <-a.result; {
		case err == nil:
			a.Ack()
		case err == errNotStored: // will come again
		default:
			in.c.count.notStored.Add(1)
			in.c.refusals.add(in.c.opt.URL, "a message is not taken", "topic", a.Topic(), "error", err)
			if errors.Is(err, ErrNever) {
				a.Ack()
			}
		}
	}
}

// end lets no message in any more and waits until all that was taken has been handed over.
func (in *intake) end() {
	close(in.quit)
	in.mu.Lock()
	for _, lane := range in.lane {
		close(lane)
	}
	close(in.order)
	in.mu.Unlock()
	in.wg.Wait()
}
