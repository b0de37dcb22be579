package gateway

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/meshgate/meshgate/gateway/control"
	"github.com/meshgate/meshgate/smartmesh"
	"github.com/meshgate/meshgate/smartmesh/health"
	"github.com/meshgate/meshgate/smartmesh/sim"
)

// ward is a healthy mesh of an access point and four motes, to be made ill.
func ward() *analysis {
	a := &analysis{told: map[smartmesh.MAC]surveyed{}}
	mac := func(n int) smartmesh.MAC { return smartmesh.MAC{7: byte(n)} }
	for n := range 5 {
		mo := mote{mac: mac(n), id: uint16(n + 1), ap: n == 0, state: "operational", fresh: "fresh"}
		one := uint8(1)
		s := surveyed{info: smartmesh.MoteInfo{PacketsReceived: 10000, NumGoodNeighbors: 3, NumJoins: &one}, receives: 20, known: true}
		if n > 0 {
			mo.vitals.device = &health.Device{BatteryVoltage: 3000, NumTxOk: 100, Present: 16}
			mo.vitals.links = map[smartmesh.MAC]neighbor{mac(0): {Neighbor: health.Neighbor{RSSI: -60, NumTxPackets: 100, NumTxFailures: 5}}}
			s.paths = []smartmesh.NextPathInfo{{Source: mac(n), Dest: mac(0), Direction: smartmesh.PathUpstream}}
		}
		if n > 1 {
			s.paths = append(s.paths, smartmesh.NextPathInfo{Source: mac(n), Dest: mac(n - 1), Direction: smartmesh.PathUpstream})
		}
		a.motes, a.told[mo.mac] = append(a.motes, mo), s
	}
	lost, arrived := uint32(0), uint64(40000)
	a.net = &smartmesh.NetworkInfo{NumLostPackets: &lost, NumArrivedPackets: &arrived}
	return a
}

// change changes what the manager tells of a mote.
func (a *analysis) change(n int, do func(*surveyed)) {
	s := a.told[a.motes[n].mac]
	do(&s)
	a.told[a.motes[n].mac] = s
}

func (a *analysis) link(n int, rssi int8, sent, failed uint16) {
	for mac := range a.motes[n].vitals.links {
		a.motes[n].vitals.links[mac] = neighbor{Neighbor: health.Neighbor{RSSI: rssi, NumTxPackets: sent, NumTxFailures: failed}}
	}
}

