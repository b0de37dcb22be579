// Package gateway joins the rooms of the house: what comes from the mesh goes to the disk and
// from there to the cloud, what the cloud commands goes to pins and motes.
//
//	up    mesh (smartmesh.Session) -> notified -> intake (spool.Append) -> acknowledgement
//	      forward: spool.Reader -> render -> bridge.Session -> PUBACK -> the cursor moves
//	down  bridge.Session -> forward.incoming -> orders -> gpio.Bank or an OAP request -> result
//
// Every part lives on its own under supervise, and none waits for another. What is retained (the
// states) is kept in the hub and never on the disk: after an outage only the latest counts.
package gateway

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/meshgate/meshgate/bridge/spool"
	"github.com/meshgate/meshgate/gateway/config"
	"github.com/meshgate/meshgate/gateway/control"
	"github.com/meshgate/meshgate/gateway/local"
	"github.com/meshgate/meshgate/gpio"
	"github.com/meshgate/meshgate/smartmesh"
)

// Hardware is the machine the gateway runs on, as cmd knows it and tests pretend it.
type Hardware struct {
	Version string

	OpenPort    func(ctx context.Context, port string) (io.ReadWriteCloser, error)
	Left        func(manager, terms string) (Left, bool)                       // takes up what the process before has left; nil: nothing ever
	Leave       func(m Left, detach func() (st smartmesh.State, ok bool)) bool // keeps its port open for the next process, while detach ends the session; nil: never
	GPIO        gpio.Machine
	ClockRight  func() bool                          // whether the host's clock can be trusted for dates
	Boot        func() (id string, up time.Duration) // which boot of the host this is and how long it has lasted; nil: this process
	Ready       func()                               // called once when everything has been started; may be nil
	Alive       func(state string)                   // called every few seconds while all parts make progress, with one line on how it is; may be nil
	AlivePeriod time.Duration                        // how often, 5 s at the longest

	Source Source // of the configuration; empty: it cannot be changed

	Door   func() (net.Listener, error)                                      // of the control socket; nil: none
	Dial   func(ctx context.Context, network, addr string) (net.Conn, error) // to brokers; nil: TCP
	Listen func(network, addr string) (net.Listener, error)                  // for HTTP and clients of shared ports; nil: net.Listen
	flush  func(sync func() error) error                                     // see spool.Options.Flush; nil: none
	wall   func() time.Time                                                  // a clock that a test can set; nil: time.Now
}

// Gateway is a running gateway.
type Gateway struct {
	cfg      atomic.Pointer[config.Config] // see conf
	hw       Hardware
	log      *slog.Logger
	boot     string // random, new at every start
	since    time.Time
	links    links
	hub      *hub
	spool    *spool.Spool
	intake   *intake
	dates    *dates
	orders   *orders
	told     telling // of commands
	memory   *memory
	switches *switches
	tray     *tray
	parts    parts
	trial    trial
	hands    *hands // of whoever applies a configuration

	progress  progress
	pulse     pulse
	spoolMark *mark
	spoolSeen uint64 // the next sequence number at the last look
	spoolBad  bool   // the disk was in trouble then

	breaker *breaker
	clock   *goodClock
	wear    wear

	uplinks uplinks

	mu       sync.RWMutex // guards what follows; lists are replaced, never changed
	bank     *gpio.Bank
	outputs  map[string]*link
	inputs   map[string]*link
	outConf  []gpio.Output
	mesh     []*mesh
	forwards []*forward
	lan      *lan // nil: none
}

// Run is the daemon: it returns when ctx ends, or with an error when it cannot start at all.
// Outputs are safe before anything else starts and are made safe again last.
func Run(ctx context.Context, cfg *config.Config, hw Hardware, log *slog.Logger) error {
	g := &Gateway{hw: hw, log: log, boot: bootID(), since: time.Now(), hub: newHub(), breaker: newBreaker(log),
		clock: newGoodClock(cfg.StateDir, hw.ClockRight, log)}
	g.cfg.Store(cfg)
	g.uplinks.tell = func(up bool) { g.outs().Link(up) }
	g.openOutputs(cfg.Outputs)
	defer g.closeOutputs()
	defer g.bank.CloseOnPanic()
	g.dates = newDates(cfg.StateDir, hw, g.boot, log)
	g.rememberSwitches()
	defer g.dates.look()
	if err := g.openSpool(); err != nil {
		return err
	}
	defer g.spool.Close()
	g.memory = openMemory(cfg.StateDir, log)
	defer func() { g.memory.close(); g.tray.empty() }()
	return g.live(ctx)
}

// conf is the configuration in force.
func (g *Gateway) conf() *config.Config { return g.cfg.Load() }

func bootID() string {
	b := make([]byte, 8)
	rand.Read(b)
	return hex.EncodeToString(b)
}

func (g *Gateway) openSpool() error {
	cfg := g.conf()
	policy := spool.DropOldest
	if cfg.Spool.WhenFull == config.DropNewest {
		policy = spool.DropNewest
	}
	sp, err := spool.Open(filepath.Join(cfg.StateDir, "spool"), spool.Options{MaxSize: cfg.Spool.MaxSize,
		MaxAge: cfg.Spool.MaxAge, WhenFull: policy, Sync: cfg.Spool.Sync, Readers: g.readers(cfg), Flush: g.hw.flush, Log: g.log})
	if err != nil {
		return fmt.Errorf("gateway: %w", err)
	}
	g.spool = sp
	g.intake = &intake{spool: sp, hub: g.hub, dates: g.dates, log: g.log, well: g.subscribeAgain, link: g.links.add("spool", "spool", filepath.Join(cfg.StateDir, "spool"))}
	g.tray = newTray(g.intake)
	g.intake.link.up("")
	g.intake.judge(sp.Stats().Err)
	g.spoolMark = g.progress.add("spool", nil)
	return nil
}

