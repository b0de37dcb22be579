package gpio

import (
	"sync"
	"time"
)

// mailbox hands readings to one function, one at a time, in order, on a goroutine of its own. It is bounded: when limit
// readings wait, the oldest that a later one of the same name has overtaken is dropped, so that the last state of every
// output always arrives. limit must be more than there are names.
type mailbox struct {
	deliver func(Reading)
	limit   int
	wake    chan struct{} // one signal is enough: the goroutine takes all there is
	done    chan struct{}

	mu     sync.Mutex
	queue  []Reading
	closed bool
}

func newMailbox(names int, deliver func(Reading)) *mailbox {
	return &mailbox{deliver: deliver, limit: 64 + 4*names, wake: make(chan struct{}, 1), done: make(chan struct{})}
}

// push never blocks. What is pushed after close is dropped.
func (m *mailbox) push(r Reading) {
	m.mu.Lock()
	if !m.closed {
		if len(m.queue) >= m.limit {
			m.dropOvertaken()
		}
		m.queue = append(m.queue, r)
	}
	m.mu.Unlock()
	m.signal()
}

func (m *mailbox) signal() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// dropOvertaken removes the oldest reading that has a later one of its name in the queue.
func (m *mailbox) dropOvertaken() {
	left := make(map[string]int, len(m.queue))
	for _, r := range m.queue {
		left[r.Name]++
	}
	for i, r := range m.queue {
		if left[r.Name] > 1 {
			m.queue = append(m.queue[:i], m.queue[i+1:]...)
			return
		}
	}
}

// run delivers until the mailbox is closed and empty.
func (m *mailbox) run() {
	defer close(m.done)
	for range m.wake {
		for {
			r, ok, closed := m.take()
			if !ok {
				if closed {
					return
				}
				break
			}
			m.deliver(r)
		}
	}
}

func (m *mailbox) take() (r Reading, ok, closed bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.queue) == 0 {
		m.queue = nil
		return Reading{}, false, m.closed
	}
	r = m.queue[0]
	m.queue = m.queue[1:]
	return r, true, m.closed
}

// close lets what waits be delivered, and waits for that as long as patience: a receiver that hangs must not keep the
// program from ending.
func (m *mailbox) close(patience time.Duration) {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	m.signal()
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case <-m.done:
	case <-t.C:
	}
}
