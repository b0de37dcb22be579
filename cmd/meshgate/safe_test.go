package main

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meshgate/meshgate/gateway"
	"github.com/meshgate/meshgate/gateway/config"
	"github.com/meshgate/meshgate/gpio"
)

// fakeLED makes an LED as the kernel shows it.
func fakeLED(t *testing.T, root, name, brightness string) string {
	t.Helper()
	dir := filepath.Join(root, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string]string{"brightness": brightness, "max_brightness": "255", "trigger": "[none] timer"} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "brightness")
}

func TestSafe(t *testing.T) {
	root := t.TempDir()
	lamp, alarm := fakeLED(t, root, "lamp", "255"), fakeLED(t, root, "alarm", "0")
	m := &gpio.Hardware{LEDs: root, Sim: gpio.NewSim()}
	cfg := &config.Config{Outputs: []gpio.Output{{Name: "lamp", Pin: "led:lamp"}, {Name: "alarm", Pin: "led:alarm", Safe: true}}}
	var out bytes.Buffer
	if err := makeSafe(cfg.Outputs, m, &out); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{lamp: "0", alarm: "255"} {
		if got, err := os.ReadFile(file); err != nil || strings.TrimSpace(string(got)) != want {
			t.Errorf("%s is %q, want %s: %v", file, got, want, err)
		}
	}
	if out.String() != "2 outputs are safe\n" {
		t.Errorf("said %q", &out)
	}
	cfg.Outputs = append(cfg.Outputs, gpio.Output{Name: "pump", Pin: "led:none"})
	if err := os.WriteFile(lamp, []byte("255"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := makeSafe(cfg.Outputs, m, io.Discard); err == nil || !strings.Contains(err.Error(), "led:none") {
		t.Errorf("an output that is not there: %v", err)
	}
	if got, _ := os.ReadFile(lamp); string(got) != "0" {
		t.Errorf("the other output is %q", got)
	}
}

// dead is a machine whose pins never answer.
type dead struct{ free chan struct{} }

func (d dead) OpenOutput(gpio.Output) (gpio.Pin, error) { <-d.free; return nil, errors.New("late") }
func (d dead) OpenInput(gpio.Input, func(bool, time.Time)) (io.Closer, error) {
	return nil, errors.New("none")
}

func TestSafeEndsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, start := dead{make(chan struct{})}, time.Now()
		err := makeSafe([]gpio.Output{{Name: "pump", Pin: "sim"}}, d, io.Discard)
		if err == nil || time.Since(start) > safePatience {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		close(d.free)
	})
}

func TestSafeCommand(t *testing.T) {
	file, _ := site(t, "sim:", 0, "")
	if out, errs, code := meshgate(t, "", "safe", "--config", file); code != 0 || out != "1 outputs are safe\n" {
		t.Errorf("%d: %q %q", code, out, errs)
	}
}

// TestOutputsOfAChangedConfiguration: what a running daemon has taken up since its start is made safe as well, and at no
// moment of the change is an output missing.
func TestOutputsOfAChangedConfiguration(t *testing.T) {
	state, systemd := t.TempDir(), t.TempDir()
	t.Setenv("STATE_DIRECTORY", systemd)
	names := func() string {
		outs, err := outputsToSave("/nowhere/gateway.yaml") // spoilt: it cannot say where the state is
		if err == nil && len(outs) == 0 {
			t.Error("no word on what is missing")
		}
		s := ""
		for _, o := range outs {
			s += o.Name + "=" + o.Pin + " "
		}
		return s
	}
	now := &config.Config{Outputs: []gpio.Output{{Name: "pump", Pin: "GPIO4"}, {Name: "fan", Pin: "GPIO5"}}}
	k := newKeeper(state, slog.New(slog.DiscardHandler))
	k.keep(now.Outputs)
	src := k.follow(gateway.Source{Applied: func(*config.Config) {}, Load: func(text []byte) (*config.Config, error) {
		if text == nil {
			return nil, errors.New("spoilt")
		}
		return &config.Config{Outputs: []gpio.Output{{Name: "pump", Pin: "GPIO6"}, {Name: "horn", Pin: "GPIO7"}}}, nil
	}})
	if _, err := src.Load(nil); err == nil || names() != "pump=GPIO4 fan=GPIO5 " {
		t.Errorf("a refused one: %v, %s", err, names())
	}
	next, err := src.Load([]byte("good"))
	if err != nil || names() != "pump=GPIO4 fan=GPIO5 pump.configured=GPIO6 horn=GPIO7 " {
		t.Errorf("in the midst of it: %v, %s", err, names())
	}
	moved := filepath.Join(t.TempDir(), "gateway.yaml")
	if err := os.WriteFile(moved, []byte("state_dir: /nowhere\nmanagers: [{name: main, port: auto}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if outs, err := outputsToSave(moved); err != nil || len(outs) != 4 {
		t.Errorf("another state folder: %v, %v", outs, err)
	}
	src.Applied(next)
	if got := names(); got != "pump=GPIO6 horn=GPIO7 " {
		t.Errorf("afterwards: %s", got)
	}
}

// TestTriggersAreNoted: while the daemon has an LED its trigger is none; what it was before stays known.
func TestTriggersAreNoted(t *testing.T) {
	k := newKeeper(t.TempDir(), slog.New(slog.DiscardHandler))
	outs := []gpio.Output{{Name: "act", Pin: "led:ACT"}, {Name: "relay", Pin: "GPIO4"}}
	for _, tt := range []struct{ shows, want string }{{"none", ""}, {"mmc0", "mmc0"}, {"none", "mmc0"}, {"timer", "timer"}} {
		k.leds = func() []gpio.LED { return []gpio.LED{{Name: "ACT", Trigger: tt.shows}} }
		k.keep(outs)
		kept, err := keptOutputs(k.dirs[0])
		if err != nil || len(kept) != 2 || kept[0].Trigger != tt.want || kept[1].Trigger != "" {
			t.Errorf("%s: %+v, %v", tt.shows, kept, err)
		}
	}
}
