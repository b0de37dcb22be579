package gateway

import (
	"cmp"
	"slices"

	"github.com/meshgate/meshgate/gateway/control"
	"github.com/meshgate/meshgate/smartmesh"
)

// topology gives the meshes as they hang together.
func (g *Gateway) topology() []control.Topology {
	all := []control.Topology{}
	for _, m := range g.meshes() {
		all = append(all, m.topology())
	}
	return all
}

// topology puts together what the manager tells of paths and what the motes report of neighbours.
// The manager says who is whose parent, the motes how well it works.
func (m *mesh) topology() control.Topology {
	motes := m.motes.examined()
	told, _ := m.survey.view(motes)
	t := control.Topology{Manager: m.cfg.Name, Asked: len(told), Nodes: []control.Node{}, Links: []control.Path{}}
	for _, s := range told {
		if t.Oldest.IsZero() || s.at.Before(t.Oldest) {
			t.Oldest = s.at
		}
	}
	for _, mo := range motes {
		n := control.Node{MAC: mo.mac.String(), ID: mo.id, AP: mo.ap, State: mo.state, Fresh: mo.freshness()}
		s := told[mo.mac]
		for _, p := range parents(mo, s) {
			n.Parents = append(n.Parents, p.String())
		}
		if s.info.HopDepth != nil && mo.state == "operational" && !mo.ap {
			hops := float64(*s.info.HopDepth) / 10
			n.Hops = &hops
		}
		t.Nodes = append(t.Nodes, n)
	}
	t.Links = paths(motes, told)
	return t
}

// parents are the motes that a mote sends its packets to, as far as it is in the network.
func parents(mo mote, s surveyed) []smartmesh.MAC {
	var list []smartmesh.MAC
	if mo.state != "operational" {
		return nil
	}
	for _, p := range s.paths {
		if p.Direction == smartmesh.PathUpstream && p.Source == mo.mac {
			list = append(list, p.Dest)
		}
	}
	return list
}

// pair is two motes, the lower address first.
type pair [2]smartmesh.MAC

func pairOf(a, b smartmesh.MAC) pair {
	if slices.Compare(a[:], b[:]) > 0 {
		a, b = b, a
	}
	return pair{a, b}
}

// paths merges all that is known of the paths between operational motes, each once.
func paths(motes []mote, told map[smartmesh.MAC]surveyed) []control.Path {
	there := map[smartmesh.MAC]bool{}
	for _, mo := range motes {
		there[mo.mac] = mo.state == "operational"
	}
	all := map[pair]*control.Path{}
	for _, mo := range motes {
		for _, p := range told[mo.mac].paths {
			if there[p.Source] && there[p.Dest] {
				addTold(all, p)
			}
		}
	}
	for _, mo := range motes {
		for mac, l := range mo.vitals.links {
			if there[mo.mac] && there[mac] {
				addReported(all, mo.mac, mac, l)
			}
		}
		for mac, h := range mo.vitals.heard {
			if k := pairOf(mo.mac, mac); there[mo.mac] && there[mac] && all[k] == nil {
				rssi := int(h.RSSI)
				all[k] = &control.Path{From: mo.mac.String(), To: mac.String(), RSSIBack: &rssi}
			}
		}
	}
	list := []control.Path{}
	for _, p := range all {
		list = append(list, *p)
	}
	slices.SortFunc(list, func(a, b control.Path) int { return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To)) })
	return list
}

// addTold takes a path over from the manager, with the child first. Both ends tell of it; that of
// the parent only counts until the child's is there.
func addTold(all map[pair]*control.Path, p smartmesh.NextPathInfo) {
	quality, there, back := int(p.Quality), int(p.RSSISrcDest), int(p.RSSIDestSrc)
	path := control.Path{From: p.Source.String(), To: p.Dest.String(), Quality: &quality, RSSI: &there, RSSIBack: &back,
		Upstream: p.Direction == smartmesh.PathUpstream,
		Used:     p.Direction == smartmesh.PathUpstream || p.Direction == smartmesh.PathDownstream}
	if p.Direction == smartmesh.PathDownstream {
		path.From, path.To, path.RSSI, path.RSSIBack, path.Upstream = path.To, path.From, path.RSSIBack, path.RSSI, true
	}
	k := pairOf(p.Source, p.Dest)
	if old := all[k]; old == nil || !old.Used || p.Direction == smartmesh.PathUpstream {
		all[k] = &path
	}
}

// addReported adds what a mote reports of a neighbour it exchanges packets with.
func addReported(all map[pair]*control.Path, from, to smartmesh.MAC, l neighbor) {
	k := pairOf(from, to)
	p := all[k]
	if p == nil {
		p = &control.Path{From: from.String(), To: to.String(), Used: true}
		all[k] = p
	}
	rssi := int(l.RSSI) // of what the one who reports hears
	if p.From == from.String() {
		if s, ok := l.Stability(); ok {
			p.Stability = &s
		}
		if p.RSSIBack == nil {
			p.RSSIBack = &rssi
		}
	} else if p.RSSI == nil {
		p.RSSI = &rssi
	}
}
