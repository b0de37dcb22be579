package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"go.bug.st/serial"
	"golang.org/x/sys/unix"

	"github.com/meshgate/meshgate/smartmesh/mux"
	"github.com/meshgate/meshgate/smartmesh/sim"
)

var errInUse = errors.New("another program uses the port")

// ports opens what a manager's port names: a device path, auto, auto:MAC, tcp://HOST:PORT,
// mux://HOST:PORT or sim:. A simulated manager lives on while its port is closed, as a real one does.
type ports struct {
	log  *slog.Logger
	ctx  context.Context // of the simulators
	stop context.CancelFunc
	wg   sync.WaitGroup

	machine machine
	finding sync.Mutex // held while the port of auto is looked for

	mu   sync.Mutex
	sims map[string]*sim.Manager
}

func newPorts(log *slog.Logger) *ports {
	ctx, stop := context.WithCancel(context.Background())
	return &ports{log: log, ctx: ctx, stop: stop, machine: thisMachine(), sims: map[string]*sim.Manager{}}
}

// close ends the simulators.
func (p *ports) close() {
	p.stop()
	p.wg.Wait()
}

func (p *ports) open(ctx context.Context, port string) (io.ReadWriteCloser, error) {
	switch {
	case strings.HasPrefix(port, "sim:"):
		return p.openSim(port)
	case strings.HasPrefix(port, "tcp://"):
		return openTCP(ctx, strings.TrimPrefix(port, "tcp://"))
	case strings.HasPrefix(port, "mux://"):
		return openMux(ctx, strings.TrimPrefix(port, "mux://"))
	case port == "auto", strings.HasPrefix(port, "auto:"):
		return p.openAuto(ctx, port)
	}
	return openSerial(port)
}

func (p *ports) openSim(port string) (io.ReadWriteCloser, error) {
	m, err := p.sim(port)
	if err != nil {
		return nil, err
	}
	ours, theirs := net.Pipe()
	p.wg.Go(func() {
		if err := m.Serve(p.ctx, theirs); err != nil {
			p.log.Debug("the simulated port is closed", "error", err)
		}
	})
	return ours, nil
}

// sim gives the simulated manager of a URL, started at its first use.
func (p *ports) sim(port string) (*sim.Manager, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if m := p.sims[port]; m != nil {
		return m, nil
	}
	cfg, err := sim.ParseURL(port)
	if err != nil {
		return nil, err
	}
	m := sim.New(cfg, p.log)
	p.sims[port] = m
	p.wg.Go(func() { m.Run(p.ctx) })
	return m, nil
}

// openTCP connects to serial bytes over TCP, as ser2net gives them. Keep-alives find a host that
// has gone within half a minute also when nothing is sent.
func openTCP(ctx context.Context, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: 10 * time.Second, KeepAliveConfig: keepAlive()}
	return d.DialContext(ctx, "tcp", addr)
}

func keepAlive() net.KeepAliveConfig {
	return net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}
}

// openMux connects to a Serial Mux, ours or the vendor's.
func openMux(ctx context.Context, addr string) (io.ReadWriteCloser, error) {
	conn, err := openTCP(ctx, addr)
	if err != nil {
		return nil, err
	}
	return mux.Open(ctx, conn, mux.DefaultSecret)
}

// openSerial opens a tty as the manager's API port wants it (serial.md, section 1): 115200 8N1, no
// flow control, RTS off, DTR on, exclusive. A pty has no modem lines and is taken without.
func openSerial(path string) (io.ReadWriteCloser, error) {
	lock, err := claim(path)
	if err != nil {
		return nil, err
	}
	return openLocked(path, lock)
}

// openLocked is openSerial with the lock, which belongs to the port, also when an error is returned.
func openLocked(path string, lock *os.File) (io.ReadWriteCloser, error) {
	port, err := serial.Open(path, &serial.Mode{BaudRate: 115200, DataBits: 8, Parity: serial.NoParity, StopBits: serial.OneStopBit})
	if err != nil {
		lock.Close()
		return nil, portError(path, err)
	}
	if err := modemLines(port); err != nil {
		port.Close()
		lock.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return heldPort{port, lock}, nil
}

// heldPort is an open port together with the lock on it.
type heldPort struct {
	serial.Port
	lock *os.File
}

func (p heldPort) Close() error {
	defer p.lock.Close()
	return p.Port.Close()
}

func modemLines(port serial.Port) error {
	for _, err := range []error{port.SetRTS(false), port.SetDTR(true)} {
		if err != nil && !errors.Is(err, unix.ENOTTY) && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("modem lines: %w", err)
		}
	}
	return nil
}

// claim takes the lock that picocom, minicom and pyserial respect too: the kernel's own exclusive
// mode, which the library sets, lets root pass.
func claim(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, portError(path, err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); errors.Is(err, unix.EWOULDBLOCK) {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, errInUse)
	}
	return f, nil
}

// portError says what a person can do about a port that does not open.
func portError(path string, err error) error {
	var pe *serial.PortError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s is not there: is the manager plugged in?", path)
	case errors.As(err, &pe) && pe.Code() == serial.PortNotFound:
		return fmt.Errorf("%s is not there: is the manager plugged in?", path)
	case errors.As(err, &pe) && pe.Code() == serial.PermissionDenied, errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s may not be opened: the user has to be in the group that owns it (dialout as a rule)", path)
	case errors.As(err, &pe) && pe.Code() == serial.PortBusy, errors.Is(err, unix.EBUSY):
		return fmt.Errorf("%s: %w", path, errInUse)
	case errors.As(err, &pe) && pe.Code() == serial.InvalidSerialPort:
		return fmt.Errorf("%s is no serial port", path)
	}
	return fmt.Errorf("%s: %w", path, err)
}
