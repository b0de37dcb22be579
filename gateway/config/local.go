package config

import "strings"

var localPorts = map[string]string{"tcp": "1883", "mqtt": "1883", "tls": "8883", "mqtts": "8883"}

// local reads the section of the LAN side.
func (d *decoder) local(o object, id string) *Local {
	if !o.has("local") {
		return nil
	}
	s := d.section(o, "local", "listen", "users", "acl", "broker", "username", "password_file", "client_id", "tls")
	if !s.ok {
		return nil
	}
	switch {
	case s.has("listen") && s.has("broker"):
		s.at["broker"].failKey("listen and broker are both here; it is either a broker of its own or the one that runs here")
		return nil
	case s.has("broker"):
		return d.localBroker(s, id)
	case s.has("listen"):
		return d.localListen(s)
	}
	s.fail(`missing key "listen" (a broker inside the daemon) or "broker" (the one that runs here)`)
	return nil
}

// only notes keys that have no meaning beside the one that is there.
func (o object) only(with string, others ...string) {
	for _, key := range others {
		if v, there := o.at[key]; there {
			v.failKey("%s has no meaning with %s", key, with)
		}
	}
}

// listenSchemes are those of the broker inside, with what they become with the key tls.
var listenSchemes = map[string]string{"tcp": "tls", "mqtt": "tls", "tls": "tls", "mqtts": "tls", "ws": "wss", "wss": "wss"}

func (d *decoder) localListen(s object) *Local {
	s.only("listen", "username", "password_file", "client_id")
	l := &Local{Users: s.readable("users"), ACL: s.readable("acl"), TLS: d.tls(s, true)}
	v, ok := s.get("listen")
	if !ok {
		return l
	}
	text, ok := v.text("tcp://HOST:PORT")
	if !ok {
		return l
	}
	scheme, rest, _ := strings.Cut(text, "://")
	secure := listenSchemes[scheme]
	if secure == "" {
		v.fail("expected tcp://HOST:PORT, found %q; schemes are %s%s", clip(withoutSecrets(text)),
			list(keys(listenSchemes)), near(scheme, keys(listenSchemes)))
		return l
	}
	addr, problem := hostPort(strings.TrimSuffix(rest, "/"), "", true)
	if problem != "" {
		v.fail("%s", problem)
		return l
	}
	switch {
	case s.has("tls"):
		scheme = secure
	case scheme == secure || scheme == "mqtts":
		v.fail("%s:// needs a certificate: tls: {cert: FILE, key: FILE}", scheme)
	}
	l.Listen = scheme + "://" + addr
	d.listeners = append(d.listeners, listener{v, addr})
	s.needUsers(addr, l.Users)
	return l
}

func (d *decoder) localBroker(s object, id string) *Local {
	s.only("broker", "users", "acl")
	l := &Local{Username: s.text("username", ""), ClientID: s.text("client_id", "")}
	if l.ClientID == "" {
		// Not that of the bridges: local and remote broker may be one.
		l.ClientID = "meshgate-" + id + "-local"
	}
	l.PasswordFile = s.passwordFile(l.Username)
	l.TLS = d.tls(s, false)
	v, _ := s.get("broker")
	u, ok := v.endpoint(localPorts)
	if !ok {
		return l
	}
	l.Broker = u.String()
	if t, there := s.at["tls"]; there && s.has("tls") && localPorts[u.Scheme] == "1883" {
		t.failKey("tls has no effect with %s://; use mqtts://", u.Scheme)
	}
	return l
}
