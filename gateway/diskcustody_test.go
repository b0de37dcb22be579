package gateway

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/meshgate/meshgate/bridge"
	"github.com/meshgate/meshgate/bridge/brokertest"
	"github.com/meshgate/meshgate/bridge/spool"
	"github.com/meshgate/meshgate/gateway/config"
)

// TestHeldIsNoHang: a bridge that has nothing to send but what it holds back stands still and does not hang.
func TestHeldIsNoHang(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		w.port = func() (io.ReadWriteCloser, error) { return nil, io.ErrUnexpectedEOF }
		w.cfg.Spool.MaxSize, w.cfg.Spool.WhenFull = 1, "drop-newest"
		r := sampleRecord("mote/a/temperature", 1, "main")
		w.fill(r)
		w.cutOn(`/temperature`)
		w.startWith(nil, nil)
		w.until("held back", func() bool { return strings.Contains(w.log.String(), "held back on the disk") })
		time.Sleep(time.Hour)
		if strings.Contains(w.log.String(), "no progress") {
			t.Errorf("the log says:\n%s", &w.log)
		}
	})
}

// TestBacklogOfADiskThatFails: what the disk fails to read of a backlog is sent when it can be read again, by the same session.
func TestBacklogOfADiskThatFails(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		folder := filepath.Join(w.cfg.StateDir, "spool")
		s, err := spool.Open(folder, spool.Options{SegmentSize: 8192, Readers: []string{"cloud"}})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 200 {
			if _, err := s.Append(sampleRecord("mote/a/temperature", i, "main")); err != nil {
				t.Fatal(err)
			}
		}
		s.Close()
		all, err := filepath.Glob(filepath.Join(folder, "*.seg"))
		if err != nil || len(all) < 3 {
			t.Fatalf("segments: %q, %v", all, err)
		}
		w.broker.Set(func(b *brokertest.Behaviour) { b.Refuse = 3 })
		w.start()
		time.Sleep(10 * time.Second)
		if err := os.Rename(all[1], all[1]+".away"); err != nil {
			t.Fatal(err)
		}
		w.broker.Set(func(b *brokertest.Behaviour) { b.Refuse = 0 })
		time.Sleep(3 * time.Minute)
		sessions := len(w.broker.Connects())
		if err := os.Rename(all[1]+".away", all[1]); err != nil {
			t.Fatal(err)
		}
		w.until("the backlog", func() bool { return len(w.published("mote/a/temperature")) == 200 })
		if n := len(w.broker.Connects()); n != sessions {
			t.Errorf("%d connections more", n-sessions)
		}
		if strings.Contains(w.log.String(), "no progress") {
			t.Errorf("the log says:\n%s", &w.log)
		}
	})
}

// TestBroughtToAFullDisk: what a bridge has brought in and a full disk refuses is counted: its broker will not send it again.
func TestBroughtToAFullDisk(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		w.port = func() (io.ReadWriteCloser, error) { return nil, io.ErrUnexpectedEOF }
		w.cfg.Spool.MaxSize, w.cfg.Spool.WhenFull = 1, config.DropNewest
		w.cfg.Bridges[0].Rules = append(w.cfg.Bridges[0].Rules, bridge.Rule{Pattern: "x/#", Direction: bridge.In, QoS: 1, RemotePrefix: prefix, Retain: bridge.Strip})
		w.cfg.Bridges = append(w.cfg.Bridges, config.Bridge{Name: "away", URLs: []string{"mqtt://away:1883"}, ClientID: "meshgate-away",
			Keepalive: 30 * time.Second, Prefix: "o/", Rules: bridge.Rules{{Pattern: "x/#", QoS: 1, RemotePrefix: "o/"}}})
		w.startWith(nil, func(hw *Hardware) {
			hw.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
				if addr == "away:1883" {
					return nil, net.ErrClosed
				}
				return w.broker.Dial(ctx, network, addr)
			}
		})
		time.Sleep(time.Minute)
		w.send("x/1", "first", false) // and manifests after it, until the spool is full
		time.Sleep(time.Hour)
		refused := func() int {
			all := w.published("gateway/health")
			var health struct {
				Spool struct{ Dropped struct{ Refused int } }
			}
			if err := json.Unmarshal([]byte(all[len(all)-1]), &health); err != nil {
				t.Fatal(err)
			}
			return health.Spool.Dropped.Refused
		}
		before := refused()
		for i := range 100 {
			w.send("x/1", strconv.Itoa(i), false)
		}
		time.Sleep(2 * time.Minute)
		if n := refused() - before; before == 0 || n < 100 || n > 103 {
			t.Errorf("%d were refused before, %d more after 100 messages", before, n)
		}
	})
}
