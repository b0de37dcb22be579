package gpio

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// answerTime is what a driver is given to answer in. It is plenty: none of them has to wait for anything.
const answerTime = time.Second

var errSilent = errors.New("the pin does not answer")

// patient is a Machine whose pins answer in time or fail, so that a driver that hangs or panics costs its own output and no
// other. What comes back too late is undone: the pin is set safe and closed, and can be opened again.
type patient struct {
	machine Machine

	mu   sync.Mutex
	busy map[string]bool // wires with a call that has not come back
}

func newPatient(m Machine) *patient { return &patient{machine: m, busy: make(map[string]bool)} }

// open opens an output.
func (p *patient) open(o Output) (Pin, error) {
	var pin Pin
	q := &patientPin{all: p, wire: o.Wire()}
	err := p.call(q.wire, func() (err error) { pin, err = p.machine.OpenOutput(o); return err }, func() {
		if pin != nil {
			giveUp(pin, o.Safe)
		}
	})
	if err != nil {
		return nil, err
	}
	q.Pin, q.safe = pin, o.Safe
	if d := dims(pin); d != nil {
		return &patientDimmer{q, d}, nil
	}
	return q, nil
}

func giveUp(pin Pin, safe bool) {
	_ = pin.Set(safe)
	_ = pin.Close()
}

// call does f. When f does not come back in time, that is an error, and late is done when it does.
func (p *patient) call(wire string, f func() error, late func()) error {
	p.mu.Lock()
	if p.busy[wire] {
		p.mu.Unlock()
		return errSilent
	}
	p.busy[wire] = true
	p.mu.Unlock()
	done, given := make(chan error, 1), false
	go func() {
		err := caught(f)
		p.mu.Lock()
		if given {
			p.mu.Unlock()
			_ = caught(func() error { late(); return nil })
			p.mu.Lock()
		}
		done <- err
		delete(p.busy, wire)
		p.mu.Unlock()
	}()
	t := time.NewTimer(answerTime)
	defer t.Stop()
	select {
	case err := <-done:
		return err
	case <-t.C:
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case err := <-done: // at the last moment
		return err
	default:
	}
	given = true
	return errSilent
}

// caught does f, whose panic is an error.
func caught(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	return f()
}

// patientPin is one of its pins.
type patientPin struct {
	Pin
	all  *patient
	wire string
	safe bool
	gone atomic.Bool // a call was given up: the pin closes itself
}

func (p *patientPin) call(f func() error) error {
	if p.gone.Load() {
		return errSilent
	}
	err := p.all.call(p.wire, f, func() { giveUp(p.Pin, p.safe) })
	if errors.Is(err, errSilent) {
		p.gone.Store(true)
	}
	return err
}

func (p *patientPin) Set(on bool) error {
	return p.call(func() error { return p.Pin.Set(on) })
}

func (p *patientPin) Get() (bool, error) {
	return ask(p, p.Pin.Get)
}

func (p *patientPin) Close() error { return p.call(p.Pin.Close) }

// ask is a call with an answer.
func ask[T any](p *patientPin, f func() (T, error)) (T, error) {
	got := make(chan T, 1) // of a call that was given up nobody takes it
	err := p.call(func() error {
		v, err := f()
		got <- v
		return err
	})
	if errors.Is(err, errSilent) || len(got) == 0 {
		var none T
		return none, err
	}
	return <-got, err
}

// patientDimmer is one that has a brightness.
type patientDimmer struct {
	*patientPin
	dimmer Dimmer
}

func (p *patientDimmer) Dims() bool { return true }

func (p *patientDimmer) SetLevel(percent int) error {
	return p.call(func() error { return p.dimmer.SetLevel(percent) })
}

func (p *patientDimmer) Level() (int, error) { return ask(p.patientPin, p.dimmer.Level) }

// lock is a mutex that may be held while a pin is asked. It is a channel, for which time goes on in tests while it is waited for.
type lock chan struct{}

func (l lock) Lock()   { l <- struct{}{} }
func (l lock) Unlock() { <-l }
