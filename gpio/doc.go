// Package gpio switches named outputs and watches named inputs on the pins of the host, so that an output could be trusted
// with a heater: whatever happens, it ends up in its safe state.
//
//	command ──> Bank.Do ──> envelope ──> Pin.Set ──> Pin.Get ──> Reading ──> onChange
//	                            ^                                  ^
//	     max_on, for, lease, link, blink: one goroutine, one timer ┘
//
//	pin ──edge──> Inputs ──> Debouncer ──> Reading ──> onChange
//
// A pin is written
//
//	GPIO17               the line of that name; the names are the kernel's and differ by board and kernel
//	chip:LABEL/OFFSET    line OFFSET of the chip with that label, for lines without a name of their own
//	led:NAME             /sys/class/leds/NAME, with a brightness where the LED has one
//	pwm:CHIP/CHANNEL     a channel of the PWM chip of that device in /sys/class/pwm, always with a brightness
//	sim                  memory
//
// Lines are driven through periph's gpioioctl driver, that is the kernel's character device (GPIO v2 uAPI). A chip is never
// named by its number: numbers change with the kernel.
//
// # What is promised of an output
//
// Safe at the start: every output whose pin can be opened is in its safe state when [Open] returns. Safe at the end: when
// [Bank.Close] returns. Safe in between, without anybody asking: after MaxOn, when the For of a command is over, when the
// Lease runs out, when the link has been down for LinkDelay, and when its pin failed and can be opened again. A return to
// the safe state is never refused. A command away from it is refused, never put off: a pump that starts late is worse than
// one that does not start.
//
// A driver that panics, or does not answer within a second, is a pin that failed. On any other panic, a deferred
// [Bank.CloseOnPanic] makes the outputs safe; it sees the panics of the goroutine that deferred it, and those of onChange and of
// what the bank does by itself. Panics elsewhere, SIGKILL and the OOM killer are for the
// service manager, which runs [Safe] in a new process afterwards. The kernel releases the lines of a process that died; what
// level they then have is the board's.
//
// # What cannot be promised
//
// periph asks the kernel for an output line without a value, so the kernel drives it low and the safe level follows some
// microseconds later. An output whose safe level is high (active low, or safe: on) therefore sees one short low pulse
// whenever it is opened. Too short for a relay; for a fast input an external circuit has to swallow it.
//
// Lines that share their name with another line of their chip, or have none, cannot be read back through periph: what was
// last driven without an error counts as their state, as long as the kernel says that the line is held.
package gpio
