package main

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/meshgate/meshgate/gateway/control"
	"github.com/meshgate/meshgate/smartmesh/sim"
)

// unpack gives the files of a bundle by their names.
func unpack(t *testing.T, path string) map[string]string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		folder, name := filepath.Split(h.Name)
		if filepath.Clean(folder) == filepath.Base(path) {
			t.Errorf("%s cannot be unpacked beside %s", h.Name, path)
		}
		files[name] = string(data)
	}
}

func TestDiag(t *testing.T) {
	_, port := simulated(t, sim.Config{Motes: 1, Period: time.Second, Seed: 1})
	file, socket := site(t, port, 0, "  # token: abc123\n")
	gatewayProcess(t, "run", "--config", file)
	awaitStatus(t, socket, func(s control.Status) bool { return s.OK })
	path := filepath.Join(t.TempDir(), "d.tar.gz")
	out, errs, code := meshgate(t, "", "diag", "--config", file, "--socket", socket, "-o", path)
	if code != 0 || out != path+"\n" {
		t.Fatalf("%d %s%s", code, out, errs)
	}
	got := unpack(t, path)
	for name, word := range map[string]string{"status.json": `"ok": true`, "motes.json": `"mac"`, "gateway.yaml": "id: t1", "spool.json": "{",
		"version.txt": "meshgate ", "clock.txt": "trusted", "log.txt": "", "devices.txt": "", "gpio.txt": "", "unit.txt": ""} {
		if text, ok := got[name]; !ok || !strings.Contains(text, word) {
			t.Errorf("%s (%v): no %q in %.300s", name, ok, word, text)
		}
	}
	if strings.Contains(got["gateway.yaml"], "abc123") {
		t.Error("a secret is in the bundle")
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", fi.Mode(), err)
	}
	if out, _, code := meshgate(t, "", "diag", "--explain", "--socket", socket); code != 0 || !strings.Contains(out, "Nothing is wrong") {
		t.Errorf("explain: %d %s", code, out)
	}
}

// TestDiagOfADeadDaemon: the bundle is made all the same, and the explanation says so.
func TestDiagOfADeadDaemon(t *testing.T) {
	file, socket := site(t, "sim:", 0, "")
	path := filepath.Join(t.TempDir(), "d.tgz")
	if _, errs, code := meshgate(t, "", "diag", "--config", file, "--socket", socket, "-o", path); code != 0 {
		t.Fatalf("%d %s", code, errs)
	}
	if got := unpack(t, path); !strings.Contains(got["status.json"], "no answer") || !strings.Contains(got["gateway.yaml"], "id: t1") {
		t.Errorf("%v", got)
	}
	if out, _, code := meshgate(t, "", "diag", "--explain", "--socket", socket); code != exitNotWell || !strings.Contains(out, "does not run") {
		t.Errorf("explain: %d %s", code, out)
	}
}

func TestRedactLine(t *testing.T) {
	for line, want := range map[string]string{
		`password: "a b"`:                         `password: ***`,
		`  {name: x, password: hunter2, port: 1}`: `  {name: x, password: ***, port: 1}`,
		`password_file: cloud.password`:           `password_file: cloud.password`,
		`url: mqtts://anna:geheim@h:1`:            `url: mqtts://***@h:1`,
		`url: "wss://h/mqtt?sig=abc&x=1"`:         `url: "wss://h/mqtt?***"`,
		`port: sim:?motes=5`:                      `port: sim:?motes=5`,
		`# api_key: 'x y'`:                        `# api_key: ***`,
		`keepalive: 30s # no secret`:              `keepalive: 30s # no secret`,
	} {
		if got := redactLine(line); got != want {
			t.Errorf("%s becomes %s, want %s", line, got, want)
		}
	}
}
