package gateway

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/meshgate/meshgate/gateway/control"
	"github.com/meshgate/meshgate/smartmesh"
	"github.com/meshgate/meshgate/smartmesh/health"
)

// The limits of health-reports.md, section 7, which are those of the vendor's own analysis.
const (
	minReliability  = 0.999
	minAvailability = 0.99
	strongRSSI      = -70 // dBm; above it a path is to be stable, below weakRSSI nothing can be said
	weakRSSI        = -80
	strongStability = 0.70
	weakStability   = 0.50
	goodNeighbors   = 3
	maxLinksAP      = 140
	maxLinksMote    = 180
	maxJoins        = 1
	minBattery      = 2300 // mV: a mote stops at 2100
	// settled is how long a mote must have stayed for its earlier joins to be forgiven, in seconds.
	settled = 24 * 60 * 60
	// fewPackets make no share worth judging, and one that is lost proves nothing.
	fewPackets, fewLost = 30, 1
)

var errNoSession = errors.New("there is no session with the manager")

// analysis is a mesh while it is judged.
type analysis struct {
	motes []mote
	told  map[smartmesh.MAC]surveyed
	net   *smartmesh.NetworkInfo
	out   control.MeshHealth
}

// checks are those of the vendor's network health analysis.
var checks = []struct {
	name, limit string
	judge       func(*analysis, *control.Check)
}{
	{"reliability", "at least 99.9 % of the packets arrive", (*analysis).reliability},
	{"availability", "at least 99 % of the packets can be taken for sending", (*analysis).availability},
	{"stability", "over 70 % acknowledged above -70 dBm, 50 % above -80 dBm", (*analysis).stability},
	{"neighbors", "3 good neighbours each", (*analysis).neighbors},
	{"links", "receive links: under 140 at the access point, 180 at a mote", (*analysis).links},
	{"parents", "one mote with a single parent", (*analysis).parents},
	{"joins", "one join each, or a day since the latest", (*analysis).joins},
	{"battery", "at least 2300 mV", (*analysis).battery},
}

// health analyses the meshes.
func (g *Gateway) health() []control.MeshHealth {
	all := []control.MeshHealth{}
	for _, m := range g.meshes() {
		all = append(all, m.health())
	}
	return all
}

// health judges what is known now. What there is no data of neither passes nor fails.
func (m *mesh) health() control.MeshHealth {
	a := analysis{motes: m.motes.examined()}
	a.told, a.net = m.survey.view(a.motes)
	return a.run(m.cfg.Name)
}

func (a *analysis) run(manager string) control.MeshHealth {
	a.out = control.MeshHealth{Manager: manager, Failures: []control.Failure{}}
	for _, mo := range a.motes {
		if !mo.ap {
			a.out.Motes++
		}
		if !mo.ap && mo.state == "operational" {
			a.out.Operational++
		}
	}
	for _, c := range checks {
		check := control.Check{Name: c.name, Limit: c.limit}
		c.judge(a, &check)
		a.out.Checks = append(a.out.Checks, check)
	}
	a.out.OK = len(a.out.Failures) == 0
	return a.out
}

func (a *analysis) fail(c *control.Check, mac string, value float64, remedy, text string, args ...any) {
	c.Failed++
	a.out.Failures = append(a.out.Failures, control.Failure{Check: c.Name, MAC: mac, Value: value, Text: fmt.Sprintf(text, args...), Remedy: remedy})
}

// operational goes over the motes that are in the network now, with what the manager has told.
func (a *analysis) operational(do func(mote, surveyed)) {
	for _, mo := range a.motes {
		if s := a.told[mo.mac]; mo.state == "operational" && s.known {
			do(mo, s)
		}
	}
}

