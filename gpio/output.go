package gpio

import "time"

// LinkLoss says what an output does when the link that commands come over is lost.
type LinkLoss uint8

const (
	// Keep leaves the output as it is.
	Keep LinkLoss = iota
	// GoSafe brings it to its safe state, LinkDelay after the loss.
	GoSafe
)

// Output describes one named output. The zero values of the envelope set no limit.
type Output struct {
	Name string
	Pin  string // GPIO17 | chip:LABEL/OFFSET | led:NAME | pwm:CHIP/CHANNEL | sim; empty for a group
	Kind string // "" or "switch", or "pwm" for what must have a brightness

	ActiveLow bool // on is the low level
	Safe      bool // the state at start, at the end and whenever in doubt

	MaxOn     time.Duration // off again after so long on; for outputs whose safe state is off
	MinOff    time.Duration // not on again before so long off, the start counts as an off; safe state off only
	Rate      int           // a command away from the safe state is refused when there were so many changes within a minute
	Interlock []string      // outputs that are never on together with this one; it works both ways
	Lease     time.Duration // back to safe so long after the last command or Renew

	OnLinkLoss LinkLoss
	LinkDelay  time.Duration

	Group []string // names of the members: a group has no pin, a command goes to each member in turn

	// Trigger is what an LED shows at the end when it shows nothing at the start: what a process that was killed took it from.
	Trigger string `json:",omitempty"`
}

// Action is what a command wants.
type Action uint8

const (
	Off Action = iota
	On
	Toggle
)

// Command is one order to an output.
type Command struct {
	Action Action
	For    time.Duration // back to the safe state so long after; 0: no limit of its own
	Until  time.Time     // the command is void from then on; zero: always valid
	By     string        // who gives it, for Release; may be empty

	// Brightness in percent, with On: 1 to 100, for outputs that have one; 0: as bright as it gets. It is no change of state
	// for MinOff and Rate.
	Brightness int
	Blink      []time.Duration // with On: on for the first, off for the second and so on, again and again until For is over
}

// Cause says why a reading was taken.
type Cause string

const (
	AtStart   Cause = "start"
	ByCommand Cause = "command"
	ByBlink   Cause = "blink"
	ByFor     Cause = "for"
	ByMaxOn   Cause = "max_on"
	ByLease   Cause = "lease"
	ByLink    Cause = "link lost"
	ByFailure Cause = "pin failed"
	ByRetry   Cause = "pin is back"
	ByCheck   Cause = "read again"
	ByRelease Cause = "released"
	AtEnd     Cause = "end"
	ByEdge    Cause = "edge" // of an input; its first level has the cause AtStart, after it was lost ByRetry
)

// Reading is the state of an output or an input: what its pin reads, not what was asked.
type Reading struct {
	Name  string
	On    bool
	Known bool      // false: the pin is not open or does not answer; On means nothing
	Time  time.Time // when the pin was read; of an input, when its first edge was seen
	Cause Cause
	Err   error // why it is not known

	Dims       bool // of outputs: there is a brightness
	Brightness int  // then: what the pin reads, 0 to 100 percent

	// Of inputs only, since the start.
	Pulses     uint64 // debounced changes to on
	Suppressed uint64 // debounced changes that were not reported, there being too many
}

// Input describes one named input.
type Input struct {
	Name      string
	Pin       string // GPIO27 | chip:LABEL/OFFSET | sim
	Pull      string // "" or "none" | up | down
	ActiveLow bool
	Debounce  time.Duration // a change counts when it has held so long; 0: at once
	Rate      int           // changes a second that are reported; 0: DefaultInputRate
	Count     time.Duration // it counts: the total of pulses is what matters, told so often; 0: its edges are
}

// DefaultInputRate is how many changes a second an input reports, unless it says otherwise.
const DefaultInputRate = 20
