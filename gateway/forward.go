package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/meshgate/meshgate/bridge"
	"github.com/meshgate/meshgate/bridge/spool"
	"github.com/meshgate/meshgate/gateway/config"
)

// closing is what a clean stop waits for acknowledgements and the farewell.
const closing = 2 * time.Second

// forward carries records and states to one remote broker and commands back, through as many
// sessions as it takes.
type forward struct {
	cfg      config.Bridge
	g        *Gateway
	reader   *spool.Reader
	link     *link
	mark     *mark
	tells    *duty // of states
	hears    *duty // of commands
	log      *slog.Logger
	turn     int // which of the URLs is tried next
	lasted   bool
	told     string
	twin     twin
	ledger   *ledger
	newest   newest
	recalled bool           // newest knows what was delivered before; the backlog's
	mute     bool           // the broker does not route
	files    string         // the state of the files that this session was made with
	ending   map[string]int // certificates that end soon, by serial number: the threshold that was told
	state    *condition
	park     *parking
	echoes   chan string
	as       asBridge
	stated   chan struct{} // closed when this session has published all states

	over           atomic.Uint64 // records that this session has passed over
	sent, failures atomic.Uint64
	certEnd        atomic.Int64 // of the certificate that ends first; 0: none is known
}

func newForward(cfg config.Bridge, g *Gateway) (*forward, error) {
	r, err := g.spool.Reader(cfg.Name)
	if err != nil {
		return nil, err
	}
	f := &forward{cfg: cfg, g: g, reader: r, link: g.links.add("bridge", cfg.Name, cfg.URLs[0]), log: g.log.With("bridge", cfg.Name),
		tells: g.progress.duty("states of bridge " + cfg.Name), hears: g.progress.duty("commands of bridge " + cfg.Name),
		ledger: openLedger(filepath.Join(g.conf().StateDir, "retained", cfg.Name+".json"), g.log.With("bridge", cfg.Name)),
		echoes: make(chan string, 8), ending: map[string]int{}}
	f.mark = g.progress.add("bridge "+cfg.Name, func() bool { return r.Waiting() <= f.over.Load() })
	f.state = &condition{link: f.link}
	f.park = newParking(f.log, func(text string) { f.state.set(troubleHeld, text) })
	return f, nil
}

func (f *forward) run(ctx context.Context) { supervise(ctx, f.log, f.mark, f.failed, f.once) }

func (f *forward) failed(err error) {
	f.failures.Add(1)
	f.state.lost(err)
	f.g.uplinks.set(f.cfg.Name, false)
	f.nextURL()
}

// statusTopic is where the broker tells others whether the gateway is there.
func (f *forward) statusTopic() string { return f.cfg.Prefix + "gateway/status" }

func (f *forward) config(url string) bridge.Config {
	return bridge.Config{Name: f.cfg.Name, URL: url, ClientID: f.cfg.ClientID, Username: f.cfg.Username,
		PasswordFile: f.cfg.PasswordFile, TLS: f.cfg.TLS, Keepalive: f.cfg.Keepalive, Dial: f.g.hw.Dial, Time: f.g.clock.now,
		Will:      bridge.Message{Topic: f.statusTopic(), Payload: f.g.presence("offline", "lost"), QoS: 1, Retain: true},
		Subscribe: f.subscriptions(), AsBridge: f.as.now}
}

// session is one connection: it returns when the first of its parts fails, and all of them are gone
// by then. When ctx ends, what is in flight is waited for and the farewell is said.
func (f *forward) session(ctx context.Context, up func(...any)) error {
	f.lasted = false
	url, start := f.cfg.URLs[f.turn%len(f.cfg.URLs)], time.Now()
	f.files, _ = f.stampFiles()
	s, err := f.dial(ctx, url)
	if err != nil {
		return err
	}
	f.connected(url, s)
	up("broker", url)
	f.reader.Rewind()
	f.over.Store(0)
	f.park.begin()
	f.stated = make(chan struct{})
	work, stop := context.WithCancelCause(ctx)
	var wg, acks sync.WaitGroup
	wg.Go(func() { stop(s.Wait()) })
	wg.Go(func() { stop(f.park.retry(work)) })
	for _, part := range []func(context.Context, *bridge.Session) error{f.states, f.commands, f.canary, f.firstAgain, f.replaced, f.certificates} {
		wg.Go(func() { stop(part(work, s)) })
	}
	for _, l := range f.lanes() {
		sent := l.flights()
		wg.Go(func() {
			if err := f.records(work, s, l, sent); err != nil {
				stop(err)
			}
		})
		acks.Go(func() {
			if err := f.acknowledged(l, sent); err != nil {
				stop(err)
			}
		})
	}
	<-work.Done()
	f.farewell(ctx, s, context.Cause(work))
	wg.Wait()
	acks.Wait()
	f.lasted = time.Since(start) >= stableAfter
	err = s.Wait() // what the parts have met follows from this
	if f.park.ended(err) {
		return err
	}
	if err != nil {
		return f.twin.judge(err, f.cfg.ClientID)
	}
	return context.Cause(work)
}

