package local

import (
	"log/slog"
	"sync"
	"time"
)

const (
	repeatAfter = 10 * time.Minute // a refusal is logged again after this time
	maxRefusals = 1000             // clients and reasons remembered; then they are forgotten
)

// refusals logs each refusal once per client and reason, and counts those that follow.
type refusals struct {
	log  *slog.Logger
	mu   sync.Mutex
	seen map[[2]string]*refusal
	n    int64
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

func (r *refusals) count() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.n
}
