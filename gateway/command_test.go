package gateway

import (
	"testing"
	"time"
)

// A flood of commands does not become one of lines in the log, and the next line says so.
func TestTelling(t *testing.T) {
	var told telling
	now, lines := time.Now(), 0
	for range 2 * maxTold {
		if untold, ok := told.next(now); ok {
			lines++
			if untold != 0 {
				t.Errorf("%d untold", untold)
			}
		}
	}
	for _, want := range []int{maxTold, 0} {
		if untold, ok := told.next(now.Add(time.Minute)); !ok || untold != want {
			t.Errorf("%d untold, %v", untold, ok)
		}
	}
	if lines != maxTold {
		t.Errorf("%d lines", lines)
	}
}
