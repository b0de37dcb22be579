package gpio

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"periph.io/x/conn/v3/gpio"
)

// fakeSet behaves as gpioioctl.LineSet does with one line: Halt ends a wait at once, and later waits wait again.
type fakeSet struct {
	mu     sync.Mutex
	high   bool
	err    error // of everything
	closed bool
	edges  chan gpio.Edge
	halt   chan struct{}
}

func newFakeSet() *fakeSet {
	return &fakeSet{edges: make(chan gpio.Edge, 16), halt: make(chan struct{}, 1)}
}

func (f *fakeSet) Out(bits, mask gpio.GPIOValue) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if mask != 1 {
		return errors.New("mask")
	}
	f.high = bits == 1
	return f.err
}

func (f *fakeSet) Read(gpio.GPIOValue) (gpio.GPIOValue, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.high {
		return 1, f.err
	}
	return 0, f.err
}

func (f *fakeSet) WaitForEdge(timeout time.Duration) (int, gpio.Edge, error) {
	f.mu.Lock()
	err := f.err
	f.mu.Unlock()
	if timeout <= 0 || err != nil {
		return 0, gpio.NoEdge, err
	}
	if timeout < time.Millisecond {
		return 0, gpio.NoEdge, &os.PathError{Op: "read", Path: "gpio-lineset", Err: os.ErrDeadlineExceeded}
	}
	select {
	case e, ok := <-f.edges:
		if !ok {
			return 0, gpio.NoEdge, syscall.ENODEV
		}
		return 0, e, nil
	case <-f.halt:
	case <-time.After(timeout):
	}
	return 0, gpio.NoEdge, &os.PathError{Op: "read", Path: "gpio-lineset", Err: os.ErrDeadlineExceeded}
}

func (f *fakeSet) Halt() error {
	select {
	case f.halt <- struct{}{}:
	default:
	}
	return nil
}

func (f *fakeSet) Close() error { f.closed = true; return nil }

func (f *fakeSet) drive(high bool, edge gpio.Edge) {
	f.mu.Lock()
	f.high = high
	f.mu.Unlock()
	f.edges <- edge
}

func TestOutputLine(t *testing.T) {
	for _, activeLow := range []bool{false, true} {
		f := newFakeSet()
		l := &outputLine{ls: f, activeLow: activeLow}
		for _, on := range []bool{true, false, true} {
			if err := l.Set(on); err != nil || f.high != (on != activeLow) {
				t.Errorf("active low %v, on %v: high %v, %v", activeLow, on, f.high, err)
			}
			if got, err := l.Get(); err != nil || got != on {
				t.Errorf("active low %v, on %v: reads %v, %v", activeLow, on, got, err)
			}
		}
		f.err = syscall.EIO
		if _, err := l.Get(); err == nil || l.Set(true) == nil {
			t.Error("no error")
		}
	}
}

func TestInputLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeSet()
		f.high = true
		var mu sync.Mutex
		var got []string
		began := time.Now()
		l, err := watchLine(f, Input{Pin: "GPIO27", ActiveLow: true}, func(on bool, at time.Time) {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, fmt.Sprintf("%s %v", word(on), at.Sub(began)))
		})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		f.drive(false, gpio.FallingEdge)
		time.Sleep(time.Second)
		f.drive(true, gpio.NoEdge) // an event of a kind that periph does not know: the level counts
		time.Sleep(2*edgeWait - time.Second)
		if err := l.Close(); err != nil || !f.closed {
			t.Error(err)
		}
		if s := strings.Join(got, ", "); s != "off 0s, on 1s, off 2s, off 7s" {
			t.Error(s)
		}
		if time.Since(began) > 2*edgeWait+3*time.Second {
			t.Error("Close took", time.Since(began))
		}
	})
}

// TestInputLost: a chip that goes away ends the watching with an error, without a busy loop, and Close still works.
func TestInputLost(t *testing.T) {
	for what, lose := range map[string]func(*fakeSet){
		"error":                    func(f *fakeSet) { close(f.edges) },
		"wait returns at once":     func(f *fakeSet) { f.halt <- struct{}{} },
		"read fails after a while": func(f *fakeSet) { f.mu.Lock(); f.err = syscall.EIO; f.mu.Unlock() },
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFakeSet()
				l, err := watchLine(f, Input{Pin: "GPIO27"}, func(bool, time.Time) {})
				if err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				lose(f)
				select {
				case err := <-l.Lost():
					if err == nil || !strings.Contains(err.Error(), "GPIO27") {
						t.Error(err)
					}
				case <-time.After(time.Minute):
					t.Error("not lost")
				}
				if err := l.Close(); err != nil || !f.closed {
					t.Error(err)
				}
			})
		})
	}
	f := newFakeSet()
	f.err = syscall.EIO
	if _, err := watchLine(f, Input{}, nil); err == nil || !f.closed {
		t.Error("opened although it cannot be read")
	}
}

// flaky is a machine with one input, made anew at every opening.
type flaky struct {
	mu   sync.Mutex
	set  *fakeSet
	fail error
}

func (m *flaky) OpenOutput(Output) (Pin, error) { return nil, ErrNoPin }

func (m *flaky) OpenInput(in Input, f func(bool, time.Time)) (io.Closer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return nil, m.fail
	}
	m.set = newFakeSet()
	return watchLine(m.set, in, f)
}

func TestWatchLostAndBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, log, got := &flaky{fail: ErrNoChip}, &logged{}, &told{}
		w := Watch([]Input{{Name: "door", Pin: "GPIO27"}}, m, got.add, log.logger())
		time.Sleep(time.Hour)
		if s := got.take(); s != "door ?" || log.count("WARN") != 1 {
			t.Error(s, log.String())
		}
		if r := w.Get("door"); r.Known || !errors.Is(r.Err, ErrNoChip) || !strings.HasPrefix(r.Err.Error(), "gpio: input door: no GPIO chip") {
			t.Errorf("%+v", r)
		}
		m.mu.Lock()
		m.fail = nil
		m.mu.Unlock()
		time.Sleep(lastRetry)
		synctest.Wait()
		m.set.drive(true, gpio.RisingEdge)
		time.Sleep(time.Minute)
		synctest.Wait()
		close(m.set.edges)
		time.Sleep(time.Minute)
		synctest.Wait()
		m.set.drive(true, gpio.RisingEdge)
		synctest.Wait()
		if s := got.take(); s != "door off, door on, door ?, door off, door on" {
			t.Error(s)
		}
		if r := w.Get("door"); r.Pulses != 2 {
			t.Errorf("%+v", r)
		}
		if err := w.Close(); err != nil || !m.set.closed {
			t.Error(err)
		}
	})
}
