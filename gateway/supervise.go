package gateway

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"
)

const (
	backoffMin = 500 * time.Millisecond
	backoffMax = 10 * time.Second
	// stableAfter is how long a session has to last before the next failure starts at backoffMin
	// again; shorter ones keep the pause growing, so that a flapping link is not hammered.
	stableAfter = 30 * time.Second
)

// supervise runs session again and again until ctx ends, with a jittered, growing pause between,
// and never gives up. A failure is logged when it is a new one: a broker that stays away is told
// once, not once a second; failed is called each time.
func supervise(ctx context.Context, log *slog.Logger, failed func(error), session func(context.Context) error) {
	pause := backoffMin
	told := ""
	for ctx.Err() == nil {
		start := time.Now()
		err := session(ctx)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			err = errors.New("ended")
		}
		failed(err)
		if time.Since(start) >= stableAfter {
			pause, told = backoffMin, ""
		}
		if text := err.Error(); text != told {
			log.Warn("lost, trying again until it is back", "error", err)
			told = text
		}
		if !sleep(ctx, jitter(pause)) {
			return
		}
		pause = min(2*pause, backoffMax)
	}
}

// jitter spreads a pause over half to whole of its length, so that a fleet does not come back in step.
func jitter(d time.Duration) time.Duration {
	return d/2 + rand.N(d/2+1)
}

// sleep waits for d and reports whether it was not cut short by ctx.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// every calls do at once and then each period until ctx ends.
func every(ctx context.Context, period time.Duration, do func()) {
	for do(); sleep(ctx, period); do() {
	}
}
