package gpio

import "errors"

var (
	ErrUnknown = errors.New("gpio: no such name")
	ErrClosed  = errors.New("gpio: outputs are closed")
	ErrExpired = errors.New("gpio: the command is past its until")
	// ErrRefused is what every *Refusal is.
	ErrRefused = errors.New("gpio: refused")

	// What a Machine says of a pin. A Bank puts "gpio: output NAME: " before it.
	ErrNoChip     = errors.New("no GPIO chip on this machine")
	ErrNoPin      = errors.New("no such pin")
	ErrTaken      = errors.New("pin is taken")
	ErrPermission = errors.New("no permission")
)

// Refusal is a command that the envelope of its output does not allow. errors.Is(err, ErrRefused) holds.
type Refusal struct {
	Output string
	Rule   string // min_off, rate, interlock, on_link_loss, command
	Reason string // in words
}

func (r *Refusal) Error() string {
	return "gpio: " + r.Output + " refused: " + r.Rule + ": " + r.Reason
}

// Is makes errors.Is(err, ErrRefused) hold.
func (r *Refusal) Is(target error) bool { return target == ErrRefused }
