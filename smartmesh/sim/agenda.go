package sim

import (
	"container/heap"
	"context"
	"time"
)

// agenda is all that is going to happen, ordered by time and, at one time, by the order of entry. It is guarded by
// the manager's mutex, and what it calls runs under that mutex. Run and Serve both drive it.
type agenda struct {
	entries entries
	count   uint64
	drivers map[chan struct{}]struct{}
}

type entry struct {
	at    time.Time
	order uint64
	index int // in the heap; -1 when it is no longer there
	do    func()
}

// at has do called at t.
func (a *agenda) at(t time.Time, do func()) *entry {
	a.count++
	e := &entry{at: t, order: a.count, do: do}
	heap.Push(&a.entries, e)
	if e.index == 0 {
		for wake := range a.drivers {
			select {
			case wake <- struct{}{}:
			default: // it is going to look anyway
			}
		}
	}
	return e
}

// cancel takes e out, if it is still in.
func (a *agenda) cancel(e *entry) {
	if e != nil && e.index >= 0 {
		heap.Remove(&a.entries, e.index)
	}
}

func (a *agenda) clear() {
	for _, e := range a.entries {
		e.index = -1
	}
	a.entries = nil
}

// run does what is due at now, and says when the next thing is.
func (a *agenda) run(now time.Time) (next time.Time, any bool) {
	for len(a.entries) > 0 {
		e := a.entries[0]
		if e.at.After(now) {
			return e.at, true
		}
		heap.Pop(&a.entries)
		e.do()
	}
	return time.Time{}, false
}

// drive does what the agenda says until ctx ends.
func (m *Manager) drive(ctx context.Context) error {
	wake := make(chan struct{}, 1)
	m.mu.Lock()
	if m.agenda.drivers == nil {
		m.agenda.drivers = map[chan struct{}]struct{}{}
	}
	m.agenda.drivers[wake] = struct{}{}
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		delete(m.agenda.drivers, wake)
		m.mu.Unlock()
	}()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-wake:
		case <-timer.C:
		}
		m.mu.Lock()
		next, any := m.agenda.run(time.Now())
		m.mu.Unlock()
		if any {
			timer.Reset(time.Until(next))
		} else {
			timer.Stop()
		}
	}
}

type entries []*entry

func (h entries) Len() int { return len(h) }

func (h entries) Less(i, j int) bool {
	if h[i].at.Equal(h[j].at) {
		return h[i].order < h[j].order
	}
	return h[i].at.Before(h[j].at)
}

func (h entries) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *entries) Push(x any) {
	e := x.(*entry)
	e.index = len(*h)
	*h = append(*h, e)
}

func (h *entries) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	e.index = -1
	return e
}
