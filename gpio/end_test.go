package gpio

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// panicking is a machine with LEDs, and with one pin whose driver panics when it is switched off.
type panicking struct{ *Hardware }

func (m panicking) OpenOutput(o Output) (Pin, error) {
	p, err := m.Hardware.OpenOutput(o)
	if o.Name == "bad" {
		p = &badPin{Pin: p}
	}
	return p, err
}

type badPin struct {
	Pin
	on bool
}

func (p *badPin) Set(on bool) error {
	if p.on && !on {
		panic("a driver's mistake")
	}
	p.on = on
	return p.Pin.Set(on)
}

// TestPanicOfTheClock: a panic in what happens by itself (max_on here) makes the other outputs safe before the process ends.
func TestPanicOfTheClock(t *testing.T) {
	const where = "GPIO_TEST_PANICS_AT"
	if root := os.Getenv(where); root != "" {
		b := Open([]Output{{Name: "bad", Pin: "sim", MaxOn: time.Second}, {Name: "lamp", Pin: "led:lamp"}},
			panicking{&Hardware{LEDs: root, Sim: NewSim()}}, nil, nil)
		for _, name := range []string{"lamp", "bad"} {
			if _, err := b.Set(name, true, 0); err != nil {
				t.Fatal(err)
			}
		}
		select {}
	}
	root := ledTree(t, "lamp", map[string]string{"brightness": "0", "max_brightness": "1"})
	cmd := exec.Command(os.Args[0], "-test.run=^TestPanicOfTheClock$", "-test.timeout=60s")
	cmd.Env = append(os.Environ(), where+"="+root)
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "a driver's mistake") {
		t.Fatalf("%v: %s", err, out)
	}
	if got := ledFile(t, root, "lamp", "brightness"); got != "0" {
		t.Errorf("the lamp is %q: %s", got, out)
	}
}
