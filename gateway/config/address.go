package config

import (
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var (
	camelCase = regexp.MustCompile(`^[a-z][A-Za-z0-9]*$`)
	hostname  = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*\.?$`)
	scheme    = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*:`)
)

// schemeOf returns what stands before the first colon of a URL, "" when it is none.
func schemeOf(s string) string { return strings.TrimSuffix(scheme.FindString(s), ":") }

// validHost reports whether s, without brackets, is an IP address or could be the name of a host.
func validHost(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	return len(s) <= 253 && hostname.MatchString(s) && !looksLikeIPv4(s)
}

// looksLikeIPv4 finds addresses with a mistake in them, which no resolver would know either.
func looksLikeIPv4(s string) bool { return strings.Trim(s, "0123456789.") == "" }

// isLoopback reports whether what is sent to the host, or listened to there, stays on the machine.
func isLoopback(host string) bool {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Unmap().IsLoopback()
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// hostPort checks HOST:PORT and returns it with the port; def is the port where none is said,
// "" when one is needed. A listener may leave out the host and may have port 0, any free one.
func hostPort(s, def string, listener bool) (addr, problem string) {
	if strings.Contains(s, "@") {
		return "", "a user or a password has no place in an address"
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil && def != "" && !strings.HasSuffix(s, ":") {
		host, port, err = net.SplitHostPort(s + ":" + def)
	}
	if err != nil {
		return "", "expected HOST:PORT, found " + strconv.Quote(clip(s))
	}
	if !validHost(host) && (host != "" || !listener) {
		return "", "host " + strconv.Quote(clip(host)) + " is neither a name nor an address"
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || strconv.FormatUint(n, 10) != port || n == 0 && !listener {
		low := "1"
		if listener {
			low = "0"
		}
		return "", "port " + strconv.Quote(clip(port)) + " is out of range, " + low + " to 65535"
	}
	return net.JoinHostPort(host, port), ""
}

// listen reads the value of a key as an address to listen on.
func (o object) listen(key, example string) string {
	v, ok := o.get(key)
	if !ok {
		return ""
	}
	s, ok := v.text("HOST:PORT such as 127.0.0.1:" + example)
	if !ok {
		return ""
	}
	addr, problem := hostPort(s, "", true)
	if problem != "" {
		v.fail("%s", problem)
		return ""
	}
	o.d.listeners = append(o.d.listeners, listener{v, addr})
	return addr
}

// needUsers notes that a listener that others can reach has no users.
func (o object) needUsers(addr, users string) {
	if addr == "" || users != "" {
		return
	}
	if _, there := o.at["users"]; there && o.has("users") && o.text("users", "") != "" {
		return // there, and wrong: that has been said
	}
	if host, _, err := net.SplitHostPort(addr); err == nil && !isLoopback(host) {
		o.at["listen"].fail("%s can be reached from other machines: users is needed (or listen on 127.0.0.1)", addr)
	}
}

// endpoint reads a value as the URL of a broker and returns it with its port. ports has the
// schemes that are allowed, with their default ports.
func (v value) endpoint(ports map[string]string) (*url.URL, bool) {
	want := "a URL such as " + keys(ports)[0] + "://HOST:PORT"
	s, ok := v.text(want)
	if !ok {
		return nil, false
	}
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Opaque != "" || u.Host == "" || u.Scheme == "":
		// The error of net/url repeats the text, which may hold a password.
		v.fail("expected %s, found %q", want, clip(withoutSecrets(s)))
	case u.User != nil:
		v.fail("a URL is no place for a user or a password: use username and password_file")
	case ports[u.Scheme] == "":
		v.fail("scheme %q is not known here; expected %s%s", clip(u.Scheme), list(keys(ports)), otherScheme(u.Scheme, ports))
	case u.Fragment != "" || strings.HasSuffix(s, "#"):
		v.fail("a fragment (#...) has no meaning here")
	case !strings.HasPrefix(u.Scheme, "ws") && (u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.ForceQuery):
		v.fail("a path has no meaning with %s://", u.Scheme)
	default:
		return v.withPort(u, ports[u.Scheme])
	}
	return nil, false
}

func (v value) withPort(u *url.URL, def string) (*url.URL, bool) {
	addr, problem := hostPort(u.Host, def, false)
	if problem != "" {
		v.fail("%s", problem)
		return nil, false
	}
	u.Host = addr
	if !strings.HasPrefix(u.Scheme, "ws") {
		u.Path = ""
	}
	return u, true
}

// otherScheme suggests the name that this file has for the schemes of other programs.
func otherScheme(s string, ports map[string]string) string {
	alias := map[string]string{
		"tcp": "mqtt", "ssl": "mqtts", "tls": "mqtts", "mqtt+ssl": "mqtts", "tcps": "mqtts",
		"http": "ws", "https": "wss",
	}
	if a := alias[s]; ports[a] != "" {
		return ", did you mean \"" + a + "\"?"
	}
	return near(s, keys(ports))
}

// port reads where a manager is.
func (d *decoder) port(o object) string {
	o.need("port", "(auto, a device path, tcp://HOST:PORT, mux://HOST:PORT or sim:?...)")
	v, ok := o.get("port")
	if !ok {
		return ""
	}
	s, ok := v.text("auto, a device path or a URL")
	if !ok {
		return ""
	}
	switch sch := schemeOf(s); {
	case s == "auto":
		return s
	case sch == "auto":
		return v.autoPort(s)
	case sch == "sim":
		return v.simPort(s)
	case sch == "tcp", sch == "mux":
		return v.remotePort(s, sch)
	case strings.Contains(s, "://"):
		v.fail("expected tcp://HOST:PORT, mux://HOST:PORT or sim:?..., found %q%s", clip(withoutSecrets(s)), near(sch, []string{"tcp", "mux", "sim"}))
	case strings.Contains(s, "/") && !strings.HasSuffix(s, "/"):
		return d.abs(s)
	case strings.HasPrefix(s, "tty"):
		v.fail("expected auto, a device path or a URL, found %q, did you mean %q?", clip(s), "/dev/"+clip(s))
	default:
		v.fail("expected auto, a device path such as /dev/ttyUSB3, tcp://HOST:PORT, mux://HOST:PORT or sim:?..., found %q%s",
			clip(s), near(s, []string{"auto", "tcp", "mux", "sim"}))
	}
	return ""
}

// remotePort checks tcp://HOST:PORT and mux://HOST[:9900].
func (v value) remotePort(s, sch string) string {
	rest, ok := strings.CutPrefix(s, sch+"://")
	if !ok {
		v.fail("expected %s://HOST:PORT, found %q", sch, clip(s))
		return ""
	}
	def := ""
	if sch == "mux" {
		def = "9900"
	}
	addr, problem := hostPort(strings.TrimSuffix(rest, "/"), def, false)
	if problem != "" {
		v.fail("%s", problem)
		return ""
	}
	return sch + "://" + addr
}

// simPort checks the form of sim:?key=value&..., and that no key is there twice. What the
// keys mean is the simulator's, which may have a judge here.
func (v value) simPort(s string) string {
	rest := strings.TrimPrefix(s, "sim:")
	if rest != "" && !strings.HasPrefix(rest, "?") {
		v.fail("expected sim: or sim:?motes=5&period=2s&seed=1, found %q", clip(s))
		return ""
	}
	query, err := url.ParseQuery(strings.TrimPrefix(rest, "?"))
	if err != nil {
		v.fail("expected sim:?motes=5&period=2s&seed=1, found %q", clip(s))
		return ""
	}
	for _, key := range keys(query) {
		if len(query[key]) > 1 || key == "" || slices.Contains(query[key], "") {
			v.fail("key %q of sim: is to be there once, with a value", clip(key))
			return ""
		}
	}
	if !v.judged("sim", s) {
		return ""
	}
	return s
}
