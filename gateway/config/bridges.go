package config

import (
	"net/url"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/meshgate/meshgate/bridge"
)

var brokerPorts = map[string]string{"mqtt": "1883", "mqtts": "8883", "ws": "80", "wss": "443"}

// maxBridges bounds what a small computer keeps open at a time.
const maxBridges = 64

// bridges reads the list of bridges. id is that of the gateway.
func (d *decoder) bridges(v value, id string) (all []Bridge) {
	names, clients := unique{}, map[string]string{}
	var at []object
	list := v.list("a list of bridges, each with name and url")
	if len(list) > maxBridges {
		v.fail("%d bridges are out of range, 0 to %d", len(list), maxBridges)
		return nil
	}
	for _, e := range list {
		o := e.object("name", "url", "urls", "client_id", "username", "password_file", "tls",
			"keepalive", "backlog_rate", "prefix", "topics", "plaintext", "canary")
		if !o.ok {
			continue
		}
		o.need("name", "")
		b := d.bridge(o, id)
		names.add(o, "name", b.Name, "bridge")
		d.sameClient(o, b, clients)
		all, at = append(all, b), append(at, o)
	}
	d.loops(v, all, at)
	return all
}

func (d *decoder) bridge(o object, id string) Bridge {
	b := Bridge{
		Name:        o.name("name"),
		ClientID:    o.text("client_id", ""),
		Username:    o.text("username", ""),
		Keepalive:   o.duration("keepalive", 30*time.Second, time.Second, 65535*time.Second),
		BacklogRate: o.number("backlog_rate", 0, 0, 1_000_000),
		Prefix:      o.text("prefix", "meshgate/"+id+"/"),
		Plaintext:   o.flag("plaintext", false),
		Canary:      o.duration("canary", time.Minute, 0, 24*time.Hour),
	}
	if b.ClientID == "" {
		b.ClientID = "meshgate-" + id
	}
	if b.Keepalive%time.Second != 0 {
		o.at["keepalive"].fail("%s: MQTT counts in whole seconds", short(b.Keepalive))
	}
	if len(b.ClientID) > 65535 || len(b.Username) > 65535 {
		o.fail("client_id and username have at most 65535 bytes each")
	}
	b.PasswordFile = o.passwordFile(b.Username)
	prefixOK := true
	if v, there := o.at["prefix"]; there && b.Prefix != "" {
		if err := bridge.ValidTopic(b.Prefix); err != nil {
			v.fail("%v", err)
			prefixOK = false
		}
	}
	b.Rules = bridge.DefaultRules(b.Prefix)
	if v, ok := o.get("topics"); ok && prefixOK {
		b.Rules = d.rules(v, b.Prefix)
	}
	d.brokers(o, &b)
	return b
}

// brokers reads url or urls, with the certificates and the permission to go without.
func (d *decoder) brokers(o object, b *Bridge) {
	b.TLS = d.tls(o, false)
	var at []value
	switch {
	case o.has("url") && o.has("urls"):
		o.at["urls"].failKey("url and urls are both here; one of them is enough")
	case o.has("urls"):
		at = o.at["urls"].list("a list of URLs such as mqtts://HOST:8883")
		if len(at) == 0 {
			o.at["urls"].fail("expected one URL or more, found none")
		}
	default:
		o.need("url", "such as mqtts://HOST:8883")
		if v, ok := o.get("url"); ok {
			at = []value{v}
		}
	}
	secure := len(at) == 0
	for _, v := range at {
		u, ok := v.endpoint(brokerPorts)
		if !ok {
			secure = true // what is meant is not known: say no more about it
			continue
		}
		parsed, err := bridge.ParseURL(u.String())
		if err != nil {
			v.fail("%s", strings.TrimPrefix(err.Error(), "bridge: "))
			continue
		}
		secure = secure || parsed.Secure()
		d.plaintext(v, parsed, *b)
		if slices.Contains(b.URLs, parsed.String()) {
			v.fail("%q is here twice", clip(parsed.String()))
		}
		b.URLs = append(b.URLs, parsed.String())
		d.remotes = append(d.remotes, remote{v, parsed})
	}
	if v, there := o.at["tls"]; there && b.TLS != (bridge.TLS{}) && !secure {
		v.failKey("tls has no effect without an mqtts:// or wss:// URL")
	}
}

