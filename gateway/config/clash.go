package config

import (
	"net"
	"slices"
	"strings"

	"github.com/meshgate/meshgate/bridge"
)

// listener is an address that the daemon will listen on.
type listener struct {
	value
	addr string
}

// remote is a broker that the daemon will connect to over a bridge.
type remote struct {
	value
	url bridge.URL
}

// clashes notes addresses that two listeners want, and bridges to the daemon's own broker.
func (d *decoder) clashes(c *Config) {
	for i, l := range d.listeners {
		for _, first := range d.listeners[:i] {
			if overlap(first.addr, l.addr) {
				l.fail("%s is taken by %s already", l.addr, first.path)
				break
			}
		}
	}
	if c.Local == nil || c.Local.Listen == "" {
		d.neighbours(c)
		return
	}
	own := c.Local.Listen[strings.Index(c.Local.Listen, "://")+3:]
	for _, r := range d.remotes {
		if r.url.Loopback() && overlap(own, r.url.Address()) {
			r.fail("%s is the daemon's own broker (local.listen)", r.url.Address())
		}
	}
}

// overlap reports whether a listener on a takes the address b.
func overlap(a, b string) bool {
	hostA, portA, _ := net.SplitHostPort(a)
	hostB, portB, _ := net.SplitHostPort(b)
	if portA != portB || portA == "0" {
		return false
	}
	return strings.EqualFold(hostA, hostB) || everywhere(hostA) || everywhere(hostB) ||
		isLoopback(hostA) && isLoopback(hostB) && (hostA == "localhost" || hostB == "localhost")
}

func everywhere(host string) bool {
	ip := net.ParseIP(host)
	return host == "" || ip != nil && ip.IsUnspecified()
}

// loops notes topics that two bridges carry in both directions, which could echo between them
// for ever, at the topics of the second of the two; each bridge is told once. Without such
// topics, it notes a message that could go round over all bridges, at the key bridges. at has
// the place of each bridge.
func (d *decoder) loops(v value, all []Bridge, at []object) {
	both := make([][]circle, len(all))
	found := false
	for i, b := range all {
		both[i] = circles(b.Rules)
		for j := range i {
			topic, mine, other, ok := echo(both[i], both[j])
			if !ok {
				continue
			}
			found = true
			place, there := at[i].at["topics"]
			if !there {
				place = at[i].value
			}
			place.failKey("topic %q is carried in both directions by bridge %q (%s) and bridge %q (%s) and could echo between them for ever",
				clip(topic), b.Name, mine, all[j].Name, other)
			break
		}
	}
	if found {
		return
	}
	links := make([]bridge.Link, len(all))
	for i, b := range all {
		links[i] = bridge.Link{Name: b.Name, Rules: withoutCommands(b.Rules)}
		if len(b.URLs) > 0 {
			_, links[i].Broker, _ = strings.Cut(b.URLs[0], "://")
		}
	}
	if err := bridge.Loop(links); err != nil {
		v.failKey("%s", firstLine(err))
	}
}

// commands are the topics whose messages end in the gateway: they are carried out, and never
// go out over another bridge.
var commands = []string{"actuator/+/set", "mote/+/led/set", "mote/+/oap/request", "manager/+/request"}

// States are the topics on which the gateway says how it is: what others publish to them goes over no bridge.
var States = []string{"gateway/#", "manager/+/status", "mote/+/status", "mote/+/led/state", "actuator/+/state", "input/+/state"}

// within reports whether every topic of filter is one of others.
func within(filter string, others []string) bool {
	return slices.ContainsFunc(others, func(o string) bool {
		both, ok := bridge.Intersect(filter, o)
		return ok && both == filter
	})
}

// withoutCommands returns the rules without those that bring nothing in but commands.
func withoutCommands(rules bridge.Rules) (rest bridge.Rules) {
	for _, r := range rules {
		ends := within(r.Local(), commands)
		switch {
		case ends && r.Direction == bridge.In:
			continue
		case ends && r.Direction == bridge.Both:
			r.Direction = bridge.Out
		}
		rest = append(rest, r)
	}
	return rest
}

// circle is a filter of local topics that one bridge carries out and in, with the rules that do.
type circle struct {
	filter  string
	out, in bridge.Rule
}

func (c circle) String() string {
	if c.out == c.in {
		return c.out.String()
	}
	return c.out.String() + "; " + c.in.String()
}

func circles(rules bridge.Rules) (all []circle) {
	seen := map[string]bool{}
	for _, out := range rules {
		if out.Direction == bridge.In {
			continue
		}
		for _, in := range rules {
			if in.Direction == bridge.Out {
				continue
			}
			if f, ok := bridge.Intersect(out.Local(), in.Local()); ok && !seen[f] {
				seen[f] = true
				all = append(all, circle{f, out, in})
			}
		}
	}
	return all
}

func echo(a, b []circle) (topic string, ca, cb circle, found bool) {
	for _, ca := range a {
		for _, cb := range b {
			if f, ok := bridge.Intersect(ca.filter, cb.filter); ok {
				return f, ca, cb, true
			}
		}
	}
	return "", ca, cb, false
}
