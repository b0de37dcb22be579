package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
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
	// closing is what a clean stop waits for acknowledgements and the farewell.
	closing = 2 * time.Second
)

// forward carries records and states to one remote broker and commands back, through as many
// sessions as it takes.
type forward struct {
	cfg    config.Bridge
	g      *Gateway
	reader *spool.Reader
	link   *link
	mark   *mark
	log    *slog.Logger
	turn   int // which of the URLs is tried next
	told   string
	twin   twin
	ledger *ledger
	newest newest

	sent, failures atomic.Uint64
}

// flight is a record on its way.
type flight struct {
	seq     uint64
	receipt bridge.Receipt
}

func newForward(cfg config.Bridge, g *Gateway) (*forward, error) {
	r, err := g.spool.Reader(cfg.Name)
	if err != nil {
		return nil, err
	}
	book := openLedger(filepath.Join(g.conf().StateDir, "retained", cfg.Name+".json"), g.log.With("bridge", cfg.Name))
	return &forward{cfg: cfg, g: g, reader: r, ledger: book, link: g.links.add("bridge", cfg.Name, cfg.URLs[0]), log: g.log.With("bridge", cfg.Name),
		mark: g.progress.add("bridge "+cfg.Name, func() bool { return r.Waiting() == 0 })}, nil
}

func (f *forward) run(ctx context.Context) { supervise(ctx, f.log, f.mark, f.failed, f.once) }

func (f *forward) failed(err error) {
	f.failures.Add(1)
	f.link.down(err)
	f.g.uplinks.set(f.cfg.Name, false)
	f.turn++
}

// statusTopic is where the broker tells others whether the gateway is there.
func (f *forward) statusTopic() string { return f.cfg.Prefix + "gateway/status" }

func (f *forward) config(url string) bridge.Config {
	return bridge.Config{Name: f.cfg.Name, URL: url, ClientID: f.cfg.ClientID, Username: f.cfg.Username,
		PasswordFile: f.cfg.PasswordFile, TLS: f.cfg.TLS, Keepalive: f.cfg.Keepalive, Dial: f.g.hw.Dial,
		Will:      bridge.Message{Topic: f.statusTopic(), Payload: f.g.presence("offline", "lost"), QoS: 1, Retain: true},
		Subscribe: append(f.cfg.Rules.Subscriptions(), bridge.Subscription{Filter: f.statusTopic(), QoS: 1})}
}

// once is one session: it returns when the first of its parts fails, and all of them are gone
// by then. When ctx ends, what is in flight is waited for and the farewell is said.
func (f *forward) once(ctx context.Context, up func(...any)) error {
	url := f.cfg.URLs[f.turn%len(f.cfg.URLs)]
	s, err := bridge.Connect(ctx, f.config(url), f.log)
	if err != nil {
		return err
	}
	f.connected(url, s)
	up("broker", url)
	f.reader.Rewind()
	work, stop := context.WithCancelCause(ctx)
	var wg, acks sync.WaitGroup
	wg.Go(func() { stop(s.Wait()) })
	wg.Go(func() { stop(f.states(work, s)) })
	wg.Go(func() { stop(f.commands(work, s)) })
	for _, l := range []lane{{f.nextLive, false, liveWindow}, {f.nextBacklog, true, backlogWindow}} {
		sent := make(chan flight, l.window)
		wg.Go(func() {
			if err := f.records(work, s, l, sent); err != nil {
				stop(err)
			}
		})
		acks.Go(func() {
			if err := f.acknowledged(sent); err != nil {
				stop(err)
			}
		})
	}
	<-work.Done()
	f.farewell(ctx, s)
	wg.Wait()
	acks.Wait()
	if err := s.Wait(); err != nil { // what the parts have met follows from this
		return f.twin.judge(err, f.cfg.ClientID)
	}
	return context.Cause(work)
}

func (f *forward) connected(url string, s *bridge.Session) {
	f.link.up(url)
	f.g.uplinks.set(f.cfg.Name, true)
	refused := strings.Join(s.Refused(), ", ")
	if refused != "" {
		f.link.complain("the broker refuses the subscription to " + refused + ": commands will not arrive")
	}
	if refused != f.told {
		f.told = refused
		if refused != "" {
			f.log.Warn("the broker refuses subscriptions: commands on them will not arrive", "filters", refused)
		}
	}
}

// farewell ends the session: politely when ctx has ended, at once when it was lost.
func (f *forward) farewell(ctx context.Context, s *bridge.Session) {
	end, cancel := context.WithTimeout(context.Background(), closing)
	defer cancel()
	if ctx.Err() == nil {
		cancel()
	} else if r, err := s.Publish(end, bridge.Message{Topic: f.statusTopic(), Payload: f.g.presence("offline", "stopped"), QoS: 1, Retain: true}); err == nil {
		select {
		case <-r.Done():
		case <-end.Done():
		}
	}
	s.Close(end) // after it every receipt is done
}

