package gateway

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meshgate/meshgate/smartmesh"
	"github.com/meshgate/meshgate/smartmesh/oap"
	"github.com/meshgate/meshgate/smartmesh/sim"
)

var macA = smartmesh.MAC{0, 0x17, 0x0d, 0, 0, 0x38, 0x05, 0xe9}

// follow makes motes that note each published change.
func follow() (*motes, *[]string) {
	var log []string
	return newMotes(func(m *mote) { log = append(log, m.state+"/"+m.fresh) }), &log
}

// temperature is a packet with one sample, of a mote that reports at a rate.
func temperature(ms *motes, rate time.Duration, now time.Time) {
	ms.packet(macA, now)
	ms.sampled(macA, oap.Sample{Channel: oap.Temperature, Rate: rate, Values: []int{1}}, now)
}

// TestFreshness: the rate is known from the first packet on, and a silence is seen within two to
// three periods.
func TestFreshness(t *testing.T) {
	ms, log := follow()
	last := noon
	temperature(ms, 10*time.Second, last)
	for now := last; now.Before(last.Add(5 * time.Minute)); now = now.Add(time.Second) {
		ms.age(now)
		want := "fresh"
		switch since := now.Sub(last); {
		case since > 100*time.Second:
			want = "lost"
		case since > 25*time.Second:
			want = "late"
		}
		if got := ms.all[macA].fresh; got != want {
			t.Errorf("%v after the last packet: %s, want %s", now.Sub(last), got, want)
		}
	}
	ms.packet(macA, last.Add(5*time.Minute))
	want := "operational/fresh operational/late operational/lost operational/fresh"
	if got := strings.Join(*log, " "); got != want {
		t.Errorf("published %s, want %s", got, want)
	}
}

// TestFreshnessWithLoss is a year of a mesh of 100 motes in steps of a packet, by its statistics:
// whatever share of the packets is lost, next to none of the others finds its mote called late,
// and a mote that falls silent at the end is late after so many periods.
func TestFreshnessWithLoss(t *testing.T) {
	for _, tt := range []struct {
		name        string
		declared    bool
		loss        float64
		jitter      time.Duration
		falseAlarms int
		late        [2]float64 // by how lately a packet was lost
	}{
		{"no loss, by the rate it tells", true, 0, 4 * time.Second, 0, [2]float64{2.5, 2.6}},
		{"no loss, by the rate it shows", false, 0, 4 * time.Second, 0, [2]float64{2.5, 2.6}},
		{"one in a thousand", true, 0.001, 2 * time.Second, 4, [2]float64{2.5, 3.6}},
		{"one in a hundred", true, 0.01, 2 * time.Second, 4, [2]float64{2.5, 4.6}},
		{"one in twenty, by the rate it tells", true, 0.05, 2 * time.Second, 4, [2]float64{3.5, 4.6}},
		{"one in twenty, by the rate it shows", false, 0.05, 2 * time.Second, 4, [2]float64{3.5, 4.6}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(1, 2))
			ms, log := follow()
			const packets, rate = 200000, 10 * time.Second
			for i := range packets {
				now := noon.Add(time.Duration(i)*rate + time.Duration(rnd.Float64()*float64(tt.jitter)))
				ms.age(now)
				switch {
				case rnd.Float64() < tt.loss:
				case tt.declared:
					temperature(ms, rate, now)
				default:
					ms.packet(macA, now)
					ms.update(macA, func(m *mote) { m.pace.heard("x", now) })
				}
			}
			alarms := strings.Count(fmt.Sprint(*log), "late")
			t.Logf("%d false alarms in %d packets", alarms, packets)
			if alarms > tt.falseAlarms || strings.Contains(fmt.Sprint(*log), "lost") {
				t.Errorf("%d false alarms in %d packets", alarms, packets)
			}
			m := ms.all[macA]
			for now := m.seen; ; now = now.Add(time.Second / 10) {
				ms.age(now)
				if silent := float64(now.Sub(m.seen)) / float64(rate); m.fresh == "late" || silent > 10 {
					if silent < tt.late[0] || silent > tt.late[1] {
						t.Errorf("late after %.2f periods, want %v", silent, tt.late)
					}
					return
				}
			}
		})
	}
}

// TestFreshnessOfANewMote: a mote that has shown no loss yet is judged by that of the mesh.
func TestFreshnessOfANewMote(t *testing.T) {
	ms, _ := follow()
	for range 5 {
		ms.loss.note(1)
	}
	temperature(ms, 10*time.Second, noon)
	for silent, want := range map[time.Duration]string{44 * time.Second: "fresh", 46 * time.Second: "late"} {
		if got := ms.all[macA].pace.freshness(noon.Add(silent), noon); got != want {
			t.Errorf("after %v: %s, want %s", silent, got, want)
		}
	}
}

