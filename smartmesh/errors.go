package smartmesh

import (
	"errors"
	"fmt"
)

// An RC is a response code, the first byte of every response.
type RC uint8

// The response codes. Others may come, from the boot loader (3 to 8) or a Serial Mux, and keep their numbers.
const (
	RCOK              RC = 0
	RCInvalidCommand  RC = 1
	RCInvalidArgument RC = 2
	RCEndOfList       RC = 11
	RCNoResources     RC = 12
	RCInProgress      RC = 13
	RCNack            RC = 14
	RCWriteFail       RC = 15
	RCValidationError RC = 16
	RCInvState        RC = 17
	RCNotFound        RC = 18
	RCUnsupported     RC = 19
)

var responseCodes = map[RC]struct{ name, meaning string }{
	RCOK:              {"RC_OK", "done or accepted"},
	RCInvalidCommand:  {"RC_INVALID_COMMAND", "unknown to this manager, or not allowed in its present mode"},
	RCInvalidArgument: {"RC_INVALID_ARGUMENT", "a value was refused, or the payload is too long"},
	RCEndOfList:       {"RC_END_OF_LIST", "there is no further element"},
	RCNoResources:     {"RC_NO_RESOURCES", "a table or buffer is full"},
	RCInProgress:      {"RC_IN_PROGRESS", "the same kind of operation is still running"},
	RCNack:            {"RC_NACK", "refused for now, the outgoing queue is full"},
	RCWriteFail:       {"RC_WRITE_FAIL", "the new value could not be stored in flash"},
	RCValidationError: {"RC_VALIDATION_ERROR", "not acceptable in the present state"},
	RCInvState:        {"RC_INV_STATE", "the object is in the wrong state, typically: the mote is not operational"},
	RCNotFound:        {"RC_NOT_FOUND", "no such mote, path or entry"},
	RCUnsupported:     {"RC_UNSUPPORTED", "not supported by this manager"},
}

// Name gives the code's name, or "" for one that has none.
func (c RC) Name() string { return responseCodes[c].name }

// String gives the code's name and number.
func (c RC) String() string {
	if known, ok := responseCodes[c]; ok {
		return fmt.Sprintf("%s (%d): %s", known.name, uint8(c), known.meaning)
	}
	return fmt.Sprintf("response code %d", uint8(c))
}

// An RCError is the manager's refusal of a command. 11 and 18 are ordinary outcomes of iterations; only after 12, 13 and
// 14 is it of use to try again by itself, later.
type RCError struct {
	Command string
	RC      RC
}

// Error gives the command, the code's name and number, and what it means.
func (e *RCError) Error() string { return fmt.Sprintf("smartmesh: %s: %v", e.Command, e.RC) }

// A HelloError is a manager's refusal of a session. It is of no use to try again soon.
type HelloError struct {
	Code    SuccessCode
	Version uint8 // the manager's own
}

// Error says what was refused.
func (e *HelloError) Error() string {
	if e.Code == HelloSuccess || e.Code == HelloUnsupportedVersion {
		return fmt.Sprintf("smartmesh: the manager speaks version %d of the protocol, not %d", e.Version, protocolVersion)
	}
	return fmt.Sprintf("smartmesh: the manager refused the session: %v", e.Code)
}

// Errors a caller may branch on. All but ErrNoHello and the errors of arguments can come from any command.
var (
	// ErrSessionLost is wrapped, with the cause, by everything that fails because the session is over.
	ErrSessionLost = errors.New("smartmesh: session lost")
	// ErrOutcomeUnknown is wrapped, with the cause, when a command that changes something was sent and no response was
	// seen: it may or may not have been carried out. Read the state before doing it again.
	ErrOutcomeUnknown = errors.New("smartmesh: outcome unknown")
	// ErrManagerHello is the cause when the manager said that it has no session: it rebooted, or gave it up.
	ErrManagerHello = errors.New("the manager has no session any more")
	// ErrNoAnswer is the cause when a request and all its repeats stayed unanswered.
	ErrNoAnswer = errors.New("no answer from the manager")
	// ErrRead is the cause, with what the port said, when it can be read no more: it was unplugged or closed.
	ErrRead = errors.New("read")
	// ErrStuck is the cause when the port took no bytes for two seconds.
	ErrStuck = errors.New("the port takes no bytes")
	// ErrClosed is the cause after Close.
	ErrClosed = errors.New("closed")
	// ErrNoHello is what Connect gives when nothing on the port answered as a manager.
	ErrNoHello = errors.New("smartmesh: no manager answers on this port")
	// ErrBadResponse is wrapped when a response is not what the protocol says.
	ErrBadResponse = errors.New("smartmesh: bad response")
	// ErrArgument is wrapped when a command was refused before it was sent: an unknown name, field or value.
	ErrArgument = errors.New("smartmesh: bad argument")
)

// Errors of fields; the same words as in the golden vectors.
var (
	errTruncated     = errors.New("field_truncated")
	errMissingRC     = errors.New("missing_rc")
	errUnknownCmd    = errors.New("unknown_command")
	errUnknownNotif  = errors.New("unknown_notif")
	errUnknownEvent  = errors.New("unknown_event")
	errMissingFields = errors.New("fields are missing")
)
