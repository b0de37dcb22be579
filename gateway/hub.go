package gateway

import (
	"maps"
	"slices"
	"sync"

	"github.com/meshgate/meshgate/bridge"
)

// message is one local message, as a watcher or a local client sees it. From names the bridge
// that brought it in, or is empty for the gateway's own. Stored marks what was brought in from
// outside and goes over bridges by way of the disk.
type message struct {
	topic   string
	payload []byte
	retain  bool
	from    string
	stored  bool
}

// hub hands the live messages of this process to whoever listens now, and keeps the latest of
// every retained topic. It stores nothing else: what must not be lost goes to the spool first.
type hub struct {
	mu      sync.Mutex
	states  map[string]state
	version uint64
	changed chan struct{} // closed and replaced at each change of a state
	taps    map[*tap]struct{}
}

// state is the latest value of a retained topic; version tells when it came.
type state struct {
	message
	version uint64
}

// tap is one listener. Its channel holds tapSize messages; when it is full the newest is dropped
// for this listener alone, because a person who watches slowly must not slow the gateway.
type tap struct {
	filter string
	except string // messages from here are left out
	ch     chan message
}

const tapSize = 256

func newHub() *hub {
	return &hub{states: map[string]state{}, changed: make(chan struct{}), taps: map[*tap]struct{}{}}
}

// publish hands m to the listeners and, if it is retained, keeps it until the next of its topic.
func (h *hub) publish(m message) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if m.retain && h.keeps(m) {
		h.version++
		h.states[m.topic] = state{m, h.version}
		close(h.changed)
		h.changed = make(chan struct{})
	} else if m.from != lanName {
		m.retain = false
	}
	for t := range h.taps {
		if (t.except == "" || t.except != m.from) && bridge.Match(t.filter, m.topic) {
			select {
			case t.ch <- m:
			default:
			}
		}
	}
}

// maxBrought bounds the states, those of others included: a stranger who retains more topics costs
// no memory here.
const maxBrought = 10_000

// keeps reports whether a retained message is a state: the gateway's own always, another's while
// there is room, and never that of a local client, which the local broker keeps.
func (h *hub) keeps(m message) bool {
	if !m.stored {
		return true
	}
	_, known := h.states[m.topic]
	return m.from != lanName && (known || len(h.states) < maxBrought)
}

// listen starts a tap on the topics that match filter; the states there are come first.
func (h *hub) listen(filter string) (<-chan message, func()) { return h.listenBut(filter, "") }

// listenBut is listen without what comes from somewhere: who sends a flood does not crowd out of its
// own tap what others say.
func (h *hub) listenBut(filter, except string) (<-chan message, func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var have []message
	for _, s := range h.since(0) {
		if bridge.Match(filter, s.topic) && len(s.payload) > 0 { // an empty one has taken the topic away
			have = append(have, s.message)
		}
	}
	t := &tap{filter, except, make(chan message, tapSize+len(have))}
	for _, m := range have {
		t.ch <- m
	}
	h.taps[t] = struct{}{}
	return t.ch, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.taps, t)
	}
}

// newer gives the states that are younger than version, oldest first, the version after them, and
// a channel that is closed when there are more.
func (h *hub) newer(version uint64) ([]state, uint64, <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.since(version), h.version, h.changed
}

// state gives the latest value of a retained topic.
func (h *hub) state(topic string) (state, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	st, ok := h.states[topic]
	return st, ok
}

func (h *hub) since(version uint64) []state {
	var out []state
	for s := range maps.Values(h.states) {
		if s.version > version {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b state) int { return int(int64(a.version) - int64(b.version)) })
	return out
}
