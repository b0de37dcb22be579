package gateway

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/meshgate/meshgate/bridge"
	"github.com/meshgate/meshgate/bridge/spool"
	"github.com/meshgate/meshgate/gateway/config"
)

const (
	// How many records of a lane may be on their way to the broker without its PUBACK. Together
	// they are the most that is sent again after a loss.
	liveWindow    = 50
	backlogWindow = 100

	// readAgain is the pause before what the disk has failed to read is tried again.
	readAgain = time.Second

	ackBatch  = 20   // acknowledgements that the spool is told of at once, at most
	maxRoutes = 1000 // topics whose way a lane remembers
)

// lane is one of the two ways records go: what comes in now, and what waited. They share the
// connection and not the window, so that live readings do not stand in line behind a backlog; and
// the backlog has no more bytes on the way than the line can take without making others wait.
type lane struct {
	next       func(context.Context) (r spool.Record, more bool, err error)
	historical bool
	window     int
	pace       *throttle // nil: none
	routes     routes
	room       []byte // for the payload of one message
}

// routes is where the rules send the topics that a lane has met.
type routes map[string]route

type route struct {
	remote string
	rule   bridge.Rule
	ok     bool
}

// of gives where a topic goes. The topics of motes come again and again; when they are many all are forgotten.
func (r routes) of(topic string, rules bridge.Rules) route {
	to, known := r[topic]
	if !known {
		to.remote, to.rule, to.ok = rules.OutBy(topic)
		if len(r) >= maxRoutes {
			clear(r)
		}
		r[topic] = to
	}
	return to
}

// flight is a record on its way.
type flight struct {
	key
	receipt bridge.Receipt
	size    int
	sent    time.Time
}

// flights makes the channel of what is on its way. Beside what it holds, acknowledged has one in hand, and records one that is
// published and has no room yet; all of them together are the window.
func (l lane) flights() chan flight { return make(chan flight, l.window-2) }

// lanes are those of a new session.
func (f *forward) lanes() []lane {
	var tick <-chan time.Time
	if f.cfg.BacklogRate > 0 {
		tick = time.Tick(time.Second / time.Duration(f.cfg.BacklogRate))
	}
	backlog := func(ctx context.Context) (spool.Record, bool, error) { return f.nextBacklog(ctx, tick) }
	return []lane{{next: f.nextLive, window: liveWindow, routes: routes{}, room: make([]byte, 0, 512)},
		{next: backlog, historical: true, window: backlogWindow, pace: newThrottle(), routes: routes{}, room: make([]byte, 0, 512)}}
}

func (f *forward) nextLive(ctx context.Context) (spool.Record, bool, error) {
	r, err := f.reader.NextLive(ctx)
	return r, true, err
}

// nextBacklog gives what waited, after all states and one record a tick if there is one. What the
// disk fails to read is tried again.
func (f *forward) nextBacklog(ctx context.Context, tick <-chan time.Time) (spool.Record, bool, error) {
	select {
	case <-f.stated:
	case <-ctx.Done():
		return spool.Record{}, false, ctx.Err()
	}
	if tick != nil {
		select {
		case <-tick:
		case <-ctx.Done():
			return spool.Record{}, false, ctx.Err()
		}
	}
	for ctx.Err() == nil {
		if r, ok := f.reader.NextBacklog(); ok {
			return r, true, nil
		}
		if f.reader.Left() == 0 {
			return spool.Record{}, false, nil
		}
		f.mark.beat()
		sleep(ctx, readAgain)
	}
	return spool.Record{}, false, ctx.Err()
}

// records sends the records of a lane, in order. When the channel, and with it the window, is full,
// sending waits for the broker, and only the disk grows.
func (f *forward) records(ctx context.Context, s *bridge.Session, l lane, sent chan<- flight) error {
	defer close(sent)
	for {
		r, more, err := l.next(ctx)
		if err != nil || !more {
			return err
		}
		m, ok := f.outgoing(r, l)
		if !ok {
			if f.mayCarry(r.Topic) {
				f.over.Add(1)
			} else {
				f.reader.Ack(r.Seq)
			}
			f.mark.beat()
			continue
		}
		k := key{r.Seq, r.Topic}
		if f.park.holds(k) {
			f.over.Add(1) // not acknowledged: it stays on the disk
			f.mark.beat()
			continue
		}
		size := len(m.Topic) + len(m.Payload) + packetOverhead
		start, err := l.pace.enter(ctx, size)
		if err != nil {
			return err
		}
		if m.Retain && l.historical {
			f.recall()
		}
		receipt, err := f.newest.publish(m, r.Seq, func(m bridge.Message) (bridge.Receipt, error) {
			return f.park.publish(ctx, s, k, m)
		})
		if err != nil {
			return err
		}
		sent <- flight{k, receipt, size, start} // acknowledged empties it to the end, whatever happens
	}
}

// outgoing makes the remote message of a record; not ok when no rule carries it over this bridge.
func (f *forward) outgoing(r spool.Record, l lane) (bridge.Message, bool) {
	to := l.routes.of(r.Topic, f.cfg.Rules)
	if !to.ok {
		return bridge.Message{}, false
	}
	f.g.dates.again(&r)
	m, err := render(l.room[:0], r, l.historical)
	if err != nil {
		f.log.Error("left out", "error", err)
		return bridge.Message{}, false
	}
	if m.from == f.cfg.Name {
		return bridge.Message{}, false
	}
	return bridge.Message{Topic: to.remote, Payload: m.payload, QoS: to.rule.QoS, Retain: f.retained(r, m.retain, to.remote, to.rule)}, true
}

// mayCarry reports whether a topic is carried by the rules that are taken back should those of now, on trial, not be kept.
func (f *forward) mayCarry(topic string) bool {
	before := f.g.trial.fallback()
	return before != nil && slices.ContainsFunc(before.Bridges, func(b config.Bridge) bool {
		_, _, ok := b.Rules.Out(topic)
		return ok && b.Name == f.cfg.Name
	})
}

// acknowledged moves the cursor with the PUBACKs: at once, but in one go for those that have come
// together. To wait for several would save processor time, and stand still: a broker's TCP holds small packets
// back until the ones before are acknowledged, which our next message does. After the first failure it only drains.
func (f *forward) acknowledged(l lane, sent <-chan flight) error {
	var first error
	var seqs []uint64
	for fl := range sent {
		select {
		case <-fl.receipt.Done():
		default:
			seqs = f.delivered(seqs)
			<-fl.receipt.Done()
		}
		if err := fl.receipt.Err(); err != nil {
			first = errors.Join(first, err)
			continue
		}
		l.pace.left(fl.size, time.Since(fl.sent))
		f.park.arrived(fl.key)
		if seqs = append(seqs, fl.seq); len(seqs) >= ackBatch || len(sent) == 0 {
			seqs = f.delivered(seqs)
		}
	}
	f.delivered(seqs)
	return first
}

// delivered is told of records that the broker has, and gives the room of their list.
func (f *forward) delivered(seqs []uint64) []uint64 {
	if len(seqs) > 0 {
		f.reader.Ack(seqs...)
		f.mark.beat()
		f.sent.Add(uint64(len(seqs)))
	}
	return seqs[:0]
}
