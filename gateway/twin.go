package gateway

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/meshgate/meshgate/bridge"
)

// twin finds out that another client uses our client id, as two gateways do whose cards were copied
// from one image with the id in the file. Each throws the other out as soon as it connects; going on
// like that would wear out both and the broker. So, after a few quick take-overs, this one says what
// it is and comes back after minutes only.
type twin struct {
	quick int  // take-overs without a lasting session between
	found bool // until a session has lasted, or has ended for another reason
}

const (
	twinAfter  = 12 // a record that the broker does not allow is found and held back before (parking.go)
	twinPause  = 2 * time.Minute
	twinSpread = 3 * time.Minute // the two come back at different times
	twinLasts  = time.Hour
)

// judge looks at how a session ended, and names a twin.
func (t *twin) judge(err error, clientID string) error {
	var lost *bridge.LostError
	if !errors.As(err, &lost) {
		return err
	}
	hungUp := errors.Is(err, bridge.ErrHungUp)
	switch {
	case t.found && hungUp && lost.After < twinLasts:
	case lost.Takeover():
		t.quick++
		t.found = t.quick >= twinAfter
	default:
		*t = twin{}
	}
	if !t.found {
		return err
	}
	return &laterError{twinPause + rand.N(twinSpread), fmt.Errorf("the broker ends the connection right away, again and again: another gateway or program uses the client id %q "+
		"(a card copied from the same image?), or the broker does not allow what is published; "+
		"give each its own id or client_id; next try in a few minutes: %w", clientID, err)}
}
