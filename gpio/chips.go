package gpio

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"periph.io/x/conn/v3/driver"
	"periph.io/x/conn/v3/driver/driverreg"
	"periph.io/x/conn/v3/gpio/gpioreg"
	"periph.io/x/host/v3/gpioioctl"
)

// maxScans bounds how often the chips are looked for again: see scan.
const maxScans = 200

// chips finds lines. periph looks for chips once, at driverreg.Init. Chips that come and go are found by running its driver
// again whenever the devices have changed.
type chips struct {
	dev string

	mu     sync.Mutex
	driver driver.Impl
	first  int      // gpioioctl.Chips[first:] are those of the last look
	seen   []device // what was there then
	scans  int
}

// device is one /dev/gpiochipN.
type device struct {
	path  string
	info  os.FileInfo
	link  bool
	opens error // nil: it can be opened
}

func (c *chips) devices() []device {
	paths, _ := filepath.Glob(filepath.Join(c.dev, "gpiochip*")) // the pattern is good
	var found []device
	for _, p := range paths {
		info, err := os.Stat(p)
		if err != nil {
			continue
		}
		d := device{path: p, info: info}
		if l, err := os.Lstat(p); err == nil {
			d.link = l.Mode()&fs.ModeSymlink != 0
		}
		f, err := os.Open(p)
		if err == nil {
			_ = f.Close()
		}
		d.opens = err
		found = append(found, d)
	}
	return found
}

func same(a, b device) bool {
	return a.path == b.path && os.SameFile(a.info, b.info) && (a.opens == nil) == (b.opens == nil)
}

// start is the first look.
func (c *chips) start() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen = c.devices()
	state, err := driverreg.Init()
	keepStdin()
	if err != nil || state == nil {
		return
	}
	for _, d := range state.Loaded {
		c.isOurs(d)
	}
	for _, f := range append(state.Skipped, state.Failed...) {
		c.isOurs(f.D)
	}
}

func (c *chips) isOurs(d driver.Impl) {
	if d.String() == "ioctl-gpio" {
		c.driver = d
	}
}

// scan looks again if the devices have changed since. The chips of before stay in gpioioctl.Chips: they must not be closed,
// for that closes other people's descriptors, nor be forgotten, for the collector would close them. So each scan costs a
// descriptor a chip, and there is a last one. With a chip that has two names periph would close descriptors at every scan,
// so there a restart has to do.
func (c *chips) scan() {
	now := c.devices()
	if slices.EqualFunc(c.seen, now, same) || c.driver == nil || c.scans >= maxScans {
		return
	}
	if slices.ContainsFunc(now, func(d device) bool { return d.link }) {
		return
	}
	c.seen = now
	c.scans++
	for _, chip := range gpioioctl.Chips[c.first:] {
		for _, l := range chip.Lines() {
			_ = gpioreg.Unregister(l.Name()) // not all of them are registered
		}
	}
	c.first = len(gpioioctl.Chips)
	_, _ = c.driver.Init() // what it found is in Chips
}

// found is a line of a chip.
type found struct {
	chip   *gpioioctl.GPIOChip
	line   *gpioioctl.GPIOLine
	byName bool // a LineSet of its name is this line
}

// find looks a line up, with the lock held.
func (c *chips) find(s pinSpec, spec string) (found, error) {
	c.scan()
	chips := gpioioctl.Chips[min(c.first, len(gpioioctl.Chips)):]
	if len(chips) == 0 {
		return found{}, c.whyNone(spec)
	}
	all := make([]names, len(chips))
	for i, chip := range chips {
		all[i] = names{chip: chip.Name(), label: chip.Label()}
		for _, l := range chip.Lines() {
			all[i].lines = append(all[i].lines, l.Name())
		}
	}
	i, n, err := pick(all, s)
	if err != nil {
		return found{}, fmt.Errorf("%w: %s: %v%s", ErrNoPin, spec, err, c.unreadable())
	}
	line := chips[i].Lines()[n]
	return found{chips[i], line, line.Name() != "" && chips[i].ByName(line.Name()) == line}, nil
}

// names is a chip as periph knows it. A line whose name there is twice is called CHIP-NAME the second time.
type names struct {
	chip, label string
	lines       []string
}

// pick finds the one line that is meant.
func pick(all []names, s pinSpec) (chip, line int, err error) {
	var labels []string
	hits := 0
	for i, c := range all {
		labels = append(labels, c.label)
		if s.kind == chipPin && c.label == s.name {
			chip, line = i, s.offset
			hits++
		}
		for n, name := range c.lines {
			if s.kind == linePin && (name == s.name || name == c.chip+"-"+s.name) {
				chip, line = i, n
				hits++
			}
		}
	}
	switch {
	case hits == 0 && s.kind == chipPin:
		return 0, 0, fmt.Errorf("no chip has that label; there are %s", strings.Join(labels, ", "))
	case hits == 0:
		return 0, 0, fmt.Errorf("no line of %s has that name", strings.Join(labels, ", "))
	case hits > 1 && s.kind == chipPin:
		return 0, 0, fmt.Errorf("%d chips have that label", hits)
	case hits > 1:
		return 0, 0, fmt.Errorf("%d lines have that name; one of them is chip:%s/%d", hits, all[chip].label, line)
	case line >= len(all[chip].lines):
		return 0, 0, fmt.Errorf("the chip has %d lines, counted from 0", len(all[chip].lines))
	}
	return chip, line, nil
}

// whyNone says why there is no chip to look on.
func (c *chips) whyNone(spec string) error {
	if len(c.devices()) == 0 {
		return fmt.Errorf("%w, so no pin %s", ErrNoChip, spec)
	}
	if why := c.unreadable(); why != "" {
		return fmt.Errorf("%w: pin %s%s", ErrPermission, spec, why)
	}
	return fmt.Errorf("%w: pin %s: GPIO chips appeared that a restart makes usable", ErrNoPin, spec)
}

// unreadable names the chips that may not be opened, and the group that may; empty when all can be.
func (c *chips) unreadable() string {
	for _, d := range c.devices() {
		switch {
		case d.opens == nil:
		case errors.Is(d.opens, fs.ErrPermission):
			return fmt.Sprintf("; %s may not be opened: %s", d.path, whoMay(d.info))
		default:
			return fmt.Sprintf("; %v", d.opens)
		}
	}
	return ""
}

// whoMay says who has access to a device.
func whoMay(info os.FileInfo) string {
	if info.Mode().Perm()&0o060 == 0 {
		return "its group has no access; a udev rule has to give it to group gpio"
	}
	return fmt.Sprintf("the user of this program is not in group %s", groupOf(info))
}
