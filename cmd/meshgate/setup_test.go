package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"

	"github.com/meshgate/meshgate/bridge"
	"github.com/meshgate/meshgate/bridge/brokertest"
	"github.com/meshgate/meshgate/gateway/config"
	"github.com/meshgate/meshgate/smartmesh/sim"
)

// TestSetupByFlags is what Ansible does, twice, and then with another answer.
func TestSetupByFlags(t *testing.T) {
	port := freePort(t)
	mosquitto(t, port)
	_, manager := simulated(t, sim.Config{Motes: 1, Period: time.Second, Seed: 1})
	file := filepath.Join(t.TempDir(), "etc", "gateway.yaml")
	args := []string{"setup", "--config", file, "--id", "t1", "--port", manager, "--broker", fmt.Sprintf("mqtt://127.0.0.1:%d", port), "--led", "sim"}
	out, errs, code := meshgate(t, "", args...)
	if code != 0 {
		t.Fatalf("%d %s%s", code, out, errs)
	}
	if !contains(out, "TCP            ok", "login          ok", "subscribe      ok", "publish        ok", "route back     ok", "manager 00-17-0d") {
		t.Errorf("it says\n%s", out)
	}
	cfg, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.ID != "t1" || cfg.Managers[0].Port != manager || len(cfg.Bridges) != 1 || len(cfg.Outputs) != 1 {
		t.Errorf("it wrote %+v", cfg)
	}
	if fi, err := os.Stat(file); err != nil || fi.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v", fi.Mode(), err)
	}
	if out, errs, code := meshgate(t, "", "setup", "--config", file); code != 0 || !strings.Contains(out, "says that already") {
		t.Errorf("the second run: %d %s%s", code, out, errs)
	}
	if exists(file + ".bak") {
		t.Error("a run that changes nothing has moved the file")
	}
	if out, errs, code := meshgate(t, "", "setup", "--config", file, "--led", "none"); code != 0 {
		t.Errorf("another answer: %d %s%s", code, out, errs)
	}
	if cfg, err := config.Load(file); err != nil || len(cfg.Outputs) != 0 || len(cfg.Bridges) != 1 || !exists(file+".bak") {
		t.Errorf("after another answer: %+v, %v", cfg, err)
	}
}

// TestSetupKeepsWhatItDoesNotAskFor: a file that a person has gone on with is not replaced, unless that is said; one that
// says the same in other words stays.
func TestSetupKeepsWhatItDoesNotAskFor(t *testing.T) {
	file := filepath.Join(t.TempDir(), "gateway.yaml")
	for _, step := range []struct {
		name, text string
		args       []string
		code       int
		says       string
		left       bool
	}{
		{"by hand", "managers: [{name: main, port: 'sim:', temperature: {every: 30s}}]\n", nil, exitFailed, "--replace", true},
		{"replaced", "managers: [{name: main, port: 'sim:', temperature: {every: 30s}}]\n", []string{"--replace"}, 0, "gateway.yaml.bak", false},
		{"the same in other words", "managers: [{name: main, port: 'sim:'}]\nbridges: [{name: cloud, url: 'mqtt://127.0.0.1'}]\n", nil, 0, "says that already", true},
		{"another answer", "managers: [{name: main, port: 'sim:'}]\n", []string{"--led", "sim"}, 0, "is written", false},
		{"with a console", "managers: [{name: main, port: 'sim:'}]\n", []string{"--http", "127.0.0.1:8080"}, 0, "is written", false},
		{"the same with a console", "managers: [{name: main, port: 'sim:'}]\nhttp: {listen: '127.0.0.1:8080'}\n", nil, 0, "says that already", true},
		{"a console for everybody", "managers: [{name: main, port: 'sim:'}]\n", []string{"--http", ":8080"}, exitUsage, "users", true},
		{"not valid", "nonsense\n", []string{"--port", "sim:"}, 0, "is not valid", false},
	} {
		if err := os.WriteFile(file, []byte(step.text), 0o600); err != nil {
			t.Fatal(err)
		}
		out, errs, code := meshgate(t, "", append([]string{"setup", "--no-test", "--config", file}, step.args...)...)
		now, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if left := string(now) == step.text; code != step.code || left != step.left || !strings.Contains(out+errs, step.says) {
			t.Errorf("%s: %d, left as it was: %v\n%s%s", step.name, code, left, out, errs)
		}
	}
}

