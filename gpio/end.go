package gpio

import (
	"errors"
	"fmt"
	"time"
)

// CloseOnPanic, deferred, makes the outputs safe when the goroutine panics and lets the panic go on.
func (b *Bank) CloseOnPanic() {
	r := recover()
	if r == nil {
		return
	}
	closed := make(chan struct{})
	go func() { defer close(closed); _ = b.Close() }()
	t := time.NewTimer(2 * answerTime) // the lock may be held for ever
	defer t.Stop()
	select {
	case <-closed:
	case <-t.C:
	}
	panic(r)
}

// Safe brings the outputs to their safe state and lets go of them: for the service manager, after the daemon died. The
// error names the outputs for which that failed.
func Safe(outs []Output, m Machine) error {
	b := Open(outs, m, nil, nil)
	var errs []error
	b.mu.Lock()
	for _, o := range b.outs {
		if o.pin == nil {
			errs = append(errs, o.err)
		}
	}
	b.mu.Unlock()
	return errors.Join(append(errs, b.Close())...)
}

// closePins makes everything safe, with a second try, and gives the pins back.
func (b *Bank) closePins(now time.Time) error {
	var errs []error
	for _, o := range b.outs {
		errs = append(errs, b.closePin(o, now))
	}
	return errors.Join(errs...)
}

// closePin closes one of them.
func (b *Bank) closePin(o *output, now time.Time) error {
	if o.pin == nil {
		o.retryAt = time.Time{}
		return nil
	}
	if err := b.toSafe(o, AtEnd, now); err != nil {
		b.open(o, AtEnd, now) // once more, from the beginning
		if o.pin == nil {
			return err
		}
	}
	if err := o.pin.Close(); err != nil {
		return fmt.Errorf("gpio: output %s: pin %s: %w", o.Name, o.Pin, err)
	}
	return nil
}
