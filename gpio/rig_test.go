package gpio

import (
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// rig is a machine that remembers what every pin did, and whose pins can be made to fail. Its pins outlive the banks: after
// kill, what is left of the bank before has no effect on them.
type rig struct {
	mu       sync.Mutex
	gen      int
	pins     map[string]*wire
	switched map[string][]Switch // what a bank has had noted
}

// wire is what a pin is connected to: its logical level with its history, the first entry being the first opening.
type wire struct {
	on      bool
	level   int // percent, of a pin of kind pwm
	history []flank
	open    bool
	tries   int // to open it

	failOpen, failSet, failGet error
	stuck                      bool // takes no level, reports no error
	hangs                      bool // answers after five seconds
}

type flank struct {
	at time.Time
	on bool
}

var errKilled = errors.New("killed")

func newRig() *rig { return &rig{pins: make(map[string]*wire), switched: make(map[string][]Switch)} }

func (r *rig) wire(name string) *wire {
	if r.pins[name] == nil {
		r.pins[name] = &wire{}
	}
	return r.pins[name]
}

// on is the level of a pin.
func (r *rig) on(name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.wire(name).on
}

// fail changes how a pin behaves.
func (r *rig) fail(name string, f func(*wire)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(r.wire(name))
}

// kill takes the pins away from whoever has them.
func (r *rig) kill() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gen++
	for _, w := range r.pins {
		w.open = false
	}
}

func (w *wire) set(on bool) {
	if w.stuck {
		return
	}
	if len(w.history) == 0 || on != w.on {
		w.history = append(w.history, flank{time.Now(), on})
	}
	w.on = on
	w.level = full // SetLevel knows better
}

// process is the rig for one process: a kill ends it.
func (r *rig) process() Machine {
	r.mu.Lock()
	defer r.mu.Unlock()
	return process{r, r.gen}
}

// bank opens a bank as a process that remembers what those before it have noted. One that went without a word left an output
// as it was: the start has switched it.
func (r *rig) bank(outs []Output) *Bank {
	m := r.process()
	b := Open(outs, m, nil, nil)
	r.mu.Lock()
	past, gen := make(map[string][]time.Time), r.gen
	for w, all := range r.switched {
		if all[len(all)-1].Away {
			all = append(all, Switch{Wire: w, At: time.Now()})
			r.switched[w] = all
		}
		for _, s := range all {
			past[w] = append(past[w], s.At)
		}
	}
	r.mu.Unlock()
	b.Remember(past, func(s Switch) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if gen == r.gen {
			r.switched[s.Wire] = append(r.switched[s.Wire], s)
		}
	})
	return b
}

type process struct {
	*rig
	gen int
}

func (p process) OpenOutput(o Output) (Pin, error) { return p.open(o, p.gen) }

// OpenOutput is for tests that kill nobody.
func (r *rig) OpenOutput(o Output) (Pin, error) { return r.open(o, 0) }

// wait is how long a pin takes.
func (r *rig) wait(w *wire) {
	r.mu.Lock()
	hangs := w.hangs
	r.mu.Unlock()
	if hangs {
		time.Sleep(5 * time.Second)
	}
}

func (r *rig) open(o Output, gen int) (Pin, error) {
	r.mu.Lock()
	w := r.wire(o.Name)
	r.mu.Unlock()
	r.wait(w)
	r.mu.Lock()
	defer r.mu.Unlock()
	if gen != r.gen {
		return nil, errKilled
	}
	w.tries++
	switch {
	case w.failOpen != nil:
		return nil, w.failOpen
	case w.open:
		return nil, syscall.EBUSY
	case w.failSet != nil:
		return nil, w.failSet
	}
	w.open = true
	w.set(o.Safe)
	return &rigPin{r, w, r.gen, o.Kind == "pwm"}, nil
}

func (r *rig) OpenInput(Input, func(bool, time.Time)) (io.Closer, error) {
	return nil, errors.New("a rig has outputs only")
}

type rigPin struct {
	r   *rig
	w   *wire
	gen int
	dim bool
}

func (p *rigPin) Dims() bool { return p.dim }

func (p *rigPin) SetLevel(percent int) error {
	err := p.Set(percent > 0)
	if err == nil {
		err = p.use(func() error { p.w.level = percent; return nil })
	}
	return err
}

func (p *rigPin) Level() (percent int, err error) {
	on, err := p.Get()
	if err == nil && on {
		err = p.use(func() error { percent = p.w.level; return nil })
	}
	return percent, err
}

// use runs f on the wire, unless the pin is dead.
func (p *rigPin) use(f func() error) error {
	p.r.wait(p.w)
	p.r.mu.Lock()
	defer p.r.mu.Unlock()
	if p.gen != p.r.gen {
		return errKilled
	}
	return f()
}

func (p *rigPin) Set(on bool) error {
	return p.use(func() error {
		if p.w.failSet == nil {
			p.w.set(on)
		}
		return p.w.failSet
	})
}

func (p *rigPin) Get() (on bool, err error) {
	err = p.use(func() error { on = p.w.on; return p.w.failGet })
	return on, err
}

func (p *rigPin) Close() error {
	return p.use(func() error { p.w.open = false; return nil })
}

// told collects readings.
type told struct {
	mu   sync.Mutex
	list []Reading
}

func (t *told) add(r Reading) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.list = append(t.list, r)
}

// take returns what has been told since, in short: "pump on", "pump ?".
func (t *told) take() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var s []string
	for _, r := range t.list {
		state := word(r.On)
		if !r.Known {
			state = "?"
		}
		s = append(s, r.Name+" "+state)
	}
	t.list = nil
	return strings.Join(s, ", ")
}

func mustSet(t *testing.T, b *Bank, name string, on bool) {
	t.Helper()
	r, err := b.Set(name, on, 0)
	if err != nil || r.On != on || !r.Known {
		t.Fatalf("Set(%s, %v) = %+v, %v", name, on, r, err)
	}
}

// wantRule fails unless err is a refusal by the rule.
func wantRule(t *testing.T, err error, rule string) {
	t.Helper()
	var r *Refusal
	if !errors.As(err, &r) || r.Rule != rule || !errors.Is(err, ErrRefused) {
		t.Fatalf("error %v, want a refusal by %s", err, rule)
	}
}

func noProblems(t *testing.T, outs []Output) {
	t.Helper()
	if p := Check(outs, nil); len(p) > 0 {
		t.Fatalf("the test's own outputs: %v", slices.Collect(slices.Values(p)))
	}
}
