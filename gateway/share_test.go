package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meshgate/meshgate/bridge"
	"github.com/meshgate/meshgate/gateway/config"
	"github.com/meshgate/meshgate/gateway/local"
	"github.com/meshgate/meshgate/gpio"
	"github.com/meshgate/meshgate/hdlc"
	"github.com/meshgate/meshgate/smartmesh"
	"github.com/meshgate/meshgate/smartmesh/mux"
)

// startShared runs the gateway with its manager's port shared.
func (w *world) startShared(share config.Share) *pipes {
	w.cfg.Managers[0].Share = &share
	door := newPipes()
	w.startOn(func(hw *Hardware) {
		hw.Listen = func(_, addr string) (net.Listener, error) {
			if addr != share.Listen {
				w.t.Errorf("listens on %s", addr)
			}
			return door, nil
		}
	})
	return door
}

// startOn is start on other hardware.
func (w *world) startOn(change func(*Hardware)) {
	ctx, cancel := context.WithCancel(context.Background())
	w.stop, w.end = cancel, make(chan error, 1)
	hw := Hardware{Version: "v1.2.3-4", GPIO: gpio.Host(), Dial: w.broker.Dial, ClockRight: func() bool { return true },
		OpenPort: func(context.Context, string) (io.ReadWriteCloser, error) { return w.port() }}
	change(&hw)
	go func() { w.end <- Run(ctx, w.cfg, hw, slog.New(slog.NewTextHandler(&w.log, nil))) }()
}

// guest is a client of the shared port: a session over a mux, and what it was told.
type guest struct {
	*smartmesh.Session
	mu     sync.Mutex
	heards map[smartmesh.NotifType]int
}

func (w *world) guest(door *pipes) *guest {
	w.t.Helper()
	conn, err := door.dial(context.Background(), "", "")
	if err != nil {
		w.t.Fatal(err)
	}
	port, err := mux.Open(w.t.Context(), conn, mux.DefaultSecret)
	if err != nil {
		w.t.Fatal(err)
	}
	g := &guest{heards: map[smartmesh.NotifType]int{}}
	g.Session, err = smartmesh.Connect(w.t.Context(), port, smartmesh.Options{OnNotify: g.note, Patience: mux.Patience})
	if err != nil {
		w.t.Fatal(err)
	}
	return g
}

func (g *guest) note(n smartmesh.Notification) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.heards[n.Type]++
}

func (g *guest) heard(t smartmesh.NotifType) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.heards[t]
}

func (w *world) readings() int { return len(w.published("mote/+/temperature")) }

var loopback = config.Share{Listen: "127.0.0.1:9900"}

// TestShared: two clients, each with its subscription, read and are told while the gateway goes on.
func TestShared(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		door := w.startShared(loopback)
		w.until("readings", func() bool { return w.readings() >= 2 })
		one, other := w.guest(door), w.guest(door)
		defer one.Close()
		if err := one.Subscribe(w.t.Context(), 1<<smartmesh.NotifData, 1<<smartmesh.NotifData); err != nil {
			t.Fatal(err)
		}
		if err := other.Subscribe(w.t.Context(), 1<<smartmesh.NotifEvent, 0); err != nil {
			t.Fatal(err)
		}
		sys, err := one.GetSystemInfo(w.t.Context())
		if err != nil || sys.MAC != smartmesh.MAC(w.sim.MAC()) {
			t.Errorf("getSystemInfo: %v, %v", sys, err)
		}
		motes := 0
		for _, err := range other.Motes(w.t.Context()) {
			if motes++; err != nil {
				t.Error(err)
			}
		}
		before := w.readings()
		w.until("more readings", func() bool { return w.readings() >= before+6 })
		synctest.Wait()
		if one.heard(smartmesh.NotifData) < 6 || one.heard(smartmesh.NotifEvent) != 0 || other.heard(smartmesh.NotifData) != 0 || motes != 3 {
			t.Errorf("one heard %v, the other %v and %d motes", one.heards, other.heards, motes)
		}
		other.Close()
		if st := w.sim.Stats(); len(st.Violations) > 0 || st.Unreliable > 0 || st.Sessions != 1 {
			t.Errorf("%d sessions, %d unacknowledged, violations %v", st.Sessions, st.Unreliable, st.Violations)
		}
	})
}

