package gateway

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/meshgate/meshgate/gateway/config"
	"github.com/meshgate/meshgate/gateway/control"
)

// wish is a part that a configuration asks for: a manager, a bridge, the LAN side, the HTTP door.
type wish struct {
	key  string // "bridge cloud"
	made any    // of what: a part whose wish is made of the same goes on undisturbed
	make func() (part, error)
}

// part runs until its context ends; gone then takes away what made it visible.
type part struct {
	run  func(context.Context)
	gone func(forGood bool)
}

// running is a part at work.
type running struct {
	made any
	stop context.CancelFunc
	done chan struct{}
	gone func(forGood bool)
}

// parts are all that can be changed while the daemon runs.
type parts struct {
	ctx   context.Context // of the daemon
	wg    sync.WaitGroup
	mu    sync.Mutex // one change at a time
	ended bool
	all   map[string]*running
}

var errEnding = errors.New("the daemon is ending")

// apply makes the running daemon what cfg says. Only what differs is stopped and started; what is
// not touched goes on with its session, its window and its counters.
func (g *Gateway) apply(cfg *config.Config) (control.Change, error) {
	g.parts.mu.Lock()
	defer g.parts.mu.Unlock()
	if g.parts.ended || g.parts.ctx.Err() != nil {
		return control.Change{}, errEnding
	}
	var change control.Change
	cfg, change.Waiting = g.fixed(cfg)
	wishes := g.wishes(cfg)
	kept := g.stopOthers(wishes, &change)
	g.spool.SetReaders(g.readers(cfg)...) // before a message is stored for one of them
	g.cfg.Store(cfg)
	g.changePins(cfg, &change)
	var errs []error
	for _, w := range wishes {
		if g.parts.all[w.key] == nil {
			errs = append(errs, g.startPart(w))
			if !slices.Contains(kept, w.key) {
				change.Started = append(change.Started, w.key)
			}
		}
	}
	g.publishInfo()
	return change, errors.Join(errs...)
}

// fixed gives cfg with what cannot change while the daemon runs as it is, and names what waits for
// the next start.
func (g *Gateway) fixed(cfg *config.Config) (*config.Config, []string) {
	now := g.conf()
	if now == cfg {
		return cfg, nil
	}
	c := *cfg
	var waiting []string
	if c.StateDir != now.StateDir {
		waiting = append(waiting, "state_dir")
	}
	if c.Spool != now.Spool {
		waiting = append(waiting, "spool")
	}
	c.StateDir, c.Spool = now.StateDir, now.Spool
	return &c, waiting
}

// stopOthers ends the parts that are not wished for as they are, all at once, and waits for them.
// It gives the keys of those that come again.
func (g *Gateway) stopOthers(wishes []wish, change *control.Change) (again []string) {
	wished := map[string]wish{}
	for _, w := range wishes {
		wished[w.key] = w
	}
	var ending []string
	for key, r := range g.parts.all {
		if w, ok := wished[key]; !ok || !reflect.DeepEqual(w.made, r.made) {
			r.stop()
			ending = append(ending, key)
		}
	}
	slices.Sort(ending)
	for _, key := range ending {
		r := g.parts.all[key]
		<-r.done
		delete(g.parts.all, key)
		_, more := wished[key]
		r.gone(!more)
		if more {
			again = append(again, key)
			change.Restarted = append(change.Restarted, key)
		} else {
			change.Stopped = append(change.Stopped, key)
		}
	}
	return again
}

func (g *Gateway) startPart(w wish) error {
	p, err := w.make()
	if err != nil {
		return fmt.Errorf("gateway: %s: %w", w.key, err)
	}
	ctx, stop := context.WithCancel(g.parts.ctx)
	r := &running{made: w.made, stop: stop, done: make(chan struct{}), gone: p.gone}
	g.parts.all[w.key] = r
	g.parts.wg.Go(func() {
		defer close(r.done)
		defer stop()
		defer g.outs().CloseOnPanic()
		p.run(ctx)
	})
	return nil
}

// end waits until all parts are gone; none is started from then on.
func (p *parts) end() {
	p.mu.Lock()
	p.ended = true
	p.mu.Unlock()
	p.wg.Wait()
}

