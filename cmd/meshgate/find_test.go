package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/meshgate/meshgate/smartmesh"
	"github.com/meshgate/meshgate/smartmesh/sim"
)

// bench is a pretended machine: a tree as the kernel shows it, and ptys as ports.
type bench struct {
	machine
	t *testing.T
}

func newBench(t *testing.T) *bench {
	dir := t.TempDir()
	b := &bench{machine{filepath.Join(dir, "sys"), filepath.Join(dir, "dev"), filepath.Join(dir, "proc"), filepath.Join(dir, "lock")}, t}
	b.write("sys/class/tty/placeholder/uevent", "")
	b.write("proc/placeholder", "")
	os.MkdirAll(filepath.Join(b.dev, "serial", "by-id"), 0o755)
	return b
}

func (b *bench) write(name, text string) {
	b.t.Helper()
	path := filepath.Join(filepath.Dir(b.sys), name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text+"\n"), 0o644); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) link(target, path string) {
	b.t.Helper()
	os.MkdirAll(filepath.Dir(path), 0o755)
	if err := os.Symlink(target, path); err != nil {
		b.t.Fatal(err)
	}
}

// usb plugs in a device; add gives it a port.
type usb struct {
	b    *bench
	path string // below sys
	id   string
}

func (b *bench) plug(path, vendor, product, name, serial string) usb {
	u := usb{b, "sys/devices/pci0000:00/usb1/" + path, strings.ReplaceAll("usb-"+name+"_"+serial, " ", "_")}
	for file, text := range map[string]string{"idVendor": vendor, "idProduct": product, "manufacturer": "Maker", "product": name, "serial": serial} {
		b.write(u.path+"/"+file, text)
	}
	return u
}

func (u usb) add(tty string, number int) {
	inter := fmt.Sprintf("%s/%s:1.%d", u.path, filepath.Base(u.path), number)
	u.b.write(inter+"/bInterfaceNumber", fmt.Sprintf("%02x", number))
	root := filepath.Dir(u.b.sys)
	u.b.write(inter+"/"+tty+"/port_number", "0")
	u.b.link(filepath.Join(root, inter, tty), filepath.Join(root, "sys/class/tty", tty, "device"))
	u.b.link("../../"+tty, filepath.Join(u.b.dev, "serial/by-id", fmt.Sprintf("%s-if%02d-port0", u.id, number)))
}

// far is the other end of a port: what it has been sent.
type far struct {
	mu  sync.Mutex
	got []byte
	tty string
}

func (f *far) bytes() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.got)
}

// wire makes a port of the machine a pty, with a simulated manager at its other end, or nothing.
func (b *bench) wire(tty string, m *sim.Manager) *far {
	b.t.Helper()
	master, slave, err := pty.Open()
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := term.MakeRaw(int(slave.Fd())); err != nil {
		b.t.Fatal(err)
	}
	f := &far{tty: slave.Name()}
	b.link(slave.Name(), filepath.Join(b.dev, tty))
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	if m != nil {
		wg.Go(func() { m.Run(ctx) })
		wg.Go(func() { m.Serve(ctx, master) })
	} else {
		wg.Go(func() {
			buf := make([]byte, 100)
			for {
				n, err := master.Read(buf)
				if err != nil {
					return
				}
				f.mu.Lock()
				f.got = append(f.got, buf[:n]...)
				f.mu.Unlock()
			}
		})
	}
	b.t.Cleanup(func() { cancel(); master.Close(); slave.Close(); wg.Wait() })
	return f
}

// quad plugs in a manager's adapter with four ports from ttyUSBn on; m answers on the last.
func (b *bench) quad(path, serial string, n int, m *sim.Manager) (others []*far) {
	u := b.plug(path, "0403", "6011", "Quad RS232-HS", serial)
	for i := range 4 {
		tty := fmt.Sprintf("ttyUSB%d", n+i)
		u.add(tty, i)
		if i < 3 {
			others = append(others, b.wire(tty, nil))
		} else {
			b.wire(tty, m)
		}
	}
	return others
}

func manager(seed int64) (*sim.Manager, string) {
	m := sim.New(sim.Config{Motes: 1, Seed: seed}, nil)
	return m, smartmesh.MAC(m.MAC()).String()
}

