package gpio

import (
	"io"
	"time"
)

// Pin is an output that is open. On is the logical state: active low is the pin's own affair.
type Pin interface {
	Set(on bool) error
	Get() (on bool, err error) // what the pin reads
	Close() error              // gives the pin back; the caller has made it safe before
}

// Dimmer is what a Pin may be besides: one that has more than on and off.
type Dimmer interface {
	Dims() bool                      // false: it has the methods, but only switches
	SetLevel(percent int) error      // 0 is off, 100 is what Set(true) makes
	Level() (percent int, err error) // what the pin reads, 0 only for off
}

// full is the brightness of an output that is on and was asked for nothing less.
const full = 100

// Machine opens pins.
type Machine interface {
	// OpenOutput opens the pin and drives it to the safe state before it returns.
	OpenOutput(Output) (Pin, error)
	// OpenInput calls edge with the level at first and then with every edge, not debounced, one call at a time, until it is
	// closed. A machine whose inputs can be lost returns a closer with a method Lost() <-chan error.
	OpenInput(in Input, edge func(on bool, at time.Time)) (io.Closer, error)
}
