package gpio

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestNoChip is a PC. The folder stands for /dev.
func TestNoChip(t *testing.T) {
	h := &Hardware{chips: chips{dev: t.TempDir()}}
	for _, pin := range []string{"GPIO17", "chip:pinctrl-bcm2711/17"} {
		if _, err := h.OpenOutput(Output{Pin: pin}); !errors.Is(err, ErrNoChip) || !strings.HasPrefix(err.Error(), "no GPIO chip on this machine") {
			t.Error(err)
		}
		if _, err := h.OpenInput(Input{Pin: pin}, nil); !errors.Is(err, ErrNoChip) {
			t.Error(err)
		}
	}
	if all, err := linesIn(h.dev); all != nil || !errors.Is(err, ErrNoChip) {
		t.Error(all, err)
	}
	for _, pin := range []string{"", "chip:x", "led:"} {
		if _, err := h.OpenOutput(Output{Pin: pin}); err == nil {
			t.Errorf("%q was opened", pin)
		}
		if _, err := h.OpenInput(Input{Pin: pin}, nil); err == nil {
			t.Errorf("%q was opened", pin)
		}
	}
	if _, err := h.OpenInput(Input{Pin: "led:ACT"}, nil); !errors.Is(err, ErrNoPin) {
		t.Error(err)
	}
	if _, err := h.OpenInput(Input{Pin: "GPIO17", Pull: "sideways"}, nil); err == nil || errors.Is(err, ErrNoChip) {
		t.Error(err)
	}
}

// TestHost is whatever machine this is: sim works on every one.
func TestHost(t *testing.T) {
	h := Host()
	b := Open([]Output{{Name: "x", Pin: "sim"}, {Name: "y", Pin: "no such line"}}, h, nil, nil)
	defer b.Close()
	mustSet(t, b, "x", true)
	if _, err := b.Set("y", true, 0); !errors.Is(err, ErrNoChip) && !errors.Is(err, ErrNoPin) && !errors.Is(err, ErrPermission) {
		t.Error(err)
	}
	if _, err := h.OpenInput(Input{Name: "x", Pin: "sim"}, func(bool, time.Time) {}); err != nil {
		t.Error(err)
	}
	if _, err := h.OpenInput(Input{Name: "x", Pin: "sim"}, func(bool, time.Time) {}); !errors.Is(err, ErrTaken) {
		t.Error(err)
	}
}

// TestNotAChip: a file called like a chip is reported and does no harm.
func TestNotAChip(t *testing.T) {
	dev := t.TempDir()
	if err := os.WriteFile(filepath.Join(dev, "gpiochip0"), []byte("no chip"), 0o600); err != nil {
		t.Fatal(err)
	}
	if all, err := linesIn(dev); len(all) > 0 || err == nil || !strings.Contains(err.Error(), "gpiochip0") {
		t.Error(all, err)
	}
	c := &chips{dev: dev}
	if d := c.devices(); len(d) != 1 || d[0].opens != nil || d[0].link || !same(d[0], d[0]) {
		t.Errorf("%+v", d)
	}
	info, err := os.Stat(filepath.Join(dev, "gpiochip0"))
	if err != nil {
		t.Fatal(err)
	}
	if s := whoMay(info); !strings.Contains(s, "its group has no access") {
		t.Error(s)
	}
	if err := os.Chmod(filepath.Join(dev, "gpiochip0"), 0o660); err != nil {
		t.Fatal(err)
	}
	if info, err = os.Stat(filepath.Join(dev, "gpiochip0")); err != nil {
		t.Fatal(err)
	}
	if s := whoMay(info); s != "the user of this program is not in group "+groupOf(info) {
		t.Error(s)
	}
}

// TestLineError: periph hands on texts, not numbers.
func TestLineError(t *testing.T) {
	for _, c := range []struct {
		err  error
		is   error
		says string
	}{
		{fmt.Errorf("LineSetFromConfig: %w", errors.New(syscall.EBUSY.Error())), ErrTaken, "pin is taken: GPIO17 by another program or the kernel"},
		{errors.New(syscall.EPERM.Error()), ErrPermission, "no permission: GPIO17: operation not permitted"},
		{&os.PathError{Op: "read", Path: "gpio-lineset", Err: syscall.ENODEV}, ErrNoPin, "no such pin: GPIO17: its chip has gone"},
		{syscall.EIO, syscall.EIO, "pin GPIO17: input/output error"},
	} {
		err := lineError("GPIO17", "", 0, c.err)
		if !errors.Is(err, c.is) || err.Error() != c.says {
			t.Errorf("%v: %v", c.err, err)
		}
	}
}

func TestPick(t *testing.T) {
	// As periph names them: 2712_WAKE is on two chips, NC twice on one of them, the second of a name is renamed.
	all := []names{
		{"gpiochip0", "pinctrl-rp1", []string{"ID_SDA", "GPIO17", "2712_WAKE", ""}},
		{"gpiochip10", "gpio-brcmstb", []string{"gpiochip10-2712_WAKE", "NC", "gpiochip10-NC", "-"}},
		{"gpiochip11", "twin", []string{"A"}}, {"gpiochip12", "twin", []string{"B"}},
	}
	for pin, want := range map[string]string{
		"GPIO17":               "0 1",
		"chip:pinctrl-rp1/3":   "0 3",
		"chip:gpio-brcmstb/1":  "1 1",
		"A":                    "2 0",
		"2712_WAKE":            "2 lines have that name; one of them is chip:gpio-brcmstb/0",
		"NC":                   "2 lines have that name; one of them is chip:gpio-brcmstb/2",
		"GPIO99":               "no line of pinctrl-rp1, gpio-brcmstb, twin, twin has that name",
		"chip:pinctrl-rp1/4":   "the chip has 4 lines, counted from 0",
		"chip:gpiochip0/1":     "no chip has that label; there are pinctrl-rp1, gpio-brcmstb, twin, twin",
		"chip:twin/0":          "2 chips have that label",
		"gpiochip10-2712_WAKE": "1 0",
	} {
		s, err := parsePin(pin)
		if err != nil {
			t.Fatal(err)
		}
		chip, line, err := pick(all, s)
		got := fmt.Sprint(chip, line)
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %s, want %s", pin, got, want)
		}
	}
}

func TestNamePins(t *testing.T) {
	all := []Chip{
		{Name: "gpiochip0", Label: "a", Lines: []Line{{Offset: 0, Name: "GPIO0"}, {Offset: 1, Name: "NC"}, {Offset: 2}, {Offset: 3, Name: "led:x"}}},
		{Name: "gpiochip1", Label: "b", Lines: []Line{{Offset: 0, Name: "NC"}}},
	}
	namePins(all)
	var got []string
	for _, c := range all {
		for _, l := range c.Lines {
			got = append(got, l.Pin)
		}
	}
	if s := strings.Join(got, " "); s != "GPIO0 chip:a/1 chip:a/2 chip:a/3 chip:b/0" {
		t.Error(s)
	}
}
