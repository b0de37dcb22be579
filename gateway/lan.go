package gateway

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/url"
	"path/filepath"
	"time"

	"github.com/meshgate/meshgate/bridge"
	"github.com/meshgate/meshgate/gateway/config"
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
}

// side is what both kinds can do.
type side interface {
	Publish(topic string, payload []byte, retain bool) error
	Status() local.Status
	Close() error
}

func newLAN(cfg config.Local, g *Gateway) *lan {
	where := cfg.Listen
	if where == "" {
		where = cfg.Broker
	}
	return &lan{cfg, g, g.links.add("local", "local", where), g.progress.add("local", nil)}
}

// run keeps the LAN side open until ctx ends, and hands it every live message.
func (l *lan) run(ctx context.Context) {
	supervise(ctx, l.g.log.With("local", l.link.state.Name), l.mark, func(err error) { l.link.down(err) }, l.once)
}

func (l *lan) once(ctx context.Context, up func(...any)) error {
	s, err := l.open(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	live, stop := l.g.hub.listen("#")
	defer stop()
	look := time.NewTicker(time.Second)
	defer look.Stop()
	l.say(s, "online", "started")
	l.show(s.Status())
	up()
	for {
		select {
		case m := <-live:
			if m.from != lanName {
				s.Publish(m.topic, m.payload, m.retain) // what it cannot take it counts in its Stats
			}
		case <-look.C:
			l.mark.beat()
			l.show(s.Status())
		case <-ctx.Done():
			l.say(s, "offline", "stopped")
			return ctx.Err()
		}
	}
}

func (l *lan) say(s side, state, reason string) {
	s.Publish("gateway/status", l.g.presence(state, reason), true)
}

func (l *lan) show(st local.Status) {
	if st.Up {
		l.link.up(st.Detail)
	} else {
		l.link.down(fmt.Errorf("%s", st.Error))
	}
}

func (l *lan) open(ctx context.Context) (side, error) {
	intake := func(m local.Message) error { return l.take(ctx, m) }
	if l.cfg.Listen != "" {
		conf, err := serverTLS(l.cfg.TLS)
		if err != nil {
			return nil, err
		}
		return local.Listen(local.Options{Listen: l.cfg.Listen, TLS: conf, Users: l.cfg.Users, ACL: l.cfg.ACL,
			Sessions: filepath.Join(l.g.conf().StateDir, "sessions"), Intake: intake, Log: l.g.log})
	}
	conf, err := l.clientTLS()
	if err != nil {
		return nil, err
	}
	var c *local.Client
	ready := make(chan struct{})
	c = local.Dial(local.DialOptions{URL: l.cfg.Broker, ClientID: l.cfg.ClientID, Username: l.cfg.Username,
		PasswordFile: l.cfg.PasswordFile, TLS: conf, Subscribe: wantedOf(l.g.conf()), Keep: true, Intake: intake, Log: l.g.log,
		Will:      &local.Message{Topic: "gateway/status", Payload: l.g.presence("offline", "lost"), QoS: 1, Retain: true},
		OnConnect: func() { <-ready; l.again(c) }})
	close(ready)
	return c, nil
}

// again publishes all states to a broker that may have forgotten them.
func (l *lan) again(c *local.Client) {
	l.say(c, "online", "started")
	states, _, _ := l.g.hub.newer(0)
	for _, s := range states {
		if s.from != lanName {
			c.Publish(s.topic, s.payload, true)
		}
	}
}

// take is called for each message of a local client before it is acknowledged; an error means
// that it is not.
func (l *lan) take(ctx context.Context, m local.Message) error {
	if isCommand(m.Topic) {
		l.g.orders.do(ctx, command{topic: m.Topic, payload: m.Payload, retain: m.Retain})
		return nil
	}
	return l.g.brought(message{topic: m.Topic, payload: m.Payload, retain: m.Retain, from: lanName}, m.QoS)
}

func serverTLS(files bridge.TLS) (*tls.Config, error) {
	if files.Cert == "" {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		return nil, fmt.Errorf("gateway: local: certificate: %w", err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}, nil
}

// clientTLS is nil for a broker that is spoken to in the clear.
func (l *lan) clientTLS() (*tls.Config, error) {
	u, err := url.Parse(l.cfg.Broker)
	if err != nil {
		return nil, fmt.Errorf("gateway: local: %w", err)
	}
	switch u.Scheme {
	case "mqtts", "tls", "ssl", "wss":
		return &tls.Config{ServerName: u.Hostname()}, nil
	}
	return nil, nil
}
