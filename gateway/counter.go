package gateway

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/meshgate/meshgate/gateway/config"
)

// counters are the totals of inputs that count pulses. They are kept in a small file, written each
// minute if they have changed and at a clean end: a power cut or a kill loses the pulses of the
// last minute at most, and a flash card is spared a write for each.
type counters struct {
	g      *Gateway
	path   string
	pulses func(name string) uint64 // of this process

	mu    sync.Mutex
	base  map[string]uint64 // of the inputs that count: the total when this process started
	saved map[string]uint64
	told  map[string]uint64
	keeping
}

// openCounters reads the totals. A file that cannot be read is set aside, and they start at zero.
func openCounters(cfg *config.Config, g *Gateway) *counters {
	c := &counters{g: g, path: filepath.Join(cfg.StateDir, "counters.json"), keeping: keeping{log: g.log, what: "the totals of the counters cannot be kept"},
		base: map[string]uint64{}, saved: map[string]uint64{}, told: map[string]uint64{}}
	data, err := os.ReadFile(c.path)
	if err == nil {
		err = json.Unmarshal(data, &c.saved)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		c.log.Error("the totals of the counters cannot be read and start at zero; the file is set aside", "file", c.path+".bad", "error", err)
		if err := os.Rename(c.path, c.path+".bad"); err != nil {
			c.log.Error("nor can it be set aside", "error", err)
		}
		c.saved = map[string]uint64{}
	}
	for _, in := range cfg.Inputs {
		if in.Count > 0 {
			c.base[in.Name] = c.saved[in.Name]
		}
	}
	return c
}

// has reports whether an input counts.
func (c *counters) has(name string) bool { _, ok := c.base[name]; return ok }

// total is the number of pulses ever.
func (c *counters) total(name string) uint64 { return c.base[name] + c.pulses(name) }

// tell publishes a total if it is another than last time; the first time in any case.
func (c *counters) tell(name string) {
	n := c.total(name)
	c.mu.Lock()
	last, before := c.told[name]
	c.told[name] = n
	c.mu.Unlock()
	if before && last == n {
		return
	}
	c.g.tray.now("input/"+name+"/count", map[string]any{"count": n})
}

// save writes the totals if they have changed. Those of inputs that are not configured now stay.
func (c *counters) save() {
	c.mu.Lock()
	defer c.mu.Unlock()
	changed := false
	for name := range c.base {
		if n := c.total(name); n != c.saved[name] {
			c.saved[name], changed = n, true
		}
	}
	if !changed && c.keeping.told == "" {
		return
	}
	data, err := json.Marshal(c.saved)
	if err == nil {
		err = writeWhole(c.path, append(data, '\n'))
	}
	c.keeping.tell(err)
}
