package gateway

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/meshgate/meshgate/gateway/control"
	"github.com/meshgate/meshgate/smartmesh"
	"github.com/meshgate/meshgate/smartmesh/health"
	"github.com/meshgate/meshgate/smartmesh/oap"
)

// mote is what is known of a mote: from the manager's list and events, and from its own packets.
type mote struct {
	mac      smartmesh.MAC
	id       uint16
	ap       bool
	named    bool      // the manager has given it an id
	gone     bool      // and has forgotten it
	state    string    // operational, negotiating, lost; never: not seen in this life
	said     time.Time // when an event or a packet last told its state
	fresh    string    // fresh, late, lost; empty before the first packet
	seen     time.Time
	pace     *pace
	celsius  float64 // the latest temperature, if one was measured
	measured bool
	vitals   vitals
}

// motes is the mesh of one manager as the gateway sees it. Each change that a subscriber would
// care about is published by changed, under the lock so that the order is kept.
type motes struct {
	mu      sync.Mutex
	all     map[smartmesh.MAC]*mote
	loss    lossRate // of all motes: what a mote is judged by that is too new to have one
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
		m = &mote{mac: mac, state: "never", pace: newPace(&ms.loss)}
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

// packet notes that a mote was heard: whoever sends is in the network.
func (ms *motes) packet(mac smartmesh.MAC, now time.Time) {
	ms.update(mac, func(m *mote) {
		m.seen, m.said, m.gone, m.fresh, m.state = now, now, false, "fresh", "operational"
	})
}

// sampled notes samples of an input, which say how often they come.
func (ms *motes) sampled(mac smartmesh.MAC, s oap.Sample, now time.Time) {
	if s.Rate > 0 {
		every := s.Rate * time.Duration(max(1, len(s.Values)))
		ms.update(mac, func(m *mote) { m.pace.declared(streamOf(s.Channel), every, now) })
	}
}

// event notes what the manager has said of a mote.
func (ms *motes) event(mac smartmesh.MAC, state string) {
	ms.update(mac, func(m *mote) {
		m.said, m.gone, m.state = time.Now(), false, state
		if state == "lost" && m.fresh != "" {
			m.fresh = "lost"
		}
	})
}

// created is for a mote that the manager sees for the first time.
func (ms *motes) created(mac smartmesh.MAC, id uint16) {
	ms.update(mac, func(m *mote) {
		m.said, m.gone = time.Now(), false
		ms.name(m, id)
	})
}

// name gives a mote its id, which belongs to one at a time. The caller has mu.
func (ms *motes) name(m *mote, id uint16) {
	for _, other := range ms.all {
		if other.id == id {
			other.id = 0
		}
	}
	m.id, m.named = id, true
}

// deleted is for a mote that the manager forgets. It stays known as lost, but is not listed.
func (ms *motes) deleted(mac smartmesh.MAC) {
	ms.event(mac, "lost")
	ms.update(mac, func(m *mote) { m.gone, m.id = true, 0 })
}

// age turns motes that have fallen silent late and lost. The access point has nothing to report.
func (ms *motes) age(now time.Time) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	for _, m := range ms.all {
		since := m.seen
		if since.IsZero() && m.state == "operational" {
			since = m.said // it has yet to be heard
		}
		if m.ap || since.IsZero() {
			continue
		}
		was := m.freshness()
		if is := m.pace.freshness(now, since); is != was && was != "lost" {
			m.fresh = is
			ms.changed(m)
		}
	}
}

// freshness is what is shown: a mote that is in the network is fresh until it should have been
// heard.
func (m *mote) freshness() string {
	switch {
	case m.fresh != "":
		return m.fresh
	case m.state == "operational":
		return "fresh"
	}
	return "lost"
}

// listed takes over the manager's own list, which was read from began on: what has been said of a
// mote from then on is newer than the list. What it does not name any more is lost.
func (ms *motes) listed(began time.Time, list []smartmesh.MoteConfig) {
	in := map[smartmesh.MAC]bool{}
	for _, c := range list {
		in[c.MAC] = true
		ms.update(c.MAC, func(m *mote) {
			m.ap = c.IsAP
			newer := !m.said.Before(began)
			if !newer || m.id == 0 && !m.gone {
				ms.name(m, c.MoteID)
			}
			if newer {
				return
			}
			was := m.state
			m.gone, m.state = false, stateName(c.State)
			switch {
			case m.state == "lost" && m.said.IsZero():
				m.state = "never"
			case m.state != "lost" && m.state != was:
				m.said = began
			}
		})
	}
	ms.mu.Lock()
	defer ms.mu.Unlock()
	for mac, m := range ms.all {
		if !in[mac] && m.named && !m.gone && m.said.Before(began) {
			m.gone, m.id, m.state = true, 0, "lost"
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

// report keeps a mote's health report.
func (ms *motes) report(mac smartmesh.MAC, r health.Report, now time.Time) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	names := map[uint16]smartmesh.MAC{}
	for _, m := range ms.all {
		if m.id != 0 {
			names[m.id] = m.mac
		}
	}
	ms.get(mac).vitals.keep(r, names, now)
}

// snapshot copies the motes that the manager has, without their vitals, in the order of their ids.
func (ms *motes) snapshot() []mote { return ms.copies(func(*vitals) (none vitals) { return none }) }

// examined is snapshot with the vitals.
func (ms *motes) examined() []mote { return ms.copies((*vitals).copy) }

func (ms *motes) copies(of func(*vitals) vitals) []mote {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	var all []mote
	for _, m := range ms.all {
		if !m.gone {
			c := *m
			c.pace, c.vitals = nil, of(&m.vitals)
			all = append(all, c)
		}
	}
	slices.SortFunc(all, func(a, b mote) int {
		return cmp.Or(cmp.Compare(a.id, b.id), slices.Compare(a.mac[:], b.mac[:]))
	})
	return all
}

// list gives the motes for people, in the order of their ids.
func (ms *motes) list(manager string) []control.Mote {
	var out []control.Mote
	for _, m := range ms.examined() {
		c := control.Mote{MAC: m.mac.String(), Manager: manager, ID: m.id, AP: m.ap, State: m.state, Fresh: m.freshness(),
			Battery: m.vitals.battery(), Neighbors: m.vitals.neighbors(),
			Availability: m.vitals.availability(), Stability: m.vitals.stability(), RSSI: m.vitals.rssi()}
		if !m.seen.IsZero() {
			c.LastSeen = &m.seen
		}
		if m.measured {
			c.Celsius = &m.celsius
		}
		out = append(out, c)
	}
	return out
}

// status is the payload of mote/MAC/status.
func (m *mote) status() map[string]any {
	f := map[string]any{"state": m.state, "fresh": m.freshness(), "id": m.id, "last_seen": nil}
	if !m.seen.IsZero() {
		f["last_seen"] = stamp(m.seen)
	}
	return f
}
