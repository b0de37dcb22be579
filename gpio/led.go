package gpio

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// led is an LED of the kernel's LED class, a folder of one-line files:
//
//	brightness      0 is off, max_brightness as bright as it gets
//	max_brightness  1 for LEDs that only switch, 255 for most others
//	trigger         what the kernel lets it show, the one in force in brackets: none [mmc0] heartbeat
//
// Source: Documentation/leds/leds-class.rst and Documentation/ABI/testing/sysfs-class-led of the kernel.
type led struct {
	dir       string
	trigger   string // what was in force before, put back at the end; empty: nothing to put back
	steps     int    // max_brightness
	activeLow bool
}

// openLED takes the LED over from its trigger and brings it to the safe state.
func openLED(root, name string, o Output) (*led, error) {
	l := &led{dir: filepath.Join(root, name), trigger: o.Trigger, activeLow: o.ActiveLow}
	if _, err := os.Stat(l.dir); err != nil {
		return nil, ledError(root, name, err)
	}
	max, err := l.read("max_brightness")
	if err != nil {
		return nil, ledError(root, name, err)
	}
	if l.steps, err = strconv.Atoi(max); err != nil || l.steps < 1 {
		return nil, fmt.Errorf("led:%s: max_brightness is %q", name, max)
	}
	if err := l.takeOver(); err != nil {
		return nil, ledError(root, name, err)
	}
	if err := l.Set(o.Safe); err != nil {
		_ = l.Close()
		return nil, ledError(root, name, err)
	}
	return l, nil
}

// takeOver sets the trigger to none. An LED without triggers has no such file.
func (l *led) takeOver() error {
	triggers, err := l.read("trigger")
	if errors.Is(err, fs.ErrNotExist) {
		l.trigger = ""
		return nil
	}
	if err != nil {
		return err
	}
	for _, t := range strings.Fields(triggers) {
		if len(t) > 2 && t[0] == '[' && t[len(t)-1] == ']' && t != "[none]" {
			l.trigger = t[1 : len(t)-1]
		}
	}
	return l.write("trigger", "none")
}

func (l *led) Set(on bool) error {
	if on {
		return l.SetLevel(full)
	}
	return l.SetLevel(0)
}

// Dims tells the LEDs that have a brightness from those that only switch.
func (l *led) Dims() bool { return l.steps > 1 }

func (l *led) SetLevel(percent int) error {
	n := toSteps(percent, l.steps)
	if l.activeLow {
		n = l.steps - n
	}
	return l.write("brightness", strconv.Itoa(n))
}

func (l *led) Get() (bool, error) {
	percent, err := l.Level()
	return percent > 0, err
}

func (l *led) Level() (int, error) {
	s, err := l.read("brightness")
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0, fmt.Errorf("brightness is %q", s)
	}
	if l.activeLow {
		n = l.steps - n
	}
	return toPercent(n, l.steps), nil
}

// Close gives the LED back to the trigger it had.
func (l *led) Close() error {
	if l.trigger == "" {
		return nil
	}
	return l.write("trigger", l.trigger)
}

func (l *led) read(file string) (string, error) {
	b, err := os.ReadFile(filepath.Join(l.dir, file))
	return strings.TrimSpace(string(b)), err
}

func (l *led) write(file, s string) error { return writeFile(filepath.Join(l.dir, file), s) }

// ledError says in the words of somebody who looks at the board what is wrong.
func ledError(root, name string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		have := "there are none in " + root
		if entries, _ := os.ReadDir(root); len(entries) > 0 {
			names := make([]string, len(entries))
			for i, e := range entries {
				names[i] = e.Name()
			}
			have = "there are " + strings.Join(names, ", ")
		}
		return fmt.Errorf("%w: led:%s does not exist, %s", ErrNoPin, name, have)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: led:%s: %v; a udev rule has to let the program write there", ErrPermission, name, err)
	}
	return fmt.Errorf("led:%s: %w", name, err)
}
