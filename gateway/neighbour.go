package gateway

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/meshgate/meshgate/bridge"
	"github.com/meshgate/meshgate/gateway/config"
	"github.com/meshgate/meshgate/gateway/local"
)

// commandFilters are the topics that commands arrive on, as isCommand has them.
var commandFilters = []string{"actuator/+/set", "mote/+/led/set", "mote/+/oap/request", "manager/+/request"}

// neighbour is the gateway at a broker that runs here already, as two of its clients. For the first
// one the broker keeps what comes while the gateway is away: data that is to reach the cloud. For
// the second one it keeps nothing: a command that is not heard at once is not carried out late.
type neighbour struct {
	*local.Client // of data; it publishes everything, too
	commands      *local.Client
}

func (n neighbour) Close() error {
	n.commands.Close()
	return n.Client.Close()
}

// Status is that of the client that is worse off.
func (n neighbour) Status() local.Status {
	st := n.Client.Status()
	if c := n.commands.Status(); st.Up && (!c.Up || st.Error == "") {
		c.Detail = st.Detail
		return c
	}
	return st
}

func (l *lan) dial(ctx context.Context) (side, error) {
	if _, err := l.clientTLS(); err != nil {
		return nil, err
	}
	opt := local.DialOptions{URL: l.cfg.Broker, ClientID: l.cfg.ClientID, Username: l.cfg.Username,
		PasswordFile: l.cfg.PasswordFile, TLS: l.clientTLS, Log: l.g.log}
	data := opt
	data.Keep, data.Subscribe, data.Quiet = true, wantedOf(l.g.conf()), signsOf(l.g.conf())
	data.Will = &local.Message{Topic: "gateway/status", Payload: l.g.presence("offline", "lost"), QoS: 1, Retain: true}
	data.Intake = func(m local.Message) error {
		if isCommand(m.Topic) { // a rule covers it; the other client has it
			return nil
		}
		return l.take(m)
	}
	data.OnConnect = func() {
		select {
		case l.again <- struct{}{}:
		default:
		}
	}
	life := &lifetime{parent: ctx}
	commands := opt
	commands.ClientID += "-commands"
	commands.Subscribe = commandFilters
	commands.Intake = func(m local.Message) error {
		l.order(life.now(), m)
		return nil
	}
	commands.OnLost = life.end
	return neighbour{local.Dial(data), local.Dial(commands)}, nil
}

// lifetime gives the context of the connection that is: what it brought and is not carried out when
// it is lost never is.
type lifetime struct {
	parent context.Context
	mu     sync.Mutex
	ctx    context.Context
	cancel context.CancelFunc
}

func (l *lifetime) now() context.Context {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ctx == nil {
		l.ctx, l.cancel = context.WithCancel(l.parent)
	}
	return l.ctx
}

func (l *lifetime) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ctx != nil {
		l.cancel()
		l.ctx = nil
	}
}

// wantedOf are the filters of what the bridges carry out, without those that others cover: a broker
// may send a message once for each filter that matches.
func wantedOf(cfg *config.Config) []string {
	all := []string{"gateway/status"} // to hear who contradicts
	for _, b := range cfg.Bridges {
		for _, r := range b.Rules {
			if r.Direction != bridge.In && !slices.Contains(all, r.Local()) {
				all = append(all, r.Local())
			}
		}
	}
	return slices.DeleteFunc(slices.Clone(all), func(f string) bool {
		return slices.ContainsFunc(all, func(other string) bool { return other != f && local.Covers(other, f) })
	})
}

// signsOf are the topics on which the gateway would hear itself if the broker here were the one of a
// bridge, see lan.joins.
func signsOf(cfg *config.Config) []string {
	var all []string
	for _, b := range cfg.Bridges {
		if b.Prefix != "" {
			all = append(all, b.Prefix+"gateway/status")
		}
		if b.Canary > 0 {
			all = append(all, b.Prefix+canaryName)
		}
	}
	wanted := wantedOf(cfg)
	return slices.DeleteFunc(all, func(f string) bool {
		return slices.ContainsFunc(wanted, func(other string) bool { return local.Covers(other, f) })
	})
}

// clientTLS reads the files at each attempt to connect; nil for a broker that is spoken to in the clear.
func (l *lan) clientTLS() (*tls.Config, error) {
	u, err := url.Parse(l.cfg.Broker)
	if err != nil {
		return nil, fmt.Errorf("gateway: local: %w", err)
	}
	switch u.Scheme {
	case "mqtts", "tls", "ssl", "wss":
		conf, err := l.cfg.TLS.Config(u.Hostname(), time.Now)
		if err != nil {
			return nil, fmt.Errorf("gateway: local: %w", err)
		}
		return conf, nil
	}
	return nil, nil
}