func contains(text string, words ...string) bool {
	for _, w := range words {
		if !strings.Contains(text, w) {
			return false
		}
	}
	return true
}

// TestSetupNamesTheStep: how far it comes with a broker that is not right.
func TestSetupNamesTheStep(t *testing.T) {
	b := brokertest.New()
	defer b.Close()
	at, err := b.Listen(nil)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "gateway.yaml")
	tests := []struct {
		name, url string
		b         brokertest.Behaviour
		want      []string
	}{
		{"nobody listens", "mqtt://127.0.0.1:1", brokertest.Behaviour{}, []string{"TCP            FAILED", "is the broker running"}},
		{"no such host", "mqtt://none.invalid", brokertest.Behaviour{}, []string{"DNS            FAILED"}},
		{"no TLS there", "mqtts://" + at, brokertest.Behaviour{}, []string{"TCP            ok", "TLS            FAILED"}},
		{"wrong password", "mqtt://" + at, brokertest.Behaviour{Refuse: 4}, []string{"TCP            ok", "login          FAILED", "password"}},
		{"access list", "mqtt://" + at, brokertest.Behaviour{RefuseSub: func(string) bool { return true }}, []string{"login          ok", "subscribe      FAILED", "access list"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b.Set(func(now *brokertest.Behaviour) { *now = tt.b })
			out, errs, code := meshgate(t, "", "setup", "--config", file, "--id", "t", "--port", "sim:", "--broker", tt.url, "--plaintext")
			if code != exitFailed || !contains(out, tt.want...) {
				t.Errorf("%d, want %q in\n%s%s", code, tt.want, out, errs)
			}
		})
	}
	if exists(file) {
		t.Error("a file was written although the broker does not work")
	}
	for _, bad := range [][]string{{"--broker", "tcp://x"}, {"--broker", "mqtt://broker.example"}, {"--broker", "none", "--id", "a b"}} {
		args := append([]string{"setup", "--config", file, "--port", "sim:", "--no-test"}, bad...)
		if out, errs, code := meshgate(t, "", args...); code != exitUsage {
			t.Errorf("%v: %d %s%s", bad, code, out, errs)
		}
	}
}

// TestSetupAsks: a person types answers; the manager is found among the ports there are.
func TestSetupAsks(t *testing.T) {
	b := brokertest.New()
	defer b.Close()
	at, err := b.Listen(nil)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	typed := "green house\ngreenhouse\nCOM3\nsim:\nnonsense\nmqtt://" + at + "\nanna\nled:ACT\n8099\n127.0.0.1:8099\nno\n"
	s := &setup{file: filepath.Join(t.TempDir(), "gateway.yaml"), given: func(string) bool { return false }, root: t.TempDir(),
		in: bufio.NewReader(strings.NewReader(typed)), out: &out, ports: newPorts(slog.New(slog.DiscardHandler))}
	defer s.ports.close()
	if err := s.run(t.Context(), "none"); err != nil {
		t.Fatalf("%v after\n%s", err, &out)
	}
	cfg, err := config.Load(s.file)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.ID != "greenhouse" || cfg.Managers[0].Port != "sim:" || cfg.Bridges[0].Username != "anna" || cfg.Outputs[0].Pin != "led:ACT" || cfg.HTTP.Listen != "127.0.0.1:8099" {
		t.Errorf("it wrote %+v after\n%s", cfg, &out)
	}
	if !contains(out.String(), "nonsense", "No manager was found", "sim:: manager 00-17", "route back     ok", `id: name "green house"`, "COM3", "http.listen: expected") {
		t.Errorf("it says\n%s", &out)
	}
	connects := b.Connects()
	if n := len(connects); n != 1 || connects[0].ClientID != "meshgate-greenhouse-setup" {
		t.Errorf("it connected as %+v", connects)
	}
}

