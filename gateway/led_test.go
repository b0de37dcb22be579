package gateway

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/meshgate/meshgate/smartmesh"
	"github.com/meshgate/meshgate/smartmesh/sim"
)

// carried out.
func TestUntilWhileItWaits(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		w.withRequests()
		w.start()
		w.until("readings", func() bool { return len(w.published("mote/+/temperature")) >= 2 })
		mac := smartmesh.MAC(w.sim.Motes()[0])
		w.sim.SetFaults(sim.Faults{OAPLost: 1})
		w.send("mote/"+mac.String()+"/oap/request", `{"id":"slow","method":"get","address":"info"}`, false)
		time.Sleep(time.Second)
		w.sim.SetFaults(sim.Faults{OAPDelay: 5 * time.Second})
		w.send("mote/"+mac.String()+"/led/set", fmt.Sprintf(`{"id":"late","state":"on","until":%q}`, stamp(time.Now().Add(2*time.Second))), false)
		w.until("expired", w.has("mote/+/led/result", `"late"`, `"expired"`))
		time.Sleep(time.Minute)
		if w.sim.LED(mac) {
			t.Error("it was carried out")
		}
	})
}

// TestLEDAfterItsSession: what was sent to a mote before the connection to the broker was lost is told on the next one, and
// what nobody answers is not sent again; the end of the daemon waits for neither.
func TestLEDAfterItsSession(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		w.start()
		w.until("readings", func() bool { return len(w.published("mote/+/temperature")) >= 2 })
		topic := "mote/" + w.mac(0) + "/led"
		send := func(id string, f sim.Faults) {
			w.sim.SetFaults(f)
			w.send(topic+"/set", fmt.Sprintf(`{"id":%q,"state":"on"}`, id), false)
			time.Sleep(3 * time.Second)
		}
		send("1", sim.Faults{OAPDelay: 7 * time.Second})
		w.broker.Cut("meshgate-t")
		w.until("told later", w.has(topic+"/result", `"id":"1"`, `"confirmed"`))
		w.until("shown", w.lastHas(topic+"/state", `"on"`))
		send("2", sim.Faults{OAPLost: 1})
		w.broker.Cut("meshgate-t")
		cut := time.Now()
		w.until("told later", w.has(topic+"/result", `"id":"2"`, `"failed"`, `"reached":"sent"`, "did not answer"))
		if d := time.Since(cut); d > leaveTimeout+oapTimeout {
			t.Errorf("after %v: it was sent again", d)
		}
		send("3", sim.Faults{OAPLost: 1})
		end := time.Now()
		w.end1()
		if d := time.Since(end); d > 5*time.Second {
			t.Errorf("the end took %v", d)
		}
	})
}

// TestBroadcastLED: all LEDs at once, and back after the time that was asked for.
func TestBroadcastLED(t *testing.T) {
	inWorld(t, sim.Config{Motes: 5, Period: 10 * time.Second, Seed: 1}, func(w *world) {
		w.start()
		w.until("readings", func() bool { return len(w.published("mote/+/temperature")) >= 10 })
		lit := func() (n int) {
			for _, mac := range w.sim.Motes() {
				if w.sim.LED(mac) {
					n++
				}
			}
			return n
		}
		const all = "mote/ff-ff-ff-ff-ff-ff-ff-ff/led"
		states := func(state string) int {
			n := 0
			for _, mac := range w.sim.Motes() {
				list := w.published("mote/" + smartmesh.MAC(mac).String() + "/led/state")
				if len(list) > 0 && strings.Contains(list[len(list)-1], `"state":"`+state+`"`) {
					n++
				}
			}
			return n
		}
		w.send(all+"/set", "toggle", false)
		w.until("refused", w.has(all+"/result", `"refused"`))
		w.send(all+"/set", `{"id":"1","state":"on","for":"1m"}`, false)
		w.until("result", w.has(all+"/result", `"id":"1"`, `"applied"`))
		w.until("all confirmed", func() bool { return states("on") == 5 })
		if lit() != 5 {
			t.Errorf("%d are lit", lit())
		}
		w.until("all off again", func() bool { return states("off") == 5 })
		if lit() != 0 {
			t.Errorf("%d are lit", lit())
		}
		w.sim.SetFaults(sim.Faults{OAPLost: 1})
		w.send(all+"/set", `{"id":"2","state":"on"}`, false)
		w.until("result", w.has(all+"/result", `"id":"2"`, `"applied"`))
		time.Sleep(time.Second)
		if lit() != 5 || states("unknown") != 5 {
			t.Errorf("%d are lit, %d are shown as unknown", lit(), states("unknown"))
		}
		if w.has("mote/+/data/61625", "{")() {
			t.Errorf("answers were passed on as data: %q", w.published("mote/+/data/61625"))
		}
	})
}

// TestLEDByOAP: an LED that is set as a resource is shown as well.
func TestLEDByOAP(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		w.withRequests()
		w.start()
		w.until("readings", func() bool { return len(w.published("mote/+/temperature")) >= 2 })
		mac := smartmesh.MAC(w.sim.Motes()[0]).String()
		w.request("mote/"+mac+"/oap", "1", `"method":"put","address":"digital_out/INDICATOR_0","fields":{"value":1}`)
		w.until("shown", w.has("mote/"+mac+"/led/state", `"on"`))
	})
}
