package gateway

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/meshgate/meshgate/smartmesh"
)

// again, as is that of a mote that joins again.
func TestRateIsKept(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		w.withRequests()
		w.cfg.Managers[0].Temperature = 3 * time.Second
		w.start()
		mac := smartmesh.MAC(w.sim.Motes()[0])
		target := "mote/" + mac.String() + "/oap"
		n := 0
		rate := func() string {
			n++
			a := w.request(target, fmt.Sprint("get", n), `"method":"get","address":"temperature"`)
			return fmt.Sprint(a.Fields["enable"], " ", a.Fields["rate"])
		}
		is := func(what string, within time.Duration) {
			t.Helper()
			for began := time.Now(); rate() != "1 3000"; time.Sleep(5 * time.Second) {
				if time.Since(began) > within {
					t.Fatalf("%s: after %v it is %s", what, within, rate())
				}
			}
		}
		time.Sleep(5 * time.Second)
		is("joined", 10*time.Second)
		w.request(target, "faster", `"method":"put","address":"temperature","fields":{"rate":1000}`)
		is("changed by somebody", 10*time.Second)
		w.request(target, "off", `"method":"put","address":"temperature","fields":{"enable":0}`)
		is("switched off by somebody", 11*time.Minute)
		w.sim.RestartMote(mac)
		time.Sleep(time.Second)
		is("joined again", 10*time.Second)
		w.end1()
		w.sim.RestartMote(mac) // while nobody listens
		time.Sleep(time.Minute)
		w.start()
		w.until("online", func() bool { return strings.Count(w.log.String(), "connected") >= 4 })
		is("after a start", 10*time.Second)
	})
}
