package gateway

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/meshgate/meshgate/gateway/control"
	"github.com/meshgate/meshgate/smartmesh"
)

// How fresh a mote's readings are, by the pace it has shown: late after lateAfter of its periods
// without a packet, lost after lostAfter. One packet lost in twenty is normal in a mesh and must
// not cry wolf: two in a row missing and half a period of jitter are allowed for.
const (
	lateAfter = 2.5
	lostAfter = 10
)

// mote is what is known of a mote: from the manager's list and events, and from its own packets.
type mote struct {
	mac     smartmesh.MAC
	id      uint16
	ap      bool
	state   string // operational, negotiating, lost; never: not seen in this life
	fresh   string // fresh, late, lost; empty before the second packet
	seen    time.Time
	period  time.Duration // the pace of its packets, smoothed; 0 before the second
	celsius *float64
	battery *int
	nbrs    *int
}

// motes is the mesh of one manager as the gateway sees it. Each change that a subscriber would
// care about is published by changed, under the lock so that the order is kept.
type motes struct {
	mu      sync.Mutex
	all     map[smartmesh.MAC]*mote
	changed func(*mote)
}

func newMotes(changed func(*mote)) *motes {
	return &motes{all: map[smartmesh.MAC]*mote{}, changed: changed}
}

// get gives the mote, made on first sight: a mote may send before the list names it, and blink
// motes never join.
func (ms *motes) get(mac smartmesh.MAC) *mote {
	m := ms.all[mac]
	if m == nil {
		m = &mote{mac: mac, state: "never"}
		ms.all[mac] = m
	}
	return m
}

// update changes a mote and publishes it if what the contract shows has changed.
func (ms *motes) update(mac smartmesh.MAC, change func(*mote)) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	_, known := ms.all[mac]
	m := ms.get(mac)
	was := *m
	change(m)
	if !known || was.state != m.state || was.fresh != m.fresh || was.id != m.id {
		ms.changed(m)
	}
}

// packet notes that a mote was heard, and learns its pace.
func (ms *motes) packet(mac smartmesh.MAC, now time.Time) {
	ms.update(mac, func(m *mote) {
		if gap := now.Sub(m.seen); !m.seen.IsZero() && gap > 0 {
			m.learn(gap)
		}
		m.seen, m.fresh, m.state = now, "fresh", "operational"
	})
}

// learn smooths the pace; a gap of many periods is an outage, not a pace, and is left out.
func (m *mote) learn(gap time.Duration) {
	switch {
	case m.period == 0:
		m.period = gap
	case gap < lostAfter*m.period:
		m.period += (gap - m.period) / 4
	}
}

// age turns motes that have fallen silent late and lost. The access point has nothing to report.
func (ms *motes) age(now time.Time) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	for _, m := range ms.all {
		if m.ap || m.period == 0 {
			continue
		}
		silent, was := float64(now.Sub(m.seen)), m.fresh
		switch {
		case silent > lostAfter*float64(m.period):
			m.fresh = "lost"
		case silent > lateAfter*float64(m.period):
			m.fresh = "late"
		}
		if m.fresh != was {
			ms.changed(m)
		}
	}
}

// listed takes over the manager's own list: what it does not name any more is lost.
func (ms *motes) listed(list []smartmesh.MoteConfig) {
	named := map[smartmesh.MAC]bool{}
	for _, c := range list {
		named[c.MAC] = true
		ms.update(c.MAC, func(m *mote) {
			m.id, m.ap, m.state = c.MoteID, c.IsAP, stateName(c.State)
		})
	}
	ms.mu.Lock()
	defer ms.mu.Unlock()
	for mac, m := range ms.all {
		if !named[mac] && m.state != "lost" && m.id != 0 {
			m.state = "lost"
			ms.changed(m)
		}
	}
}

func stateName(s smartmesh.MoteState) string {
	switch s {
	case smartmesh.StateOperational:
		return "operational"
	case smartmesh.StateNegotiating:
		return "negotiating"
	}
	return "lost"
}

// known reports whether there is such a mote.
func (ms *motes) known(mac smartmesh.MAC) bool {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	return ms.all[mac] != nil
}

// list gives the motes for people, in the order of their ids.
func (ms *motes) list(manager string) []control.Mote {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	var out []control.Mote
	for _, m := range ms.all {
		c := control.Mote{MAC: m.mac.String(), Manager: manager, ID: m.id, AP: m.ap, State: m.state, Fresh: m.fresh,
			Celsius: m.celsius, Battery: m.battery, Neighbors: m.nbrs}
		if !m.seen.IsZero() {
			seen := m.seen
			c.LastSeen = &seen
		}
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b control.Mote) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.MAC, b.MAC))
	})
	return out
}

// status is the payload of mote/MAC/status.
func (m *mote) status() map[string]any {
	f := map[string]any{"state": m.state, "fresh": m.fresh, "id": m.id, "last_seen": nil}
	if m.fresh == "" { // heard less than twice: there is no pace to judge by
		f["fresh"] = "fresh"
		if m.seen.IsZero() {
			f["fresh"] = "lost"
		}
	}
	if !m.seen.IsZero() {
		f["last_seen"] = stamp(m.seen)
	}
	return f
}
