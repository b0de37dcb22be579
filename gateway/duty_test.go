package gateway

import (
	"context"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meshgate/meshgate/bridge"
	"github.com/meshgate/meshgate/bridge/brokertest"
	"github.com/meshgate/meshgate/gateway/config"
)

// stuckLog is a log that does not come back while the channel is open.
type stuckLog struct{ free <-chan struct{} }

func (l stuckLog) Write(b []byte) (int, error) { <-l.free; return io.Discard.Write(b) }

// TestWatchdogOfABridgesHands: what tells the states and what takes commands may wait for as long as it likes, but not hang.
func TestWatchdogOfABridgesHands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		free := make(chan struct{})
		quiet := slog.New(slog.DiscardHandler)
		g := &Gateway{log: quiet, hub: newHub(), since: time.Now()}
		g.cfg.Store(config.Default())
		hang := func(context.Context, command) { <-free }
		g.orders = newOrders(hang, func(command, error) { <-free }) // nobody may answer that a command is refused
		f := &forward{cfg: config.Bridge{Name: "cloud", Prefix: prefix, Rules: bridge.DefaultRules(prefix)}, g: g,
			log: slog.New(slog.NewTextHandler(stuckLog{free}, nil)), park: newParking(quiet, func(string) {}), stated: make(chan struct{}),
			tells: g.progress.duty("states"), hears: g.progress.duty("commands")}
		f.ledger = openLedger(filepath.Join(t.TempDir(), "ledger.json"), quiet)

		b := brokertest.New()
		defer b.Close()
		s, err := bridge.Connect(t.Context(), bridge.Config{Name: "cloud", URL: "mqtt://broker:1883", ClientID: "x", Keepalive: 30 * time.Second,
			Dial: b.Dial, Subscribe: f.subscriptions()}, quiet)
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = f.states(ctx, s) })
		wg.Go(func() { _ = f.commands(ctx, s) })
		want := func(when string, names ...string) {
			t.Helper()
			if got := g.progress.stuck(); !slices.Equal(got, names) {
				t.Errorf("%s: stuck %q, want %q", when, got, names)
			}
		}
		watch := func(when string, names ...string) {
			t.Helper()
			for range 2 * patience / pulsePeriod {
				time.Sleep(pulsePeriod)
				g.progress.stuck()
			}
			want(when, names...)
		}
		watch("nothing to do")
		for range maxWaiting + 2 {
			b.Send(prefix+"actuator/led/set", []byte("on"), 1, false)
		}
		watch("commands hang", "commands")
		f.ledger.note(map[string]origin{prefix + "actuator/gone/state": {"actuator/gone/state", true}})
		time.Sleep(tidyPeriod)
		watch("both hang", "commands", "states")
		close(free)
		watch("free again")
		stop()
		s.Close(t.Context())
		wg.Wait()
		g.orders.close()
		want("ended")
	})
}
