package gateway

import (
	"context"
	"errors"
	"net"
	"strings"
	"time"

	"github.com/meshgate/meshgate/bridge"
)

// renewal is why the gateway itself ends a session and begins another at once.
type renewal string

func (r renewal) Error() string { return "connecting anew: " + string(r) }

// returnAfter is how often a bridge that has had to take another broker looks whether the first
// of its urls answers again.
const returnAfter = 10 * time.Minute

// once runs sessions until one is lost.
func (f *forward) once(ctx context.Context, up func(...any)) error {
	for {
		err := f.session(ctx, up)
		var again renewal
		if !errors.As(err, &again) || ctx.Err() != nil {
			return err
		}
		f.log.Info("the connection is made anew", "why", string(again))
	}
}

// nextURL is the broker to try: after a session that has lasted the first again, else the next one.
func (f *forward) nextURL() {
	if f.lasted {
		f.turn = 0
		return
	}
	f.turn++
}

// firstAgain ends the session with another than the first broker when the first takes connections.
func (f *forward) firstAgain(ctx context.Context, _ *bridge.Session) error {
	if f.turn%len(f.cfg.URLs) == 0 {
		<-ctx.Done()
		return ctx.Err()
	}
	for sleep(ctx, returnAfter) {
		if f.answers(ctx, f.cfg.URLs[0]) {
			f.turn = 0
			return renewal("the first of its brokers answers again")
		}
	}
	return ctx.Err()
}

func (f *forward) answers(ctx context.Context, url string) bool {
	u, err := bridge.ParseURL(url)
	if err != nil {
		return false
	}
	dial := f.g.hw.Dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	c, err := dial(ctx, "tcp", u.Address())
	if err != nil {
		return false
	}
	c.Close()
	return true
}

// layers tells which part of a bridge's connection works, in the words of status: tcp, mqtt, route.
func layers(err error) error {
	var c *bridge.ConnectError
	var l *bridge.LostError
	switch {
	case errors.As(err, &l):
		return &layerError{"mqtt down", err}
	case !errors.As(err, &c):
		return err
	case c.Step == bridge.StepDNS, c.Step == bridge.StepTCP:
		return &layerError{"tcp down", err}
	case c.Step == bridge.StepTLS, c.Step == bridge.StepWebSocket, c.Step == bridge.StepMQTT:
		return &layerError{"tcp up, mqtt down", err}
	}
	return &layerError{"not tried", err}
}

type layerError struct {
	layers string
	err    error
}

func (e *layerError) Error() string {
	return e.layers + ": " + strings.TrimPrefix(e.err.Error(), "bridge: ")
}

func (e *layerError) Unwrap() error { return e.err }
