package gateway

import (
	"context"
	"errors"
	"time"

	"github.com/meshgate/meshgate/bridge"
	"github.com/meshgate/meshgate/bridge/spool"
)

const (
	// How many records of a lane may be on their way to the broker without its PUBACK. Together
	// they are the most that is sent again after a loss.
	liveWindow    = 50
	backlogWindow = 100
)

// lane is one of the two ways records go: what comes in now, and what waited. They share the
// connection and not the window, so that live readings do not stand in line behind a backlog; and
// the backlog has no more bytes on the way than the line can take without making others wait.
type lane struct {
	next       func(context.Context) (r spool.Record, more bool, err error)
	historical bool
	window     int
	pace       *throttle // nil: none
}

// flight is a record on its way.
type flight struct {
	key
	receipt bridge.Receipt
	size    int
	sent    time.Time
}

// lanes are those of a new session.
func (f *forward) lanes() []lane {
	var tick <-chan time.Time
	if f.cfg.BacklogRate > 0 {
		tick = time.Tick(time.Second / time.Duration(f.cfg.BacklogRate))
	}
	backlog := func(ctx context.Context) (spool.Record, bool, error) { return f.nextBacklog(ctx, tick) }
	return []lane{{next: f.nextLive, window: liveWindow}, {next: backlog, historical: true, window: backlogWindow, pace: newThrottle()}}
}

func (f *forward) nextLive(ctx context.Context) (spool.Record, bool, error) {
	r, err := f.reader.NextLive(ctx)
	return r, true, err
}

// nextBacklog gives what waited, after all states and one record a tick if there is one.
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
	if err := ctx.Err(); err != nil {
		return spool.Record{}, false, err
	}
	r, ok := f.reader.NextBacklog()
	return r, ok, nil
}

// records sends the records of a lane, in order. The channel's capacity is the window: when it is
// full, sending waits for the broker, and only the disk grows.
func (f *forward) records(ctx context.Context, s *bridge.Session, l lane, sent chan<- flight) error {
	defer close(sent)
	for {
		r, more, err := l.next(ctx)
		if err != nil || !more {
			return err
		}
		f.mark.beat()
		m, ok := f.outgoing(r, l.historical)
		if !ok {
			f.reader.Ack(r.Seq)
			continue
		}
		k := key{r.Seq, r.Topic}
		if f.park.holds(k) {
			continue // not acknowledged: it stays on the disk
		}
		size := len(m.Topic) + len(m.Payload) + packetOverhead
		if err := l.pace.enter(ctx, size); err != nil {
			return err
		}
		start := time.Now()
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
func (f *forward) outgoing(r spool.Record, historical bool) (bridge.Message, bool) {
	remote, rule, ok := f.cfg.Rules.OutBy(r.Topic)
	if !ok {
		return bridge.Message{}, false
	}
	f.g.dates.again(&r)
	m, err := render(r, historical)
	if err != nil {
		f.log.Error("left out", "error", err)
		return bridge.Message{}, false
	}
	if m.from == f.cfg.Name {
		return bridge.Message{}, false
	}
	return bridge.Message{Topic: remote, Payload: m.payload, QoS: rule.QoS, Retain: f.retained(r, m.retain, remote, rule)}, true
}

// acknowledged moves the cursor with each PUBACK. After the first failure it only drains.
func (f *forward) acknowledged(l lane, sent <-chan flight) error {
	var first error
	for fl := range sent {
		<-fl.receipt.Done()
		if err := fl.receipt.Err(); err != nil {
			first = errors.Join(first, err)
			continue
		}
		l.pace.left(fl.size, time.Since(fl.sent))
		f.park.arrived(fl.key)
		f.reader.Ack(fl.seq)
		f.mark.beat()
		f.sent.Add(1)
	}
	return first
}
