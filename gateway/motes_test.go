package gateway

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/meshgate/meshgate/smartmesh"
)

var macA = smartmesh.MAC{0, 0x17, 0x0d, 0, 0, 0x38, 0x05, 0xe9}

// follow makes motes that note each published change.
func follow() (*motes, *[]string) {
	var log []string
	return newMotes(func(m *mote) { log = append(log, m.state+"/"+m.fresh) }), &log
}

func TestFreshness(t *testing.T) {
	ms, log := follow()
	now := noon
	for range 20 {
		ms.packet(macA, now)
		now = now.Add(10 * time.Second)
	}
	last := now.Add(-10 * time.Second)
	for ; now.Before(last.Add(5 * time.Minute)); now = now.Add(time.Second) {
		ms.age(now)
		switch since := now.Sub(last); {
		case since == 25*time.Second && ms.all[macA].fresh != "fresh":
			t.Errorf("%s after 2.5 periods", ms.all[macA].fresh)
		case since == 26*time.Second && ms.all[macA].fresh != "late":
			t.Errorf("%s after 2.6 periods", ms.all[macA].fresh)
		case since == 101*time.Second && ms.all[macA].fresh != "lost":
			t.Errorf("%s after 10.1 periods", ms.all[macA].fresh)
		}
	}
	ms.packet(macA, now)
	want := "operational/fresh operational/late operational/lost operational/fresh"
	if got := strings.Join(*log, " "); got != want {
		t.Errorf("published %s, want %s", got, want)
	}
}

// TestFreshnessWithLoss: one packet in twenty lost, and jitter, is no reason to cry wolf more
// than once in a long while.
func TestFreshnessWithLoss(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	ms, log := follow()
	const packets = 20000
	now := noon
	for range packets {
		now = now.Add(9*time.Second + time.Duration(rnd.Int64N(int64(2*time.Second))))
		ms.age(now)
		if rnd.Float64() >= 0.05 {
			ms.packet(macA, now)
		}
	}
	alarms := strings.Count(fmt.Sprint(*log), "late")
	if alarms > packets/200 { // two in a row are lost once in 400
		t.Errorf("%d false alarms in %d packets", alarms, packets)
	}
}

func TestListed(t *testing.T) {
	macB := smartmesh.MAC{1}
	ms, log := follow()
	ms.listed([]smartmesh.MoteConfig{
		{MAC: macA, MoteID: 2, State: smartmesh.StateOperational},
		{MAC: macB, MoteID: 1, IsAP: true, State: smartmesh.StateOperational}})
	ms.listed([]smartmesh.MoteConfig{{MAC: macB, MoteID: 1, IsAP: true, State: smartmesh.StateOperational}})
	if got := strings.Join(*log, " "); got != "operational/ operational/ lost/" {
		t.Errorf("published %s", got)
	}
	list := ms.list("main")
	if len(list) != 2 || !list[0].AP || list[1].MAC != "00-17-0d-00-00-38-05-e9" || list[1].State != "lost" {
		t.Errorf("got %+v", list)
	}
}
