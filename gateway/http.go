package gateway

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/meshgate/meshgate/gateway/config"
	"github.com/meshgate/meshgate/gateway/console"
	"github.com/meshgate/meshgate/gateway/control"
	"github.com/meshgate/meshgate/gateway/local"
)

// web is the HTTP door (contract, section 5):
//
//	/healthz   200 while the process makes progress, for whoever restarts it
//	/readyz    200 while readings get through, for whoever looks after it
//	/metrics   for Prometheus
//	/api/v1/   what the control socket answers
//	/mqtt      MQTT over WebSocket, with the broker inside
//	/          the console, a page for a browser
//
// Without users it is for this machine alone.
type web struct {
	cfg  config.HTTP
	g    *Gateway
	link *link
}

func (g *Gateway) webPart(c config.HTTP) part {
	w := &web{c, g, g.links.add("http", "http", c.Listen)}
	return part{w.run, func(bool) { g.links.remove(w.link) }}
}

func (w *web) run(ctx context.Context) {
	supervise(ctx, w.g.log.With("http", w.cfg.Listen), nil, func(err error) { w.link.down(err) }, w.once)
}

func (w *web) once(ctx context.Context, up func(...any)) error {
	h, err := w.handler()
	if err != nil {
		return err
	}
	listen := w.g.hw.Listen
	if listen == nil {
		listen = net.Listen
	}
	l, err := listen("tcp", w.cfg.Listen)
	if err != nil {
		return fmt.Errorf("gateway: http: %w", err)
	}
	defer l.Close()
	w.link.up(l.Addr().String())
	up()
	return control.Serve(ctx, l, h)
}

// handler is all of it. The probes tell nothing that needs a password.
func (w *web) handler() (http.Handler, error) {
	inner := http.NewServeMux()
	inner.HandleFunc("GET /metrics", w.g.serveMetrics)
	inner.Handle("/api/v1/", w.g.api())
	inner.HandleFunc("GET /mqtt", w.g.serveMQTT)
	console.Register(inner)
	guard := thisMachine
	if w.cfg.Users != "" {
		users, err := local.LoadUsers(w.cfg.Users)
		if err != nil {
			return nil, fmt.Errorf("gateway: http: %w", err)
		}
		guard = func(h http.Handler) http.Handler { return withPassword(users, h) }
	}
	outer := http.NewServeMux()
	outer.HandleFunc("GET /healthz", func(rw http.ResponseWriter, _ *http.Request) { probe(rw, w.g.alive()) })
	outer.HandleFunc("GET /readyz", func(rw http.ResponseWriter, _ *http.Request) { probe(rw, w.g.ready()) })
	outer.Handle("/", guard(http.NewCrossOriginProtection().Handler(inner)))
	return outer, nil
}

// probe answers in a word, or says what is wrong.
func probe(w http.ResponseWriter, err error) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	if err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintln(w, err)
		return
	}
	fmt.Fprintln(w, "ok")
}

// ready is nil while the process lives and readings get through: every session, the disk, and one
// bridge at least where there are any.
func (g *Gateway) ready() error {
	if err := g.alive(); err != nil {
		return err
	}
	list, _ := g.links.list()
	bridges, up := 0, 0
	for _, l := range list {
		switch {
		case l.Kind == "bridge":
			bridges++
			if l.Up {
				up++
			}
		case !l.Up && (l.Kind == "session" || l.Kind == "spool"):
			return fmt.Errorf("%s %s: %s", l.Kind, l.Name, firstOf(l.Error, "not up yet"))
		}
	}
	if bridges > 0 && up == 0 {
		return fmt.Errorf("no bridge is connected")
	}
	return nil
}

// thisMachine answers who asks for this machine by one of its own names only: a page in a browser
// here that has its host's name point here must not get at it.
func thisMachine(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if name, _, err := net.SplitHostPort(r.Host); err == nil {
			host = name
		}
		ip := net.ParseIP(strings.Trim(host, "[]"))
		if host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			control.Fail(w, http.StatusForbidden, fmt.Errorf("%q is not a name of this machine; http.users opens the door to others", r.Host))
			return
		}
		h.ServeHTTP(w, r)
	})
}

// withPassword wants a name and a password of the users file.
func withPassword(users *local.Users, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, password, ok := r.BasicAuth()
		if !ok || !users.Verify(name, password) {
			w.Header().Set("WWW-Authenticate", `Basic realm="meshgate", charset="UTF-8"`)
			control.Fail(w, http.StatusUnauthorized, fmt.Errorf("a name and a password of the users file are needed"))
			return
		}
		h.ServeHTTP(w, r)
	})
}
