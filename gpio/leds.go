package gpio

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// LED is an LED of the kernel's LED class.
type LED struct {
	Name    string // a configuration writes it led:NAME
	Steps   int    // of brightness; 1: it only switches
	Trigger string // what the kernel lets it show now; none or empty: nothing
}

// LEDs lists those of this machine.
func LEDs() []LED { return ledsIn("/sys/class/leds") }

func ledsIn(root string) []LED {
	entries, _ := os.ReadDir(root) // no folder, no LEDs
	var all []LED
	for _, e := range entries {
		file := func(name string) string {
			b, _ := os.ReadFile(filepath.Join(root, e.Name(), name)) // one that goes away meanwhile has none
			return strings.TrimSpace(string(b))
		}
		l := LED{Name: e.Name()}
		l.Steps, _ = strconv.Atoi(file("max_brightness"))
		if _, rest, ok := strings.Cut(file("trigger"), "["); ok {
			l.Trigger, _, _ = strings.Cut(rest, "]")
		}
		all = append(all, l)
	}
	return all
}
