package gateway

import (
	"testing"
	"time"

	"github.com/meshgate/meshgate/bridge/spool"
)

func TestWear(t *testing.T) {
	var w wear
	at := time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC)
	var written spool.Written
	w.note(at, written)
	if d := w.day(at.Add(time.Minute), written); d != nil {
		t.Errorf("after a minute it says %v", d)
	}
	for minute := 1; minute <= 60*72; minute++ {
		at = at.Add(time.Minute)
		written.Records += 100
		if minute > 60*36 {
			written.Cursors += 10
		}
		w.note(at, written)
		if minute == 30 {
			if d := w.day(at, written); d["records"] != 144_000 {
				t.Errorf("after half an hour it says %v", d)
			}
		}
	}
	if d := w.day(at, written); d["records"] != 144_000 || d["cursors"] != 14_400 || d["fill"] != 0 {
		t.Errorf("after three days it says %v", d)
	}
}
