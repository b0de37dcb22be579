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
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"time"

	"github.com/meshgate/meshgate/bridge/spool"
	"github.com/meshgate/meshgate/gateway/config"
	"github.com/meshgate/meshgate/gateway/control"
	"github.com/meshgate/meshgate/gpio"
)

// Hardware is the machine the gateway runs on, as cmd knows it and tests pretend it.
type Hardware struct {
	Version string

	OpenPort   func(ctx context.Context, port string) (io.ReadWriteCloser, error)
	GPIO       gpio.Machine
	ClockRight func() bool                          // whether the host's clock can be trusted for dates
	Boot       func() (id string, up time.Duration) // which boot of the host this is and how long it has lasted; nil: this process
	Ready      func()                               // called once when everything has been started; may be nil

	Door func() (net.Listener, error)                                      // of the control socket; nil: none
	Dial func(ctx context.Context, network, addr string) (net.Conn, error) // to brokers; nil: TCP

	Listen func(addr string) (net.Listener, error) // for clients of shared ports; nil: TCP
	wall   func() time.Time                        // a clock that a test can set; nil: time.Now
}

// Gateway is a running gateway.
type Gateway struct {
	cfg    *config.Config
	hw     Hardware
	log    *slog.Logger
	boot   string // random, new at every start
	since  time.Time
	links  links
	hub    *hub
	spool  *spool.Spool
	intake *intake
	dates  *dates
	orders *orders
	memory *memory

	uplinks uplinks
	tray    *tray
	counts  *counters
	rules   *rules
	pins    inputs
	bank    *gpio.Bank
	watch   *gpio.Inputs
	outputs map[string]*link
	inputs  map[string]*link

	mesh     []*mesh
	forwards []*forward
}

// Run is the daemon: it returns when ctx ends, or with an error when it cannot start at all.
// Outputs are safe before anything else starts and are made safe again last.
func Run(ctx context.Context, cfg *config.Config, hw Hardware, log *slog.Logger) error {
	g := &Gateway{cfg: cfg, hw: hw, log: log, boot: bootID(), since: time.Now(), hub: newHub(),
		outputs: map[string]*link{}, inputs: map[string]*link{}}
	for _, o := range cfg.Outputs {
		g.outputs[o.Name] = g.links.add("output", o.Name, o.Pin)
	}
	g.bank = gpio.Open(cfg.Outputs, hw.GPIO, g.outputChanged, log)
	g.uplinks.tell = g.bank.Link
	defer g.bank.Close()
	defer g.bank.CloseOnPanic()
	g.dates = newDates(cfg.StateDir, hw, g.boot, log)
	if err := g.openSpool(); err != nil {
		return err
	}
	defer g.spool.Close()
	g.memory = openMemory(cfg.StateDir, log)
	defer g.memory.close()
	return g.live(ctx)
}

func bootID() string {
	b := make([]byte, 8)
	rand.Read(b)
	return hex.EncodeToString(b)
}

func (g *Gateway) openSpool() error {
	var readers []string
	for _, b := range g.cfg.Bridges {
		readers = append(readers, b.Name)
	}
	policy := spool.DropOldest
	if g.cfg.Spool.WhenFull == config.DropNewest {
		policy = spool.DropNewest
	}
	sp, err := spool.Open(filepath.Join(g.cfg.StateDir, "spool"), spool.Options{MaxSize: g.cfg.Spool.MaxSize,
		MaxAge: g.cfg.Spool.MaxAge, WhenFull: policy, Sync: g.cfg.Spool.Sync, Readers: readers, Log: g.log})
	if err != nil {
		return fmt.Errorf("gateway: %w", err)
	}
	g.spool = sp
	g.intake = &intake{spool: sp, hub: g.hub, dates: g.dates, log: g.log, link: g.links.add("spool", "spool", filepath.Join(g.cfg.StateDir, "spool"))}
	g.intake.link.up("")
	return nil
}

// live runs all parts until ctx ends, and returns when all of them are gone.
func (g *Gateway) live(ctx context.Context) error {
	g.orders = newOrders(g.execute, g.refuse)
	parts, err := g.parts()
	if err != nil {
		return err
	}
	g.openHands()
	defer g.closeHands()
	g.publishInfo()
	var wg sync.WaitGroup
	for _, run := range g.hands(ctx) {
		wg.Go(run)
	}
	for _, run := range parts {
		wg.Go(func() { run(ctx) })
	}
	wg.Go(func() { every(ctx, time.Minute, g.minute) })
	if g.hw.Ready != nil {
		g.hw.Ready()
	}
	wg.Wait()
	g.orders.close()
	return nil
}

// door serves the control socket.
func (g *Gateway) door(ctx context.Context, l net.Listener) {
	if err := control.Serve(ctx, l, g.api()); err != nil {
		g.log.Error("the control socket has failed", "error", err)
	}
}

// parts makes the meshes, bridges, the LAN side and the control door, ready to run.
func (g *Gateway) parts() ([]func(context.Context), error) {
	var parts []func(context.Context)
	for _, cfg := range g.cfg.Managers {
		m := newMesh(cfg, g)
		g.mesh = append(g.mesh, m)
		parts = append(parts, m.run)
		if m.share != nil {
			parts = append(parts, m.share.run)
		}
		if m.recording != nil {
			parts = append(parts, m.recording.run)
		}
	}
	for _, cfg := range g.cfg.Bridges {
		f, err := newForward(cfg, g)
		if err != nil {
			return nil, fmt.Errorf("gateway: bridge %s: %w", cfg.Name, err)
		}
		g.forwards = append(g.forwards, f)
		parts = append(parts, f.run)
	}
	if g.cfg.Local != nil {
		parts = append(parts, newLAN(*g.cfg.Local, g).run)
	}
	if g.hw.Door != nil {
		l, err := g.hw.Door()
		if err != nil {
			return nil, err
		}
		parts = append(parts, func(ctx context.Context) { g.door(ctx, l) })
	}
	return parts, nil
}

func (g *Gateway) meshes() []*mesh { return g.mesh }

// refuse answers a command that is not even tried.
func (g *Gateway) refuse(c command, why error) {
	topic, _, _ := cutLast(c.topic, "/")
	o, _ := parseOrder(c.payload, time.Now())
	g.intake.now(topic+"/result", refused(o.id, why).fields())
}

// brought takes a message that a bridge or a local client has brought and that is no command: it
// goes to who listens here, and by way of the disk over the bridges whose rules carry it, but
// never back over the one it came from. An error means that it is not kept.
func (g *Gateway) brought(m message, qos byte) error {
	g.hub.publish(m)
	for _, f := range g.forwards {
		if _, _, ok := f.cfg.Rules.Out(m.topic); ok && f.cfg.Name != m.from {
			r := messageRecord(m, qos)
			g.dates.put(&r, 0)
			_, err := g.spool.Append(r)
			g.intake.judge(err)
			return err
		}
	}
	return nil
}
