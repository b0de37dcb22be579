package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/meshgate/meshgate/bridge"
	"github.com/meshgate/meshgate/gateway/config"
	"github.com/meshgate/meshgate/gateway/control"
	"github.com/meshgate/meshgate/gateway/local"
)

// lanName marks what came from the LAN side; it is no name that a bridge can have.
const lanName = "@local"

// lan is the LAN side: a broker of ours, or the one that runs here.
type lan struct {
	cfg  config.Local
	g    *Gateway
	link *link
	mark *mark

	live    atomic.Pointer[<-chan message] // what is to be published there, while it is open
	taking  restraint                      // of the bridges, with live
	giving  restraint                      // of ours, with the side
	again   chan struct{}                  // holds one: a broker that was away has everything to hear again
	forged  forgeries
	inside  atomic.Pointer[local.Broker] // while there is one
	figures atomic.Pointer[local.Stats]
	cert    *served    // nil: none
	ledger  *lanLedger // nil for the broker inside, which forgets with the process
}

// side is what both kinds can do.
type side interface {
	Publish(topic string, payload []byte, retain bool) error
	Room() bool
	Status() local.Status
	Stats() local.Stats
	Close() error
}

func newLAN(cfg config.Local, g *Gateway) *lan {
	l := &lan{cfg: cfg, g: g, again: make(chan struct{}, 1)}
	where := cfg.Listen
	if where == "" {
		where = cfg.Broker
		l.ledger = &lanLedger{book: openLedger(filepath.Join(g.conf().StateDir, "retained", lanName+".json"), g.log)}
	}
	g.breaker.joined.Store(false) // it may be another broker now
	l.link, l.mark = g.links.add("local", "local", where), g.progress.add("local", nil)
	return l
}

// run keeps the LAN side open until ctx ends, and hands it every live message.
func (l *lan) run(ctx context.Context) {
	supervise(ctx, l.g.log.With("local", l.link.state.Name), l.mark, func(err error) { l.link.down(err) }, l.once)
}

