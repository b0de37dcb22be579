package gateway

import (
	"context"
	"slices"
	"sync"

	"github.com/meshgate/meshgate/bridge/spool"
)

// tray takes records from those who must not wait for the disk, the watchers of pins above all,
// and brings them to the intake, many at once if many have come meanwhile.
type tray struct {
	intake *intake
	wake   chan struct{} // one signal is enough

	mu      sync.Mutex
	pending []spool.Record
}

// Bounds of what waits for a disk that does not answer; beyond them records are lost and counted as refused.
const (
	maxTray    = 4096     // edges: what 16 inputs may report, 20 changes a second each, in 12 s
	maxResults = 16 << 10 // with the results of commands, each of which is to have one, in a flood of ten thousand too
)

// atOnce bounds what is handed over together: it has to fit into one segment of the spool.
const atOnce = 256

func newTray(in *intake) *tray { return &tray{intake: in, wake: make(chan struct{}, 1)} }

// put takes an edge. It never blocks.
func (t *tray) put(r spool.Record) { t.take(r, maxTray) }

func (t *tray) take(r spool.Record, limit int) {
	t.mu.Lock()
	full := len(t.pending) >= limit
	if !full {
		t.pending = append(t.pending, r)
	}
	t.mu.Unlock()
	if full {
		t.intake.lost.Add(1)
		return
	}
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// now puts an object that happens now: the result of a command, of which a flood must hold up
// neither the connection that brings it nor the next one.
func (t *tray) now(topic string, fields map[string]any) {
	r, err := objectRecord(topic, fields)
	if err != nil {
		t.intake.log.Error("cannot be said in JSON", "topic", topic, "error", err)
		return
	}
	t.intake.dates.put(&r, 0)
	t.take(r, maxResults)
}

// run empties the tray until ctx ends.
func (t *tray) run(ctx context.Context) {
	for {
		select {
		case <-t.wake:
			t.empty()
		case <-ctx.Done():
			return
		}
	}
}

// empty hands over all that is there. A record that the disk refuses has been shown live and is
// counted by the intake.
func (t *tray) empty() {
	t.mu.Lock()
	all := t.pending
	t.pending = nil
	t.mu.Unlock()
	for batch := range slices.Chunk(all, atOnce) {
		t.intake.keep(batch...)
	}
}
