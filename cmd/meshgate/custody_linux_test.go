package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/meshgate/meshgate/gateway/control"
	"github.com/meshgate/meshgate/smartmesh/sim"
)

// custody is a gateway whose state is on a disk that the test can break, with numbered readings, Mosquitto, and a subscriber.
type custody struct {
	t       *testing.T
	manager *sim.Manager
	at      int // the broker's port
	broker  *process
	keep    []string
	sub     *process
	y       *tally
	file    string
	socket  string
	gateway *process
}

// newCustody starts all but the gateway; its state folder is the disk.
func newCustody(t *testing.T, disk, more string) *custody {
	t.Helper()
	c := &custody{t: t, at: freePort(t), y: newTally(t)}
	var port string
	c.manager, port = simulated(t, sim.Config{Motes: 50, Period: time.Second, Seed: 3, Numbered: true, KeepAcked: 1 << 20})
	c.keep = []string{"user root", "persistence true", "persistence_location " + t.TempDir() + "/", "max_queued_messages 0"}
	c.broker = mosquitto(t, c.at, c.keep...)
	c.sub = subscriber(t, c.at, "meshgate/t1/#", "-c", "-i", "keeper")
	run := t.TempDir()
	t.Setenv("RUNTIME_DIRECTORY", run)
	file, socket := site(t, port, c.at, more)
	if err := os.Symlink(disk, filepath.Dir(socket)); err != nil {
		t.Fatal(err)
	}
	c.file, c.socket = file, filepath.Join(run, "meshgate.sock")
	return c
}

func (c *custody) start() {
	p := gatewayProcess(c.t, "run", "--config", c.file)
	c.gateway = p
	c.t.Cleanup(func() {
		if c.t.Failed() {
			c.t.Log("the gateway's log:\n" + strings.Join(p.out.list(), "\n"))
		}
	})
}

// flows waits until 50 readings more are acknowledged, and for all of those that are.
func (c *custody) flows() {
	c.t.Helper()
	want := len(acknowledged(c.manager)) + 50
	var kept []string
	c.sub.out.await(c.t, "50 readings more", func([]string) bool {
		kept = acknowledged(c.manager)
		return len(kept) >= want
	})
	c.y.await(c.sub, kept)
}

// broken: the disk is in trouble, which is told once, and what needs no disk goes on.
func (c *custody) broken(trouble string) {
	c.t.Helper()
	s := awaitStatus(c.t, c.socket, func(s control.Status) bool { return !spoolLink(s).Up })
	if s.OK || !strings.Contains(spoolLink(s).Error, trouble) {
		c.t.Errorf("status says %+v", spoolLink(s))
	}
	read := len(c.sub.out.list())
	later := func(what string, words ...string) {
		c.t.Helper()
		c.sub.out.await(c.t, what, func(all []string) bool { return strings.Contains(after(all, read, words), "t1/") })
	}
	for _, state := range []string{"on", "off"} {
		pub(c.t, c.at, "meshgate/t1/actuator/led/set", state)
		later("a command's state", "actuator/led/state", `"state":"`+state+`"`)
	}
	later("health", "gateway/health", `"error":`, trouble)
	if !holdsOnline(c.sub.out.list()) {
		c.t.Error("it is not online")
	}
}

// after gives the first line from the one with number n on that holds all words.
func after(all []string, n int, words []string) string {
	for _, line := range all[n:] {
		if holds(line, words) {
			return line
		}
	}
	return ""
}

// holdsOnline tells whether the last that was said of the gateway's presence is that it is there.
func holdsOnline(all []string) (online bool) {
	for _, line := range all {
		if strings.Contains(line, "/gateway/status ") {
			online = strings.Contains(line, `"online"`)
		}
	}
	return online
}

// well: the disk works again, without a restart, and all is told once.
func (c *custody) well(times int) {
	c.t.Helper()
	c.flows()
	awaitStatus(c.t, c.socket, func(s control.Status) bool { return s.OK })
	log := c.gateway.out.list()
	for _, text := range []string{"the disk does not take records", "the disk takes records again"} {
		if n := countLines(log, text); n != times {
			c.t.Errorf("%q is told %d times, want %d", text, n, times)
		}
	}
}

