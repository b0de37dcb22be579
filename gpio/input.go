package gpio

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"
)

// Inputs is a set of named inputs that are watched. Each has a goroutine, which sleeps until there is an edge.
type Inputs struct {
	machine Machine
	log     *slog.Logger
	box     *mailbox
	quit    chan struct{}
	once    sync.Once
	running sync.WaitGroup

	mu     sync.Mutex
	all    []*input
	byName map[string]*input
	errs   []error // of closing
}

// input is one of them. last, base and debounce are the lock's.
type input struct {
	Input
	last     Reading
	base     Counts     // of the debouncers before
	debounce *Debouncer // of the pin as it is open now, or was
	logged   string     // the last error that was logged
	known    bool       // once it was
}

// Watch opens every input and reports its level, then every change that held (see [Debouncer]) with the time of its first
// edge. An input that cannot be opened, or is lost, is reported once with the reason, and tried again as outputs are.
//
// onChange, which may be nil, gets one reading at a time, in order, on a goroutine of its own; when it is slow, readings
// that a later one of the same input has overtaken are left out, but for their Pulses. It may be called before Watch returns
// and must not call Close.
func Watch(ins []Input, m Machine, onChange func(Reading), log *slog.Logger) *Inputs {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if onChange == nil {
		onChange = func(Reading) {}
	}
	w := &Inputs{
		machine: m, log: log, box: newMailbox(len(ins), onChange), quit: make(chan struct{}), byName: make(map[string]*input),
	}
	for _, in := range ins {
		if w.byName[in.Name] == nil {
			i := &input{Input: in, last: Reading{Name: in.Name, Cause: AtStart}}
			w.byName[in.Name] = i
			w.all = append(w.all, i)
		}
	}
	go w.box.run()
	for _, i := range w.all {
		w.running.Go(func() { w.watch(i) })
	}
	return w
}

// watch keeps one input open until the end.
func (w *Inputs) watch(i *input) {
	var backoff time.Duration
	for {
		began := time.Now()
		err := w.session(i)
		if err == nil {
			return
		}
		w.lost(i, err)
		if time.Since(began) > lastRetry {
			backoff = 0
		}
		backoff = min(max(2*backoff, firstRetry), lastRetry)
		select {
		case <-time.After(backoff):
		case <-w.quit:
			return
		}
	}
}

// session opens the input and returns the error with which it could not be opened or was lost; nil at the end.
func (w *Inputs) session(i *input) error {
	rate := i.Rate
	if rate == 0 {
		rate = DefaultInputRate
	}
	d := NewDebouncer(i.Debounce, rate, func(c Change) { w.change(i, c) })
	defer d.Stop()
	w.mu.Lock()
	i.debounce = d
	w.mu.Unlock()
	var line io.Closer
	err := caught(func() (err error) { line, err = w.machine.OpenInput(i.Input, d.Edge); return err })
	if err != nil {
		return fmt.Errorf("gpio: input %s: %w", i.Name, err)
	}
	if i.logged != "" {
		w.log.Info("input works again", "input", i.Name, "pin", i.Pin)
		i.logged = ""
	}
	var lost <-chan error
	if l, ok := line.(interface{ Lost() <-chan error }); ok {
		lost = l.Lost()
	}
	select {
	case err = <-lost:
		_ = line.Close() // it is lost anyway
		return fmt.Errorf("gpio: input %s: %w", i.Name, err)
	case <-w.quit:
		if err := line.Close(); err != nil {
			w.mu.Lock()
			w.errs = append(w.errs, fmt.Errorf("gpio: input %s: pin %s: %w", i.Name, i.Pin, err))
			w.mu.Unlock()
		}
		return nil
	}
}

// change takes what a debouncer reports.
func (w *Inputs) change(i *input, c Change) {
	w.mu.Lock()
	defer w.mu.Unlock()
	cause := ByEdge
	switch {
	case c.Edges > 0:
	case i.known:
		cause = ByRetry
	default:
		cause = AtStart
	}
	i.known = true
	i.last = Reading{
		Name: i.Name, On: c.On, Known: true, Time: c.At, Cause: cause,
		Pulses: i.base.Pulses + c.Pulses, Suppressed: i.base.Suppressed + c.Suppressed,
	}
	w.box.push(i.last)
}

// lost notes that an input is not known, and why.
func (w *Inputs) lost(i *input, err error) {
	counts := i.debounce.Counts()
	if err.Error() != i.logged {
		i.logged = err.Error()
		w.log.Warn("input cannot be used, trying again", "input", i.Name, "pin", i.Pin, "error", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	i.debounce = nil
	i.base.Pulses += counts.Pulses
	i.base.Suppressed += counts.Suppressed
	r := Reading{
		Name: i.Name, Time: time.Now(), Cause: ByFailure, Err: err, Pulses: i.base.Pulses, Suppressed: i.base.Suppressed,
	}
	if i.last.Known || message(i.last.Err) != message(err) {
		w.box.push(r)
	}
	i.last = r
}

// Get returns the last reading of an input, with its counts as they are now.
func (w *Inputs) Get(name string) Reading {
	w.mu.Lock()
	i := w.byName[name]
	if i == nil {
		w.mu.Unlock()
		return Reading{Name: name, Err: fmt.Errorf("%w: there is no input %s", ErrUnknown, name)}
	}
	r, base, d := i.last, i.base, i.debounce
	w.mu.Unlock()
	if d != nil { // outside the lock: it holds its own while it reports
		c := d.Counts()
		r.Pulses, r.Suppressed = base.Pulses+c.Pulses, base.Suppressed+c.Suppressed
	}
	return r
}

// All returns the last reading of every input, in the order in which they were given.
func (w *Inputs) All() []Reading {
	all := make([]Reading, 0, len(w.all))
	for _, i := range w.all {
		all = append(all, w.Get(i.Name))
	}
	return all
}

// Close ends the watching and gives the pins back. It does not wait for a driver that hangs: there are outputs to be made safe.
func (w *Inputs) Close() error {
	w.once.Do(func() {
		close(w.quit)
		gone := make(chan struct{})
		go func() { defer close(gone); w.running.Wait() }()
		t := time.NewTimer(2 * answerTime)
		defer t.Stop()
		select {
		case <-gone:
		case <-t.C:
			w.mu.Lock()
			w.errs = append(w.errs, errors.New("gpio: the pin of an input does not answer: it is left open"))
			w.mu.Unlock()
		}
		w.box.close(patience)
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	return errors.Join(w.errs...)
}