func TestPace(t *testing.T) {
	s := time.Second
	at := func(n int) time.Time { return noon.Add(time.Duration(n) * s) }
	regular, bursts := newPace(&lossRate{}), newPace(&lossRate{})
	for i := range 9 {
		if i != 3 { // one is lost
			regular.heard("x", at(10*i))
		}
		bursts.heard("x", at(i*i*i))
	}
	two := newPace(&lossRate{})
	two.declared("fast", s, at(0))
	two.declared("slow", 60*s, at(0))
	off := newPace(&lossRate{})
	off.declared("slow", 60*s, at(0))
	off.declared("fast", s, at(700))
	put := newPace(&lossRate{})
	put.declared("temperature", 3*s, at(0))
	put.set(oap.Request{Address: oap.Temperature, Tags: []oap.Tag{{Tag: 0, Value: []byte{1}}, {Tag: 1, Value: []byte{0, 0, 0x75, 0x30}}}}, at(1))
	disabled := newPace(&lossRate{})
	disabled.declared("temperature", 3*s, at(0))
	disabled.set(oap.Request{Address: oap.Temperature, Tags: []oap.Tag{{Tag: 0, Value: []byte{0}}}}, at(1))
	for _, tt := range []struct {
		name string
		p    *pace
		seen time.Time
		want time.Duration
	}{
		{"none", newPace(&lossRate{}), at(0), healthPace},
		{"regular, one lost", regular, at(80), 10 * s},
		{"in bursts: the longest gap", bursts, at(512), 169 * s},
		{"the slowest stream", two, at(3), 60 * s},
		{"a stream that has ended", off, at(700), s},
		{"set anew", put, at(1), 30 * s},
		{"switched off", disabled, at(1), healthPace},
	} {
		if got := tt.p.expected(tt.seen).period; got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestListed(t *testing.T) {
	macB, macC := smartmesh.MAC{1}, smartmesh.MAC{2}
	ms, log := follow()
	ap := smartmesh.MoteConfig{MAC: macB, MoteID: 1, IsAP: true, State: smartmesh.StateOperational}
	ms.listed(noon, []smartmesh.MoteConfig{ap,
		{MAC: macA, MoteID: 2, State: smartmesh.StateOperational}, {MAC: macC, MoteID: 3, State: smartmesh.StateLost}})
	ms.listed(noon.Add(time.Minute), []smartmesh.MoteConfig{ap, {MAC: macC, MoteID: 3, State: smartmesh.StateLost}})
	if got := strings.Join(*log, " "); got != "operational/ operational/ never/ lost/" {
		t.Errorf("published %s", got)
	}
	list := ms.list("main")
	if len(list) != 2 || !list[0].AP || list[1].MAC != macC.String() || list[1].State != "never" {
		t.Errorf("got %+v", list)
	}
}

// TestListedAtOnce: what is said at the very moment that the list is asked for is newer than the list.
func TestListedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ms, log := follow()
		list := []smartmesh.MoteConfig{{MAC: macA, MoteID: 2, State: smartmesh.StateOperational}}
		ms.listed(time.Now(), list)
		time.Sleep(time.Minute)
		ms.event(macA, "lost")
		ms.listed(time.Now(), list)
		if got := strings.Join(*log, " "); got != "operational/ lost/" {
			t.Errorf("published %s", got)
		}
	})
}

// TestListedWhileItChanges: what happened while the list was read is newer than the list.
func TestListedWhileItChanges(t *testing.T) {
	mac := func(n byte) smartmesh.MAC { return smartmesh.MAC{7: n} }
	ms, _ := follow()
	was := func(n byte, s smartmesh.MoteState) smartmesh.MoteConfig {
		return smartmesh.MoteConfig{MAC: mac(n), MoteID: uint16(n), State: s}
	}
	began := time.Now().Add(-time.Second)
	ms.listed(began.Add(-time.Minute), []smartmesh.MoteConfig{was(1, 4), was(2, 4), was(3, 4)})
	ms.event(mac(1), "lost")
	ms.deleted(mac(2))
	ms.created(mac(4), 4) // after the list was past its place
	ms.event(mac(4), "operational")
	ms.created(mac(5), 3) // the manager has given an id anew
	ms.listed(began, []smartmesh.MoteConfig{was(1, 4), was(2, 4)})
	var got []string
	for _, m := range ms.list("") {
		got = append(got, fmt.Sprint(m.MAC[len(m.MAC)-2:], " ", m.ID, " ", m.State))
	}
	if want := "01 1 lost|05 3 never|04 4 operational"; strings.Join(got, "|") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, "|"), want)
	}
}

