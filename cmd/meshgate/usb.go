package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// machine is where the kernel shows its ports. Nothing is opened to list them: opening a tty moves its modem lines, and on
// some boards resets what is behind it.
type machine struct {
	sys, dev, proc, locks string // folders; tests have their own
}

func thisMachine() machine { return machine{"/sys", "/dev", "/proc", "/run/lock"} }

// usbPort is a serial port and what is known of it without opening it.
type usbPort struct {
	Path      string `json:"path"`
	ByID      string `json:"by_id,omitempty"`     // the name that stays when ports change places
	Vendor    string `json:"vendor,omitempty"`    // USB identity, hex; "" for a port that is on no USB
	Product   string `json:"product,omitempty"`   //
	Name      string `json:"name,omitempty"`      // what the device calls itself
	Serial    string `json:"serial,omitempty"`    //
	Interface *int   `json:"interface,omitempty"` // of a device with several ports
}

// usbID gives the identity as lsusb does.
func (p usbPort) usbID() string {
	if p.Vendor == "" {
		return ""
	}
	return p.Vendor + ":" + p.Product
}

// The adapter of a manager: FTDI's with four ports, the API on the last.
const (
	ftdi         = "0403"
	ftdiQuad     = "6011"
	apiInterface = 3
)

// rank orders the ports by how likely a manager is behind them; candidate is false for those that are not to be asked at
// all: what is on no USB may be a console, and a modem of class CDC may be anything that resets when it is opened.
func (p usbPort) rank() (rank int, candidate bool) {
	api := p.Interface != nil && *p.Interface == apiInterface
	switch {
	case p.Vendor == "" || !strings.HasPrefix(filepath.Base(p.Path), "ttyUSB"):
		return 3, false
	case p.Vendor == ftdi && p.Product == ftdiQuad && api:
		return 0, true
	case p.Vendor == ftdi:
		return 1, true
	}
	return 2, true
}

// list gives the serial ports there are, the likeliest first. One that goes away meanwhile is left out.
func (m machine) list() ([]usbPort, error) {
	entries, err := os.ReadDir(filepath.Join(m.sys, "class", "tty"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the serial ports cannot be listed: %w", err)
	}
	names := m.byID()
	var all []usbPort
	for _, e := range entries {
		if p, ok := m.port(e.Name()); ok {
			p.ByID = names[e.Name()]
			all = append(all, p)
		}
	}
	slices.SortStableFunc(all, func(a, b usbPort) int {
		rankA, _ := a.rank()
		rankB, _ := b.rank()
		return cmp.Or(cmp.Compare(rankA, rankB), cmp.Compare(len(a.Path), len(b.Path)), cmp.Compare(a.Path, b.Path))
	})
	return all, nil
}

// port looks at one tty; not ok for those without hardware.
func (m machine) port(name string) (usbPort, bool) {
	p := usbPort{Path: filepath.Join(m.dev, name)}
	base := filepath.Join(m.sys, "class", "tty", name)
	dir, err := filepath.EvalSymlinks(filepath.Join(base, "device"))
	if err != nil || word(base, "type") == "0" { // 0: a UART that the driver has room for, and that is not there
		return p, false
	}
	top, err := filepath.EvalSymlinks(m.sys)
	if err != nil {
		return p, false
	}
	for ; dir != top && dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if n, err := strconv.ParseUint(word(dir, "bInterfaceNumber"), 16, 8); err == nil {
			number := int(n)
			p.Interface = &number
		}
		if v := word(dir, "idVendor"); v != "" {
			p.Vendor, p.Product = strings.ToLower(v), strings.ToLower(word(dir, "idProduct"))
			p.Name = strings.TrimSpace(word(dir, "manufacturer") + " " + word(dir, "product"))
			p.Serial = word(dir, "serial")
			break
		}
	}
	return p, true
}

// word reads a small file; "" when it is not there.
func word(dir, name string) string {
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// byID gives the lasting names that udev has made, by the name of the tty.
func (m machine) byID() map[string]string {
	dir := filepath.Join(m.dev, "serial", "by-id")
	names := map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return names
	}
	for _, e := range entries {
		link := filepath.Join(dir, e.Name())
		if target, err := os.Readlink(link); err == nil {
			names[filepath.Base(target)] = link
		}
	}
	return names
}

// user says who has a port open, "" when nobody is known to. It opens the port only when no process that we may look at has
// it open and nobody has left the lock file that modem programs use.
func (m machine) user(path string) (string, error) {
	device, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", portError(path, err)
	}
	if who := m.opener(device); who != "" {
		return who, nil
	}
	if pid, err := strconv.Atoi(word(m.locks, "LCK.."+filepath.Base(path))); err == nil && word(m.proc, fmt.Sprint(pid)+"/comm") != "" {
		return m.process(pid), nil
	}
	f, err := claim(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if exclusive, err := unix.IoctlGetInt(int(f.Fd()), unix.TIOCGEXCL); err == nil && exclusive != 0 {
		return "another program", nil // root could open it all the same
	}
	return "", nil
}

// opener finds a process that has the device open, among those that this user may look at.
func (m machine) opener(device string) string {
	fds, err := filepath.Glob(filepath.Join(m.proc, "[0-9]*", "fd", "*"))
	if err != nil {
		return ""
	}
	for _, fd := range fds {
		if target, err := os.Readlink(fd); err == nil && target == device {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(fd)))) // the glob says that it is a number
			return m.process(pid)
		}
	}
	return ""
}

func (m machine) process(pid int) string {
	return fmt.Sprintf("%s (process %d)", cmp.Or(word(m.proc, fmt.Sprint(pid)+"/comm"), "a program"), pid)
}
