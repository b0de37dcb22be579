package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/meshgate/meshgate/gateway/config"
	"github.com/meshgate/meshgate/gateway/control"
	"github.com/meshgate/meshgate/smartmesh/sim"
)

// TestReload: the real program with SIGHUP, `reload` and `config apply`.
func TestReload(t *testing.T) {
	notifyPath := filepath.Join(t.TempDir(), "notify")
	systemd := serviceManager(t, notifyPath)
	t.Setenv("NOTIFY_SOCKET", notifyPath)
	port := freePort(t)
	mosquitto(t, port)
	m, at := simulated(t, sim.Config{Motes: 2, Period: time.Second, Seed: 5})
	file, socket := site(t, at, port, "")
	d := gatewayProcess(t, "run", "--config", file)
	awaitStatus(t, socket, func(s control.Status) bool { return s.OK })
	heard(t, systemd, "READY=1")

	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	change := func(from, to string) string { return strings.Replace(string(good), from, to, 1) }
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(change("name: cloud", "name: cloud, prefix: moved/"))
	d.cmd.Process.Signal(syscall.SIGHUP)
	heard(t, systemd, "RELOADING=1")
	heard(t, systemd, "READY=1")
	d.out.awaitLine(t, "configuration in force", "bridge cloud")

	write(change("managers:", "mangers:"))
	d.cmd.Process.Signal(syscall.SIGHUP)
	d.out.awaitLine(t, "refused", "mangers")
	_, errs, code := meshgate(t, "", "reload", "--socket", socket)
	if code != exitFailed || !strings.Contains(errs, "old configuration stays") || !strings.Contains(errs, file+":3:1") {
		t.Errorf("reload of a bad file: %d %s", code, errs)
	}
	write(string(good))
	out, errs, code := meshgate(t, "", "reload", "--socket", socket)
	if code != 0 || !strings.Contains(out, "restarted: bridge cloud") {
		t.Errorf("reload: %d %s%s", code, out, errs)
	}

	applyByCommand(t, file, socket, fmt.Sprintf("127.0.0.1:%d", port))
	awaitStatus(t, socket, func(s control.Status) bool { return s.OK })
	if s := m.Stats(); s.Sessions != 1 {
		t.Errorf("%d sessions with the manager", s.Sessions)
	}
}

// applyByCommand keeps what works, and takes back what does not.
func applyByCommand(t *testing.T, file, socket, broker string) {
	t.Helper()
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	change := func(from, to string) string { return strings.Replace(string(good), from, to, 1) }
	next := filepath.Join(t.TempDir(), "next.yaml")
	if err := os.WriteFile(next, []byte(change("name: cloud", "name: cloud, client_id: other")), 0o600); err != nil {
		t.Fatal(err)
	}
	out, errs, code := meshgate(t, "", "config", "apply", next, "--confirm", "1m", "--socket", socket)
	if code != 0 || !strings.Contains(out, "kept") {
		t.Errorf("apply of what works: %d %s%s", code, out, errs)
	}
	if now, err := os.ReadFile(file); err != nil || !strings.Contains(string(now), "client_id: other") {
		t.Errorf("the file is %s, %v", now, err)
	}
	if old, err := os.ReadFile(file + ".bak"); err != nil || string(old) != string(good) {
		t.Errorf("the old file is %s, %v", old, err)
	}
	if fi, err := os.Stat(file); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", fi.Mode(), err)
	}
	typo := change(broker, "127.0.0.1:1")
	if err := os.WriteFile(next, []byte(typo), 0o600); err != nil {
		t.Fatal(err)
	}
	_, errs, code = meshgate(t, "", "config", "apply", next, "--confirm", "3s", "--socket", socket)
	if code != exitFailed || !strings.Contains(errs, "taken back") {
		t.Errorf("apply of a typo: %d %s", code, errs)
	}
	if err := os.WriteFile(next, []byte(change("managers:", "mangers:")), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, errs, code := meshgate(t, "", "config", "apply", next, "--socket", socket); code != exitFailed || !strings.Contains(errs, next+":3:1") {
		t.Errorf("apply of a bad file: %d %s", code, errs)
	}
}

func TestReplaceFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "gateway.yaml")
	for i, text := range []string{"one", "two", "three"} {
		if err := replaceFile(file, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(file); err != nil || string(got) != text {
			t.Errorf("%q, %v", got, err)
		}
		if fi, err := os.Stat(file); err != nil || i == 0 && fi.Mode().Perm() != 0o640 {
			t.Errorf("mode %v, %v", fi.Mode(), err)
		}
	}
	if got, err := os.ReadFile(file + ".bak"); err != nil || string(got) != "two" {
		t.Errorf("kept aside: %q, %v", got, err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(file), ".*")); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
	if err := replaceFile(filepath.Join(file, "below"), nil); err == nil {
		t.Error("a file below a file")
	}
}

// TestConfigMigrate: the old file is kept under a name of its own, with the mode that it had.
func TestConfigMigrate(t *testing.T) {
	file := filepath.Join(t.TempDir(), "gateway.yaml")
	old := "managers: [{name: main, port: 'sim:'}]\n"
	if err := os.WriteFile(file, []byte(old), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, errs, code := meshgate(t, "", "config", "migrate", "--config", file); code != 0 || !strings.Contains(out, "is of this version") {
		t.Errorf("nothing to do: %d %s%s", code, out, errs)
	}
	var out strings.Builder
	if err := writeMigrated(&out, file, []byte("version: 2\n"), 1); err != nil {
		t.Fatal(err)
	}
	kept, err := os.ReadFile(file + ".v1.bak")
	if err != nil || string(kept) != old || !strings.Contains(out.String(), file+".v1.bak") {
		t.Errorf("kept %q, %v; it says %q", kept, err, &out)
	}
	if now, err := os.ReadFile(file); err != nil || string(now) != "version: 2\n" {
		t.Errorf("written %q, %v", now, err)
	}
	if fi, err := os.Stat(file); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", fi.Mode(), err)
	}
	if _, errs, code := meshgate(t, "", "config", "migrate", "--config", file); code != exitUsage || !strings.Contains(errs, "version 2 is for a later meshgate") {
		t.Errorf("a later one: %d %s", code, errs)
	}
	if _, errs, code := meshgate(t, "", "run", "--config", file); code != exitUsage || !strings.Contains(errs, "version 2 is for a later meshgate") {
		t.Errorf("run with a later one: %d %s", code, errs)
	}
	if note := older(&config.Config{File: file, Older: 1}); !strings.Contains(note, "version 1") || !strings.Contains(note, "config migrate") {
		t.Errorf("it says %q", note)
	}
}
