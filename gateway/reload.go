package gateway

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/meshgate/meshgate/gateway/config"
	"github.com/meshgate/meshgate/gateway/control"
)

// Source is where the configuration comes from, so that it can be changed while the daemon runs.
type Source struct {
	Reload  <-chan struct{}                           // asks to read the file again
	Load    func(text []byte) (*config.Config, error) // of a text in the file's place; nil: of the file
	Save    func(text []byte) error                   // replaces the file
	Began   func()                                    // called before a change, and
	Applied func(*config.Config)                      // after it, with what is in force
}

// trial is a configuration that is in force and may be taken back.
type trial struct {
	mu      sync.Mutex
	before  *config.Config // nil: none is on trial
	text    []byte
	until   time.Time
	end     chan struct{} // holds one: confirmed
	closing bool          // decided, and not carried out yet: for others it is still on
	state   control.ConfigState
}

func (t *trial) fallback() *config.Config {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.before
}

// settledAfter is how long sessions and a bridge have to be up without a break before a trial is
// taken as well.
const settledAfter = 10 * time.Second

var (
	errNoSource = errors.New("this daemon has no configuration file")
	errOnTrial  = errors.New("a configuration is on trial: `meshgate config confirm` it, or wait until it is taken back")
	errNoTrial  = errors.New("no configuration is on trial")
)

// reloads reads the file again whenever it is asked to.
func (g *Gateway) reloads(ctx context.Context) {
	for {
		select {
		case <-g.hw.Source.Reload:
			_, _ = g.reload(ctx, struct{}{}) // it has logged what is wrong
		case <-ctx.Done():
			return
		}
	}
}

// reload puts the file in force as it is now. A bad one is refused, and the old one stays.
func (g *Gateway) reload(context.Context, struct{}) (any, error) {
	if g.hw.Source.Load == nil {
		return nil, errNoSource
	}
	if g.trial.fallback() != nil {
		g.log.Warn("the configuration is not read again", "error", errOnTrial)
		return nil, errOnTrial
	}
	change, err := g.put(nil)
	if err != nil {
		return nil, err
	}
	return change, nil
}

// put loads a configuration and applies it.
func (g *Gateway) put(text []byte) (control.Change, error) {
	if g.hw.Source.Began != nil {
		g.hw.Source.Began()
	}
	cfg, err := g.hw.Source.Load(text)
	if err != nil {
		for line := range strings.Lines(err.Error()) {
			g.log.Error("the configuration is refused, the old one stays in force", "error", strings.TrimSpace(line))
		}
		g.applied()
		return control.Change{}, err
	}
	return g.putConfig(cfg)
}

func (g *Gateway) putConfig(cfg *config.Config) (control.Change, error) {
	change, err := g.apply(cfg)
	g.applied()
	g.log.Info("configuration in force", "started", change.Started, "stopped", change.Stopped, "restarted", change.Restarted)
	if len(change.Waiting) > 0 {
		g.log.Warn("some of it takes effect at the next start only", "keys", change.Waiting)
	}
	if err != nil {
		g.log.Error("not all of the configuration could be put in force", "error", err)
	}
	g.trial.note(func(s *control.ConfigState) { s.Change = &change })
	return change, err
}

func (g *Gateway) applied() {
	if g.hw.Source.Applied != nil {
		g.hw.Source.Applied(g.conf())
	}
}

// configState answers GET config.
func (g *Gateway) configState() control.ConfigState {
	g.trial.mu.Lock()
	defer g.trial.mu.Unlock()
	s := g.trial.state
	s.File = g.conf().File
	if g.trial.before != nil || g.trial.closing {
		until := g.trial.until
		s.Trial = &until
	}
	return s
}

// applyText is `meshgate config apply`.
func (g *Gateway) applyText(_ context.Context, r control.ApplyRequest) (any, error) {
	if g.hw.Source.Load == nil {
		return nil, errNoSource
	}
	var confirm time.Duration
	if r.Confirm != "" {
		var err error
		if confirm, err = time.ParseDuration(r.Confirm); err != nil || confirm < time.Second || confirm > 24*time.Hour {
			return nil, fmt.Errorf("%q is no time such as 2m, one second to a day", r.Confirm)
		}
	}
	up := g.sessionsUp()
	if err := g.trial.begin(g.conf(), []byte(r.Text), confirm); err != nil {
		return nil, err
	}
	if _, err := g.put([]byte(r.Text)); err != nil {
		defer g.trial.closed()
		if before, _ := g.trial.claim("refused"); g.conf() != before {
			_, _ = g.putConfig(before) // logged
		}
		return nil, err
	}
	if confirm == 0 {
		g.settle("applied")
		return g.configState(), nil
	}
	g.log.Info("the configuration is on trial", "for", confirm)
	end := g.trial.end
	g.parts.wg.Go(func() { g.judge(confirm, up, end) })
	return g.configState(), nil
}