// subscribeAgain has the managers' data acknowledged again.
func (g *Gateway) subscribeAgain() {
	for _, m := range g.meshes() {
		m.subscribeSoon()
	}
}

// live runs all parts until ctx ends, and returns when all of them are gone.
func (g *Gateway) live(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	g.orders = newOrders(g.execute, g.refuse)
	defer g.orders.close()
	g.parts.ctx, g.parts.all = ctx, map[string]*running{}
	err := g.begin(ctx)
	if err != nil {
		stop()
	}
	<-ctx.Done()
	g.parts.end()
	if g.hands != nil {
		g.hands.close(nil)
		g.tray.empty()
	}
	if err == nil {
		g.publishAudit() // the next life does not know what this one has dropped
	}
	return err
}

// begin starts everything.
func (g *Gateway) begin(ctx context.Context) error {
	if g.hw.Door != nil {
		if err := g.openDoor(ctx); err != nil {
			return err
		}
	}
	if _, err := g.apply(g.conf()); err != nil {
		return err
	}
	g.parts.wg.Go(func() { g.tray.run(ctx) })
	g.parts.wg.Go(func() { every(ctx, time.Minute, g.minute) })
	g.parts.wg.Go(func() { g.watchProgress(ctx) })
	g.parts.wg.Go(func() { g.reloads(ctx) })
	if g.hw.Ready != nil {
		g.hw.Ready()
	}
	return nil
}

// doorAgain is how often a control socket is tried that a disk has refused.
const doorAgain = 5 * time.Second

// openDoor has the control socket served, later if it is on a disk that is read-only now.
func (g *Gateway) openDoor(ctx context.Context) error {
	l, err := g.hw.Door()
	if err != nil && !spool.Passes(err) {
		return err
	}
	if err != nil {
		g.log.Error("there is no control socket as long as the disk does not take it", "error", err)
	}
	g.parts.wg.Go(func() {
		for err != nil {
			if !sleep(ctx, doorAgain) {
				return
			}
			l, err = g.hw.Door()
		}
		g.door(ctx, l)
	})
	return nil
}

// door serves the control socket.
func (g *Gateway) door(ctx context.Context, l net.Listener) {
	if err := control.Serve(ctx, l, g.api()); err != nil {
		g.log.Error("the control socket has failed", "error", err)
	}
}

func (g *Gateway) meshes() []*mesh {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.mesh
}

func (g *Gateway) bridges() []*forward {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.forwards
}

// side is the LAN side; nil: there is none.
func (g *Gateway) side() *lan {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.lan
}

func (g *Gateway) outs() *gpio.Bank {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.bank
}

// pinLink gives the link of an output or input; nil when it is not there any more.
func (g *Gateway) pinLink(all *map[string]*link, name string) *link {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return (*all)[name]
}

// brought takes a message that a bridge or a local client has brought and that is no command: it
// goes by way of the disk over the bridges whose rules carry it, but never back over the one it
// came from, and to who listens here. An error means that it is not kept; who listens has it all
// the same, except what a local client sends, which will send it again.
func (g *Gateway) brought(m message, qos byte) error {
	m.stored = true
	to := g.carrier(m)
	if g.breaker.watches(m, to) && g.breaker.circles(m, to) {
		if !g.breaker.joined.Load() { // who listens here is not in the circle
			g.hub.publish(m)
		}
		return nil
	}
	err := g.store(m, qos, to)
	if err == nil || m.from != lanName {
		g.hub.publish(m)
	}
	return err
}

// carrier is the first bridge that is to carry a message, whether it runs at the moment or is being
// changed; empty when none is.
func (g *Gateway) carrier(m message) string {
	for b := range g.kept(g.conf()) {
		if _, _, ok := b.Rules.Out(m.topic); ok && b.Name != m.from {
			return b.Name
		}
	}
	return ""
}

// store puts a message on the disk if a bridge is to carry it, the first of them being to.
func (g *Gateway) store(m message, qos byte, to string) error {
	if to == "" {
		return g.unfit(m)
	}
	r := messageRecord(m, qos)
	g.dates.put(&r, 0)
	add := g.spool.Append
	if m.from == lanName { // its client is promised that it is on the disk, and can wait
		add = g.spool.AppendDurable
	}
	_, err := add(r)
	if errors.Is(err, spool.ErrTooLarge) { // that says nothing about the disk
		return fmt.Errorf("%w: %w", local.ErrNever, err)
	}
	g.intake.judge(err)
	if err != nil && (qos == 0 || m.from != "" && m.from != lanName) { // nobody is told, and nobody sends it again
		g.intake.lost.Add(1)
	}
	return err
}

// unfit tells of a message that a rule is to carry and cannot: its remote topic would not be valid.
func (g *Gateway) unfit(m message) error {
	for b := range g.kept(g.conf()) {
		if err := b.Rules.Unfit(m.topic); err != nil && b.Name != m.from {
			return fmt.Errorf("%w: %w", local.ErrNever, err)
		}
	}
	return nil
}
