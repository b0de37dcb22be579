package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/meshgate/meshgate/gateway/control"
	"github.com/meshgate/meshgate/smartmesh/sim"
)

// TestCircleByTheLAN: the broker beside the gateway is the cloud as well, under another port, and two rules send a message
// round. It comes to rest, is told, and other topics go on.
func TestCircleByTheLAN(t *testing.T) {
	here, there := freePort(t), freePort(t)
	mosquitto(t, here, fmt.Sprintf("listener %d 127.0.0.1", there))
	_, manager := simulated(t, sim.Config{Motes: 1, Period: 1e9, Seed: 3})
	file, socket := site(t, manager, 0, fmt.Sprintf("local: {broker: \"tcp://127.0.0.1:%d\"}\nbridges:\n  - name: cloud\n    url: \"mqtt://127.0.0.1:%d\"\n    topics:\n"+
		"      - \"x/# out 1 a/ b/\"\n      - \"x/# out 1 b/ a/\"\n      - \"y out 1 a/ c/\"\n", here, there))
	gateway := gatewayProcess(t, "run", "--config", file)
	awaitStatus(t, socket, func(st control.Status) bool { return st.OK })
	sub := subscriber(t, here, "#")
	pub(t, here, "a/x/1", "round and round")
	gateway.out.awaitLine(t, "a message goes round in a circle")
	pub(t, here, "a/y", "straight on")
	sub.out.awaitLine(t, "0 c/y straight on")
	pub(t, here, "a/x/2", "an end") // its own circle, found like the first
	gateway.out.await(t, "the second", func(all []string) bool {
		return strings.Count(strings.Join(all, "\n"), "a message goes round in a circle") >= 2
	})
	if n := times(sub, "x/1 round and round"); n < 30 || n > 70 {
		t.Errorf("it went round %d times", n)
	}
}