func (f *forward) connected(url string, s *bridge.Session) {
	route := "not known yet"
	if f.cfg.Canary == 0 {
		route = "not checked"
	}
	f.state.connected(url, route)
	f.g.uplinks.set(f.cfg.Name, true)
	var filters []string
	for _, filter := range s.Refused() {
		if filter == f.canaryFilter() && f.cfg.Canary > 0 {
			f.state.routed("not checked", "the broker refuses the subscription to "+filter+": whether it routes is not known (`canary: 0` is not to ask)")
			continue
		}
		filters = append(filters, filter)
	}
	refused := strings.Join(filters, ", ")
	if refused != "" {
		f.state.set(troubleSubscription, "the broker refuses the subscription to "+refused+": commands will not arrive")
	}
	if refused != f.told {
		f.told = refused
		if refused != "" {
			f.log.Warn("the broker refuses subscriptions: commands on them will not arrive", "filters", refused)
		}
	}
}

// farewell ends the session: politely when ctx has ended, without a word but with its
// acknowledgements when it is renewed, at once when it was lost.
func (f *forward) farewell(ctx context.Context, s *bridge.Session, why error) {
	end, cancel := context.WithTimeout(context.Background(), closing)
	defer cancel()
	if renewed := errors.As(why, new(renewal)); ctx.Err() == nil && !renewed {
		cancel()
	} else if renewed && ctx.Err() == nil {
		// the next session says that we are online
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
	f.tells.begin()
	defer f.tells.end()
	birth := tracked{key{topic: "gateway/status"}, bridge.Message{Topic: f.statusTopic(), Payload: f.g.presence("online", "started"), QoS: 1, Retain: true}}
	f.ledger.note(map[string]origin{birth.Message.Topic: {"gateway/status", true}})
	if err := f.deliver(ctx, s, f.tells.mark, birth); err != nil {
		return err
	}
	look := time.NewTicker(tidyPeriod)
	defer look.Stop()
	var version uint64
	for first := true; ; first = false {
		list, now, more := f.g.hub.newer(version)
		if err := f.deliver(ctx, s, f.tells.mark, f.batch(list)...); err != nil {
			return err
		}
		if err := f.tidy(ctx, s); err != nil {
			return err
		}
		if first {
			close(f.stated)
		}
		version = now
		f.tells.end()
		select {
		case <-more:
		case <-look.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		f.tells.begin()
	}
}

// tracked is a message with the name under which it is suspected when the connection is lost.
type tracked struct {
	key
	bridge.Message
}

// stateWindow is how many states may be on their way without their PUBACK: few, so that at the start
// of a session on a slow line live readings do not wait behind all of them.
const stateWindow = 10

// deliver publishes messages, but for those that are held back, and waits until the broker has
// them all. The mark, which may be nil, gets a beat for every few.
func (f *forward) deliver(ctx context.Context, s *bridge.Session, m *mark, batch ...tracked) error {
	for part := range slices.Chunk(batch, stateWindow) {
		if err := f.deliverPart(ctx, s, part); err != nil {
			return err
		}
		m.beat()
	}
	return nil
}

func (f *forward) deliverPart(ctx context.Context, s *bridge.Session, batch []tracked) error {
	receipts := map[key]bridge.Receipt{}
	for _, m := range batch {
		if f.park.holds(m.key) {
			continue
		}
		r, err := f.park.publish(ctx, s, m.key, m.Message)
		if err != nil {
			return err
		}
		receipts[m.key] = r
	}
	for k, r := range receipts {
		select {
		case <-r.Done():
			if err := r.Err(); err != nil {
				return err
			}
			f.park.arrived(k)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// commands takes what the broker sends until the session ends; what waits then is forgotten.
func (f *forward) commands(ctx context.Context, s *bridge.Session) error {
	for {
		select {
		case m, ok := <-s.Messages():
			if !ok {
				return errors.New("the session has ended")
			}
			f.hears.begin()
			f.incoming(ctx, s, m)
			f.hears.end()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (f *forward) incoming(ctx context.Context, s *bridge.Session, m bridge.Message) {
	if f.cfg.Canary > 0 && m.Topic == f.canaryTopic() {
		f.echo(m.Payload)
		return
	}
	f.as.gives = f.as.gives || m.Echo && m.Topic == f.statusTopic()
	if m.Echo && (!f.as.now || f.as.gives) {
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
	if isState(local) { // our own of before a restart, as a rule
		f.log.Debug("a message on a topic of the gateway's own states is not taken", "topic", local)
		return
	}
	f.g.brought(message{topic: local, payload: m.Payload, retain: rule.Retain.Flag(m.Retain), from: f.cfg.Name}, m.QoS)
	f.g.side().pace(ctx)
}

// contradict says online again when somebody else's message, the late will of an earlier
// connection as a rule, has put offline over it.
func (f *forward) contradict(ctx context.Context, s *bridge.Session, m bridge.Message) {
	if m.Retain && !f.as.now || !strings.Contains(string(m.Payload), `"offline"`) {
		return // what was retained before the birth is overwritten by it; as a bridge we cannot tell
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