func TestMeshHealth(t *testing.T) {
	u8 := func(n uint8) *uint8 { return &n }
	tests := []struct {
		name string
		harm func(*analysis)
		want string // check and last digit of the mote, of each failure
	}{
		{"healthy", func(a *analysis) {}, ""},
		{"a mote loses packets", func(a *analysis) { a.change(2, func(s *surveyed) { s.info.PacketsLost = 20 }) }, "reliability 2"},
		{"at the limit", func(a *analysis) {
			a.change(2, func(s *surveyed) { s.info.PacketsLost, s.info.PacketsReceived = 10, 9990 })
		}, ""},
		{"one lost proves nothing", func(a *analysis) {
			a.change(2, func(s *surveyed) { s.info.PacketsLost, s.info.PacketsReceived = 1, 99 })
		}, ""},
		{"the network loses packets", func(a *analysis) { *a.net.NumLostPackets = 400 }, "reliability -"},
		{"congested", func(a *analysis) { a.motes[3].vitals.device.NumTxFail = 2 }, "availability 3"},
		{"congested a little", func(a *analysis) { a.motes[3].vitals.device.NumTxFail = 1 }, ""},
		{"nothing was sent", func(a *analysis) { a.motes[3].vitals.device.NumTxOk = 0 }, ""},
		{"interference", func(a *analysis) { a.link(1, -50, 100, 30) }, "stability 1"},
		{"strong and good enough", func(a *analysis) { a.link(1, -50, 100, 29) }, ""},
		{"middling", func(a *analysis) { a.link(1, -75, 100, 51) }, "stability 1"},
		{"middling and good enough", func(a *analysis) { a.link(1, -75, 100, 50) }, ""},
		{"weak may fail", func(a *analysis) { a.link(1, -85, 100, 90) }, ""},
		{"too few packets", func(a *analysis) { a.link(1, -50, 29, 29) }, ""},
		{"few neighbours", func(a *analysis) { a.change(4, func(s *surveyed) { s.info.NumGoodNeighbors = 2 }) }, "neighbors 4"},
		{"many links", func(a *analysis) { a.change(1, func(s *surveyed) { s.receives = 179 }) }, ""},
		{"too many links", func(a *analysis) { a.change(1, func(s *surveyed) { s.receives = 180 }) }, "links 1"},
		{"too many at the access point", func(a *analysis) { a.change(0, func(s *surveyed) { s.receives = 140 }) }, "links 0"},
		{"two with a single parent", func(a *analysis) { a.change(3, func(s *surveyed) { s.paths = s.paths[:1] }) }, "parents 1|parents 3"},
		{"joined again", func(a *analysis) { a.change(2, func(s *surveyed) { s.info.NumJoins = u8(2) }) }, "joins 2"},
		{"joined again long ago", func(a *analysis) {
			day := uint32(settled)
			a.change(2, func(s *surveyed) { s.info.NumJoins, s.info.StateTime = u8(2), &day })
		}, ""},
		{"an empty battery", func(a *analysis) { a.motes[4].vitals.device.BatteryVoltage = 2299 }, "battery 4"},
		{"a mote that has left is not judged", func(a *analysis) { a.motes[4].vitals.device.BatteryVoltage, a.motes[4].state = 2100, "lost" }, ""},
	}
	for _, tt := range tests {
		a := ward()
		tt.harm(a)
		h := a.run("main")
		var got []string
		for _, f := range h.Failures {
			got = append(got, f.Check+" "+strings.TrimPrefix(f.MAC[max(0, len(f.MAC)-1):]+"-", "")[:1])
			if f.Text == "" || f.Remedy == "" {
				t.Errorf("%s: %+v says too little", tt.name, f)
			}
		}
		if strings.Join(got, "|") != tt.want || h.OK != (tt.want == "") || len(h.Checks) != 8 || h.Motes != 4 {
			t.Errorf("%s: got %q, want %q", tt.name, strings.Join(got, "|"), tt.want)
		}
	}
	empty := (&analysis{}).run("main")
	for _, c := range empty.Checks {
		if !empty.OK || c.Judged != 0 {
			t.Errorf("nothing is known, but %+v", c)
		}
	}
}

// TestHealthIsToldOnce: what lasts is logged once, and once when it has gone.
func TestHealthIsToldOnce(t *testing.T) {
	var log journal
	m := &mesh{log: slog.New(slog.NewTextHandler(&log, nil))}
	bad := control.MeshHealth{Failures: []control.Failure{{Check: "battery", MAC: "x"}, {Check: "battery", MAC: "x"}}}
	for range 3 * lasting {
		m.tellHealth(bad)
	}
	m.tellHealth(control.MeshHealth{})
	for range lasting - 1 {
		m.tellHealth(bad)
	}
	m.tellHealth(control.MeshHealth{})
	if fails, again := strings.Count(log.String(), "fails"), strings.Count(log.String(), "passes"); fails != 1 || again != 1 {
		t.Errorf("told %d times, and %d times that it has gone:\n%s", fails, again, &log)
	}
}

