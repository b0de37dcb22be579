package gpio

import (
	"fmt"
	"sync"
	"time"
)

// openAll opens outputs for the first time, all at once: one that does not answer holds up none.
func (b *Bank) openAll(outs []*output) {
	pins, errs := make([]Pin, len(outs)), make([]error, len(outs))
	var wg sync.WaitGroup
	for i, o := range outs {
		wg.Go(func() { pins[i], errs[i] = b.openPin(o.Output) })
	}
	wg.Wait()
	now := time.Now()
	for i, o := range outs {
		b.opened(o, pins[i], errs[i], AtStart, now)
	}
}

// open opens the pin again.
func (b *Bank) open(o *output, cause Cause, now time.Time) {
	pin, err := b.openPin(o.Output)
	b.opened(o, pin, err, cause, now)
}

// openPin opens a pin in its safe state.
func (b *Bank) openPin(o Output) (Pin, error) {
	if err := kindError(o.Kind, o.Pin); err != nil {
		return nil, err
	}
	pin, err := b.pins.open(o)
	if err != nil {
		return nil, err
	}
	if o.Kind == "pwm" && dims(pin) == nil {
		_ = pin.Close() // nothing was asked of it but to be safe
		return nil, fmt.Errorf("%w: %s only switches on and off, which is not enough for kind: pwm", ErrNoPin, o.Pin)
	}
	if _, err := setAndRead(pin, o.Safe, full); err != nil {
		_ = pin.Close()
		return nil, fmt.Errorf("pin %s: %w", o.Pin, err)
	}
	return pin, nil
}

// opened takes a pin that was opened, or says when to try again.
func (b *Bank) opened(o *output, pin Pin, err error, cause Cause, now time.Time) {
	if err != nil {
		b.failed(o, fmt.Errorf("gpio: output %s: %w", o.Name, err), now)
		return
	}
	if cause != AtStart && o.logged != "" {
		b.log.Info("output works again, safe", "output", o.Name, "pin", o.Pin, "state", word(o.Safe))
	}
	o.logged, o.backoff, o.retryAt = "", 0, time.Time{}
	o.pin, o.err, o.on, o.want, o.read, o.cause = pin, nil, o.Safe, full, now, cause
	o.level = full
	if cause != AtStart {
		b.count(o) // what a failing pin did is not known
	}
	o.offSince = time.Now()
	b.tell(o)
}

// fail lets go of a pin that gave an error: safe if it still listens, and from the beginning later.
func (b *Bank) fail(o *output, err error, now time.Time) {
	_ = o.pin.Set(o.Safe)
	_ = o.pin.Close()
	o.pin = nil
	b.count(o)
	b.failed(o, err, now)
}

// failed writes down why the pin is not open. The log hears of it once, until the reason changes or the pin works again.
func (b *Bank) failed(o *output, err error, now time.Time) {
	o.clear()
	o.due = [deadlines]time.Time{}
	o.err, o.read, o.cause = err, now, ByFailure
	o.backoff = min(max(2*o.backoff, firstRetry), lastRetry)
	o.retryAt = now.Add(o.backoff)
	if o.logged != err.Error() {
		o.logged = err.Error()
		b.log.Warn("output cannot be used, trying again", "output", o.Name, "pin", o.Pin, "error", err)
	}
	b.tell(o)
}

// refresh reads one pin again.
func (b *Bank) refresh(o *output, now time.Time) {
	if o.pin == nil {
		return
	}
	got, level, err := readPin(o.pin)
	if err != nil {
		b.fail(o, fmt.Errorf("gpio: output %s: pin %s: read: %w", o.Name, o.Pin, err), now)
		return
	}
	if got == o.on && (!got || level == o.level) {
		return
	}
	b.log.Warn("somebody else has switched an output, setting it right", "output", o.Name, "pin", o.Pin, "reads", word(got))
	if want := o.on; got != want {
		b.setRight(o, want, now)
	} else {
		_ = b.drive(o, want, ByCheck, now)
	}
}

// setRight switches back what somebody else has switched. That is a switch like others, and so was theirs: where the envelope
// forbids it, the output is safe from now on. It gives no new max_on.
func (b *Bank) setRight(o *output, want bool, now time.Time) {
	maxOn := o.due[byMaxOn]
	o.on = !want
	b.count(o)
	o.offSince = now
	if b.refuse(o, want, false, now) != nil {
		_ = b.toSafe(o, ByCheck, now)
		return
	}
	if b.drive(o, want, ByCheck, now) == nil && want {
		o.due[byMaxOn] = maxOn
	}
}
