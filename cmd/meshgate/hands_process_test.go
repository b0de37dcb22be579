package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/meshgate/meshgate/smartmesh/sim"
)

// TestKilledWhileSwitching: the program is killed again and again while commands with ids arrive, now before it has answered,
// now after. Whoever has an answer gets the same one from the next process, which switches nothing for it.
func TestKilledWhileSwitching(t *testing.T) {
	const kills = 8
	_, port := simulated(t, sim.Config{Motes: 1, Period: time.Hour, Seed: 1})
	broker := freePort(t)
	mosquitto(t, broker, "max_queued_messages 0")
	sub := subscriber(t, broker, "meshgate/t1/#")
	file, _ := site(t, port, broker, "")
	const set = "meshgate/t1/actuator/led/set"
	online := func(n int) {
		sub.out.await(t, fmt.Sprintf("start %d", n), func(all []string) bool { return occurrences(all, `"reason":"started"`) >= n })
	}
	for i := range kills {
		p := gatewayProcess(t, "run", "--config", file)
		online(i + 1)
		pub(t, broker, set, fmt.Sprintf(`{"state":"on","id":"k%d"}`, i))
		if i%2 == 0 { // otherwise it dies in the middle, or before
			sub.out.awaitLine(t, "led/result", fmt.Sprintf(`"id":"k%d"`, i))
		}
		p.kill()
	}
	gatewayProcess(t, "run", "--config", file)
	online(kills + 1)
	answers := func(id string) []string { // but those that a life had not seen arrive, and sends again when it pleases
		return slices.DeleteFunc(slices.Clone(sub.out.list()), func(line string) bool {
			return !holds(line, []string{"led/result", fmt.Sprintf(`"id":%q`, id)}) || strings.Contains(line, `"historical":true`)
		})
	}
	pub(t, broker, set, `{"state":"off","id":"settled"}`) // what the last session left behind is answered before this
	sub.out.awaitLine(t, "led/result", `"settled"`)
	before := occurrences(sub.out.list(), "led/state", `"state":"on"`)
	for i := range kills {
		id := fmt.Sprintf("k%d", i)
		had := len(answers(id))
		if had == 0 {
			continue
		}
		pub(t, broker, set, fmt.Sprintf(`{"state":"on","id":%q}`, id))
		sub.out.await(t, "the answer to the repeat of "+id, func([]string) bool { return len(answers(id)) > had })
		if last := answers(id)[had]; !holds(last, []string{`"repeated":true`, `"applied"`}) {
			t.Errorf("%s was answered, and then again: %s", id, last)
		}
	}
	if n := occurrences(sub.out.list(), "led/state", `"state":"on"`); n != before {
		t.Errorf("the LED went on %d times for repeats", n-before)
	}
}

// occurrences counts the lines that hold all the words.
func occurrences(lines []string, words ...string) int {
	n := 0
	for _, line := range lines {
		if holds(strings.TrimSpace(line), words) {
			n++
		}
	}
	return n
}
