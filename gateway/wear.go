package gateway

import (
	"sync"
	"time"

	"github.com/meshgate/meshgate/bridge/spool"
)

const (
	// wearAfter is how long the gateway has to run before it says what it writes a day.
	wearAfter = 10 * time.Minute
	wearEvery = time.Hour
	wearDays  = 24 // of wearEvery: what is looked back
)

// wear tells the bytes that are written to the disk in a day, and what for: of the last day, or
// drawn out to a day where the gateway has not run so long.
type wear struct {
	mu   sync.Mutex
	past []wearPoint // one in wearEvery, oldest first
}

type wearPoint struct {
	at      time.Time
	written spool.Written
}

// note is called each minute.
func (w *wear) note(now time.Time, written spool.Written) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := len(w.past); n > 0 && now.Sub(w.past[n-1].at) < wearEvery {
		return
	}
	w.past = append(w.past, wearPoint{now, written})
	if len(w.past) > wearDays+1 {
		w.past = w.past[1:]
	}
}

// day gives the bytes a day by what they are written for; nil when it is too early to say.
func (w *wear) day(now time.Time, written spool.Written) map[string]int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.past) == 0 || now.Sub(w.past[0].at) < wearAfter {
		return nil
	}
	first := w.past[0]
	factor := float64(24*time.Hour) / float64(now.Sub(first.at))
	a, b := byPurpose(first.written), byPurpose(written)
	for what := range b {
		b[what] = int64(float64(b[what]-a[what]) * factor)
	}
	return b
}

func byPurpose(w spool.Written) map[string]int64 {
	return map[string]int64{"records": w.Records, "headers": w.Headers, "fill": w.Fill, "cursors": w.Cursors}
}

// writtenDay is what the spool writes a day.
func (g *Gateway) writtenDay(st spool.Stats) map[string]int64 {
	return g.wear.day(time.Now(), st.Written)
}
