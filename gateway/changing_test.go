package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"

	"github.com/meshgate/meshgate/bridge"
	"github.com/meshgate/meshgate/bridge/brokertest"
	"github.com/meshgate/meshgate/gateway/config"
	"github.com/meshgate/meshgate/gateway/control"
	"github.com/meshgate/meshgate/smartmesh/sim"
)

// pipes is a listener in memory.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
	end   chan struct{}
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), end: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.end:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.end) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{} }

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p.conns <- theirs:
		return ours, nil
	case <-p.end:
		return nil, net.ErrClosed
	}
}

// file is a configuration file whose texts are names of configurations.
type file struct {
	mu    sync.Mutex
	text  string
	known map[string]*config.Config
	bad   error // what Save gives
}

func (f *file) load(text []byte) (*config.Config, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if text == nil {
		text = []byte(f.text)
	}
	if c := f.known[string(text)]; c != nil {
		return c, nil
	}
	return nil, fmt.Errorf("gateway.yaml:1:1: unknown key %q", text)
}

func (f *file) save(text []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.bad == nil {
		f.text = string(text)
	}
	return f.bad
}

func (f *file) write(name string, c *config.Config) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.text = name
	f.known[name] = c
}

func (f *file) says() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.text
}

// changing is a world whose configuration can be changed.
type changing struct {
	*world
	file file
	hup  chan struct{}
	door *pipes
}

func inChangingWorld(t *testing.T, motes sim.Config, test func(*changing)) {
	inWorld(t, motes, func(w *world) {
		c := &changing{world: w, hup: make(chan struct{}), door: newPipes()}
		defer c.door.Close()
		c.file.known = map[string]*config.Config{}
		c.file.write("first", w.cfg)
		w.hw = func(hw *Hardware) {
			hw.Source = Source{Reload: c.hup, Load: c.file.load, Save: c.file.save}
			hw.Door = func() (net.Listener, error) { return c.door, nil }
		}
		test(c)
	})
}

// changed gives a copy of the configuration with a change.
func (c *changing) changed(change func(*config.Config)) *config.Config {
	n := *c.cfg
	n.Managers, n.Bridges, n.Outputs = slices.Clone(n.Managers), slices.Clone(n.Bridges), slices.Clone(n.Outputs)
	change(&n)
	return &n
}

// ask does one request through the control door.
func (c *changing) ask(method, path string, req, answer any) error {
	body, err := json.Marshal(req)
	if err != nil {
		return err
	}
	client := http.Client{Transport: &http.Transport{DialContext: c.door.dial, DisableKeepAlives: true}}
	r, err := http.NewRequest(method, "http://meshgate/api/v1/"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		return errors.New(string(data))
	}
	if err == nil && answer != nil {
		err = json.Unmarshal(data, answer)
	}
	return err
}

func (c *changing) state() (s control.ConfigState) {
	c.t.Helper()
	if err := c.ask("GET", "config", nil, &s); err != nil {
		c.t.Fatal(err)
	}
	return s
}

// seqs are the sequence numbers that the broker has got, whatever the prefix.
func (c *changing) seqs() map[float64]bool {
	all := map[float64]bool{}
	for _, p := range c.broker.Published() {
		var r map[string]any
		if json.Unmarshal(p.Payload, &r) == nil && r["seq"] != nil {
			all[r["seq"].(float64)] = true
		}
	}
	return all
}

func refuseAll(b *brokertest.Behaviour)  { b.Refuse = 4 }
func refuseNone(b *brokertest.Behaviour) { b.Refuse = 0 }

func otherPrefix(b *config.Bridge) {
	b.Prefix = "elsewhere/"
	b.Rules = bridge.DefaultRules(b.Prefix)
}
