package gateway

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/meshgate/meshgate/gateway/config"
	"github.com/meshgate/meshgate/smartmesh"
	"github.com/meshgate/meshgate/smartmesh/sim"
	"github.com/meshgate/meshgate/smartmesh/tape"
)

// values are the temperatures that the broker has got from its n-th publication on, each with its mote.
func (w *world) values(n int) map[string]bool {
	all := map[string]bool{}
	for _, p := range w.broker.Published()[n:] {
		var r struct{ Value *float64 }
		if strings.HasSuffix(p.Topic, "/temperature") && json.Unmarshal(p.Payload, &r) == nil && r.Value != nil {
			all[fmt.Sprint(p.Topic, *r.Value)] = true
		}
	}
	return all
}

// joinKey is a secret that must not be in a recording.
const joinKey = "meshgate joinkey"

// recorded runs the gateway until it has all readings and a client has dealt with a join key, and gives the recording.
func (w *world) recorded(file string, readings int) []tape.Entry {
	w.t.Helper()
	w.cfg.Managers[0].Record = file
	door := w.startShared(config.Share{Listen: loopback.Listen, Write: true})
	w.until("all readings", func() bool { return w.readings() >= readings })
	g := w.guest(door)
	entry := smartmesh.ACLEntry{MAC: smartmesh.MAC(w.sim.Motes()[0]), JoinKey: smartmesh.Key([]byte(joinKey))}
	if err := g.SetACLEntry(w.t.Context(), entry); err != nil {
		w.t.Fatal(err)
	}
	if e, err := g.GetNextACLEntry(w.t.Context(), smartmesh.MAC{}); err != nil || e != entry {
		w.t.Fatalf("%+v, %v", e, err)
	}
	g.Close()
	time.Sleep(time.Minute)
	w.end1()
	w.cfg.Managers[0].Record, w.cfg.Managers[0].Share = "", nil
	data, err := os.ReadFile(file)
	if err != nil {
		w.t.Fatal(err)
	}
	if bytes.Contains(data, []byte(joinKey)) {
		w.t.Error("the recording holds a join key")
	}
	entries, err := tape.Read(bytes.NewReader(data))
	if err != nil {
		w.t.Fatal(err)
	}
	return entries
}

// TestRecording: a port is recorded, without secrets, and the recording played to a gateway gives the same readings.
func TestRecording(t *testing.T) {
	motes := sim.Config{Motes: 3, Period: time.Second, Seed: 7, Numbered: true, Count: 50}
	inWorld(t, motes, func(w *world) {
		p := tape.NewPlayer(w.recorded(filepath.Join(t.TempDir(), "main.tape"), 3*50))
		want := w.values(0)
		w.cfg.StateDir = t.TempDir()
		w.port = func() (io.ReadWriteCloser, error) {
			ours, theirs := net.Pipe()
			w.wg.Go(func() { p.Serve(w.t.Context(), theirs) })
			return ours, nil
		}
		n := len(w.broker.Published())
		began := time.Now()
		w.start()
		w.until("what was recorded", func() bool { return len(w.values(n)) >= len(want) })
		if d := time.Since(began); d < 45*time.Second || d > 75*time.Second {
			t.Errorf("50 seconds took %v", d)
		}
		for v := range w.values(n) {
			if !want[v] {
				t.Errorf("%s was never sent", v)
			}
		}
		for _, p := range w.published("mote/+/temperature")[len(want):] {
			var r struct{ Time time.Time }
			if json.Unmarshal([]byte(p), &r); time.Since(r.Time).Abs() > 2*time.Minute {
				t.Errorf("dated %v, now %v", r.Time, time.Now())
			}
		}
	})
}

// TestRecordingFails: without its file, the gateway does everything else, and says so.
func TestRecordingFails(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		file := filepath.Join(t.TempDir(), "precious")
		if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
			t.Fatal(err)
		}
		w.cfg.Managers[0].Record = file
		w.start()
		w.until("readings", func() bool { return w.readings() >= 100 })
		if n := strings.Count(w.log.String(), "not a recording"); n != 1 {
			t.Errorf("told %d times:\n%s", n, &w.log)
		}
		if b, _ := os.ReadFile(file); string(b) != "precious" {
			t.Errorf("the file is %q", b)
		}
	})
}