// TestTopology: after a while the paths are those of the simulated mesh, with what the motes
// report of them, and they follow when a mote leaves.
func TestTopology(t *testing.T) {
	inWorld(t, sim.Config{Motes: 10, Period: 10 * time.Second, Seed: 3, HealthPeriod: 5 * time.Minute}, func(w *world) {
		w.start()
		time.Sleep(15 * time.Minute)
		var all []control.Topology
		w.ask("topology", &all)
		top := all[0]
		if len(all) != 1 || top.Manager != "main" || len(top.Nodes) != 11 || top.Asked != 11 {
			t.Fatalf("got %+v", top)
		}
		used := map[string][]string{}
		for _, l := range top.Links {
			if l.Used {
				used[l.From] = append(used[l.From], l.To)
				if !l.Upstream || l.Quality == nil || l.RSSI == nil || l.Stability == nil {
					t.Errorf("of %s to %s not all is known: %+v", l.From, l.To, l)
				}
			}
		}
		for _, n := range top.Nodes {
			slices.Sort(n.Parents)
			if got := used[n.MAC]; !slices.Equal(got, n.Parents) || !n.AP && (len(got) == 0 || n.Hops == nil || *n.Hops < 1) {
				t.Errorf("%s has the parents %v, and paths to %v", n.MAC, n.Parents, got)
			}
		}
		gone := smartmesh.MAC(w.sim.Motes()[4]).String()
		w.sim.LoseMote(w.sim.Motes()[4])
		time.Sleep(2 * time.Minute)
		w.ask("topology", &all)
		for _, l := range all[0].Links {
			if l.From == gone || l.To == gone {
				t.Errorf("a path of the one that left: %+v", l)
			}
		}
		if v := w.sim.Stats().Violations; len(v) > 0 {
			t.Errorf("violations of the protocol: %v", v)
		}
	})
}

// TestSurveyIsSlow: it asks no more than once a second.
func TestSurveyIsSlow(t *testing.T) {
	inWorld(t, sim.Config{Motes: 20, Seed: 3}, func(w *world) {
		w.start()
		time.Sleep(time.Minute)
		before := w.sim.Stats().Requests
		time.Sleep(time.Minute)
		if n := w.sim.Stats().Requests - before; n > 61+5 || n < 30 { // and the clock; a period more of each may begin in a minute
			t.Errorf("%d requests in a minute", n)
		}
	})
}

// TestMeshLink: the chain shows the mesh on its own, and gateway/health what is wrong with it.
func TestMeshLink(t *testing.T) {
	inWorld(t, sim.Config{Motes: 3, Period: 10 * time.Second, Seed: 1, HealthPeriod: time.Minute}, func(w *world) {
		w.start()
		link := func() (l control.Link, ok bool) {
			var s control.Status
			w.ask("status", &s)
			for _, l := range s.Links {
				if l.Kind == "mesh" && l.Name == "main" {
					return l, s.OK
				}
			}
			t.Fatalf("no link in %+v", s.Links)
			return
		}
		time.Sleep(time.Minute)
		if l, ok := link(); !ok || !l.Up || l.Error != "" || !strings.Contains(l.Detail, "3 of 3") {
			t.Errorf("%+v, ok %v", l, ok)
		}
		macs := w.sim.Motes()
		w.sim.LoseMote(macs[0])
		time.Sleep(2 * time.Second)
		if l, ok := link(); ok || !l.Up || !strings.Contains(l.Error, smartmesh.MAC(macs[0]).String()) {
			t.Errorf("%+v, ok %v", l, ok)
		}
		w.sim.LoseMote(macs[1])
		w.sim.LoseMote(macs[2])
		time.Sleep(2 * time.Second)
		if l, ok := link(); ok || l.Up {
			t.Errorf("%+v, ok %v", l, ok)
		}
		w.until("health", w.has("gateway/health", `"mesh":{"main":{"failed":`, `"operational":0`))
		for _, mac := range macs {
			w.sim.AddMote(mac)
		}
		time.Sleep(10 * time.Minute)
		if l, ok := link(); !ok || !l.Up {
			t.Errorf("%+v, ok %v", l, ok)
		}
		var all []control.MeshHealth
		w.ask("health", &all)
		joins := 0
		for _, f := range all[0].Failures {
			if f.Check == "joins" && strings.Contains(f.Text, "2 times") {
				joins++
			}
		}
		if joins != 3 {
			t.Errorf("all motes have joined twice, got %+v", all[0].Failures)
		}
		w.until("health", w.has("gateway/health", `"check":"joins"`, `"remedy"`, fmt.Sprintf(`"mac":"%s"`, smartmesh.MAC(macs[0]))))
		var motes []control.Mote
		w.ask("motes", &motes)
		for _, m := range motes {
			if !m.AP && (m.Battery == nil || m.Neighbors == nil || m.Stability == nil || m.RSSI == nil || m.Availability == nil) {
				t.Errorf("a figure is missing in %+v", m)
			}
		}
	})
}
