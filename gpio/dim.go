package gpio

import "fmt"

// dims gives the pin as one that has a brightness, nil when it has none.
func dims(p Pin) Dimmer {
	if d, ok := p.(Dimmer); ok && d.Dims() {
		return d
	}
	return nil
}

// setAndRead sets a pin, with a brightness of percent if it is to be on and has one, and gives the brightness that it reads
// then: 0 or 100 of a pin that has none. A level that is not quite what was asked is the nearest that the pin has.
func setAndRead(p Pin, on bool, percent int) (level int, err error) {
	d := dims(p)
	switch {
	case d != nil && on:
		err = d.SetLevel(percent)
	default:
		err = p.Set(on)
	}
	if err != nil {
		return 0, fmt.Errorf("set %s: %w", word(on), err)
	}
	got, level, err := readPin(p)
	if err != nil {
		return 0, fmt.Errorf("read back: %w", err)
	}
	if got != on {
		return 0, fmt.Errorf("was set %s but reads %s", word(on), word(got))
	}
	return level, nil
}

// readPin reads whether a pin is on, and how bright.
func readPin(p Pin) (on bool, level int, err error) {
	if d := dims(p); d != nil {
		level, err = d.Level()
		return level > 0, level, err
	}
	on, err = p.Get()
	if on {
		level = full
	}
	return on, level, err
}

// toSteps turns percent into one of steps equal steps, of which only 0 is off.
func toSteps(percent, steps int) int {
	n := (percent*steps + full/2) / full
	if percent > 0 {
		n = max(n, 1)
	}
	return n
}

// toPercent is the way back; what is on is at least 1 percent.
func toPercent(n, steps int) int {
	percent := (n*full + steps/2) / steps
	if n > 0 {
		percent = max(percent, 1)
	}
	return percent
}