// wishes lists the parts of a configuration.
func (g *Gateway) wishes(cfg *config.Config) []wish {
	var all []wish
	for _, c := range cfg.Managers {
		all = append(all, wish{"manager " + c.Name, c, func() (part, error) { return g.meshPart(c), nil }})
	}
	for _, c := range cfg.Bridges {
		made := struct {
			config.Bridge
			files []string
		}{c, versions(c.PasswordFile, c.TLS.CA, c.TLS.Cert, c.TLS.Key)}
		all = append(all, wish{"bridge " + c.Name, made, func() (part, error) { return g.forwardPart(c) }})
	}
	if c := cfg.Local; c != nil {
		made := struct {
			config.Local
			wanted, files []string
		}{*c, nil, versions(c.PasswordFile, c.Users, c.ACL, c.TLS.Cert, c.TLS.Key)}
		if c.Broker != "" {
			made.wanted = append(wantedOf(cfg), signsOf(cfg)...)
		}
		all = append(all, wish{"local", made, func() (part, error) { return g.lanPart(*c), nil }})
	}
	if c := cfg.HTTP; c.Listen != "" {
		made := struct {
			config.HTTP
			files []string
		}{c, versions(c.Users)}
		all = append(all, wish{"http", made, func() (part, error) { return g.webPart(c), nil }})
	}
	return all
}

// versions tells whether files have been replaced: a new certificate or password under the name of
// the old one is a change too.
func versions(paths ...string) []string {
	var all []string
	for _, p := range paths {
		if fi, err := os.Stat(p); p != "" && err == nil {
			all = append(all, fmt.Sprint(p, fi.Size(), fi.ModTime().UnixNano()))
		}
	}
	return all
}

func (g *Gateway) meshPart(c config.Manager) part {
	m := newMesh(c, g)
	g.mu.Lock()
	g.mesh = append(g.mesh, m)
	g.mu.Unlock()
	return part{m.whole, func(forGood bool) {
		g.mu.Lock()
		g.mesh = without(g.mesh, m)
		g.mu.Unlock()
		m.mark.remove()
		g.links.remove(m.serial, m.session, m.link)
		if forGood {
			g.forget("manager/" + c.Name + "/")
			for _, mo := range m.motes.list(c.Name) {
				g.forget("mote/" + mo.MAC + "/")
			}
		}
	}}
}

func (g *Gateway) forwardPart(c config.Bridge) (part, error) {
	f, err := newForward(c, g)
	if err != nil {
		return part{}, err
	}
	g.mu.Lock()
	g.forwards = append(g.forwards, f)
	g.mu.Unlock()
	return part{f.run, func(bool) {
		g.mu.Lock()
		g.forwards = without(g.forwards, f)
		g.mu.Unlock()
		f.mark.remove()
		f.tells.remove()
		f.hears.remove()
		g.uplinks.drop(c.Name)
		f.reader.Close()
		g.links.remove(f.link)
	}}, nil
}

func (g *Gateway) lanPart(c config.Local) part {
	l := newLAN(c, g)
	g.mu.Lock()
	g.lan = l
	g.mu.Unlock()
	return part{l.run, func(bool) {
		g.mu.Lock()
		g.lan = nil
		g.mu.Unlock()
		l.mark.remove()
		g.links.remove(l.link)
	}}
}

// without makes a new list, for the old one may be in use.
func without[T comparable](list []T, x T) []T {
	var rest []T
	for _, y := range list {
		if y != x {
			rest = append(rest, y)
		}
	}
	return rest
}

// forget takes the retained topics under a prefix away, here and at the brokers.
func (g *Gateway) forget(prefix string) {
	states, _, _ := g.hub.newer(0)
	for _, s := range states {
		if strings.HasPrefix(s.topic, prefix) && len(s.payload) > 0 {
			g.hub.publish(message{topic: s.topic, retain: true})
		}
	}
}

// kept are the bridges that records are kept for: those of cfg, and, while it is on trial, those of
// the configuration that may come back.
func (g *Gateway) kept(cfg *config.Config) iter.Seq[*config.Bridge] {
	return func(yield func(*config.Bridge) bool) {
		for _, c := range []*config.Config{cfg, g.trial.fallback()} {
			if c == nil {
				continue
			}
			for i := range c.Bridges {
				if !yield(&c.Bridges[i]) {
					return
				}
			}
		}
	}
}

// readers are the names of those bridges.
func (g *Gateway) readers(cfg *config.Config) []string {
	var names []string
	for b := range g.kept(cfg) {
		names = append(names, b.Name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}
