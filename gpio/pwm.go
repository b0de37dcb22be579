package gpio

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// pwmPeriod is what a channel is set to, in nanoseconds: 1 kHz, which no eye sees flicker and no MOSFET minds.
const pwmPeriod = 1_000_000

// pwm is a channel of a PWM chip of the kernel, a folder of one-line files:
//
//	period      of the wave, in nanoseconds
//	duty_cycle  how much of it the pin is high, never more than period
//	enable      0 or 1
//
// A channel has its folder once its number was written to export of the chip. It is left exported, and running with its
// safe level, at the end: to take it back would leave the pin to the driver's mood.
//
// Source: Documentation/driver-api/pwm.rst and Documentation/ABI/testing/sysfs-class-pwm of the kernel.
type pwm struct {
	dir       string
	activeLow bool
}

// PWMChip is one chip that makes PWM.
type PWMChip struct {
	Name     string // of its device, such as 3f20c000.pwm; pwmchip0 changes with the kernel
	Channels int
	path     string
}

// PWMChips lists the PWM chips of this machine.
func PWMChips() []PWMChip { return pwmChipsIn("/sys/class/pwm") }

func pwmChipsIn(root string) []PWMChip {
	paths, _ := filepath.Glob(filepath.Join(root, "pwmchip*")) // the pattern is good
	var all []PWMChip
	for _, p := range paths {
		c := PWMChip{Name: filepath.Base(p), path: p}
		if device, err := os.Readlink(filepath.Join(p, "device")); err == nil {
			c.Name = filepath.Base(device)
		}
		n, err := os.ReadFile(filepath.Join(p, "npwm"))
		if err != nil {
			continue // it has just gone
		}
		c.Channels, _ = strconv.Atoi(strings.TrimSpace(string(n)))
		all = append(all, c)
	}
	return all
}

// openPWM exports a channel if need be and starts it with the safe level.
func openPWM(root, chip string, channel int, o Output) (*pwm, error) {
	path, err := findPWM(root, chip, channel, o.Pin)
	if err != nil {
		return nil, err
	}
	p := &pwm{dir: filepath.Join(path, "pwm"+strconv.Itoa(channel)), activeLow: o.ActiveLow}
	if err := p.start(path, channel, o.Safe); err != nil {
		return nil, pwmError(o.Pin, err)
	}
	return p, nil
}

// findPWM gives the folder of the chip that has a channel.
func findPWM(root, chip string, channel int, pin string) (string, error) {
	all := pwmChipsIn(root)
	i := slices.IndexFunc(all, func(c PWMChip) bool { return c.Name == chip })
	switch {
	case len(all) == 0:
		return "", fmt.Errorf("%w: %s: this machine has no PWM chip (on a Raspberry Pi, dtoverlay=pwm makes one)", ErrNoPin, pin)
	case i < 0:
		return "", fmt.Errorf("%w: %s: no PWM chip has that name, there is %s", ErrNoPin, pin, pwmNames(all))
	case channel >= all[i].Channels:
		return "", fmt.Errorf("%w: %s: the chip has %d channels, counted from 0", ErrNoPin, pin, all[i].Channels)
	}
	return all[i].path, nil
}

func pwmNames(all []PWMChip) string {
	names := make([]string, len(all))
	for i, c := range all {
		names[i] = c.Name
	}
	return strings.Join(names, ", ")
}

// start brings a channel to its safe level. The kernel refuses a duty cycle longer than the period at every moment, and any
// without a period.
func (p *pwm) start(chip string, channel int, safe bool) error {
	if _, err := os.Stat(p.dir); errors.Is(err, fs.ErrNotExist) {
		if err := writeFile(filepath.Join(chip, "export"), strconv.Itoa(channel)); err != nil {
			return err
		}
	}
	period, err := p.number("period")
	if err != nil {
		return err
	}
	if period > 0 {
		if err := p.write("duty_cycle", 0); err != nil {
			return err
		}
	}
	if err := p.write("period", pwmPeriod); err != nil {
		return err
	}
	if err := p.Set(safe); err != nil {
		return err
	}
	return p.write("enable", 1)
}

func (p *pwm) Set(on bool) error {
	if on {
		return p.SetLevel(full)
	}
	return p.SetLevel(0)
}

func (p *pwm) Get() (bool, error) {
	percent, err := p.Level()
	return percent > 0, err
}

// Dims is what PWM is for.
func (p *pwm) Dims() bool { return true }

func (p *pwm) SetLevel(percent int) error {
	n := toSteps(percent, pwmPeriod)
	if p.activeLow {
		n = pwmPeriod - n
	}
	return p.write("duty_cycle", n)
}

// Level reads the wave back. A channel that somebody has stopped or given another period is one that failed: what the pin
// does then is not known.
func (p *pwm) Level() (int, error) {
	var v [3]int
	for i, file := range []string{"enable", "period", "duty_cycle"} {
		var err error
		if v[i], err = p.number(file); err != nil {
			return 0, err
		}
	}
	if v[0] != 1 || v[1] != pwmPeriod {
		return 0, fmt.Errorf("somebody else uses the channel: enable is %d, period is %d", v[0], v[1])
	}
	n := v[2]
	if p.activeLow {
		n = pwmPeriod - n
	}
	return toPercent(n, pwmPeriod), nil
}

// Close leaves the channel running with the level it has.
func (p *pwm) Close() error { return nil }

func (p *pwm) number(file string) (int, error) {
	b, err := os.ReadFile(filepath.Join(p.dir, file))
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return 0, fmt.Errorf("%s is %q", file, b)
	}
	return n, nil
}

func (p *pwm) write(file string, n int) error {
	return writeFile(filepath.Join(p.dir, file), strconv.Itoa(n))
}

// writeFile writes to a file that is there. It does not create one: that would be a device that is not there.
func writeFile(path, s string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(s)
	return errors.Join(err, f.Close())
}

func pwmError(pin string, err error) error {
	switch {
	case errors.Is(err, syscall.EBUSY):
		return fmt.Errorf("%w: %s by the kernel", ErrTaken, pin)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: %s: %v; a udev rule has to let the program write there", ErrPermission, pin, err)
	}
	return fmt.Errorf("pin %s: %w", pin, err)
}

// Missing tells of outputs that need a brightness which this machine does not have as it is now. It looks, and opens nothing.
func Missing(outs []Output) []Problem { return missingIn("/sys/class/pwm", "/sys/class/leds", outs) }

func missingIn(pwms, leds string, outs []Output) []Problem {
	var all []Problem
	for _, o := range outs {
		s, err := parsePin(o.Pin)
		switch {
		case err != nil:
		case s.kind == pwmPin:
			if _, err := findPWM(pwms, s.name, s.offset, o.Pin); err != nil {
				all = append(all, Problem{Name: o.Name, Field: "pin", Msg: err.Error()})
			}
		case s.kind == ledPin && o.Kind == "pwm":
			for _, l := range ledsIn(leds) {
				if l.Name == s.name && l.Steps <= 1 {
					all = append(all, Problem{Name: o.Name, Field: "kind", Msg: o.Pin + " only switches on and off, it has no brightness"})
				}
			}
		}
	}
	return all
}