// TestSetupBrokenOff: Ctrl-C and Ctrl-D end it at any question, and nothing is written.
func TestSetupBrokenOff(t *testing.T) {
	for _, tt := range []struct {
		name, typed string // the last line is answered by the interruption
		how         func(cancel func(), terminal io.Writer)
	}{
		{"Ctrl-C", "[", func(cancel func(), _ io.Writer) { cancel() }}, // the terminal makes a signal of it
		{"Ctrl-D", "[", func(_ func(), terminal io.Writer) { io.WriteString(terminal, "\x04") }},
		{"Ctrl-C at the password", "Password", func(_ func(), terminal io.Writer) { io.WriteString(terminal, "\x03") }},
	} {
		file := filepath.Join(t.TempDir(), "gateway.yaml")
		ours, theirs, err := pty.Open()
		if err != nil {
			t.Skip(err)
		}
		defer ours.Close()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		end := make(chan int, 1)
		args := []string{"setup", "--config", file, "--port", "sim:", "--broker", "mqtt://127.0.0.1:1", "--username", "anna"}
		if tt.typed == "[" {
			args = args[:5]
		}
		go func() { end <- execute(ctx, args, theirs, theirs, theirs) }()
		if tt.typed == "Password" {
			awaitText(t, ours, "Name of")
			io.WriteString(ours, "\n")
		}
		awaitText(t, ours, tt.typed)
		tt.how(cancel, ours)
		awaitText(t, ours, "broken off")
		if code := <-end; code != exitFailed || exists(file) {
			t.Errorf("%s: status %d, a file: %v", tt.name, code, exists(file))
		}
		theirs.Close()
	}
}

func TestFindPorts(t *testing.T) {
	root := t.TempDir()
	for _, p := range []string{"dev/ttyUSB0", "dev/ttyUSB3", "dev/ttyS0", "dev/serial/by-id/x"} {
		os.MkdirAll(filepath.Dir(filepath.Join(root, p)), 0o755)
		if err := os.WriteFile(filepath.Join(root, p), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, to := range map[string]string{"dev/smartmesh-api": "ttyUSB3", "dev/serial/by-id/usb-Dust-if03-port0": "../../ttyUSB3", "dev/smartmesh-api-gone": "none"} {
		if err := os.Symlink(to, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{filepath.Join(root, "dev/smartmesh-api"), filepath.Join(root, "dev/ttyUSB0")}
	if got := findPorts(root); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestYAMLText(t *testing.T) {
	for _, s := range []string{"a", "a b", "on", "0123", "1e3", "a: b", "#", `"`, "tcp://h:1", "é", "null", "~", "-x", "NO", "", "a/b", "'"} {
		a := answers{ID: "t", Port: "sim:", Broker: "mqtt://127.0.0.1", Username: s}
		cfg, err := config.Parse("f", []byte(a.file()), t.TempDir())
		if err != nil {
			t.Errorf("%q: %v", s, err)
		} else if cfg.Bridges[0].Username != s {
			t.Errorf("%q becomes %q", s, cfg.Bridges[0].Username)
		}
	}
}

// TestBrokerThatKeepsQuiet: what is published does not come back.
func TestBrokerThatKeepsQuiet(t *testing.T) {
	b := brokertest.New()
	defer b.Close()
	b.Set(func(now *brokertest.Behaviour) { now.NoAck = true })
	l, err := b.Listen(nil)
	if err != nil {
		t.Fatal(err)
	}
	var steps []string
	err = testBroker(t.Context(), bridge.Config{URL: "mqtt://" + l, ClientID: "t"}, "a/b", func(s string, err error) {
		if err != nil {
			steps = append(steps, s)
		}
	})
	if err == nil || fmt.Sprint(steps) != "[publish]" {
		t.Errorf("%v, failed at %v", err, steps)
	}
}
