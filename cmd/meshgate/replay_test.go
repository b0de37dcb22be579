package main

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/meshgate/meshgate/hdlc"
	"github.com/meshgate/meshgate/smartmesh"
	"github.com/meshgate/meshgate/smartmesh/tape"
)

// TestUnrecorded: a recording that begins long after the session did is enough for a gateway: what it asks for at the start
// has an answer of the right form, and what would change something is refused.
func TestUnrecorded(t *testing.T) {
	notice := hdlc.AppendFrame(nil, []byte{2, 20, 7, 2, 3, 1})
	p := tape.NewPlayer([]tape.Entry{{Kind: tape.FromManager, Run: time.Unix(1e9, 0), Data: notice}})
	p.Answer = unrecorded
	ours, theirs := net.Pipe()
	var wg sync.WaitGroup
	wg.Go(func() { p.Serve(t.Context(), theirs) })
	defer wg.Wait()
	heard := make(chan smartmesh.Notification, 10)
	s, err := smartmesh.Connect(t.Context(), ours, smartmesh.Options{OnNotify: func(n smartmesh.Notification) { heard <- n }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	_, err1 := s.GetSystemInfo(t.Context())
	_, err2 := s.GetNetworkInfo(t.Context())
	_, err3 := s.GetNetworkConfig(t.Context())
	_, err4 := s.GetTime(t.Context())
	if err := errors.Join(err1, err2, err3, err4, s.Subscribe(t.Context(), 8, 0)); err != nil {
		t.Error(err)
	}
	for m, err := range s.Motes(t.Context()) {
		t.Errorf("a mote: %+v, %v", m, err)
	}
	for _, command := range smartmesh.Commands() {
		answer := unrecorded(command.ID, nil)
		if (command.Changes || command.Secret) && (len(answer) != 1 || answer[0] != byte(smartmesh.RCInvalidCommand)) {
			t.Errorf("%s is answered with %x", command.Name, answer)
		}
	}
	select {
	case n := <-heard:
		if !n.Reliable || n.Type != 3 {
			t.Errorf("heard %+v", n)
		}
	case <-time.After(patience):
		t.Error("nothing is played")
	}
}

func TestReplayUsage(t *testing.T) {
	dir := t.TempDir()
	other := filepath.Join(dir, "other")
	if err := os.WriteFile(other, []byte("other"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--replay", "x", "--motes", "3"}, exitUsage, "--motes has no meaning with --replay"},
		{[]string{"--replay", "x", "--speed", "-1"}, exitUsage, "--speed has to be more than 0"},
		{[]string{"--replay", filepath.Join(dir, "none")}, exitFailed, "is not there: `record: "},
		{[]string{"--replay", other}, exitFailed, "is not a recording"},
	} {
		_, errs, code := meshgate(t, "", append([]string{"simulate", "--listen", "127.0.0.1:0"}, tt.args...)...)
		if code != tt.code || !strings.Contains(errs, tt.want) {
			t.Errorf("%v: status %d: %s", tt.args, code, errs)
		}
	}
}
