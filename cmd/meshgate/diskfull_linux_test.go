package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/meshgate/meshgate/gateway/control"
	"github.com/meshgate/meshgate/smartmesh/sim"
)

// TestDiskFull runs the gateway on a disk that has no room for a single segment: it says so, goes
// on with commands and presence, and keeps records again when there is room, without a restart.
func TestDiskFull(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("mounting a small disk needs root")
	}
	_, port := simulated(t, sim.Config{Motes: 2, Period: time.Second, Seed: 3})
	broker := freePort(t)
	mosquitto(t, broker)
	sub := subscriber(t, broker, "meshgate/t1/#")
	file, socket := site(t, port, broker, "")
	disk := filepath.Dir(socket)
	mount := func(flags uintptr, options string) {
		if err := syscall.Mount("meshgate-test", disk, "tmpfs", flags, options); err != nil {
			t.Skipf("a small disk cannot be mounted here: %v", err)
		}
	}
	if err := os.Mkdir(disk, 0o755); err != nil {
		t.Fatal(err)
	}
	mount(0, "size=256k")
	t.Cleanup(func() { syscall.Unmount(disk, syscall.MNT_DETACH) })
	p := gatewayProcess(t, "run", "--config", file)
	t.Cleanup(func() { p.kill() }) // before the disk goes
	s := awaitStatus(t, socket, func(s control.Status) bool {
		return slices.ContainsFunc(s.Links, func(l control.Link) bool { return l.Kind == "spool" && !l.Up })
	})
	i := slices.IndexFunc(s.Links, func(l control.Link) bool { return l.Kind == "spool" })
	if text := s.Links[i].Error; s.OK || !strings.Contains(text, "no space") && !strings.Contains(text, "full") {
		t.Errorf("status says %+v", s.Links[i])
	}
	sub.out.awaitLine(t, "gateway/status", `"online"`)
	pub(t, broker, "meshgate/t1/actuator/led/set", "on")
	sub.out.awaitLine(t, "0 meshgate/t1/actuator/led/state", `"state":"on"`)
	if n := len(readings(t, sub.out.list())); n != 0 {
		t.Errorf("%d readings, which the manager still has, were sent", n)
	}
	mount(syscall.MS_REMOUNT, "size=64m")
	sub.out.await(t, "readings", func(all []string) bool { return len(readings(t, all)) >= 5 })
	s = awaitStatus(t, socket, func(s control.Status) bool { return s.OK })
	if s.Spool.Dropped["refused"]+s.Spool.Dropped["disk_full"] == 0 {
		t.Errorf("what was not kept is not counted: %+v", s.Spool)
	}
}
