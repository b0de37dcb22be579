package gateway

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/meshgate/meshgate/gateway/config"
	"github.com/meshgate/meshgate/smartmesh"
	"github.com/meshgate/meshgate/smartmesh/sim"
)

// hung are ports that hang, each in its own way, beside that of the world. The deaf one has a session until its manager
// falls silent.
func (w *world) hung(ctx context.Context, deaf *sim.Manager) map[string]func(context.Context) (io.ReadWriteCloser, error) {
	return map[string]func(context.Context) (io.ReadWriteCloser, error){
		"good": func(context.Context) (io.ReadWriteCloser, error) { return w.port() },
		"stuck": func(context.Context) (io.ReadWriteCloser, error) { // takes no byte and gives none
			ours, _ := net.Pipe()
			return ours, nil
		},
		"opening": func(ctx context.Context) (io.ReadWriteCloser, error) { // does not even open
			<-ctx.Done()
			return nil, ctx.Err()
		},
		"deaf": func(context.Context) (io.ReadWriteCloser, error) {
			ours, theirs := net.Pipe()
			w.wg.Go(func() { deaf.Serve(ctx, theirs) })
			return ours, nil
		},
	}
}

// of counts the readings of a manager's motes.
func (w *world) of(manager string) (n int) {
	for _, p := range w.published("mote/+/temperature") {
		if strings.Contains(p, `"manager":"`+manager+`"`) {
			n++
		}
	}
	return n
}

// TestHungManagers: beside managers that hang, one that works loses nothing and is never late, can be steered, and the
// gateway ends as fast as ever.
func TestHungManagers(t *testing.T) {
	motes := sim.Config{Motes: 5, Period: time.Second, Seed: 7, Numbered: true, Count: 120}
	inWorld(t, motes, func(w *world) {
		deaf := sim.New(sim.Config{Motes: 1, Period: time.Second, Seed: 9}, nil)
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		w.wg.Go(func() { deaf.Run(ctx) })
		w.cfg.Managers = nil
		for _, name := range []string{"stuck", "opening", "good", "deaf"} {
			w.cfg.Managers = append(w.cfg.Managers, config.Manager{Name: name, Port: name, Data: config.DataReliable})
		}
		ports := w.hung(ctx, deaf)
		w.startOn(func(hw *Hardware) {
			hw.OpenPort = func(ctx context.Context, port string) (io.ReadWriteCloser, error) { return ports[port](ctx) }
		})
		w.until("the deaf one's first readings", func() bool { return w.of("deaf") >= 5 })
		deaf.Silence(time.Hour)
		w.until("all of the good one's readings", func() bool { return w.of("good") >= 5*120 })
		if d := time.Since(started); d > 150*time.Second {
			t.Errorf("120 readings, one a second, took %v", d)
		}
		w.lights(smartmesh.MAC(w.sim.Motes()[0]))
		for _, name := range []string{"stuck", "opening", "deaf"} {
			if !w.has("manager/"+name+"/status", `"disconnected"`)() {
				t.Errorf("%s is %q", name, w.published("manager/"+name+"/status"))
			}
		}
		if st := w.sim.Stats(); len(st.Violations) > 0 || st.Sessions != 1 || st.Resent > 0 {
			t.Errorf("the good one: %d sessions, %d sent again, violations %v", st.Sessions, st.Resent, st.Violations)
		}
		deaf.Silence(0)
		n := w.of("deaf")
		w.until("the deaf one again", func() bool { return w.of("deaf") >= n+5 })
		ending := time.Now()
		w.end1()
		if d := time.Since(ending); d > 5*time.Second {
			t.Errorf("it took %v to end", d)
		}
	})
}

// lights switches a mote's LED on.
func (w *world) lights(mac smartmesh.MAC) {
	w.t.Helper()
	w.send("mote/"+mac.String()+"/led/set", "on", false)
	w.until("lit", func() bool { return w.sim.LED(mac) })
}
