package main

import (
	"fmt"
	"os"
	"slices"
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
	newest  map[string]reading // of a topic and lane, repeats left out
	repeats int
	life    int            // how often the gateway has come up
	last    map[uint64]int // in which life a record came last
	again   map[int]int    // records of a life that came again in the next that had them: what its kill has cost

	connects int
}

func newTally(t *testing.T) *tally {
	return &tally{t: t, have: map[string]bool{}, seqs: map[uint64]string{}, newest: map[string]reading{},
		last: map[uint64]int{}, again: map[int]int{}}
}

// take reads the lines that are new, and gives how many readings have come.
func (y *tally) take(lines []string) int {
	for i, line := range lines[y.read:] {
		switch {
		case strings.Contains(line, "CONNACK (0)"):
			y.connects++
		case holds(line, []string{"0 meshgate/t1/gateway/status", `"online"`}):
			y.life++
		}
		for _, r := range readings(y.t, lines[y.read+i:][:1]) {
			y.note(r)
		}
	}
	y.read = len(lines)
	return y.all
}

func (y *tally) note(r reading) {
	y.all++
	what := fmt.Sprintf("%s %d", r.mac, r.number())
	if was, ok := y.seqs[r.Seq]; !ok {
		y.inOrder(r)
	} else {
		y.repeats++
		y.again[y.last[r.Seq]]++
		if was != what {
			y.t.Errorf("seq %d is %s and %s", r.Seq, was, what)
		}
	}
	y.seqs[r.Seq], y.have[what], y.last[r.Seq] = what, true, y.life
}

// worst gives how many records came again because of one kill.
func (y *tally) worst() (n int) {
	for _, again := range y.again {
		n = max(n, again)
	}
	return n
}

// await waits until the subscriber has got all of these readings.
func (y *tally) await(sub *process, kept []string) {
	y.t.Helper()
	sub.out.await(y.t, "all acknowledged readings", func(all []string) bool {
		y.take(all)
		return !slices.ContainsFunc(kept, func(a string) bool { return !y.have[a] })
	})
}

// inOrder holds a reading that has not come before against the one before it of its mote, among those that waited or among
// those that did not. A manager that has not got its acknowledgement sends a reading again, with the same number.
func (y *tally) inOrder(r reading) {
	lane := fmt.Sprint(r.mac, r.Historical)
	if was := y.newest[lane]; r.Seq <= was.Seq || r.number() < was.number() {
		y.t.Errorf("%s: seq %d, number %d comes after seq %d, number %d", lane, r.Seq, r.number(), was.Seq, was.number())
	}
	y.newest[lane] = r
}

// TestKilled is the promise: the gateway is killed twenty times while numbered readings arrive,
// its broker with it every fourth time, and every reading that was acknowledged to the manager
// reaches the subscriber, in order, with at most 200 repeats a kill. MESHGATE_KILLS makes it a soak.
func TestKilled(t *testing.T) {
	kills := 20
	if n, err := strconv.Atoi(os.Getenv("MESHGATE_KILLS")); err == nil {
		kills = n
	}
	const motes, step = 100, 60
	m, port := simulated(t, sim.Config{Motes: motes, Period: time.Second, Seed: 3, Numbered: true, KeepAcked: 1 << 20})
	at := freePort(t)
	keep := []string{"user root", "persistence true", "persistence_location " + t.TempDir() + "/", "autosave_interval 1",
		"autosave_on_changes true", "max_queued_messages 0", "max_inflight_messages 0"}
	broker := mosquitto(t, at, keep...)
	sub := subscriber(t, at, "meshgate/t1/#", "-c", "-i", "keeper")
	seen := subscriber(t, at, "meshgate/t1/#", "-q", "0") // does not get what a broker that was killed sends again
	file, _ := site(t, port, at, "")
	y, sent, connects := newTally(t), newTally(t), 1
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
			seen.out.await(t, "the other's return", func(all []string) bool { sent.take(all); return sent.connects >= connects })
		}
	}
	gatewayProcess(t, "run", "--config", file)
	kept := acknowledged(m)
	y.await(sub, kept)
	if len(kept) < kills*step/2 {
		t.Errorf("only %d readings were acknowledged", len(kept))
	}
	sent.take(seen.out.list())
	if n := sent.worst(); n > 200 {
		t.Errorf("%d repeats for a kill", n)
	}
	t.Logf("%d kills: %d acknowledged, %d received; %d repeats, at most %d a kill, and %d of the broker's; violations of the protocol: %v",
		kills, len(kept), len(y.seqs), sent.repeats, sent.worst(), y.repeats-sent.repeats, m.Stats().Violations)
}
