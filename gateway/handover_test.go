package gateway

import (
	"testing"
	"time"

	"github.com/meshgate/meshgate/smartmesh"
)

// TestHandover: a session that was left is taken up without a hello, and dates go on from the first packet; when the
// manager has given it up, and on other terms, there is a new one.
func TestHandover(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		var left *Left
		w.hw = func(hw *Hardware) {
			hw.Left = func(manager, terms string) (Left, bool) {
				if left == nil || left.Manager != manager || left.Terms != terms {
					return Left{}, false
				}
				l := *left
				left = nil
				var err error
				l.Port, err = w.port()
				return l, err == nil
			}
			hw.Leave = func(l Left, detach func() (smartmesh.State, bool)) bool {
				st, ok := detach()
				l.State = st
				left = &l
				return ok
			}
		}
		for _, life := range []struct {
			before   func()
			sessions int
		}{
			{func() {}, 1},
			{func() {}, 1},
			{func() {}, 1},
			{func() { w.sim.Reboot(); time.Sleep(time.Minute) }, 2},
			{func() { w.cfg.Managers[0].Data = "unacknowledged" }, 3},
		} {
			life.before()
			w.start()
			n := len(w.published("mote/+/temperature"))
			w.until("readings", func() bool { return len(w.published("mote/+/temperature")) >= n+10 })
			if got := w.sim.Stats().Sessions; got != life.sessions {
				t.Errorf("%d sessions, want %d", got, life.sessions)
			}
			w.end1()
			if left == nil || left.Ahead == 0 {
				t.Fatalf("what is left: %+v", left)
			}
		}
	})
}
