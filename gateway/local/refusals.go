package local

import (
	"log/slog"
	"sync"
	"time"
)

const (
	repeatAfter = 10 * time.Minute // a refusal is logged again after this time
	maxRefusals = 1000             // clients and reasons remembered; then they are forgotten
	maxLines    = 200              // a minute, of all together
)

// refusals logs each refusal once per client and reason, and counts those that follow.
type refusals struct {
	log  *slog.Logger
	mu   sync.Mutex
	seen map[[2]string]*refusal
	n    int64

	began time.Time // of the minute of which lines are
	lines int
}

type refusal struct {
	logged time.Time
	since  int // not logged
}

// add counts one refusal; who is a client id or, before there is one, an address.
func (r *refusals) add(who, reason string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.n++
	key := [2]string{who, reason}
	old := r.seen[key]
	if old != nil && time.Since(old.logged) < repeatAfter {
		old.since++
		return
	}
	if !r.mayTell() {
		return
	}
	if len(r.seen) >= maxRefusals {
		r.seen = nil
	}
	if r.seen == nil {
		r.seen = map[[2]string]*refusal{}
	}
	r.seen[key] = &refusal{logged: time.Now()}
	if old != nil && old.since > 0 {
		args = append(args, "repeated", old.since)
	}
	r.log.Warn("local broker: "+reason, append([]any{"client", who}, args...)...)
}

// mayTell bounds what is logged: who makes up clients makes up lines. The caller holds mu.
func (r *refusals) mayTell() bool {
	if now := time.Now(); now.Sub(r.began) >= time.Minute {
		r.began, r.lines = now, 0
	}
	if r.lines++; r.lines == maxLines {
		r.log.Warn("local broker: more than this is refused; it is counted, and not logged for a minute")
	}
	return r.lines < maxLines
}

func (r *refusals) count() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.n
}