func TestListPorts(t *testing.T) {
	b := newBench(t)
	b.plug("1-2", "10c4", "ea60", "CP2102", "0001").add("ttyUSB0", 0)
	u := b.plug("1-1", "0403", "6011", "Quad RS232-HS", "FT1")
	for i := range 4 {
		u.add(fmt.Sprintf("ttyUSB%d", 8+i), i)
	}
	b.plug("1-3", "2341", "0043", "Arduino", "X").add("ttyACM0", 0)
	for tty, kind := range map[string]string{"ttyS0": "0", "ttyAMA0": "32"} {
		b.write("sys/devices/platform/serial/"+tty+"/x", "")
		b.link(filepath.Join(b.sys, "devices/platform/serial", tty), filepath.Join(b.sys, "class/tty", tty, "device"))
		b.write("sys/class/tty/"+tty+"/type", kind)
	}
	all, err := b.list()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range all {
		n := -1
		if p.Interface != nil {
			n = *p.Interface
		}
		_, candidate := p.rank()
		got = append(got, fmt.Sprintf("%s %s %d %s %s %v", filepath.Base(p.Path), p.usbID(), n, p.Name, filepath.Base(p.ByID), candidate))
	}
	want := []string{
		"ttyUSB11 0403:6011 3 Maker Quad RS232-HS usb-Quad_RS232-HS_FT1-if03-port0 true",
		"ttyUSB8 0403:6011 0 Maker Quad RS232-HS usb-Quad_RS232-HS_FT1-if00-port0 true",
		"ttyUSB9 0403:6011 1 Maker Quad RS232-HS usb-Quad_RS232-HS_FT1-if01-port0 true",
		"ttyUSB10 0403:6011 2 Maker Quad RS232-HS usb-Quad_RS232-HS_FT1-if02-port0 true",
		"ttyUSB0 10c4:ea60 0 Maker CP2102 usb-CP2102_0001-if00-port0 true",
		"ttyACM0 2341:0043 0 Maker Arduino usb-Arduino_X-if00-port0 false",
		"ttyAMA0  -1  . false",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if all, err := newBench(t).list(); err != nil || len(all) != 0 {
		t.Errorf("without ports: %v, %v", all, err)
	}
}

// TestPortsCommand: each port is asked, and one of the four answers.
func TestPortsCommand(t *testing.T) {
	b := newBench(t)
	m, mac := manager(1)
	b.quad("1-1", "FT1", 0, m)
	b.plug("1-3", "2341", "0043", "Arduino", "X").add("ttyACM0", 0)
	modem := b.wire("ttyACM0", nil)
	var out bytes.Buffer
	if err := listPorts(t.Context(), b.machine, &out, true, true); err != nil {
		t.Fatal(err)
	}
	var found []foundPort
	if err := json.Unmarshal(out.Bytes(), &found); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range found {
		got = append(got, filepath.Base(f.Path)+" "+f.State+" "+f.MAC)
	}
	want := "ttyUSB3 manager " + mac + ", ttyUSB0 silent , ttyUSB1 silent , ttyUSB2 silent , ttyACM0 not asked "
	if strings.Join(got, ", ") != want || found[0].Version == "" || modem.bytes() > 0 {
		t.Errorf("got  %s\nwant %s; the modem got %d bytes", got, want, modem.bytes())
	}
	out.Reset()
	if err := listPorts(t.Context(), b.machine, &out, false, false); err != nil || strings.Count(out.String(), "not asked") != 5 || !strings.Contains(out.String(), "0403:6011") {
		t.Errorf("%v\n%s", err, &out)
	}
}

// TestFind: the manager is found on the last of its four ports at once, and again where it turns up, by its address.
func TestFind(t *testing.T) {
	b := newBench(t)
	first, mac1 := manager(1)
	second, mac2 := manager(2)
	others := append(b.quad("1-1", "FT1", 0, first), b.quad("1-2", "FT2", 4, second)...)
	p := newPorts(slog.New(slog.DiscardHandler))
	defer p.close()
	p.machine = b.machine
	for port, want := range map[string]string{"auto": mac1, "auto:" + mac2: mac2, "auto:" + mac1: mac1} {
		rw, err := p.open(t.Context(), port)
		if err != nil {
			t.Fatalf("%s: %v", port, err)
		}
		s, err := smartmesh.Connect(t.Context(), rw, smartmesh.Options{})
		if err != nil {
			t.Fatalf("%s: %v", port, err)
		}
		if info, err := s.GetSystemInfo(t.Context()); err != nil || info.MAC.String() != want {
			t.Errorf("%s is %v, want %s: %v", port, info.MAC, want, err)
		}
		s.Close()
	}
	for i, f := range others {
		if f.bytes() > 0 {
			t.Errorf("other port %d has been sent %d bytes", i, f.bytes())
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := b.find(ctx, "00-17-0d-00-00-00-00-00"); ctx.Err() == nil || err == nil {
		t.Errorf("an address that is not there: %v", err)
	}
}

// usages are the ways in which ttyUSB3 may be in use.
var usages = map[string]func(b *bench, tty string){
	"lock": func(b *bench, tty string) {
		f, err := claim(filepath.Join(b.dev, "ttyUSB3"))
		if err != nil {
			b.t.Fatal(err)
		}
		b.t.Cleanup(func() { f.Close() })
	},
	"exclusive": func(b *bench, tty string) {
		f, err := os.OpenFile(tty, os.O_RDWR|unix.O_NOCTTY, 0)
		if err != nil {
			b.t.Fatal(err)
		}
		b.t.Cleanup(func() { f.Close() })
		if err := unix.IoctlSetInt(int(f.Fd()), unix.TIOCEXCL, 0); err != nil {
			b.t.Fatal(err)
		}
	},
	"process": func(b *bench, tty string) {
		b.write("proc/4711/comm", "stargazer")
		b.link(tty, filepath.Join(b.proc, "4711", "fd", "7"))
	},
	"lock file": func(b *bench, tty string) {
		b.write("proc/4711/comm", "minicom")
		b.write("lock/LCK..ttyUSB3", "      4711")
	},
}

// TestFindInUse: a port that somebody uses is neither opened nor written to.
func TestFindInUse(t *testing.T) {
	for name, use := range usages {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.plug("1-1", "0403", "6011", "Quad RS232-HS", "FT1").add("ttyUSB3", 3)
			other := b.wire("ttyUSB3", nil)
			use(b, other.tty)
			_, err := b.find(t.Context(), "")
			if err == nil || !strings.Contains(err.Error(), "ttyUSB3 is used by ") {
				t.Errorf("got %v", err)
			}
			if other.bytes() > 0 {
				t.Errorf("it has been sent %d bytes", other.bytes())
			}
		})
	}
	b := newBench(t)
	if _, err := b.find(t.Context(), ""); err == nil || !strings.Contains(err.Error(), "is it plugged in?") {
		t.Errorf("without ports: %v", err)
	}
}
