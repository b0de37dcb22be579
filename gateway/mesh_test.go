package gateway

import (
	"context"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/meshgate/meshgate/hdlc"
	"github.com/meshgate/meshgate/smartmesh"
)

const (
	getTime        = 23
	getMoteConfig  = 47
	getNetworkInfo = 64
)

// refusing lets the manager answer some commands with a code, if that is not 0.
func (w *world) refusing(rc *atomic.Int32, commands ...byte) {
	w.port = func() (io.ReadWriteCloser, error) {
		ours, near := net.Pipe()
		far, theirs := net.Pipe()
		w.wg.Go(func() { w.sim.Serve(context.Background(), theirs) })
		w.wg.Go(func() { io.Copy(far, near); far.Close() })
		w.wg.Go(func() {
			defer near.Close()
			for r := hdlc.NewReader(far); ; {
				raw, err := r.Next()
				if err != nil {
					return
				}
				p, err := smartmesh.ParsePacket(raw)
				if err == nil && p.Control&1 != 0 && slices.Contains(commands, p.Type) && rc.Load() != 0 {
					p.Payload = []byte{byte(rc.Load())}
				}
				near.Write(hdlc.AppendFrame(nil, p.Append(nil)))
			}
		})
		return ours, nil
	}
}

// TestManagerRefuses: a manager that is busy is asked again, and one that refuses what it was asked for in passing keeps its
// session, and with it the clients of the shared port.
func TestManagerRefuses(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		var rc atomic.Int32
		w.refusing(&rc, getMoteConfig)
		rc.Store(int32(smartmesh.RCNack))
		stop := time.AfterFunc(4*time.Second, func() { rc.Store(0) })
		defer stop.Stop()
		w.start()
		w.until("the session", w.has("manager/main/status", `"connected"`))
		for _, code := range []smartmesh.RC{smartmesh.RCUnsupported, smartmesh.RCNack} {
			rc.Store(int32(code))
			time.Sleep(2 * listPeriod)
			w.until("the log", func() bool { return strings.Contains(w.log.String(), code.Name()) })
		}
		if st := w.sim.Stats(); st.Sessions != 1 || len(st.Violations) > 0 {
			t.Errorf("%d sessions, violations %v; the log says:\n%s", st.Sessions, st.Violations, &w.log)
		}
	})
}

// TestManagerDoesNotTell: what is only good to know is no reason to do without a session.
func TestManagerDoesNotTell(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		var rc atomic.Int32
		rc.Store(int32(smartmesh.RCUnsupported))
		w.refusing(&rc, getTime, getNetworkInfo)
		w.start()
		w.until("the session", w.has("manager/main/status", `"connected"`))
		time.Sleep(10 * time.Minute)
		if st := w.sim.Stats(); st.Sessions != 1 || len(w.published("mote/+/temperature")) < 10 {
			t.Errorf("%d sessions; the log says:\n%s", st.Sessions, &w.log)
		}
	})
}

// TestUnacknowledgedDoesNotWait: what the manager does not want acknowledged leaves the session's goroutine without having
// been on the disk, and without what is only lent to it.
func TestUnacknowledgedDoesNotWait(t *testing.T) {
	m, payload := deaf(t), readingPayload(t)
	m.g.tray = newTray(&intake{}) // which has no spool
	m.notified(smartmesh.ParseNotification(smartmesh.Packet{Type: 20, Payload: payload}))
	payload[24] = 0xb8 // no port of OAP
	m.notified(smartmesh.ParseNotification(smartmesh.Packet{Type: 20, Payload: payload}))
	want := slices.Clone(payload[25:])
	clear(payload)
	waiting := m.g.tray.pending
	if len(waiting) != 2 || waiting[0].Kind != kindSample || !slices.Equal(waiting[1].Payload, want) {
		t.Errorf("%+v waits", waiting)
	}
}

// TestHelloPause: a manager that gives up every session at once is not greeted more than once a second.
func TestHelloPause(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		var mu sync.Mutex
		var hellos []time.Time
		w.port = func() (io.ReadWriteCloser, error) {
			ours, theirs := net.Pipe()
			w.wg.Go(func() {
				for r := hdlc.NewReader(theirs); ; {
					raw, err := r.Next()
					if err != nil {
						return
					}
					p, _ := smartmesh.ParsePacket(raw)
					if p.Type != 1 {
						continue
					}
					mu.Lock()
					hellos = append(hellos, time.Now())
					mu.Unlock()
					answer := smartmesh.Packet{Type: 2, Payload: []byte{0, 4, 0, p.Payload[1], 0}}
					gone := smartmesh.Packet{Type: 3, Payload: []byte{4, 0}}
					theirs.Write(append(hdlc.AppendFrame(nil, answer.Append(nil)), hdlc.AppendFrame(nil, gone.Append(nil))...))
				}
			})
			return ours, nil
		}
		w.start()
		time.Sleep(time.Minute)
		mu.Lock()
		defer mu.Unlock()
		for i := range hellos[1:] {
			if d := hellos[i+1].Sub(hellos[i]); d < time.Second {
				t.Errorf("hello %d after %v", i+1, d)
			}
		}
		if len(hellos) < 5 {
			t.Errorf("%d hellos in a minute", len(hellos))
		}
	})
}
