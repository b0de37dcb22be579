package local

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// DialOptions say which broker runs here already, and what the gateway wants from it.
type DialOptions struct {
	URL          string // tcp://HOST:PORT or tls://; mqtt:// and mqtts:// are the same
	ClientID     string // stable, and of nobody else
	Username     string
	PasswordFile string // read at each attempt; one newline at its end is dropped

	// TLS is asked at each attempt for tls://; nil, and a nil config: the system's certificate authorities.
	TLS func() (*tls.Config, error)

	// Subscribe has the filters whose messages go to Intake, asked for with QoS 1.
	Subscribe []string
	Quiet     []string // asked for as well; it does not matter if the broker refuses them

	// Keep has the broker keep the session while the gateway is away: it gets the QoS 1 messages of that time later, and
	// those again whose Intake failed. Without it they are lost, which is right for commands: nobody wants a pump to
	// start an hour late. Who wants both dials twice, with two client ids.
	Keep bool

	Will *Message

	// Intake is called with every message that the gateway did not publish itself, in order for each topic, for
	// different topics at once. A message with QoS 1 is acknowledged to the broker when it returned nil; an error leaves
	// it unacknowledged and, with Keep, has the connection made anew, so that it is sent again, unless it is ErrNever. The broker has
	// acknowledged it to who published it long before: only an embedded broker (Listen) can wait with that.
	Intake func(Message) error

	// OnConnect is called each time a connection stands and Publish works again. It says again what the gateway retains:
	// the broker may have lost it, or not got the last of it.
	OnConnect func()

	// OnLost is called each time there is no connection: when it was lost, and for each attempt that failed.
	OnLost func()

	Log *slog.Logger
}

// maxBackoff is the longest wait between two attempts to connect; each is a random part of it, from a half on.
const (
	minBackoff = 500 * time.Millisecond
	maxBackoff = 10 * time.Second
)

// Client is the gateway as a client of a broker that already runs here. It connects again for ever.
type Client struct {
	opt    DialOptions
	log    *slog.Logger
	out    outbox
	echo   echoes
	up     atomic.Bool
	plain  atomic.Bool // the broker does not take bridges, see asBridge
	cancel context.CancelFunc
	done   chan struct{}

	mu     sync.Mutex
	status Status
	count  counters
	again  atomic.Int64
	refusals
}

// Dial starts a client; it does not wait for its connection.
func Dial(opt DialOptions) *Client {
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	if opt.Intake == nil {
		opt.Intake = func(Message) error { return nil }
	}
	ctx, cancel := context.WithCancel(context.Background())
	c := &Client{opt: opt, log: opt.Log, cancel: cancel, done: make(chan struct{})}
	c.refusals.log = opt.Log
	c.echo.filters = slices.Concat(opt.Subscribe, opt.Quiet)
	c.status = Status{Detail: opt.URL, Error: "connecting", Since: time.Now()}
	c.out.init(256 << 10)
	go c.run(ctx)
	return c
}

// Publish publishes a message with QoS 1, as Broker.Publish. While the broker is away it is dropped, counted and
// ErrAway: OnConnect says again what still holds.
func (c *Client) Publish(topic string, payload []byte, retain bool) error {
	if !c.up.Load() {
		c.out.dropped.Add(1)
		return ErrAway
	}
	return c.out.put(topic, payload, retain)
}

// Room reports whether there is much room in the queue of Publish, or no use in waiting for it.
func (c *Client) Room() bool { return !c.up.Load() || c.out.room() }

// Status returns whether there is a connection, and if not, why.
func (c *Client) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status
}

// Stats returns the client's figures.
func (c *Client) Stats() Stats {
	s := Stats{
		Received:   c.count.received.Load(),
		NotStored:  c.count.notStored.Load(),
		Published:  c.out.sent.Load(),
		Dropped:    c.out.dropped.Load(),
		Reconnects: max(0, c.again.Load()-1),
	}
	if c.up.Load() {
		s.Clients = 1
	}
	return s
}

// Close publishes what waits and disconnects, within five seconds; the broker does not send the will. More than once
// does no harm.
func (c *Client) Close() error {
	c.cancel()
	select {
	case <-c.done:
	case <-time.After(closeWait):
		c.log.Warn("local broker: the connection does not end")
	}
	return nil
}

// run makes one connection after the other.
func (c *Client) run(ctx context.Context) {
	defer close(c.done)
	defer c.out.close()
	wait := minBackoff
	for {
		started := time.Now()
		err := c.session(ctx)
		if errors.Is(err, errNoBridges) {
			err = c.session(ctx)
		}
		c.down(ctx, err)
		if ctx.Err() != nil {
			return
		}
		if time.Since(started) > maxBackoff {
			wait = minBackoff
		}
		pause := time.NewTimer(wait/2 + rand.N(wait/2))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return
		}
		wait = min(2*wait, maxBackoff)
	}
}

// down notes why there is no connection. The same reason is logged once.
func (c *Client) down(ctx context.Context, err error) {
	c.up.Store(false)
	if c.opt.OnLost != nil {
		c.opt.OnLost()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if ctx.Err() != nil {
		c.status = Status{Detail: c.opt.URL, Error: "closed", Since: time.Now()}
		return
	}
	level := slog.LevelWarn
	if !c.status.Up && c.status.Error == err.Error() {
		level = slog.LevelDebug
	}
	c.log.Log(ctx, level, "local broker: no connection", "url", c.opt.URL, "error", err)
	since := c.status.Since
	if c.status.Up {
		since = time.Now()
	}
	c.status = Status{Detail: c.opt.URL, Error: err.Error(), Since: since}
}

// stand notes that there is a connection; refused are the filters the broker does not let us have.
func (c *Client) stand(refused string) {
	c.again.Add(1)
	c.mu.Lock()
	c.status = Status{Up: true, Detail: c.opt.URL, Error: refused, Since: time.Now()}
	c.mu.Unlock()
	c.up.Store(true)
	if refused != "" {
		c.log.Warn("local broker: connected", "url", c.opt.URL, "error", refused)
	} else {
		c.log.Info("local broker: connected", "url", c.opt.URL)
	}
}