// TestUnknownNotificationsAreKept: what nobody knows is passed on as it came, and every event has a name.
func TestUnknownNotificationsAreKept(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		var line net.Conn
		w.port = func() (io.ReadWriteCloser, error) {
			ours, theirs := net.Pipe()
			line = theirs
			w.wg.Go(func() { w.sim.Serve(context.Background(), theirs) })
			return ours, nil
		}
		w.start()
		w.until("readings", func() bool { return w.readings() >= 1 })
		for _, payload := range []string{"\x09abc", "\x02\x00\x17\x0d\x00\x00\x38\x05\xe9text"} {
			line.Write(hdlc.AppendFrame(nil, smartmesh.Packet{Type: 20, Payload: []byte(payload)}.Append(nil)))
		}
		w.until("what is unknown", w.has("manager/main/event", `"data":"09616263","event":"notif9"`))
		w.until("the log", w.has("manager/main/event", `"event":"log","logMsg":"74657874"`))
	})
}

// TestSharedReadOnly: what changes something, or gives secrets away, is refused unless write is allowed.
func TestSharedReadOnly(t *testing.T) {
	for _, write := range []bool{false, true} {
		inWorld(t, twoMotes, func(w *world) {
			door := w.startShared(config.Share{Listen: loopback.Listen, Write: write})
			w.until("readings", func() bool { return w.readings() >= 2 })
			g := w.guest(door)
			defer g.Close()
			var rc *smartmesh.RCError
			err := g.ClearStatistics(w.t.Context())
			if refused := errors.As(err, &rc) && rc.RC == smartmesh.RCInvalidCommand; refused == write {
				t.Errorf("write %v, clearStatistics: %v", write, err)
			}
			answer, err := g.Raw(w.t.Context(), 40, make([]byte, 8)) // getNextACLEntry
			if err != nil || (answer[0] == mux.RCInvalidCommand) == write {
				t.Errorf("write %v, getNextACLEntry: %x, %v", write, answer, err)
			}
			if _, err := g.GetNetworkInfo(w.t.Context()); err != nil {
				t.Errorf("getNetworkInfo: %v", err)
			}
		})
	}
}

// TestSharedSessionBreaks: all clients are let go with the session, none comes in without one, and then again.
func TestSharedSessionBreaks(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		door := w.startShared(loopback)
		w.until("readings", func() bool { return w.readings() >= 2 })
		g := w.guest(door)
		w.sim.Reboot()
		if err := g.Wait(); !errors.Is(err, smartmesh.ErrSessionLost) {
			t.Errorf("the guest's session: %v", err)
		}
		conn, err := door.dial(context.Background(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := mux.Open(w.t.Context(), conn, mux.DefaultSecret); err == nil {
			t.Error("a client was let in while there was no session")
		}
		before := w.readings()
		w.until("readings again", func() bool { return w.readings() > before })
		w.guest(door).Close()
	})
}

// TestSharedNoAnswer: a command that the manager does not answer ends the session, as for the gateway's own.
func TestSharedNoAnswer(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		door := w.startShared(loopback)
		w.until("readings", func() bool { return w.readings() >= 2 })
		g := w.guest(door)
		w.sim.Silence(7 * time.Second)
		answer, err := g.Raw(w.t.Context(), 23, nil)
		if err != nil || !bytes.Equal(answer, []byte{mux.RCCommandTimeout}) {
			t.Errorf("the answer is %x, %v", answer, err)
		}
		g.Wait()
		before := w.readings()
		w.until("readings again", func() bool { return w.readings() > before })
	})
}

