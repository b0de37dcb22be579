package config

import (
	"errors"
	"strings"

	"github.com/meshgate/meshgate/bridge"
)

// neighbours notes a message that would go round for ever because the broker that runs here (local.broker) is the
// remote broker of a bridge, too: what one client of the gateway publishes there, the other one hears. The same broker
// behind another port is not known to be the same.
func (d *decoder) neighbours(c *Config) {
	if c.Local == nil || c.Local.Broker == "" {
		return
	}
	u, err := bridge.ParseURL(localURL(c.Local.Broker))
	if err != nil {
		return // has been told
	}
	here := brokerKey(u)
	links := []bridge.Link{{Name: "local.broker", Broker: here, Rules: bridge.Rules{{Pattern: "#", Direction: bridge.Out}}, Deaf: true}}
	for _, b := range c.Bridges {
		links = append(links, bridge.Link{Name: b.Name, Broker: here, Rules: withoutCommands(b.Rules), Deaf: true})
		if !d.reaches(b, here) {
			links[len(links)-1].Broker = ""
		}
		for _, r := range b.Rules {
			if r.Direction != bridge.In && !within(r.Local(), commands) && !within(r.Local(), States) {
				links[0].Rules = append(links[0].Rules, bridge.Rule{Pattern: r.Local(), Direction: bridge.In})
			}
		}
	}
	var circle *bridge.Circle
	if !errors.As(bridge.Loop(links), &circle) {
		return
	}
	for _, r := range d.remotes {
		if brokerKey(r.url) == here {
			r.fail("%s is local.broker as well, and %s; a prefix, or other topics, would keep the two apart", r.url.Address(), firstLine(circle))
			return
		}
	}
}

// reaches reports whether one of a bridge's URLs is that broker.
func (d *decoder) reaches(b Bridge, key string) bool {
	for _, s := range b.URLs {
		if u, err := bridge.ParseURL(s); err == nil && brokerKey(u) == key {
			return true
		}
	}
	return false
}

// localURL writes the URL of local.broker as bridges have theirs.
func localURL(s string) string {
	scheme, rest, _ := strings.Cut(s, "://")
	switch scheme {
	case "tcp":
		scheme = "mqtt"
	case "tls":
		scheme = "mqtts"
	}
	return scheme + "://" + rest
}

// brokerKey is the same for two ways to write one address.
func brokerKey(u bridge.URL) string {
	if u.Loopback() {
		return "localhost:" + u.Port
	}
	return strings.TrimSuffix(strings.ToLower(u.Host), ".") + ":" + u.Port
}
