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

// TestDiskReadOnly runs the gateway on a disk that came up read-only, as a card does after errors: it says so, goes on with
// commands and presence, and keeps records when the disk can be written again, without a restart.
func TestDiskReadOnly(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("mounting a disk needs root")
	}
	_, port := simulated(t, sim.Config{Motes: 2, Period: time.Second, Seed: 3})
	broker := freePort(t)
	mosquitto(t, broker)
	sub := subscriber(t, broker, "meshgate/t1/#")
	file, socket := site(t, port, broker, "")
	disk, run := filepath.Dir(socket), t.TempDir()
	t.Setenv("RUNTIME_DIRECTORY", run)
	if err := os.Mkdir(disk, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("meshgate-test", disk, "tmpfs", 0, "size=64m"); err != nil {
		t.Skipf("a disk cannot be mounted here: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(disk, syscall.MNT_DETACH) })
	if err := os.Mkdir(filepath.Join(disk, "spool"), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("", disk, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, "size=64m"); err != nil {
		t.Fatal(err)
	}
	p := gatewayProcess(t, "run", "--config", file)
	t.Cleanup(func() { p.kill() }) // before the disk goes
	socket = filepath.Join(run, "meshgate.sock")
	s := awaitStatus(t, socket, func(s control.Status) bool {
		return slices.ContainsFunc(s.Links, func(l control.Link) bool { return l.Kind == "spool" && !l.Up })
	})
	i := slices.IndexFunc(s.Links, func(l control.Link) bool { return l.Kind == "spool" })
	if s.OK || !strings.Contains(s.Links[i].Error, "read-only") {
		t.Errorf("status says %+v", s.Links[i])
	}
	sub.out.awaitLine(t, "gateway/status", `"online"`)
	pub(t, broker, "meshgate/t1/actuator/led/set", "on")
	sub.out.awaitLine(t, "0 meshgate/t1/actuator/led/state", `"state":"on"`)
	if n := len(readings(t, sub.out.list())); n != 0 {
		t.Errorf("%d readings, which the manager still has, were sent", n)
	}
	if err := syscall.Mount("", disk, "", syscall.MS_REMOUNT, "size=64m"); err != nil {
		t.Fatal(err)
	}
	sub.out.await(t, "readings", func(all []string) bool { return len(readings(t, all)) >= 5 })
	awaitStatus(t, socket, func(s control.Status) bool { return s.OK })
}
