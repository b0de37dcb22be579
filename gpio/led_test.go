package gpio

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// ledTree makes a folder like /sys/class/leds. Files are as given, "" leaves one out.
func ledTree(t *testing.T, name string, files map[string]string) (root string) {
	t.Helper()
	root = t.TempDir()
	dir := filepath.Join(root, name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for file, content := range files {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func ledFile(t *testing.T, root, name, file string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, name, file))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

func TestLED(t *testing.T) {
	for what, c := range map[string]struct {
		max, trigger         string
		out                  Output
		safe, off, on        string // brightness
		during, after, other string // trigger
	}{
		"Pi ACT":       {"255\n", "none [mmc0] heartbeat timer\n", Output{}, "0", "0", "255", "none", "mmc0", ""},
		"PWR, safe on": {"1\n", "none [default-on]\n", Output{Safe: true}, "1", "0", "1", "none", "default-on", ""},
		"active low":   {"1\n", "[none] timer\n", Output{ActiveLow: true}, "1", "1", "0", "none", "none", ""},
	} {
		t.Run(what, func(t *testing.T) {
			const name = "beaglebone:green:usr3"
			root := ledTree(t, name, map[string]string{"brightness": "7\n", "max_brightness": c.max, "trigger": c.trigger})
			h := &Hardware{LEDs: root}
			c.out.Pin = "led:" + name
			p, err := h.OpenOutput(c.out)
			if err != nil {
				t.Fatal(err)
			}
			check := func(when, brightness, trigger string, on bool) {
				t.Helper()
				if s := ledFile(t, root, name, "brightness"); s != brightness {
					t.Errorf("%s: brightness %s, want %s", when, s, brightness)
				}
				if s := ledFile(t, root, name, "trigger"); s != trigger {
					t.Errorf("%s: trigger %s, want %s", when, s, trigger)
				}
				if got, err := p.Get(); err != nil || got != on {
					t.Errorf("%s: Get %v, %v", when, got, err)
				}
			}
			check("open", c.safe, c.during, c.out.Safe)
			if err := p.Set(true); err != nil {
				t.Error(err)
			}
			check("on", c.on, c.during, true)
			if err := p.Set(false); err != nil {
				t.Error(err)
			}
			check("off", c.off, c.during, false)
			if err := p.Close(); err != nil {
				t.Error(err)
			}
			check("closed", c.off, c.after, false)
		})
	}
}

func TestLEDWithoutTriggers(t *testing.T) {
	root := ledTree(t, "x", map[string]string{"brightness": "0", "max_brightness": "1"})
	l, err := openLED(root, "x", Output{})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(root, "x", "trigger")); err == nil {
		t.Error("made a trigger")
	}
}

func TestLEDRefused(t *testing.T) {
	good := map[string]string{"brightness": "0", "max_brightness": "1", "trigger": "[none]"}
	without := func(file string) map[string]string {
		m := make(map[string]string)
		for k, v := range good {
			if k != file {
				m[k] = v
			}
		}
		return m
	}
	for what, c := range map[string]struct {
		led   string
		files map[string]string
		is    error
		says  string
	}{
		"no such LED":   {"PWR", good, ErrNoPin, "led:PWR does not exist, there are ACT"},
		"no brightness": {"ACT", without("brightness"), ErrNoPin, "ACT"},
		"no maximum":    {"ACT", without("max_brightness"), ErrNoPin, "ACT"},
		"bad maximum":   {"ACT", map[string]string{"brightness": "0", "max_brightness": "bright", "trigger": "[none]"}, nil, `max_brightness is "bright"`},
		"zero maximum":  {"ACT", map[string]string{"brightness": "0", "max_brightness": "0", "trigger": "[none]"}, nil, `max_brightness is "0"`},
	} {
		t.Run(what, func(t *testing.T) {
			h := &Hardware{LEDs: ledTree(t, "ACT", c.files)}
			p, err := h.OpenOutput(Output{Pin: "led:" + c.led})
			if p != nil || err == nil || (c.is != nil && !errors.Is(err, c.is)) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, %v", p, err)
			}
		})
	}
	h := &Hardware{LEDs: filepath.Join(t.TempDir(), "none")}
	if _, err := h.OpenOutput(Output{Pin: "led:ACT"}); !errors.Is(err, ErrNoPin) || !strings.Contains(err.Error(), "there are none") {
		t.Error(err)
	}
	err := ledError("/", "ACT", &os.PathError{Op: "open", Path: "/sys/class/leds/ACT/brightness", Err: os.ErrPermission})
	if !errors.Is(err, ErrPermission) || !strings.Contains(err.Error(), "udev") {
		t.Error(err)
	}
}

// TestLEDVanishes: the LED goes away while it is in use, and comes back with another trigger.
func TestLEDVanishes(t *testing.T) {
	root := ledTree(t, "ACT", map[string]string{"brightness": "0", "max_brightness": "1", "trigger": "none [timer]"})
	b := Open([]Output{{Name: "x", Pin: "led:ACT"}}, &Hardware{LEDs: root}, nil, nil)
	defer b.Close()
	mustSet(t, b, "x", true)
	if err := os.Rename(filepath.Join(root, "ACT"), filepath.Join(root, "gone")); err != nil {
		t.Fatal(err)
	}
	r, err := b.Set("x", false, 0)
	if err == nil || r.Known || !strings.HasPrefix(err.Error(), "gpio: output x: pin led:ACT: set off: open ") {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := os.Stat(filepath.Join(root, "ACT")); err == nil {
		t.Error("the LED was made up")
	}
}

// TestTriggerOfAKilledProcess: an LED that a process held when it was killed gets back what it showed before that.
func TestTriggerOfAKilledProcess(t *testing.T) {
	for found, want := range map[string]string{"[none] timer mmc0\n": "mmc0", "none [timer] mmc0\n": "timer"} {
		root := ledTree(t, "ACT", map[string]string{"brightness": "1", "max_brightness": "1", "trigger": found})
		if err := Safe([]Output{{Name: "act", Pin: "led:ACT", Trigger: "mmc0"}}, &Hardware{LEDs: root, Sim: NewSim()}); err != nil {
			t.Fatal(err)
		}
		if got := ledFile(t, root, "ACT", "trigger"); got != want {
			t.Errorf("%s: trigger %s, want %s", found, got, want)
		}
		if got := ledFile(t, root, "ACT", "brightness"); got != "0" {
			t.Errorf("brightness %s", got)
		}
	}
}
