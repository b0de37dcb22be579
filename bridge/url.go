package bridge

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// URL is the address of a broker.
type URL struct {
	Scheme string // mqtt, mqtts, ws or wss
	Host   string // name or IP address, without brackets
	Port   string // always there
	Path   string // of ws and wss
}

var defaultPorts = map[string]string{"mqtt": "1883", "mqtts": "8883", "ws": "80", "wss": "443"}

// otherSchemes are what other programs call them.
var otherSchemes = map[string]string{"tcp": "mqtt", "ssl": "mqtts", "tls": "mqtts", "tcps": "mqtts", "http": "ws", "https": "wss"}

// ParseURL reads mqtt://HOST[:1883], mqtts://HOST[:8883], ws://HOST[:80][/mqtt] and wss://HOST[:443][/mqtt]. User names and
// passwords have no place in it.
func ParseURL(s string) (URL, error) {
	u, err := url.Parse(s)
	if err != nil {
		return URL{}, fmt.Errorf("url %q: want mqtt://, mqtts://, ws:// or wss:// and HOST:PORT", s)
	}
	port, ok := defaultPorts[u.Scheme]
	switch hint := otherSchemes[u.Scheme]; {
	case !ok && hint != "":
		return URL{}, fmt.Errorf("url %q: %s:// is written %s:// here", s, u.Scheme, hint)
	case !ok:
		return URL{}, fmt.Errorf("url %q: want mqtt://, mqtts://, ws:// or wss:// and HOST:PORT", s)
	case u.User != nil:
		return URL{}, fmt.Errorf("url with a user in it: the name goes to username, the password into a file")
	case u.Hostname() == "" || strings.ContainsAny(u.Hostname(), " \t"):
		return URL{}, fmt.Errorf("url %q: no host", s)
	case u.RawQuery != "" && !strings.HasPrefix(u.Scheme, "ws"), u.Fragment != "":
		return URL{}, fmt.Errorf("url %q: nothing goes after HOST:PORT", s)
	}
	b := URL{Scheme: u.Scheme, Host: u.Hostname(), Port: port}
	if u.Port() != "" {
		b.Port = u.Port()
	}
	if n, err := strconv.ParseUint(b.Port, 10, 16); err != nil || n == 0 {
		return URL{}, fmt.Errorf("url %q: port %q is not between 1 and 65535", s, b.Port)
	}
	if strings.HasPrefix(b.Scheme, "ws") {
		if u.Path == "" {
			u.Path = "/mqtt"
		}
		b.Path = u.RequestURI()
		return b, nil
	}
	if u.Path != "" && u.Path != "/" {
		return URL{}, fmt.Errorf("url %q: %s:// has no path; the topics have a prefix instead", s, u.Scheme)
	}
	return b, nil
}

// String returns the URL with its port.
func (u URL) String() string { return u.Scheme + "://" + u.Address() + u.Path }

// Address returns HOST:PORT.
func (u URL) Address() string { return net.JoinHostPort(u.Host, u.Port) }

// Secure reports whether the connection is encrypted.
func (u URL) Secure() bool { return u.Scheme == "mqtts" || u.Scheme == "wss" }

// WebSocket reports whether MQTT goes through a WebSocket.
func (u URL) WebSocket() bool { return u.Scheme == "ws" || u.Scheme == "wss" }

// Loopback reports whether the broker runs on this machine, by its address or the name localhost.
func (u URL) Loopback() bool {
	if host := strings.TrimSuffix(strings.ToLower(u.Host), "."); host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(u.Host)
	return err == nil && ip.Unmap().IsLoopback()
}
