package main

import (
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/meshgate/meshgate/smartmesh/sim"
)

// serviceManager is the service manager's end: a datagram socket.
func serviceManager(t *testing.T, name string) *net.UnixConn {
	t.Helper()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// heard reads datagrams until one begins with the line, and gives the whole of it.
func heard(t *testing.T, c *net.UnixConn, line string) string {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(patience))
	buf := make([]byte, 4096)
	for {
		n, err := c.Read(buf)
		if err != nil {
			t.Fatalf("%s has not come: %v", line, err)
		}
		if text := string(buf[:n]); strings.HasPrefix(text, line) {
			return text
		}
	}
}

func TestNotify(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	abstract := "@meshgate-test-" + strings.ReplaceAll(path, "/", "-")
	for given, real := range map[string]string{path: path, abstract: "\x00" + abstract[1:]} {
		c := serviceManager(t, real)
		n := notify{given}
		n.ready()
		heard(t, c, "READY=1")
		n.reloading()
		if text := heard(t, c, "RELOADING=1"); !strings.Contains(text, "\nMONOTONIC_USEC=") {
			t.Errorf("reloading: %q", text)
		}
		n.alive("two\nlines")
		if text := heard(t, c, "WATCHDOG=1"); text != "WATCHDOG=1\nSTATUS=two lines" {
			t.Errorf("alive: %q", text)
		}
	}
	notify{}.ready() // nobody listens
	notify{filepath.Join(path, "none")}.ready()
}

// TestLifeUnderSystemd: the daemon says when it is ready, that it lives, that it reloads and that it ends.
func TestLifeUnderSystemd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	c := serviceManager(t, path)
	t.Setenv("NOTIFY_SOCKET", path)
	_, port := simulated(t, sim.Config{Motes: 1, Period: time.Second, Seed: 1})
	file, _ := site(t, port, 0, "")
	t.Setenv("WATCHDOG_USEC", "300000")
	d := gatewayProcess(t, "run", "--config", file)
	heard(t, c, "READY=1")
	if text := heard(t, c, "WATCHDOG=1"); !strings.Contains(text, "STATUS=") {
		t.Errorf("alive: %q", text)
	}
	start := time.Now()
	for range 3 {
		heard(t, c, "WATCHDOG=1")
	}
	if d := time.Since(start); d > 3*time.Second { // 300 ms, and half a minute without WATCHDOG_USEC
		t.Errorf("three pings took %v", d)
	}
	d.cmd.Process.Signal(syscall.SIGTERM)
	heard(t, c, "STOPPING=1")
}
