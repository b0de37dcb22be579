package gpio

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
)

// Chip is a GPIO chip of this machine.
type Chip struct {
	Name  string // gpiochip0; not for configurations, it changes with the kernel
	Label string
	Path  string
	Lines []Line
}

// Line is one line of a chip as the kernel has it now.
type Line struct {
	Offset    int
	Name      string // empty: it has none
	Pin       string // how a configuration writes it: the name, or chip:LABEL/OFFSET where that is not enough
	Consumer  string // who has it, if somebody
	Used      bool   // it is taken, or of no use as GPIO
	Output    bool
	ActiveLow bool
	Pull      string // up, down, none or empty for unknown
}

// Lines lists the chips of this machine with their lines, straight from the kernel. Without any it returns ErrNoChip. The
// error names the chips that could not be read; the others are listed all the same.
func Lines() ([]Chip, error) { return linesIn("/dev") }

func linesIn(dev string) ([]Chip, error) {
	paths, _ := filepath.Glob(filepath.Join(dev, "gpiochip*"))
	if len(paths) == 0 {
		return nil, fmt.Errorf("gpio: %w", ErrNoChip)
	}
	var all []Chip
	var errs []error
	for _, p := range paths {
		chip, err := readChip(p)
		if err != nil {
			errs = append(errs, fmt.Errorf("gpio: %w", err))
			continue
		}
		if !slices.ContainsFunc(all, func(c Chip) bool { return c.Name == chip.Name }) { // a second name of the same
			all = append(all, chip)
		}
	}
	namePins(all)
	return all, errors.Join(errs...)
}

// namePins fills in Line.Pin.
func namePins(all []Chip) {
	count := make(map[string]int)
	for _, c := range all {
		for _, l := range c.Lines {
			count[l.Name]++
		}
	}
	for _, c := range all {
		for i := range c.Lines {
			l := &c.Lines[i]
			s, err := parsePin(l.Name)
			l.Pin = l.Name
			if err != nil || s.kind != linePin || count[l.Name] > 1 {
				l.Pin = fmt.Sprintf("chip:%s/%d", c.Label, l.Offset)
			}
		}
	}
}