// TestMeshFollowsTheManager: motes come, go and come again; the manager starts over, and its list
// changes while it is read.
func TestMeshFollowsTheManager(t *testing.T) {
	inWorld(t, sim.Config{Motes: 3, Period: 10 * time.Second, Seed: 1}, func(w *world) {
		w.start()
		status := func(mac [8]byte) string { return "mote/" + smartmesh.MAC(mac).String() + "/status" }
		last := func(mac [8]byte, words ...string) func() bool {
			return func() bool {
				all := w.published(status(mac))
				return len(all) > 0 && contains(all[len(all)-1], words)
			}
		}
		macs := w.sim.Motes()
		for _, mac := range macs {
			w.until("fresh", last(mac, `"operational"`, `"fresh":"fresh"`))
		}
		w.sim.LoseMote(macs[0])
		w.until("lost", last(macs[0], `"state":"lost"`, `"fresh":"lost"`))
		time.Sleep(time.Second) // until the mesh is looked at
		w.sim.AddMote(macs[0])
		w.until("back", last(macs[0], `"operational"`, `"fresh":"fresh"`))
		time.Sleep(time.Second)
		for _, what := range []string{"lost", "back"} {
			if said := fmt.Sprintf("motes are %s\" manager=main motes=%v\n", what, smartmesh.MAC(macs[0])); strings.Count(w.log.String(), said) != 1 {
				t.Errorf("the log does not say once: %s%s", said, &w.log)
			}
		}
		w.sim.RestartMote(macs[1])
		w.until("rejoined", w.has("manager/main/event", `"moteJoin"`, smartmesh.MAC(macs[1]).String()))
		fourth := w.sim.AddMote([8]byte{})
		w.until("a new one", last(fourth, `"operational"`, `"fresh":"fresh"`, `"id":5`))
		w.sim.Reboot()
		w.until("the manager starts over", w.has("manager/main/status", `"disconnected"`))
		fifth := w.sim.AddMote([8]byte{})
		for _, mac := range append(macs, fourth, fifth) {
			w.until("all again", last(mac, `"operational"`, `"fresh":"fresh"`))
		}
	})
}

// TestQuietMote: a mote that stays in the network and sends no more readings is late after two to
// three periods, and nobody else is.
func TestQuietMote(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		w.start()
		w.until("readings", func() bool { return len(w.published("mote/+/temperature")) >= 4 })
		w.sim.SetFaults(sim.Faults{SampleLost: 1})
		began := time.Now()
		w.until("late", func() bool {
			late := 0
			for _, p := range w.published("mote/+/status") {
				late += strings.Count(p, `"late"`)
			}
			return late == 2
		})
		if d := time.Since(began); d < 15*time.Second || d > 30*time.Second {
			t.Errorf("late after %v", d)
		}
		w.until("lost", w.has("mote/+/status", `"state":"operational"`, `"fresh":"lost"`))
	})
}

// TestNoFalseAlarms: forty minutes of ten motes, one packet in twenty lost, the others late by up to
// a second. Three in a row are lost about once; two must not count.
func TestNoFalseAlarms(t *testing.T) {
	lossy := sim.Config{Motes: 10, Period: 10 * time.Second, Seed: 4, Latency: 500 * time.Millisecond, Faults: sim.Faults{SampleLost: 0.05}}
	inWorld(t, lossy, func(w *world) {
		w.start()
		time.Sleep(40 * time.Minute)
		late := 0
		for _, p := range w.published("mote/+/status") {
			late += strings.Count(p, `"late"`) + strings.Count(p, `"fresh":"lost","id":0`)
		}
		t.Logf("%d alarms in %d readings", late, len(w.published("mote/+/temperature")))
		if late > 3 || len(w.published("mote/+/temperature")) < 2200 {
			t.Errorf("%d alarms in %d readings", late, len(w.published("mote/+/temperature")))
		}
	})
}

// TestNotHeardYet: a mote in the network is given time before it counts as late; one that is not
// in it has nothing fresh.
func TestNotHeardYet(t *testing.T) {
	macB, macC := smartmesh.MAC{1}, smartmesh.MAC{2}
	ms, _ := follow()
	for _, at := range []time.Time{noon, noon.Add(listPeriod), noon.Add(2 * listPeriod)} {
		ms.listed(at, []smartmesh.MoteConfig{{MAC: macA, MoteID: 2, State: smartmesh.StateOperational},
			{MAC: macB, MoteID: 1, IsAP: true, State: smartmesh.StateOperational}, {MAC: macC, MoteID: 3, State: smartmesh.StateLost}})
	}
	for _, tt := range []struct {
		after time.Duration
		want  string
	}{{0, "fresh fresh lost"}, {37 * time.Minute, "fresh fresh lost"}, {38 * time.Minute, "fresh late lost"}, {5 * time.Hour, "fresh lost lost"}} {
		ms.age(noon.Add(tt.after))
		var got []string
		for _, m := range ms.list("") {
			got = append(got, m.Fresh)
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("after %v: %v, want %s", tt.after, got, tt.want)
		}
	}
}
