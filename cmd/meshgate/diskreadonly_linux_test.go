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

// TestDiskReadOnly runs the gateway on a disk that came up read-only, as a card does after errors, with the spool's folder on
// it and without, the control socket elsewhere and there: it says so, goes on with commands and presence, and keeps records
// when the disk can be written again, without a restart.
func TestDiskReadOnly(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("mounting a disk needs root")
	}
	t.Run("used before", func(t *testing.T) { diskReadOnly(t, true, t.TempDir()) })
	t.Run("new", func(t *testing.T) { diskReadOnly(t, false, t.TempDir()) })
	t.Run("new, with the socket", func(t *testing.T) { diskReadOnly(t, false, "") })
}

func diskReadOnly(t *testing.T, used bool, run string) {
	m, port := simulated(t, sim.Config{Motes: 2, Period: time.Second, Seed: 3, Numbered: true, KeepAcked: 1 << 16})
	broker := freePort(t)
	mosquitto(t, broker)
	sub := subscriber(t, broker, "meshgate/t1/#")
	file, socket := site(t, port, broker, "")
	disk := filepath.Dir(socket)
	t.Setenv("RUNTIME_DIRECTORY", run)
	mountTmpfs(t, disk)
	if used {
		if err := os.Mkdir(filepath.Join(disk, "spool"), 0o750); err != nil {
			t.Fatal(err)
		}
	}
	remount(t, disk, syscall.MS_RDONLY)
	p := gatewayProcess(t, "run", "--config", file)
	t.Cleanup(func() { p.kill() }) // before the disk goes
	if run != "" {
		socket = filepath.Join(run, "meshgate.sock")
		s := awaitStatus(t, socket, func(s control.Status) bool { return !spoolLink(s).Up })
		if s.OK || !strings.Contains(spoolLink(s).Error, "read-only") {
			t.Errorf("status says %+v", spoolLink(s))
		}
	}
	sub.out.awaitLine(t, "gateway/status", `"online"`)
	sub.out.awaitLine(t, "gateway/health", `"error":`, "read-only")
	pub(t, broker, "meshgate/t1/actuator/led/set", "on")
	sub.out.awaitLine(t, "0 meshgate/t1/actuator/led/state", `"state":"on"`)
	if n := len(readings(t, sub.out.list())); n != 0 {
		t.Errorf("%d readings, which the manager still has, were sent", n)
	}
	remount(t, disk, 0)
	sub.out.await(t, "readings", func(all []string) bool { return len(readings(t, all)) >= 5 })
	awaitStatus(t, socket, func(s control.Status) bool { return s.OK })
	kept := acknowledged(m)
	if len(kept) == 0 {
		t.Error("nothing is acknowledged")
	}
	newTally(t).await(sub, kept)
}

// mountTmpfs mounts a disk of 64 MiB for the length of the test.
func mountTmpfs(t *testing.T, dir string) {
	t.Helper()
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("meshgate-test", dir, "tmpfs", 0, "size=64m"); err != nil {
		t.Skipf("a disk cannot be mounted here: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
}

func remount(t *testing.T, dir string, flags uintptr) {
	t.Helper()
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|flags, "size=64m"); err != nil {
		t.Fatal(err)
	}
}

// spoolLink is that of the disk; up while it is not there.
func spoolLink(s control.Status) control.Link {
	if i := slices.IndexFunc(s.Links, func(l control.Link) bool { return l.Kind == "spool" }); i >= 0 {
		return s.Links[i]
	}
	return control.Link{Up: true}
}