// states publishes the birth and then every retained topic that the rules carry: all of them at
// the start, later those that change.
func (f *forward) states(ctx context.Context, s *bridge.Session) error {
	birth := bridge.Message{Topic: f.statusTopic(), Payload: f.g.presence("online", "started"), QoS: 1, Retain: true}
	f.ledger.note(map[string]origin{birth.Topic: {"gateway/status", true}})
	if err := f.deliver(ctx, s, birth); err != nil {
		return err
	}
	look := time.NewTicker(tidyPeriod)
	defer look.Stop()
	var version uint64
	for {
		list, now, more := f.g.hub.newer(version)
		if err := f.deliver(ctx, s, f.batch(list)...); err != nil {
			return err
		}
		if err := f.tidy(ctx, s); err != nil {
			return err
		}
		version = now
		select {
		case <-more:
		case <-look.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// deliver publishes messages and waits until the broker has them all.
func (f *forward) deliver(ctx context.Context, s *bridge.Session, batch ...bridge.Message) error {
	var receipts []bridge.Receipt
	for _, m := range batch {
		r, err := s.Publish(ctx, m)
		if err != nil {
			return err
		}
		receipts = append(receipts, r)
	}
	for _, r := range receipts {
		select {
		case <-r.Done():
			if err := r.Err(); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// lane is one of the two ways records go: what comes in now, and what waited. They share the
// connection and not the window, so that live readings do not stand in line behind a backlog.
type lane struct {
	next       func(context.Context) (r spool.Record, more bool, err error)
	historical bool
	window     int
}

func (f *forward) nextLive(ctx context.Context) (spool.Record, bool, error) {
	r, err := f.reader.NextLive(ctx)
	return r, true, err
}

// nextBacklog gives what waited, no faster than backlog_rate.
func (f *forward) nextBacklog(ctx context.Context) (spool.Record, bool, error) {
	if f.cfg.BacklogRate > 0 && !sleep(ctx, time.Second/time.Duration(f.cfg.BacklogRate)) {
		return spool.Record{}, false, ctx.Err()
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
		receipt, err := f.newest.publish(ctx, s, m, r.Seq)
		if err != nil {
			return err
		}
		sent <- flight{r.Seq, receipt} // acknowledged empties it to the end, whatever happens
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
func (f *forward) acknowledged(sent <-chan flight) error {
	var first error
	for fl := range sent {
		<-fl.receipt.Done()
		if err := fl.receipt.Err(); err != nil {
			first = errors.Join(first, err)
			continue
		}
		f.reader.Ack(fl.seq)
		f.mark.beat()
		f.sent.Add(1)
	}
	return first
}

// commands takes what the broker sends until the session ends; what waits then is forgotten.
func (f *forward) commands(ctx context.Context, s *bridge.Session) error {
	for {
		select {
		case m, ok := <-s.Messages():
			if !ok {
				return errors.New("the session has ended")
			}
			f.incoming(ctx, s, m)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (f *forward) incoming(ctx context.Context, s *bridge.Session, m bridge.Message) {
	if m.Echo {
		return // what we have published ourselves comes back where a rule goes both ways
	}
	if m.Topic == f.statusTopic() {
		f.contradict(ctx, s, m)
		return
	}
	local, rule, ok := f.cfg.Rules.InBy(m.Topic)
	if !ok {
		return
	}
	if isCommand(local) {
		f.g.orders.do(ctx, command{topic: local, payload: m.Payload, retain: m.Retain, truncated: m.Truncated})
		return
	}
	f.g.brought(message{topic: local, payload: m.Payload, retain: rule.Retain.Flag(m.Retain), from: f.cfg.Name}, m.QoS)
}

// contradict says online again when somebody else's message, the late will of an earlier
// connection as a rule, has put offline over it.
func (f *forward) contradict(ctx context.Context, s *bridge.Session, m bridge.Message) {
	if m.Retain || !strings.Contains(string(m.Payload), `"offline"`) {
		return // what was retained before the birth is overwritten by it
	}
	f.log.Debug("a last will was published over our presence; saying online again")
	if _, err := s.Publish(ctx, bridge.Message{Topic: f.statusTopic(), Payload: f.g.presence("online", "started"), QoS: 1, Retain: true}); err != nil {
		f.log.Debug("saying online again", "error", err)
	}
}

// presence is the payload of gateway/status.
func (g *Gateway) presence(state, reason string) []byte {
	return fmt.Appendf(nil, `{"state":%q,"reason":%q,"boot":%q,"version":%q,"time":%q}`,
		state, reason, g.boot, g.hw.Version, stamp(time.Now()))
}
