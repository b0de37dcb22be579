package gateway

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/meshgate/meshgate/gateway/config"
	"github.com/meshgate/meshgate/smartmesh"
	"github.com/meshgate/meshgate/smartmesh/oap"
	"github.com/meshgate/meshgate/smartmesh/sim"
)

// TestStranger: a client of the shared port, and who calls sendData, ask a mote as the vendor's programs do, with the
// number 0. Their answer is not taken for the one that the gateway waits for, and the LED that they set is not known.
func TestStranger(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		w.withRequests()
		door := w.startShared(config.Share{Listen: loopback.Listen, Write: true})
		w.until("readings", func() bool { return w.readings() >= 2 })
		g := w.guest(door)
		defer g.Close()
		asks := []func(smartmesh.MAC, []byte) error{
			func(mac smartmesh.MAC, data []byte) error {
				_, err := g.SendData(w.t.Context(), smartmesh.SendData{MAC: mac, SrcPort: oap.Port, DstPort: oap.Port, Data: data})
				return err
			},
			func(mac smartmesh.MAC, data []byte) error {
				a := w.request("manager/main", "1", fmt.Sprintf(`"command":"sendData","fields":{"macAddress":%q,"priority":0,
					"srcPort":61625,"dstPort":61625,"options":0,"data":"%x"}`, mac, data))
				if !a.OK {
					return errors.New(a.Error)
				}
				return nil
			},
		}
		for i, ask := range asks {
			mac := smartmesh.MAC(w.sim.Motes()[i])
			off := oap.AppendRequest(nil, oap.Request{Reliable: true, Sync: true, Command: oap.Put, Address: oap.LED,
				Tags: []oap.Tag{{Value: ledValue(false)}}})
			w.sim.SetFaults(sim.Faults{OAPDelay: 5 * time.Second})
			if err := ask(mac, off); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Second)
			began := time.Now()
			w.lights(mac)
			topic := "mote/" + mac.String() + "/led"
			w.until("confirmed", w.has(topic+"/result", `"confirmed"`))
			if d := time.Since(began); d < 5*time.Second {
				t.Errorf("%d: confirmed after %v, by the answer to somebody else", i, d)
			}
			w.until("on", w.lastHas(topic+"/state", `"on"`))
			if err := ask(mac, off); err != nil {
				t.Fatal(err)
			}
			w.until("unknown", w.lastHas(topic+"/state", `"unknown"`))
		}
	})
}
