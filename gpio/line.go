package gpio

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"periph.io/x/conn/v3/gpio"
	"periph.io/x/host/v3/gpioioctl"
)

// edgeWait is how long one wait for an edge lasts. periph wants a finite time; when it is over the level is read again, for
// older kernels (6.1) do not wake who waits on a chip that is taken away.
const edgeWait = 5 * time.Second

// lineSet is what is used of gpioioctl.LineSet, for one line.
type lineSet interface {
	Out(bits, mask gpio.GPIOValue) error
	Read(mask gpio.GPIOValue) (gpio.GPIOValue, error)
	WaitForEdge(timeout time.Duration) (int, gpio.Edge, error)
	Halt() error
	Close() error
}

func (c *chips) openOutputLine(s pinSpec, o Output) (Pin, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f, err := c.find(s, o.Pin)
	if err != nil {
		return nil, err
	}
	l := &outputLine{activeLow: o.ActiveLow}
	if f.byName {
		ls, err := f.chip.LineSet(gpioioctl.LineOutput, gpio.NoEdge, gpio.PullNoChange, f.line.Name())
		if err != nil {
			return nil, lineError(o.Pin, f.chip.Path(), f.line.Number(), err)
		}
		l.ls = ls
	} else {
		l.ls = &nameless{line: f.line, chip: f.chip.Path()}
	}
	if err := l.Set(o.Safe); err != nil {
		_ = l.Close()
		return nil, lineError(o.Pin, f.chip.Path(), f.line.Number(), err)
	}
	return l, nil
}

// outputLine is a line as an output.
type outputLine struct {
	ls        lineSet
	activeLow bool
}

func (l *outputLine) Set(on bool) error {
	var bits gpio.GPIOValue
	if on != l.activeLow {
		bits = 1
	}
	return l.ls.Out(bits, 1)
}

func (l *outputLine) Get() (bool, error) {
	bits, err := l.ls.Read(1)
	return (bits&1 == 1) != l.activeLow, err
}

func (l *outputLine) Close() error { return l.ls.Close() }

// nameless drives a line that a LineSet cannot name, through gpioioctl.GPIOLine. That type turns an output into an input
// when it is read, so the level last driven stands for what it reads; it works again after an error only once closed; and it
// takes an error of reading for a low level, so the kernel is asked before whether the line is still held.
type nameless struct {
	line  *gpioioctl.GPIOLine
	chip  string // its path
	input bool
	bits  gpio.GPIOValue
}

func (n *nameless) Out(bits, _ gpio.GPIOValue) error {
	if err := n.line.Out(bits&1 == 1); err != nil {
		n.line.Close()
		return err
	}
	n.bits = bits
	return nil
}

func (n *nameless) Read(gpio.GPIOValue) (gpio.GPIOValue, error) {
	if l, err := readLine(n.chip, n.line.Number()); err != nil || !l.Used {
		return 0, syscall.ENODEV // the chip has gone, or another one has its path
	}
	switch {
	case !n.input:
		return n.bits, nil
	case bool(n.line.Read()):
		return 1, nil
	}
	return 0, nil
}

func (n *nameless) WaitForEdge(timeout time.Duration) (int, gpio.Edge, error) {
	if !n.line.WaitForEdge(timeout) { // it does not say whether the time was over; inputLine.run looks at the clock
		return 0, gpio.NoEdge, os.ErrDeadlineExceeded
	}
	return 0, gpio.NoEdge, nil // nor which edge it was: the level is read
}

func (n *nameless) Halt() error  { return n.line.Halt() }
func (n *nameless) Close() error { n.line.Close(); return nil }

func parsePull(s string) (gpio.Pull, error) {
	switch s {
	case "", "none":
		return gpio.PullNoChange, nil
	case "up":
		return gpio.PullUp, nil
	case "down":
		return gpio.PullDown, nil
	}
	return gpio.PullNoChange, fmt.Errorf("%q is neither up, down nor none", s)
}

func (c *chips) openInputLine(s pinSpec, in Input, edge func(bool, time.Time)) (io.Closer, error) {
	pull, err := parsePull(in.Pull)
	if err != nil {
		return nil, fmt.Errorf("pull: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	f, err := c.find(s, in.Pin)
	if err != nil {
		return nil, err
	}
	var ls lineSet
	if f.byName {
		ls, err = f.chip.LineSet(gpioioctl.LineInput, gpio.BothEdges, pull, f.line.Name())
	} else if err = f.line.In(pull, gpio.BothEdges); err == nil {
		ls = &nameless{line: f.line, chip: f.chip.Path(), input: true}
	} else {
		f.line.Close()
	}
	if err != nil {
		return nil, lineError(in.Pin, f.chip.Path(), f.line.Number(), err)
	}
	l, err := watchLine(ls, in, edge)
	if err != nil {
		return nil, err
	}
	return l, nil
}

// inputLine is a line whose edges are watched.
type inputLine struct {
	ls   lineSet
	in   Input
	edge func(bool, time.Time)
	quit atomic.Bool
	done chan struct{}
	lost chan error // one at most
}

func watchLine(ls lineSet, in Input, edge func(bool, time.Time)) (*inputLine, error) {
	l := &inputLine{ls: ls, in: in, edge: edge, done: make(chan struct{}), lost: make(chan error, 1)}
	if err := l.level(); err != nil {
		_ = ls.Close()
		return nil, lineError(in.Pin, "", 0, err)
	}
	// A wait that is over before it begins: it makes the file that Halt needs, here, where nobody calls Halt yet.
	if err := l.wait(time.Nanosecond); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		_ = ls.Close()
		return nil, lineError(in.Pin, "", 0, err)
	}
	go l.run()
	return l, nil
}

func (l *inputLine) run() {
	defer close(l.done)
	for {
		began := time.Now()
		err := caught(func() error { return l.wait(edgeWait) })
		if l.quit.Load() {
			return
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			if time.Since(began) < edgeWait/2 {
				err = errors.New("waiting for an edge does not wait")
			} else {
				err = l.level()
			}
		}
		if err != nil {
			l.lost <- lineError(l.in.Pin, "", 0, err)
			return
		}
	}
}

// wait passes on one edge, stamped when the program woke: periph drops the kernel's time.
func (l *inputLine) wait(timeout time.Duration) error {
	_, e, err := l.ls.WaitForEdge(timeout)
	at := time.Now()
	if err != nil {
		return err
	}
	if e == gpio.NoEdge {
		return l.level()
	}
	l.edge((e == gpio.RisingEdge) != l.in.ActiveLow, at)
	return nil
}

// level passes on what the line reads.
func (l *inputLine) level() error {
	bits, err := l.ls.Read(1)
	if err != nil {
		return err
	}
	l.edge((bits&1 == 1) != l.in.ActiveLow, time.Now())
	return nil
}

// Lost delivers the error that ended the watching.
func (l *inputLine) Lost() <-chan error { return l.lost }

// Close ends the watching and gives the line back. A wait that began just after a Halt is halted by the next one.
func (l *inputLine) Close() error {
	l.quit.Store(true)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		_ = l.ls.Halt()
		select {
		case <-l.done:
			return l.ls.Close()
		case <-tick.C:
		}
	}
}
