package gpio

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"time"
)

// Hardware is the machine that the program runs on.
type Hardware struct {
	LEDs string // the folder of LEDs, /sys/class/leds
	PWM  string // the folder of PWM chips, /sys/class/pwm
	Sim  *Sim   // the pins called sim
	chips
}

// Host returns the machine that the program runs on, after a look at its GPIO chips. There may be none: then pins that
// need one are refused, and the chips are looked for again whenever one is wanted.
//
// Call it once, early in main, before anything else opens files: on boards whose chips have two names in /dev, periph closes
// file descriptor 0 while it looks, and Host opens it again. periph reports what it meets through the standard log package.
func Host() Machine {
	h := &Hardware{LEDs: "/sys/class/leds", PWM: "/sys/class/pwm", Sim: NewSim(), chips: chips{dev: "/dev"}}
	h.start()
	return h
}

// OpenOutput opens a line, an LED, a PWM channel or a simulated pin. A pin that does not exist, is taken or may not be opened gives
// ErrNoPin (ErrNoChip), ErrTaken or ErrPermission with the details.
func (h *Hardware) OpenOutput(o Output) (Pin, error) {
	s, err := parsePin(o.Pin)
	if err != nil {
		return nil, fmt.Errorf("pin %q: %w", o.Pin, err)
	}
	switch s.kind {
	case simPin:
		return h.Sim.OpenOutput(o)
	case ledPin:
		l, err := openLED(h.LEDs, s.name, o)
		if err != nil {
			return nil, err
		}
		return l, nil
	case pwmPin:
		p, err := openPWM(h.PWM, s.name, s.offset, o)
		if err != nil {
			return nil, err
		}
		return p, nil
	}
	return h.openOutputLine(s, o)
}

// OpenInput opens a line or a simulated pin, with the same errors.
func (h *Hardware) OpenInput(in Input, edge func(on bool, at time.Time)) (io.Closer, error) {
	s, err := parsePin(in.Pin)
	if err != nil {
		return nil, fmt.Errorf("pin %q: %w", in.Pin, err)
	}
	switch s.kind {
	case simPin:
		return h.Sim.OpenInput(in, edge)
	case ledPin, pwmPin:
		return nil, fmt.Errorf("%w: %s is an LED or a PWM channel, which cannot be an input", ErrNoPin, in.Pin)
	}
	return h.openInputLine(s, in, edge)
}

// lineError turns what the kernel says about a line into what to do about it. periph hands on the text of an errno only.
func lineError(spec, chipPath string, offset int, err error) error {
	switch errno(err) {
	case syscall.EBUSY:
		by := "another program or the kernel"
		if l, err := readLine(chipPath, offset); err == nil && l.Consumer != "" {
			by = "consumer " + l.Consumer
		}
		return fmt.Errorf("%w: %s by %s", ErrTaken, spec, by)
	case syscall.EPERM, syscall.EACCES:
		return fmt.Errorf("%w: %s: %v", ErrPermission, spec, err)
	case syscall.ENODEV, syscall.ENXIO:
		return fmt.Errorf("%w: %s: its chip has gone", ErrNoPin, spec)
	}
	return fmt.Errorf("pin %s: %w", spec, err)
}

// errno finds the errno in an error, by its text if need be.
func errno(err error) syscall.Errno {
	var e syscall.Errno
	if errors.As(err, &e) {
		return e
	}
	for _, e := range []syscall.Errno{syscall.EBUSY, syscall.EPERM, syscall.EACCES, syscall.ENODEV, syscall.ENXIO} {
		if strings.HasSuffix(err.Error(), e.Error()) {
			return e
		}
	}
	return 0
}
