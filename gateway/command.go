package gateway

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/meshgate/meshgate/gpio"
	"github.com/meshgate/meshgate/smartmesh"
)

// command is a message on a set topic, from whichever side it came.
type command struct {
	topic     string
	payload   []byte
	retain    bool
	truncated bool // the payload was too large to be taken in
	came      time.Time
}

var (
	errRetained = errors.New("a retained command is refused: it may be from long ago; publish it without the retain flag")
	errClock    = errors.New(`"until" is refused: this machine's clock is not synchronised, so nobody knows whether that time has passed; commands without "until" are carried out`)
	errTooLarge = fmt.Errorf("the command is longer than the %d bytes allowed", maxOrder)
)

// isCommand reports whether a local topic is one that commands arrive on.
func isCommand(topic string) bool {
	parts := strings.Split(topic, "/")
	switch {
	case len(parts) == 3 && parts[0] == "actuator" && parts[2] == "set",
		len(parts) == 4 && parts[0] == "mote" && parts[2] == "led" && parts[3] == "set":
		return true
	case len(parts) == 4 && parts[0] == "mote" && parts[2] == "oap" && parts[3] == "request",
		len(parts) == 3 && parts[0] == "manager" && parts[2] == "request":
		return true
	}
	return false
}

// execute carries out one command and publishes its result. It lives as long as ctx, which is
// that of the bridge session or client that brought it: when that is gone, so is the command.
func (g *Gateway) execute(ctx context.Context, c command) {
	defer g.outs().CloseOnPanic()
	parts := strings.Split(c.topic, "/")
	result := strings.TrimSuffix(strings.TrimSuffix(c.topic, "/set"), "/request") + "/result"
	switch last := parts[len(parts)-1]; {
	case last == "request" && parts[0] == "manager":
		g.intake.now(result, g.managerRequest(ctx, parts[1], c))
	case last == "request":
		g.intake.now(result, g.oapRequest(ctx, parts[1], c))
	default:
		r := g.switchBy(ctx, strings.TrimSuffix(c.topic, "/set"), c)
		said := []any{"topic", c.topic, "stage", r.stage}
		if r.err != nil {
			said = append(said, "error", r.err)
		}
		if untold, ok := g.told.next(time.Now()); ok {
			if untold > 0 {
				said = append(said, "untold", untold)
			}
			g.log.Info("command", said...)
		}
		g.memory.then(func() { g.tray.now(result, r.fields()) })
	}
}

// maxTold is how many commands are logged a minute. Their results are told all the same.
const maxTold = 300

// telling bounds what is logged.
type telling struct {
	mu        sync.Mutex
	began     time.Time
	n, untold int
}

// next reports whether one more is logged, and how many before it were not.
func (t *telling) next(now time.Time) (untold int, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now.Sub(t.began) >= time.Minute {
		t.began, t.n = now, 0
	}
	if t.n++; t.n > maxTold {
		t.untold++
		return 0, false
	}
	untold, t.untold = t.untold, 0
	return untold, true
}

// switchBy reads a command for an output or a mote's LED and carries it out.
func (g *Gateway) switchBy(ctx context.Context, target string, c command) result {
	if c.truncated {
		return refused("", errTooLarge)
	}
	o, err := parseOrder(c.payload, g.clock.now())
	if c.retain { // judged first, but with the id, so that the one who asked hears it
		return refused(o.id, errRetained)
	}
	return g.judged(ctx, target, o, err, c.came)
}

// refuse answers a command whose turn never came. One that might have been carried out is remembered as refused: when it
// comes again, others have long been given.
func (g *Gateway) refuse(c command, why error) {
	target, _, _ := cutLast(c.topic, "/")
	tell := func(r result) { g.tray.now(target+"/result", r.fields()) }
	o, err := parseOrder(c.payload, g.clock.now())
	if err == nil || errors.Is(err, errExpired) {
		_, err = g.hand(target)
	}
	if err != nil || c.retain {
		tell(refused(o.id, why))
		return
	}
	g.memory.settle(target, o, refused(o.id, why), tell)
}

// judged switches "actuator/NAME" or "mote/MAC/led" as an order says, unless it has answered the same command before: one
// may be late only because it comes a second time. err is what is wrong with the order itself; came is when it was accepted.
func (g *Gateway) judged(ctx context.Context, target string, o order, err error, came time.Time) result {
	late := errors.Is(err, errExpired)
	if err != nil && !late {
		return refused(o.id, err)
	}
	act, err := g.hand(target)
	if err != nil {
		return refused(o.id, err)
	}
	if before, again := g.memory.begin(target, o, came); again {
		return before
	}
	var r result
	switch {
	case late:
		r = result{id: o.id, stage: stageExpired, err: errExpired}
	case !o.deadline.IsZero() && !g.clock.right():
		r = refused(o.id, errClock)
	default:
		r = act(ctx, o)
		r.accepted = came
	}
	r.done = time.Now()
	g.memory.end(target, o, r)
	return r
}

// hand finds what switches a target.
func (g *Gateway) hand(target string) (func(context.Context, order) result, error) {
	kind, name, _ := strings.Cut(target, "/")
	if kind == "actuator" {
		if errors.Is(g.outs().Get(name).Err, gpio.ErrUnknown) {
			return nil, fmt.Errorf("no actuator is called %q", name)
		}
		return func(_ context.Context, o order) result { return g.actuate(name, o) }, nil
	}
	mac, err := smartmesh.ParseMAC(strings.TrimSuffix(name, "/led"))
	if err != nil {
		return nil, err
	}
	if mac == smartmesh.Broadcast {
		return g.switchAll, nil
	}
	m := g.meshOf(mac)
	if m == nil {
		return nil, fmt.Errorf("no mote %s is known", mac)
	}
	return func(ctx context.Context, o order) result { return m.switchLED(ctx, mac, o) }, nil
}

// meshOf finds the manager that a mote belongs to.
func (g *Gateway) meshOf(mac smartmesh.MAC) *mesh {
	for _, m := range g.meshes() {
		if m.motes.known(mac) {
			return m
		}
	}
	return nil
}
