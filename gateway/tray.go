package gateway

import (
	"context"
	"slices"
	"sync"

	"github.com/meshgate/meshgate/bridge/spool"
)

// tray takes records from those who must not wait for the disk, the watchers of pins above all,
// and brings them to the intake, as many at once as have come meanwhile.
type tray struct {
	intake *intake
	wake   chan struct{} // one signal is enough

	mu      sync.Mutex
	pending []spool.Record
}

// maxTray bounds what waits: what 16 inputs may report, 20 changes a second each, in 12 s of a disk
// that does not answer. Beyond it records are lost and counted as refused.
const maxTray = 4096

func newTray(in *intake) *tray { return &tray{intake: in, wake: make(chan struct{}, 1)} }

// put never blocks.
func (t *tray) put(r spool.Record) {
	t.mu.Lock()
	full := len(t.pending) >= maxTray
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
	batch := slices.Clip(t.pending)
	t.pending = nil
	t.mu.Unlock()
	t.intake.keep(batch...)
}