func (a *analysis) reliability(c *control.Check) {
	const remedy = "look for what else is amiss here: weak or unstable paths, too few parents, a mote that restarts"
	judge := func(mac, who string, lost, arrived uint64) {
		r, ok := health.Reliability(lost, arrived)
		if !ok || lost+arrived < fewPackets {
			return
		}
		c.Judged++
		if r < minReliability && lost > fewLost {
			a.fail(c, mac, r, remedy, "%d of %d packets %s were lost", lost, lost+arrived, who)
		}
	}
	if n := a.net; n != nil && n.NumLostPackets != nil && n.NumArrivedPackets != nil {
		judge("", "of the network", uint64(*n.NumLostPackets), *n.NumArrivedPackets)
	}
	a.operational(func(mo mote, s surveyed) {
		if !mo.ap {
			judge(mo.mac.String(), "of this mote", uint64(s.info.PacketsLost), uint64(s.info.PacketsReceived))
		}
	})
}

func (a *analysis) availability(c *control.Check) {
	for _, mo := range a.motes {
		v := mo.vitals.availability()
		if v == nil || mo.state != "operational" {
			continue
		}
		c.Judged++
		if *v < minAvailability {
			a.fail(c, mo.mac.String(), *v, "let it and the motes behind it report less often, or place a mote beside it to share the load",
				"it could not take %d packets for sending in the last interval", mo.vitals.device.NumTxFail)
		}
	}
}

// stability judges paths by their signal: a strong one that fails points to something that
// disturbs; one that is weak may.
func (a *analysis) stability(c *control.Check) {
	for _, mo := range a.motes {
		for _, mac := range slices.SortedFunc(maps.Keys(mo.vitals.links), func(x, y smartmesh.MAC) int { return slices.Compare(x[:], y[:]) }) {
			l := mo.vitals.links[mac]
			s, ok := l.Stability()
			if !ok || mo.state != "operational" {
				continue
			}
			c.Judged++
			switch {
			case l.RSSI > strongRSSI && s <= strongStability:
				a.fail(c, mo.mac.String(), s, "the signal is strong: look for interference near the two, such as Wi-Fi or another radio, and move them apart from it",
					"only %.0f %% of the packets to %s are acknowledged, at %d dBm%s", 100*s, mac, l.RSSI, mo.vitals.worstChannel())
			case l.RSSI > weakRSSI && l.RSSI <= strongRSSI && s < weakStability:
				a.fail(c, mo.mac.String(), s, "bring the two nearer to each other or into sight, or place a mote between them",
					"only %.0f %% of the packets to %s are acknowledged, at %d dBm", 100*s, mac, l.RSSI)
			}
		}
	}
}

// neighbors asks for as many as a small network can have, three where it is larger.
func (a *analysis) neighbors(c *control.Check) {
	least := min(goodNeighbors, a.out.Operational)
	a.operational(func(mo mote, s surveyed) {
		if mo.ap {
			return
		}
		c.Judged++
		if n := int(s.info.NumGoodNeighbors); n < least {
			a.fail(c, mo.mac.String(), float64(n), "place another mote within its reach, or move it nearer to others",
				"it has %d good neighbours, not %d", n, least)
		}
	})
}

func (a *analysis) links(c *control.Check) {
	a.operational(func(mo mote, s surveyed) {
		limit, who := maxLinksMote, "this mote"
		if mo.ap {
			limit, who = maxLinksAP, "the access point"
		}
		c.Judged++
		if s.receives >= limit {
			a.fail(c, mo.mac.String(), float64(s.receives), "let the motes report less often, or divide them between two managers",
				"%s has %d receive links, the limit is %d", who, s.receives, limit)
		}
	})
}

// parents: in every mesh one mote has a single parent, or its paths would run in circles.
func (a *analysis) parents(c *control.Check) {
	var single []string
	a.operational(func(mo mote, s surveyed) {
		if mo.ap || len(s.paths) == 0 {
			return
		}
		c.Judged++
		if len(parents(mo, s)) == 1 {
			single = append(single, mo.mac.String())
		}
	})
	if len(single) <= 1 {
		return
	}
	for _, mac := range single {
		a.fail(c, mac, 1, "place another mote within its reach: a second way must be there when the first fails",
			"it has a single parent, as %d motes have", len(single))
	}
}

