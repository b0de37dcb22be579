package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/meshgate/meshgate/smartmesh/sim"
)

// tally is what a subscriber has got, read line by line as it comes.
type tally struct {
	t       *testing.T
	read    int
	all     int             // readings, repeats included
	have    map[string]bool // "MAC NUMBER"
	seqs    map[uint64]string
	repeats int

	connects int
}

func newTally(t *testing.T) *tally {
	return &tally{t: t, have: map[string]bool{}, seqs: map[uint64]string{}}
}

// take reads the lines that are new, and gives how many readings have come.
func (y *tally) take(lines []string) int {
	for _, line := range lines[y.read:] {
		if strings.Contains(line, "CONNACK (0)") {
			y.connects++
		}
	}
	for _, r := range readings(y.t, lines[y.read:]) {
		y.all++
		what := fmt.Sprintf("%s %d", r.mac, r.number())
		if was, ok := y.seqs[r.Seq]; ok {
			if y.repeats++; was != what {
				y.t.Errorf("seq %d is %s and %s", r.Seq, was, what)
			}
		}
		y.seqs[r.Seq], y.have[what] = what, true
	}
	y.read = len(lines)
	return y.all
}

// missing names the first acknowledged reading that has not come.
func (y *tally) missing(m *sim.Manager) string {
	for _, a := range acknowledged(m) {
		if !y.have[a] {
			return a
		}
	}
	return ""
}

// TestKilled is the promise: the gateway is killed twenty times while numbered readings arrive,
// its broker with it every fourth time, and every reading that was acknowledged to the manager
// reaches the subscriber, with at most 200 repeats a kill. MESHGATE_KILLS makes it a soak.
func TestKilled(t *testing.T) {
	kills := 20
	if n, err := strconv.Atoi(os.Getenv("MESHGATE_KILLS")); err == nil {
		kills = n
	}
	const motes, step = 100, 60
	each := kills*step/motes + 20
	m, port := simulated(t, sim.Config{Motes: motes, Period: time.Second, Seed: 3, Numbered: true, Count: each, KeepAcked: motes*each + 1000})
	at := freePort(t)
	keep := []string{"user root", "persistence true", "persistence_location " + t.TempDir() + "/", "autosave_interval 1",
		"autosave_on_changes true", "max_queued_messages 0", "max_inflight_messages 0"}
	broker := mosquitto(t, at, keep...)
	sub := subscriber(t, at, "meshgate/t1/#", "-c", "-i", "keeper")
	file, _ := site(t, port, at, "")
	y, connects := newTally(t), 1
	for i := range kills {
		p := gatewayProcess(t, "run", "--config", file)
		want := y.take(sub.out.list()) + step
		sub.out.await(t, fmt.Sprintf("reading %d", want), func(all []string) bool { return y.take(all) >= want })
		p.kill()
		if i%4 == 3 {
			broker.kill()
			broker = mosquitto(t, at, keep...)
			connects++ // it keeps the session of the subscriber, which has to be there before the next kill
			sub.out.await(t, "the subscriber's return", func(all []string) bool { y.take(all); return y.connects >= connects })
		}
	}
	gatewayProcess(t, "run", "--config", file)
	sub.out.await(t, "the last reading", func(all []string) bool { y.take(all); return m.Stats().Samples == motes*each })
	sub.out.await(t, "every acknowledged reading", func(all []string) bool { y.take(all); return y.missing(m) == "" })
	if n := len(acknowledged(m)); n < kills*step/2 {
		t.Errorf("only %d readings were acknowledged", n)
	}
	if y.repeats > 200*kills {
		t.Errorf("%d repeats in %d kills", y.repeats, kills)
	}
	t.Logf("%d kills: %d acknowledged, %d received, %d repeats; violations of the protocol: %v",
		kills, len(acknowledged(m)), len(y.seqs), y.repeats, m.Stats().Violations)
}