// TestSharedStalled: a client that reads nothing is let go, and costs nobody anything.
func TestSharedStalled(t *testing.T) {
	motes := twoMotes
	motes.Period = time.Second
	inWorld(t, motes, func(w *world) {
		door := w.startShared(loopback)
		w.until("readings", func() bool { return w.readings() >= 2 })
		conn, err := door.dial(context.Background(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		conn.Write(mux.AppendHello(nil, mux.Hello{Version: mux.Version, Secret: [8]byte([]byte(mux.DefaultSecret))}))
		conn.Write(mux.AppendMessage(nil, 0x16, []byte{0, 0, 0, 0xf6, 0, 0, 0, 0}))
		before := w.readings()
		w.until("let go", func() bool { return strings.Contains(w.log.String(), "does not read and is let go") })
		w.until("and on", func() bool { return w.readings() >= before+600 })
		if st := w.sim.Stats(); len(st.Violations) > 0 || st.Sessions != 1 || st.Resent > 0 {
			t.Errorf("%d sessions, %d sent again, violations %v", st.Sessions, st.Resent, st.Violations)
		}
	})
}

// TestSharedUsers: with a users file the secret is the password of one of them.
func TestSharedUsers(t *testing.T) {
	file := filepath.Join(t.TempDir(), "users")
	hash, err := local.HashPassword("stargaze")
	if err != nil {
		t.Fatal(err)
	}
	short, err := local.HashPassword("abc")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, fmt.Appendf(nil, "tools:%s\nlab:%s\n", hash, short), 0o600); err != nil {
		t.Fatal(err)
	}
	inWorld(t, twoMotes, func(w *world) {
		door := w.startShared(config.Share{Listen: "0.0.0.0:9900", Users: file})
		w.until("readings", func() bool { return w.readings() >= 2 })
		for secret, in := range map[string]bool{"stargaze": true, "abc": true, mux.DefaultSecret: false, "": false, "starga": false} {
			conn, err := door.dial(context.Background(), "", "")
			if err != nil {
				t.Fatal(err)
			}
			port, err := mux.Open(w.t.Context(), conn, secret)
			if (err == nil) != in {
				t.Errorf("%q: %v", secret, err)
			}
			if port != nil {
				port.Close()
			}
		}
	})
}

// TestMuxPort: a gateway whose manager is behind the mux of another.
func TestMuxPort(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		door := w.startShared(config.Share{Listen: loopback.Listen, Write: true})
		w.until("readings", func() bool { return w.readings() >= 2 })
		cfg := config.Demo(t.TempDir())
		cfg.ID = "u"
		cfg.Managers[0].Port = "mux://127.0.0.1:9900"
		cfg.Bridges = []config.Bridge{{Name: "cloud", URLs: []string{"mqtt://broker:1883"}, ClientID: "meshgate-u",
			Keepalive: 30 * time.Second, Prefix: "meshgate/u/", Rules: bridge.DefaultRules("meshgate/u/")}}
		hw := Hardware{GPIO: gpio.Host(), Dial: w.broker.Dial, ClockRight: func() bool { return true },
			OpenPort: func(ctx context.Context, _ string) (io.ReadWriteCloser, error) {
				conn, err := door.dial(context.Background(), "", "")
				if err != nil {
					return nil, err
				}
				return mux.Open(ctx, conn, mux.DefaultSecret)
			}}
		ctx, cancel := context.WithCancel(context.Background())
		end := make(chan error, 1)
		go func() { end <- Run(ctx, cfg, hw, slog.New(slog.NewTextHandler(&w.log, nil))) }()
		second := func() (n int) {
			for _, p := range w.broker.Published() {
				if strings.HasPrefix(p.Topic, "meshgate/u/mote/") && strings.HasSuffix(p.Topic, "/temperature") {
					n++
				}
			}
			return n
		}
		w.until("readings of the second", func() bool { return second() >= 4 })
		before := w.readings()
		w.sim.Reboot()
		n := second()
		w.until("both again", func() bool { return second() >= n+4 && w.readings() >= before+4 })
		mac := smartmesh.MAC(w.sim.Motes()[0])
		w.broker.Send("meshgate/u/mote/"+mac.String()+"/led/set", []byte("on"), 1, false)
		w.until("lit through both", func() bool { return w.sim.LED(mac) })
		cancel()
		if err := <-end; err != nil {
			t.Error(err)
		}
	})
}
