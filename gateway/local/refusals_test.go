package local

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Each refusal is logged once; a flood of different ones is counted.
func TestRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &logBuffer{}
		r := refusals{log: log.logger()}
		lines := func(want int) {
			t.Helper()
			if n := strings.Count(log.String(), "\n"); n != want {
				t.Errorf("%d lines, want %d", n, want)
			}
		}
		for range 3 {
			r.add("a", "no")
		}
		r.add("a", "never")
		lines(2)
		for i := range 3 * maxRefusals {
			r.add(fmt.Sprint(i), "no")
		}
		lines(maxLines)
		time.Sleep(time.Minute)
		r.add("b", "no")
		lines(maxLines + 1)
		time.Sleep(repeatAfter)
		r.add("a", "no")
		if lines(maxLines + 2); !strings.Contains(log.String(), "repeated=2") || r.count() != 3*maxRefusals+6 {
			t.Errorf("%d: %s", r.count(), log)
		}
	})
}