func countLines(all []string, text string) (n int) {
	for _, line := range all {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

// faulty is a folder with a disk under it that fails when it is told to.
func faulty(t *testing.T) (place string, set func(fault string)) {
	t.Helper()
	tool := os.Getenv("MESHGATE_FAULTY")
	if tool == "" {
		t.Skip("run by make diskfaults")
	}
	dir := t.TempDir()
	place, fault := filepath.Join(dir, "place"), filepath.Join(dir, "fault")
	for _, d := range []string{place, filepath.Join(dir, "folder")} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	set = func(what string) {
		if err := os.WriteFile(fault, []byte(what), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := start(t, tool, filepath.Join(dir, "folder"), place, fault)
	t.Cleanup(func() { p.signal(syscall.SIGTERM) })
	p.out.awaitLine(t, "ready")
	return place, set
}

// do runs a program of the system and gives what it has printed.
func do(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// loopDisk makes an ext4 without a journal, which would end with the first block that it cannot write, in the folder, and
// mounts it.
func loopDisk(t *testing.T, folder, size string) (device, dir string) {
	t.Helper()
	if os.Getenv("MESHGATE_FAULTY") == "" {
		t.Skip("run by make diskfaults")
	}
	image, dir := filepath.Join(folder, "image"), t.TempDir()
	do(t, "truncate", "-s", size, image)
	do(t, "mkfs.ext4", "-q", "-O", "^has_journal", image)
	device = do(t, "losetup", "-f", "--show", image)
	t.Cleanup(func() { exec.Command("losetup", "-d", device).Run() })
	do(t, "mount", "-o", "noatime", device, dir)
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	return device, dir
}

// TestDiskTurnsReadOnly: a disk that becomes read-only while readings flow, twice, and once more before the daemon is stopped.
func TestDiskTurnsReadOnly(t *testing.T) {
	disk, set := faulty(t)
	c := newCustody(t, disk, "")
	c.start()
	for n := 1; n <= 2; n++ {
		c.flows()
		set("ro")
		c.broken("read-only")
		set("")
		c.well(n)
	}
	set("ro")
	began := time.Now()
	c.gateway.signal(syscall.SIGTERM)
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it takes %v to end", took)
	}
	set("")
	c.start()
	c.flows()
}

// TestDiskCannotWrite: the blocks of a disk cannot be written, so that ext4 forgets what it has not written. What was
// acknowledged is there in the end, on the disk and not only in the system's memory.
func TestDiskCannotWrite(t *testing.T) {
	place, set := faulty(t)
	device, disk := loopDisk(t, place, "16M")
	c := newCustody(t, disk, "")
	c.start()
	c.flows()
	set("eio")
	c.broken("input/output error")
	set("")
	c.well(1)
	c.broker.signal(syscall.SIGTERM)
	kept := len(acknowledged(c.manager))
	awaitStatus(t, c.socket, func(control.Status) bool { return len(acknowledged(c.manager)) >= kept+50 })
	set("eio")
	awaitStatus(t, c.socket, func(s control.Status) bool { return !spoolLink(s).Up })
	set("")
	awaitStatus(t, c.socket, func(s control.Status) bool { return spoolLink(s).Up })
	c.gateway.kill()
	do(t, "umount", disk) // what was in memory alone goes
	do(t, "mount", "-o", "noatime", device, disk)
	mosquitto(t, c.at, c.keep...)
	c.start()
	c.flows()
}

// TestDiskFills: a disk that others fill while the cloud is away. With drop-newest readings are refused, and none that was
// acknowledged is lost; with drop-oldest just those are that are counted. It goes on when there is room.
func TestDiskFills(t *testing.T) {
	for _, policy := range []string{"drop-newest", "drop-oldest"} {
		t.Run(policy, func(t *testing.T) { diskFills(t, policy) })
	}
}

func diskFills(t *testing.T, policy string) {
	_, disk := loopDisk(t, t.TempDir(), "4M")
	c := newCustody(t, disk, fmt.Sprintf("spool: {max_size: 64KiB, when_full: %s}\n", policy))
	c.start()
	c.flows()
	filler := filepath.Join(disk, "filler")
	exec.Command("dd", "if=/dev/zero", "of="+filler, "bs=1k").Run() // to the last block
	c.broker.signal(syscall.SIGTERM)
	reason := map[string]string{"drop-newest": "refused", "drop-oldest": "disk_full"}[policy]
	s := awaitStatus(t, c.socket, func(s control.Status) bool { return s.Spool.Dropped[reason] > 0 })
	if spoolLink(s).Up != (policy == "drop-oldest") {
		t.Errorf("status says %+v", spoolLink(s))
	}
	do(t, c.gateway.cmd.Path, "set", "led", "on", "--socket", c.socket)
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	kept := len(acknowledged(c.manager))
	awaitStatus(t, c.socket, func(s control.Status) bool { return len(acknowledged(c.manager)) > kept && spoolLink(s).Up })
	mosquitto(t, c.at, c.keep...)
	c.counted()
}

// counted: of what is acknowledged by now, the subscriber does not get in the end what the gateway counts as dropped, and
// gets the rest.
func (c *custody) counted() {
	c.t.Helper()
	kept := acknowledged(c.manager)
	lost, dropped := 0, uint64(0)
	c.sub.out.await(c.t, "what was not dropped", func(all []string) bool {
		c.y.take(all)
		lost = 0
		for _, a := range kept {
			if !c.y.have[a] {
				lost++
			}
		}
		d := statusOf(c.t, c.socket).Spool.Dropped
		dropped = d["size"] + d["disk_full"]
		return lost <= int(dropped)
	})
	c.t.Logf("%d of %d acknowledged readings did not come, %d records are counted as dropped", lost, len(kept), dropped)
}