// once is one life of a broker, or of a client that connects again by itself. It returns when ctx
// ends; Close has handed over the last wills by then.
func (l *lan) once(ctx context.Context, up func(...any)) error {
	s, err := l.open(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	if b, ok := s.(*local.Broker); ok {
		l.inside.Store(b)
		defer l.inside.Store(nil)
	}
	reread := l.watchFiles(s)
	live, stop := l.g.hub.listenBut("#", lanName)
	defer stop()
	l.live.Store(&live)
	defer l.live.Store(nil)
	look := time.NewTicker(time.Second)
	defer look.Stop()
	l.say(s, "online", "started")
	l.show(s)
	up()
	var version uint64
	for {
		var more <-chan struct{}
		version, more = l.states(s, version)
		select {
		case m := <-live:
			if !m.retain { // what is retained is a state
				l.giving.wait(ctx, s.Room)
				s.Publish(m.topic, m.payload, m.retain) // what it cannot take it counts in its Stats
			}
		case <-more:
		case <-l.again:
			l.say(s, "online", "started")
			version = 0
		case <-look.C:
			l.mark.beat()
			reread()
			l.contradict(s)
			l.ledger.tidy(s, l.g.owns)
			l.show(s)
		case <-ctx.Done():
			l.say(s, "offline", "stopped")
			return ctx.Err()
		}
	}
}

// pace has a bridge that brings much wait for the LAN side: the remote broker keeps what is not yet taken, and nobody says again
// what is dropped here.
func (l *lan) pace(ctx context.Context) {
	if l == nil {
		return
	}
	if live := l.live.Load(); live != nil {
		l.taking.wait(ctx, func() bool { return len(*live) < cap(*live)/2 })
	}
}

// restraint waits for something that has no room: a second, and then none until it has.
type restraint struct{ lost atomic.Bool }

func (p *restraint) wait(ctx context.Context, room func() bool) {
	if room() {
		p.lost.Store(false)
		return
	}
	if p.lost.Load() {
		return
	}
	look, limit := time.NewTicker(2*time.Millisecond), time.NewTimer(time.Second)
	defer look.Stop()
	defer limit.Stop()
	for {
		select {
		case <-look.C:
			if room() {
				return
			}
		case <-limit.C:
			p.lost.Store(true)
			return
		case <-ctx.Done():
			return
		}
	}
}

// states publishes the states that are younger than version, and gives the version of the last one
// that was taken: the rest comes at the next look.
func (l *lan) states(s side, version uint64) (uint64, <-chan struct{}) {
	list, now, more := l.g.hub.newer(version)
	l.ledger.note(list)
	for _, st := range list {
		if err := s.Publish(st.topic, st.payload, true); errors.Is(err, local.ErrFull) {
			return st.version - 1, nil
		}
	}
	return now, more
}

func (l *lan) say(s side, state, reason string) {
	s.Publish("gateway/status", l.g.presence(state, reason), true)
}

// contradict says what holds over what somebody else has said.
func (l *lan) contradict(s side) {
	for topic := range l.forged.take() {
		if topic == "gateway/status" {
			l.say(s, "online", "started")
		} else if st, ok := l.g.hub.state(topic); ok && !st.stored {
			s.Publish(topic, st.payload, true)
		}
	}
}

// show tells status how the LAN side is.
func (l *lan) show(s side) {
	figures, st := s.Stats(), s.Status()
	l.figures.Store(&figures)
	switch {
	case !st.Up:
		l.link.down(errors.New(st.Error))
	case st.Error != "":
		l.link.up(st.Detail)
		l.link.complain(st.Error)
	default:
		l.link.up(st.Detail)
	}
}

func (l *lan) open(ctx context.Context) (side, error) {
	if l.cfg.Listen == "" {
		return l.dial(ctx)
	}
	var err error
	if l.cert, err = serve(l.cfg.TLS); err != nil {
		return nil, err
	}
	return local.Listen(local.Options{Listen: l.cfg.Listen, TLS: l.cert.config(), Users: l.cfg.Users, ACL: l.cfg.ACL,
		Sessions: filepath.Join(l.g.conf().StateDir, "sessions"), Log: l.g.log,
		Intake: func(m local.Message) error {
			if isCommand(m.Topic) {
				l.order(ctx, m)
				return nil
			}
			return l.take(m)
		}})
}

// serveMQTT is MQTT over WebSocket at the HTTP door, by the broker inside and under its own users and access list.
func (g *Gateway) serveMQTT(rw http.ResponseWriter, r *http.Request) {
	if l := g.side(); l != nil {
		if b := l.inside.Load(); b != nil {
			b.Handler().ServeHTTP(rw, r)
			return
		}
	}
	control.Fail(rw, http.StatusNotFound, errors.New("there is no broker inside (local.listen)"))
}

// watchFiles gives a function that has the broker read its users, its access list and its certificate
// again when one of the files has changed. A mistake in them is told, and what held before holds on.
func (l *lan) watchFiles(s side) func() {
	b, ok := s.(*local.Broker)
	if !ok {
		return func() {}
	}
	before := [2]string{fileMark(l.cfg.Users), fileMark(l.cfg.ACL)}
	return func() {
		l.cert.reread(l.g.log)
		now := [2]string{fileMark(l.cfg.Users), fileMark(l.cfg.ACL)}
		if now == before {
			return
		}
		before = now
		if err := b.Reload(); err != nil {
			l.g.log.Error("the users and the access list stay as they were", "error", err)
			return
		}
		l.g.log.Info("users and access list of the local broker have been read again")
	}
}

// fileMark differs when a file has been replaced or written.
func fileMark(file string) string {
	st, err := os.Stat(file)
	if err != nil {
		return ""
	}
	return fmt.Sprint(st.ModTime().UnixNano(), st.Size())
}

// order carries out a command for as long as ctx lives.
func (l *lan) order(ctx context.Context, m local.Message) {
	l.g.orders.do(ctx, command{topic: m.Topic, payload: m.Payload, retain: m.Retain, truncated: m.Truncated})
}

// take is called for each message of a local client that is no command, before it is acknowledged;
// an error means that it is not. What the gateway itself says of its state is not for others to
// say: it goes over no bridge.
func (l *lan) take(m local.Message) error {
	if l.joins(m) {
		l.g.breaker.joined.Store(true)
	}
	if isState(m.Topic) {
		if l.forged.note(m.Topic) && m.Client != "" { // a broker beside us does not tell who, and it may be our own last will
			l.g.log.Warn("a local client publishes to a topic of the gateway's own states: it goes over no bridge", "topic", m.Topic, "client", m.Client)
		}
		return nil
	}
	if m.Truncated {
		return fmt.Errorf("%w: it is longer than 256 KiB", local.ErrNever)
	}
	return l.g.brought(message{topic: m.Topic, payload: m.Payload, retain: m.Retain, from: lanName}, m.QoS)
}

// joins reports whether a message is one of those that the gateway publishes over bridges only: the
// LAN side is the broker of a bridge, or somebody joins the two.
func (l *lan) joins(m local.Message) bool {
	if m.Topic == "gateway/status" || !strings.HasSuffix(m.Topic, "gateway/status") && !strings.HasSuffix(m.Topic, canaryName) {
		return false
	}
	return bytes.Contains(m.Payload, []byte(`"boot":"`+l.g.boot+`"`))
}

func isState(topic string) bool {
	for _, f := range config.States {
		if bridge.Match(f, topic) {
			return true
		}
	}
	return false
}
