package gpio

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestPanicOfTheClock: a panic that follows from what happens by itself (max_on here) makes the other outputs safe before the
// process ends.
func TestPanicOfTheClock(t *testing.T) {
	const where = "GPIO_TEST_PANICS_AT"
	if root := os.Getenv(where); root != "" {
		b := Open([]Output{{Name: "bad", Pin: "sim", MaxOn: time.Second}, {Name: "lamp", Pin: "led:lamp"}},
			&Hardware{LEDs: root, Sim: NewSim()}, func(r Reading) {
				if r.Cause == ByMaxOn {
					panic("a receiver's mistake")
				}
			}, nil)
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
	if err == nil || !strings.Contains(string(out), "a receiver's mistake") {
		t.Fatalf("%v: %s", err, out)
	}
	if got := ledFile(t, root, "lamp", "brightness"); got != "0" {
		t.Errorf("the lamp is %q: %s", got, out)
	}
}