func (a *analysis) joins(c *control.Check) {
	a.operational(func(mo mote, s surveyed) {
		if mo.ap || s.info.NumJoins == nil {
			return
		}
		c.Judged++
		stays := s.info.StateTime != nil && *s.info.StateTime >= settled
		if n := *s.info.NumJoins; n > maxJoins && !stays {
			a.fail(c, mo.mac.String(), float64(n), "check its battery and contacts; if they are good, its way to the others is too weak",
				"it has joined %d times", n)
		}
	})
}

func (a *analysis) battery(c *control.Check) {
	for _, mo := range a.motes {
		mv := mo.vitals.battery()
		if mv == nil || mo.state != "operational" || *mv == 0 {
			continue
		}
		c.Judged++
		if *mv < minBattery {
			a.fail(c, mo.mac.String(), float64(*mv), "change the battery", "its battery is down to %d mV", *mv)
		}
	}
}

// lasting is for how many minutes in a row a check has to fail before it is logged: a mesh that
// forms fails some at first.
const lasting = 15

// tellHealth logs what fails lastingly, once, and what has gone. It is called each minute.
func (m *mesh) tellHealth(h control.MeshHealth) {
	now := map[string]int{}
	for _, f := range h.Failures {
		key := f.Check + " " + f.MAC
		if now[key] > 0 {
			continue // another path of the same mote
		}
		if now[key] = m.failing[key] + 1; now[key] == lasting {
			m.log.Warn("the mesh fails a check", "check", f.Check, "mac", f.MAC, "why", f.Text, "remedy", f.Remedy)
		}
	}
	for key, n := range m.failing {
		if n >= lasting && now[key] == 0 {
			check, mac, _ := strings.Cut(key, " ")
			m.log.Info("the mesh passes a check again", "check", check, "mac", mac)
		}
	}
	m.failing = now
}

// maxPublished bounds the failures in gateway/health; `meshgate health` shows all.
const maxPublished = 50

// meshHealth is what gateway/health says of the meshes.
func (g *Gateway) meshHealth() map[string]any {
	all := map[string]any{}
	for _, m := range g.meshes() {
		h := m.health()
		m.tellHealth(h)
		all[m.cfg.Name] = map[string]any{"ok": h.OK, "motes": h.Motes, "operational": h.Operational, "failed": len(h.Failures),
			"failures": h.Failures[:min(len(h.Failures), maxPublished)]}
	}
	return all
}

// showMesh keeps the mesh's link true: up while a mote is in the network, and not well while one
// that was in it is not heard.
func (m *mesh) showMesh() {
	n := 0
	var there, lost []string
	for _, mo := range m.motes.snapshot() {
		switch {
		case mo.ap:
			continue
		case mo.state == "operational" && mo.fresh != "lost":
			there = append(there, mo.mac.String())
		case mo.state == "lost" && !mo.said.IsZero(), mo.state == "operational":
			lost = append(lost, mo.mac.String())
		}
		n++
	}
	detail := fmt.Sprintf("%d of %d motes in the network", len(there), n)
	session := m.live.Load() != nil
	m.tellLost(there, lost, session)
	switch {
	case !session:
		m.link.down(errNoSession)
	case len(there) == 0:
		m.link.down(fmt.Errorf("no mote is in the network of %d that the manager knows", n))
	case len(lost) > 0:
		m.link.up(detail)
		m.link.complain(fmt.Sprintf("%d of %d motes lost: %s", len(lost), n, strings.Join(lost, ", ")))
	default:
		m.link.up(detail)
	}
}

// tellLost logs which motes are lost that were not, and which of those are there again. Those that
// fall silent while there is no session do so with the manager, whose loss has been told.
func (m *mesh) tellLost(there, lost []string, session bool) {
	var gone, back []string
	for _, mac := range lost {
		if _, known := m.missing[mac]; !known {
			m.missing[mac] = session
			gone = append(gone, mac)
		}
	}
	for _, mac := range there {
		if m.missing[mac] {
			back = append(back, mac)
		}
		delete(m.missing, mac)
	}
	if len(gone) > 0 && session {
		m.log.Warn("motes are lost", "motes", strings.Join(gone, ", "))
	}
	if len(back) > 0 {
		m.log.Info("motes are back", "motes", strings.Join(back, ", "))
	}
}
