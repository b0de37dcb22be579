package gpio

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// Sim is a machine whose pins are memory, for tests and for trying things out. The zero value is ready. Levels outlive the
// pins, as those of a latching relay do, so that they can be looked at after the end.
type Sim struct {
	mu     sync.Mutex
	levels map[string]bool
	bright map[string]int // percent, of outputs of kind pwm
	open   map[string]bool
	inputs map[string]*simInput
}

// NewSim returns a machine without any pins in use.
func NewSim() *Sim { return &Sim{} }

// OpenOutput takes any pin, known by the name of the output.
func (s *Sim) OpenOutput(o Output) (Pin, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[o.Name] {
		return nil, fmt.Errorf("%w: sim, by another %s", ErrTaken, o.Name)
	}
	if s.open == nil {
		s.open, s.levels, s.bright = make(map[string]bool), make(map[string]bool), make(map[string]int)
	}
	s.open[o.Name] = true
	s.levels[o.Name], s.bright[o.Name] = o.Safe != o.ActiveLow, 0
	if o.Safe {
		s.bright[o.Name] = full
	}
	return &simOutput{sim: s, out: o}, nil
}

// Level returns the physical level of an output: high or low, whatever active low makes of it. ok is false for an output
// that has never been open.
func (s *Sim) Level(output string) (high, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	high, ok = s.levels[output]
	return high, ok
}

// OpenInput takes any pin, known by the name of the input. It is low until somebody sets it, high with a pull up.
func (s *Sim) OpenInput(in Input, edge func(on bool, at time.Time)) (io.Closer, error) {
	s.mu.Lock()
	if s.inputs == nil {
		s.inputs = make(map[string]*simInput)
	}
	if s.inputs[in.Name] != nil {
		s.mu.Unlock()
		return nil, fmt.Errorf("%w: sim, by another %s", ErrTaken, in.Name)
	}
	i := &simInput{sim: s, in: in, edge: edge, high: in.Pull == "up"}
	s.inputs[in.Name] = i
	s.mu.Unlock()
	i.set(i.high)
	return i, nil
}

// Drive gives an input a physical level. It reports whether there is such an input.
func (s *Sim) Drive(input string, high bool) bool {
	s.mu.Lock()
	i := s.inputs[input]
	s.mu.Unlock()
	if i == nil {
		return false
	}
	i.set(high)
	return true
}

type simOutput struct {
	sim *Sim
	out Output
}

func (p *simOutput) Set(on bool) error {
	if on {
		return p.SetLevel(full)
	}
	return p.SetLevel(0)
}

// Dims is what kind: pwm makes of a pin of memory.
func (p *simOutput) Dims() bool { return p.out.Kind == "pwm" }

func (p *simOutput) SetLevel(percent int) error {
	p.sim.mu.Lock()
	defer p.sim.mu.Unlock()
	p.sim.bright[p.out.Name] = percent
	p.sim.levels[p.out.Name] = percent > 0 != p.out.ActiveLow
	return nil
}

func (p *simOutput) Level() (int, error) {
	p.sim.mu.Lock()
	defer p.sim.mu.Unlock()
	return p.sim.bright[p.out.Name], nil
}

func (p *simOutput) Get() (bool, error) {
	p.sim.mu.Lock()
	defer p.sim.mu.Unlock()
	return p.sim.levels[p.out.Name] != p.out.ActiveLow, nil
}

func (p *simOutput) Close() error {
	p.sim.mu.Lock()
	defer p.sim.mu.Unlock()
	delete(p.sim.open, p.out.Name)
	return nil
}

type simInput struct {
	sim  *Sim
	in   Input
	edge func(bool, time.Time)

	mu   sync.Mutex // one edge at a time
	high bool
	gone bool
}

func (i *simInput) set(high bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.high = high
	if !i.gone {
		i.edge(high != i.in.ActiveLow, time.Now())
	}
}

func (i *simInput) Close() error {
	i.sim.mu.Lock()
	delete(i.sim.inputs, i.in.Name)
	i.sim.mu.Unlock()
	i.mu.Lock()
	defer i.mu.Unlock()
	i.gone = true
	return nil
}
