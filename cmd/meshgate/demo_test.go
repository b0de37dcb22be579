package main

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/meshgate/meshgate/gateway/control"
	"github.com/meshgate/meshgate/smartmesh/sim"
)

// TestDemo is the first minute of every user: readings within three seconds of the start, the LED
// switched from the cloud, an end by itself.
func TestDemo(t *testing.T) {
	p := gatewayProcess(t, "run", "--demo", "--for", "9s")
	page := strings.TrimSpace(p.out.awaitLine(t, "http://"))
	line := p.out.awaitLine(t, "°C")
	if resp, err := http.Get(page + "api/v1/motes"); err != nil || resp.StatusCode != 200 {
		t.Errorf("%s: %v, %v", page, resp, err)
	}
	var at float64
	if err := json.Unmarshal([]byte(strings.TrimSuffix(strings.Fields(line)[0], "s")), &at); err != nil || at > 3 {
		t.Errorf("the first reading came after %vs: %v", at, err)
	}
	p.out.awaitLine(t, "actuator/led/set on")
	p.out.awaitLine(t, "● on")
	for _, hint := range []string{"mosquitto_sub", "mosquitto_pub", "meshgate status --socket"} {
		p.out.awaitLine(t, hint)
	}
	if err := <-p.end; err != nil {
		t.Errorf("ended with %v:\n%s", err, strings.Join(p.out.list(), "\n"))
	}
	close(p.end)
	if text := strings.Join(p.out.list(), "\n"); strings.Contains(text, "\x1b") || strings.Contains(text, "level=") {
		t.Errorf("colour or log lines in a pipe:\n%s", text)
	}
}

// TestDemoBrokenOff: whoever has seen enough, or closes the terminal, has done nothing wrong, and nothing stays behind.
func TestDemoBrokenOff(t *testing.T) {
	if _, err := binary(); err != nil { // stays, so it is not made in the folder below
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", t.TempDir())
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGHUP} {
		p := gatewayProcess(t, "run", "--demo")
		p.out.awaitLine(t, "online")
		p.cmd.Process.Signal(sig)
		if err := <-p.end; err != nil {
			t.Errorf("%v: ended with %v:\n%s", sig, err, strings.Join(p.out.list(), "\n"))
		}
		close(p.end)
		if left, _ := filepath.Glob(os.Getenv("TMPDIR") + "/*"); len(left) > 0 {
			t.Errorf("%v: left behind: %v", sig, left)
		}
	}
}

func TestDemoTakesAnotherPort(t *testing.T) {
	l, err := net.Listen("tcp", demoAddr)
	if err == nil { // otherwise somebody else has it, which serves as well
		defer l.Close()
	}
	p := gatewayProcess(t, "run", "--demo", "--for", "1m")
	p.out.awaitLine(t, "1883 is taken", "instead")
	p.out.awaitLine(t, "°C")
}

// TestLookAndSteer runs the commands that talk to a daemon against one that runs.
func TestLookAndSteer(t *testing.T) {
	m, port := simulated(t, sim.Config{Motes: 2, Period: time.Second, Seed: 3})
	file, socket := site(t, port, 0, "")
	gatewayProcess(t, "run", "--config", file)
	awaitStatus(t, socket, func(s control.Status) bool { return s.OK && m.Stats().Samples >= 4 })
	run := func(args ...string) (string, int) {
		out, errs, code := meshgate(t, "", append(args, "--socket", socket)...)
		return out + errs, code
	}
	out, code := run("status")
	for _, want := range []string{"serial", "session", "spool", "output", "up", "records on disk"} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("status %d: no %q in\n%s", code, want, out)
		}
	}
	out, code = run("status", "--json")
	var s control.Status
	if err := json.Unmarshal([]byte(out), &s); err != nil || code != 0 || !s.OK || len(s.Links) != 5 {
		t.Errorf("status --json: %v, %d:\n%s", err, code, out)
	}
	for _, tt := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"set", "led", "on"}, 0, "led: applied"},
		{[]string{"set", "led", "toggle", "--for", "1s"}, 0, "led: applied"},
		{[]string{"set", "led", "off", "--wait"}, 0, "led: accepted\n"},
		{[]string{"set", "led", "on", "--brightness", "40"}, 1, "no brightness"},
		{[]string{"set", "led", `{"state":"on","until":"2020-01-01T00:00:00Z"}`, "--wait"}, 1, "led: expired: "},
		{[]string{"set", "led", "dim"}, 1, "led: refused: "},
		{[]string{"set", "led", `{"state":"on","blink":["1s"],"for":"5s"}`}, 0, "led: applied"},
		{[]string{"set", "led", "dim"}, 1, "no state"},
		{[]string{"set", "pump", "on"}, 1, "refused"},
		{[]string{"motes"}, 0, "access point"},
		{[]string{"topology"}, 0, "access point"},
		{[]string{"topology", "--dot"}, 0, "digraph mesh {"},
		{[]string{"topology", "--json"}, 0, `"nodes"`},
		{[]string{"call", "reset", "type=0"}, 2, "--yes"},
		{[]string{"call", "getSystemInfo"}, 0, `"swMajor": 1`},
		{[]string{"call", "getMoteConfigById", "moteId=999"}, 1, "RC_NOT_FOUND"},
		{[]string{"call", "getTime", "--manager", "other"}, 1, "no manager is called"},
		{[]string{"pub", "lamp/1", "hello"}, 0, ""},
		{[]string{"pub", "actuator/led/set", "on"}, 1, "meshgate set"},
		{[]string{"pub", "gateway/status", "x", "--retain"}, 1, "for the gateway alone"},
		{[]string{"pub", "lamp/#", "x"}, 1, "#"},
	} {
		if out, code := run(tt.args...); code != tt.code || !strings.Contains(out, tt.want) {
			t.Errorf("%v: status %d, want %d with %q:\n%s", tt.args, code, tt.code, tt.want, out)
		}
	}
	if out, code := run("health"); code != 0 && code != 3 || !strings.Contains(out, "reliability") {
		t.Errorf("health: %d: %s", code, out)
	}
	mac := moteOf(t, socket)
	if out, code := run("set", mac+"/led", "on"); code != 0 || !strings.Contains(out, "confirmed") {
		t.Errorf("a mote's LED: %d: %s", code, out)
	}
	if out, code := run("oap", mac, "get", "temperature"); code != 0 || !strings.Contains(out, `"rate": 1000`) {
		t.Errorf("oap get: %d: %s", code, out)
	}
	if out, code := run("oap", mac, "put", "temperature", "rate=x"); code != 1 || !strings.Contains(out, "rate") {
		t.Errorf("oap put: %d: %s", code, out)
	}
	w := gatewayProcess(t, "watch", "mote/+/temperature", "--socket", socket)
	w.out.awaitLine(t, "/temperature", `"unit":"C"`)
}

// moteOf gives the address of a mote that is no access point.
func moteOf(t *testing.T, socket string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var list []control.Mote
	if err := control.NewClient(socket).Get(ctx, "motes", &list); err != nil {
		t.Fatal(err)
	}
	for _, m := range list {
		if !m.AP {
			return m.MAC
		}
	}
	t.Fatalf("no mote in %+v", list)
	return ""
}
