package gateway

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"strings"
	"time"
	"unicode"
)

const (
	backoffMin = 500 * time.Millisecond
	backoffMax = 10 * time.Second
	// stableAfter is how long a session has to last before the next failure starts at backoffMin
	// again; shorter ones keep the pause growing, so that a flapping link is not hammered. It is
	// longer than any attempt to connect takes.
	stableAfter = time.Minute
)

// supervised keeps one link alive.
type supervised struct {
	log    *slog.Logger
	told   string // the failure that was logged last, "" when none is worth remembering
	silent bool   // that failure has come again: being connected is no news until it lasts
}

// laterError is a failure after which the next attempt is to wait for longer than usual.
type laterError struct {
	pause time.Duration
	err   error
}

func (e *laterError) Error() string { return e.err.Error() }
func (e *laterError) Unwrap() error { return e.err }

// supervise runs session again and again until ctx ends, with a jittered, growing pause between,
// and never gives up. A failure is logged when it is a new one: a broker that stays away is told
// once, not once a second; failed is called each time. The session calls up when it is connected.
// The mark, which may be nil, gets a beat for every attempt and pause.
func supervise(ctx context.Context, log *slog.Logger, m *mark, failed func(error), session func(ctx context.Context, up func(...any)) error) {
	s := supervised{log: log}
	pause := backoffMin
	for ctx.Err() == nil {
		start := time.Now()
		m.beat()
		err := s.once(ctx, session)
		if ctx.Err() != nil {
			return
		}
		failed(err)
		if time.Since(start) >= stableAfter {
			pause, s.told = backoffMin, ""
		}
		s.tell(err)
		wait := jitter(pause)
		var later *laterError
		if errors.As(err, &later) {
			wait = later.pause
		}
		m.rest(wait)
		if !sleep(ctx, wait) {
			return
		}
		pause = min(2*pause, backoffMax)
	}
}

// once runs one session; what it says of being connected is logged at once, or, when it has come
// and gone before, once it has lasted.
func (s *supervised) once(ctx context.Context, session func(context.Context, func(...any)) error) error {
	var later *time.Timer
	err := session(ctx, func(args ...any) {
		say := func() { s.log.Info("connected", args...) }
		if !s.silent {
			say()
			return
		}
		later = time.AfterFunc(stableAfter, say)
	})
	if later != nil {
		later.Stop()
	}
	if err == nil {
		err = errors.New("ended")
	}
	return err
}

func (s *supervised) tell(err error) {
	text := kind(err)
	if s.silent = text == s.told; !s.silent {
		s.log.Warn("lost, trying again until it is back", "error", err)
		s.told = text
	}
}

// kind is an error's text without its numbers: ports, counts and times make no new failure.
func kind(err error) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsDigit(r) {
			return -1
		}
		return r
	}, err.Error())
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