func (t *trial) begin(before *config.Config, text []byte, confirm time.Duration) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.before != nil {
		return errOnTrial
	}
	t.before, t.text, t.until, t.end = before, text, time.Now().Add(confirm), make(chan struct{}, 1)
	t.state = control.ConfigState{}
	return nil
}

// claim ends the trial with an outcome: whoever gets the configuration that was before decides.
func (t *trial) claim(outcome string) (before *config.Config, text []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if before, text = t.before, t.text; before != nil {
		t.state.Outcome, t.closing = outcome, true
	}
	t.before, t.text = nil, nil
	return before, text
}

func (t *trial) note(change func(*control.ConfigState)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	change(&t.state)
}

// confirm is `meshgate config confirm`.
func (g *Gateway) confirm(context.Context, struct{}) (any, error) {
	g.trial.mu.Lock()
	on := g.trial.before != nil
	unsaved := g.trial.state.Unsaved != ""
	end := g.trial.end
	g.trial.mu.Unlock()
	switch {
	case on:
		select {
		case end <- struct{}{}:
		default: // it is confirmed already
		}
		g.settle("confirmed")
	case !unsaved:
		return nil, errNoTrial
	}
	return g.configState(), nil
}

// judge waits for the end of the trial: confirmed, well, or taken back.
func (g *Gateway) judge(limit time.Duration, before int, end <-chan struct{}) {
	deadline := time.NewTimer(limit)
	look := time.NewTicker(time.Second)
	defer deadline.Stop()
	defer look.Stop()
	since := time.Now()
	for {
		select {
		case <-end:
			return
		case <-look.C:
			if !g.well(before) {
				since = time.Now()
			} else if time.Since(since) >= settledAfter {
				g.settle("kept: the sessions and a bridge are well")
				return
			}
		case <-deadline.C:
			g.takeBack()
			return
		case <-g.parts.ctx.Done():
			return // the file is as it was
		}
	}
}

// well reports whether as many sessions are up as before, as far as there are managers, and one
// bridge at least, if there is one.
func (g *Gateway) well(before int) bool {
	cfg := g.conf()
	return g.sessionsUp() >= min(before, len(cfg.Managers)) && (len(cfg.Bridges) == 0 || g.up("bridge") > 0)
}

func (g *Gateway) sessionsUp() int { return g.up("session") }

func (g *Gateway) up(kind string) (n int) {
	list, _ := g.links.list()
	for _, l := range list {
		if l.Kind == kind && l.Up {
			n++
		}
	}
	return n
}

func (t *trial) closed() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closing = false
}

// settle keeps what is on trial, and has the file say so.
func (g *Gateway) settle(outcome string) {
	before, text := g.trial.claim(outcome)
	if before == nil {
		return // decided already
	}
	defer g.trial.closed()
	g.spool.SetReaders(g.readers(g.conf())...)
	for _, f := range g.bridges() {
		if f.over.Load() > 0 {
			f.park.again()
		}
	}
	if err := g.hw.Source.Save(text); err != nil {
		g.trial.note(func(s *control.ConfigState) { s.Unsaved, s.Error = string(text), err.Error() })
		g.log.Error("the new configuration is in force until the next start: the file could not be written", "outcome", outcome, "error", err)
		return
	}
	g.log.Info("the new configuration is in the file", "outcome", outcome)
}

func (g *Gateway) takeBack() {
	const why = "taken back: not confirmed, and the sessions and a bridge were not well in time"
	before, _ := g.trial.claim(why)
	if before == nil {
		return // confirmed at the last moment
	}
	defer g.trial.closed()
	g.log.Warn("the configuration on trial is " + why)
	_, _ = g.putConfig(before) // what could not be started is logged, the rest runs
}