// plaintext refuses what would send a password, or take commands, over a network that anybody
// on the way can read and write.
func (d *decoder) plaintext(v value, u bridge.URL, b Bridge) {
	if u.Secure() || u.Loopback() || b.Plaintext {
		return
	}
	commands := slices.ContainsFunc(b.Rules, func(r bridge.Rule) bool { return r.Direction != bridge.Out })
	with := ""
	switch {
	case b.Username != "":
		with = "its username and password can be read"
	case commands:
		with = "its commands can be forged"
	default:
		return
	}
	v.fail("%s://%s is not encrypted: %s on the way; use %ss://, or say plaintext: true", u.Scheme, u.Address(), with, u.Scheme)
}

// sameClient notes that two bridges would throw each other out: a broker ends the connection
// of a client when another one comes with its id (MQTT 3.1.1 section 3.1.4).
func (d *decoder) sameClient(o object, b Bridge, seen map[string]string) {
	for _, s := range b.URLs {
		u, err := url.Parse(s)
		if err != nil {
			continue
		}
		key := b.ClientID + "\x00" + strings.ToLower(u.Host)
		if other, twice := seen[key]; twice && other != b.Name {
			v, there := o.at["client_id"]
			if !there {
				v = o.value
			}
			v.fail("client id %q is that of bridge %q at the same broker; give each a client_id of its own", clip(b.ClientID), other)
			return
		}
		seen[key] = b.Name
	}
}

// maxRules bounds the rules of a bridge, each of which is tried for each message.
const maxRules = 1000

// rules reads the key topics: each entry a mapping, or one text in the form of mosquitto.conf.
func (d *decoder) rules(v value, prefix string) bridge.Rules {
	rules := bridge.Rules{}
	lines := map[bridge.Rule]int{}
	list := v.list("a list of topic rules")
	if len(list) > maxRules {
		v.fail("%d rules are out of range, 0 to %d", len(list), maxRules)
		return nil
	}
	for _, e := range list {
		r, ok := e.rule(prefix)
		if !ok {
			continue
		}
		same := r
		same.QoS, same.Retain = 0, bridge.Keep
		if line, twice := lines[same]; twice {
			e.fail("the rule is here twice, first in line %d", line)
			continue
		}
		lines[same] = e.node.Line
		rules = append(rules, r)
	}
	return rules
}

// rule reads one rule and gives it the bridge's prefix when it has none of its own.
func (v value) rule(prefix string) (bridge.Rule, bool) {
	v, ok := v.deref()
	if !ok {
		return bridge.Rule{}, false
	}
	before := v.d.mistakes
	var r bridge.Rule
	if v.node.Kind == yaml.MappingNode {
		r = v.ruleOfKeys()
	} else if s, ok := v.text("a mapping with topic, or text as in mosquitto.conf"); ok {
		var err error
		if r, err = bridge.ParseRule(s); err != nil {
			v.fail("%s", firstLine(err))
		}
	}
	if v.d.mistakes > before {
		return r, false
	}
	r = bridge.Rules{r}.WithDefaultPrefix(prefix)[0]
	if err := r.Check(); err != nil {
		v.fail("%s", firstLine(err))
		return r, false
	}
	return r, true
}

func (v value) ruleOfKeys() bridge.Rule {
	o := v.object("topic", "direction", "qos", "retain", "local_prefix", "remote_prefix")
	o.need("topic", "")
	r := bridge.Rule{
		Pattern:      o.text("topic", ""),
		QoS:          byte(o.number("qos", 1, 0, 2)),
		LocalPrefix:  o.text("local_prefix", ""),
		RemotePrefix: o.text("remote_prefix", ""),
	}
	_, local := o.at["local_prefix"]
	_, remote := o.at["remote_prefix"]
	r.OwnPrefix = local || remote
	word := o.oneOf("direction", "out", "out", "in", "both")
	r.Direction, _ = bridge.ParseDirection(word)
	r.Retain, _ = bridge.ParseRetain(o.oneOf("retain", "keep", "keep", "strip", "force"))
	if p, ok := o.get("topic"); ok && r.Pattern != "" {
		if err := bridge.ValidFilter(r.Pattern); err != nil {
			p.fail("%v", err)
		}
	}
	return r
}

// firstLine keeps a message on its line.
func firstLine(err error) string {
	s, _, _ := strings.Cut(err.Error(), "\n")
	return s
}
