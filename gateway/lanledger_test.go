package gateway

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meshgate/meshgate/gateway/local"
)

// fakeSide remembers what is published.
type fakeSide struct {
	side
	st   local.Status
	said []string
}

func (f *fakeSide) Status() local.Status { return f.st }
func (f *fakeSide) Room() bool           { return true }
func (f *fakeSide) Publish(topic string, payload []byte, retain bool) error {
	if !f.st.Up {
		return errors.New("away")
	}
	f.said = append(f.said, fmt.Sprintf("%s %d %v", topic, len(payload), retain))
	return nil
}

func TestLANLedger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "retained", "@local.json")
		l := &lanLedger{book: openLedger(file, slog.New(slog.DiscardHandler))}
		l.note([]state{{message: message{topic: "actuator/pump/state", payload: []byte("on")}}, {message: message{topic: "actuator/led/state", payload: []byte("on")}},
			{message: message{topic: "dev/x", payload: []byte("a device's"), stored: true}}})
		owns := func(topic string) bool { return !strings.Contains(topic, "pump") }
		s := &fakeSide{}
		run := func(d time.Duration, want int) {
			t.Helper()
			for range int(d / time.Second) {
				time.Sleep(time.Second)
				l.tidy(s, owns)
			}
			if len(s.said) != want || want > 0 && s.said[want-1] != "actuator/pump/state 0 true" {
				t.Fatalf("published %q, want %d", s.said, want)
			}
		}
		run(time.Minute, 0) // the broker is away
		s.st = local.Status{Up: true, Since: time.Now()}
		run(30*time.Second, 1)
		s.st = local.Status{Up: true, Since: time.Now()} // lost in between: nobody knows whether it has arrived
		run(time.Hour, 2)
		if got := openLedger(file, slog.New(slog.DiscardHandler)).stale(func(string, origin) bool { return false }); fmt.Sprint(got) != "[actuator/led/state]" {
			t.Errorf("left: %q", got)
		}
	})
}
