package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/meshgate/meshgate/bridge"
	"github.com/meshgate/meshgate/gateway/control"
)

// api answers what package control lists.
func (g *Gateway) api() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/status", func(w http.ResponseWriter, _ *http.Request) { control.Reply(w, g.status()) })
	mux.HandleFunc("GET /api/v1/motes", func(w http.ResponseWriter, _ *http.Request) { control.Reply(w, g.motes()) })
	mux.HandleFunc("GET /api/v1/topology", func(w http.ResponseWriter, _ *http.Request) { control.Reply(w, g.topology()) })
	mux.HandleFunc("GET /api/v1/health", func(w http.ResponseWriter, _ *http.Request) { control.Reply(w, g.health()) })
	mux.HandleFunc("GET /api/v1/watch", g.watchLive)
	mux.Handle("POST /api/v1/set", control.Post(g.set))
	mux.Handle("POST /api/v1/call", control.Post(g.call))
	mux.Handle("POST /api/v1/oap", control.Post(g.oapCall))
	mux.Handle("POST /api/v1/pub", control.Post(g.pub))
	mux.Handle("POST /api/v1/reload", control.Post(g.reload))
	mux.HandleFunc("GET /api/v1/config", func(w http.ResponseWriter, _ *http.Request) { control.Reply(w, g.configState()) })
	mux.Handle("POST /api/v1/config/apply", control.Post(g.applyText))
	mux.Handle("POST /api/v1/config/confirm", control.Post(g.confirm))
	return mux
}

func (g *Gateway) status() control.Status {
	list, ok := g.links.list()
	s := control.Status{OK: ok, ID: g.conf().ID, Version: g.hw.Version, Since: g.since, Links: list, Spool: g.spoolStatus()}
	for _, r := range g.outs().All() {
		state := "unknown"
		if r.Known {
			state = onOff(r.On)
		}
		s.Outputs = append(s.Outputs, control.Output{Name: r.Name, State: state, Time: r.Time})
	}
	for _, f := range g.bridges() {
		s.Bridges = append(s.Bridges, control.BridgeInfo{Name: f.cfg.Name, Waiting: f.reader.Waiting()})
	}
	return s
}

func (g *Gateway) spoolStatus() control.Spool {
	st := g.spool.Stats()
	s := control.Spool{Records: st.Records, Bytes: st.Bytes, Dropped: g.dropped(), WrittenDay: g.writtenDay(st)}
	if !st.OldestTime.IsZero() {
		s.Oldest = &st.OldestTime
	}
	return s
}

func (g *Gateway) motes() []control.Mote {
	all := []control.Mote{}
	for _, m := range g.meshes() {
		all = append(all, m.motes.list(m.cfg.Name)...)
	}
	return all
}

// watchLive streams live messages, one a line, until the caller goes away.
func (g *Gateway) watchLive(w http.ResponseWriter, r *http.Request) {
	filter := r.URL.Query().Get("filter")
	if filter == "" {
		filter = "#"
	}
	if err := bridge.ValidFilter(filter); err != nil {
		control.Fail(w, http.StatusBadRequest, err)
		return
	}
	messages, stop := g.hub.listen(filter)
	defer stop()
	flush := http.NewResponseController(w)
	flush.Flush()
	for {
		select {
		case m := <-messages:
			control.Reply(w, control.Message{Topic: m.topic, Payload: string(m.payload), Retain: m.retain})
			if flush.Flush() != nil {
				return
			}
		case <-r.Context().Done():
			return
		}
	}
}

// set switches what a person at this machine names: "led", or "MAC/led" for a mote's.
func (g *Gateway) set(ctx context.Context, r control.SetRequest) (any, error) {
	target := "actuator/" + r.Name
	if strings.HasSuffix(r.Name, "/led") {
		target = "mote/" + r.Name
	}
	o, err := parseOrder([]byte(r.State), g.clock.now())
	if r.For != "" && (err == nil || errors.Is(err, errExpired)) {
		var bad error
		if o.hold, bad = time.ParseDuration(r.For); bad != nil || o.hold <= 0 {
			err = fmt.Errorf("%q is no time such as 5s", r.For)
		}
	}
	return g.judged(ctx, target, o, err, time.Now()).control(), nil
}

func (r result) control() control.Result {
	c := control.Result{ID: r.id, OK: r.ok(), Stage: r.stage, Time: time.Now(), Accepted: r.accepted}
	if !r.done.IsZero() {
		c.Time = r.done
	}
	if r.err != nil {
		c.Error = words(r.err)
	}
	return c
}

func (g *Gateway) call(ctx context.Context, r control.CallRequest) (any, error) {
	m, err := g.manager(r.Manager)
	if err != nil {
		return nil, err
	}
	return m.call(ctx, r)
}

// manager finds a manager by its name; no name will do where there is but one.
func (g *Gateway) manager(name string) (*mesh, error) {
	all := g.meshes()
	if name == "" && len(all) == 1 {
		return all[0], nil
	}
	var names []string
	for _, m := range all {
		if m.cfg.Name == name {
			return m, nil
		}
		names = append(names, m.cfg.Name)
	}
	if name == "" {
		return nil, fmt.Errorf("there are several managers, name one of %s", strings.Join(names, ", "))
	}
	return nil, fmt.Errorf("no manager is called %q, there is %s", name, strings.Join(names, ", "))
}

var errNotLocal = errors.New("commands go by `meshgate set`, which waits for the result")

// pub takes a message as if a local client had published it.
func (g *Gateway) pub(_ context.Context, m control.Message) (any, error) {
	if err := bridge.ValidTopic(m.Topic); err != nil {
		return nil, err
	}
	if isCommand(m.Topic) {
		return nil, errNotLocal
	}
	if isState(m.Topic) {
		return nil, fmt.Errorf("%s is for the gateway alone to say: publish on another topic", m.Topic)
	}
	return struct{}{}, g.brought(message{topic: m.Topic, payload: []byte(m.Payload), retain: m.Retain}, 1)
}
