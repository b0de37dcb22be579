package gateway

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meshgate/meshgate/smartmesh"
	"github.com/meshgate/meshgate/smartmesh/oap"
	"github.com/meshgate/meshgate/smartmesh/sim"
)

// another gives a value for a field that is not its default.
func another(f oap.Field) string {
	switch {
	case f.Name == "destAddr":
		return `"ff020000000000000000000000000002"` // elsewhere nobody would hear the mote any more
	case f.Name == "destPort":
		return "61625"
	case f.Name == "rate":
		return "5000"
	}
	return "1"
}

// TestEveryResource reads and sets everything that motes have, one field after the other.
func TestEveryResource(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		w.withRequests()
		w.start()
		w.until("readings", func() bool { return len(w.published("mote/+/temperature")) >= 2 })
		target := "mote/" + smartmesh.MAC(w.sim.Motes()[0]).String() + "/oap"
		n := 0
		ask := func(method, address, fields string) answer {
			n++
			return w.request(target, fmt.Sprint(n), fmt.Sprintf(`"method":%q,"address":%q,"fields":{%s}`, method, address, fields))
		}
		for _, r := range oap.Resources() {
			readable := false
			for _, f := range r.Fields {
				readable = readable || f.Access != oap.WriteOnly
				if f.Access == oap.ReadOnly {
					if a := ask("put", r.Name, `"`+f.Name+`":1`); a.Stage != "refused" || !strings.Contains(a.Error, "read only") {
						t.Errorf("put %s %s: %+v", r.Name, f.Name, a)
					}
					continue
				}
				if a := ask("put", r.Name, fmt.Sprintf("%q:%s", f.Name, another(f))); !a.OK || a.Stage != "confirmed" {
					t.Errorf("put %s %s: %+v", r.Name, f.Name, a)
				}
			}
			a := ask("get", r.Name, "")
			if !readable {
				if a.Stage != "failed" || a.Reached != "answered" || !strings.Contains(a.Error, "WR_ONLY") {
					t.Errorf("get %s: %+v", r.Name, a)
				}
				continue
			}
			for _, f := range r.Fields {
				got, there := a.Fields[f.Name]
				if want := another(f); f.Access != oap.WriteOnly && !there ||
					f.Access == oap.ReadWrite && strings.Trim(want, `"`) != fmt.Sprint(got) {
					t.Errorf("get %s %s: %v in %+v, want %s", r.Name, f.Name, got, a, want)
				}
			}
		}
		if a := ask("get", "9/9", ""); a.Reached != "answered" || !strings.Contains(a.Error, "NOT_FOUND") {
			t.Errorf("a resource that is not there: %+v", a)
		}
		if a := ask("post", "info", ""); a.Stage != "refused" {
			t.Errorf("a method that is none: %+v", a)
		}
	})
}

// TestRequestStages: a failure tells how far the request came.
func TestRequestStages(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		w.withRequests()
		w.start()
		w.until("readings", func() bool { return len(w.published("mote/+/temperature")) >= 2 })
		macs := w.sim.Motes()
		target := "mote/" + smartmesh.MAC(macs[0]).String() + "/oap"
		const get = `"method":"get","address":"info"`
		tests := []struct {
			faults          sim.Faults
			ok              bool
			reached, error  string
			atLeast, atMost time.Duration
		}{
			{sim.Faults{}, true, "", "", 0, time.Second},
			{sim.Faults{OAPLost: 1}, false, "sent", "did not answer (sent", 30 * time.Second, 32 * time.Second},
			{sim.Faults{OAPWrong: 1}, false, "sent", "did not answer", 30 * time.Second, 32 * time.Second},
			{sim.Faults{Nack: 1}, false, "", "queue stays full", 10 * time.Second, 12 * time.Second},
			{sim.Faults{OAPDelay: 8 * time.Second}, true, "", "", 8 * time.Second, 9 * time.Second},
			{sim.Faults{LostResponse: 0.3, LostAck: 0.3, Duplicate: 0.3}, true, "", "", 0, 10 * time.Second},
		}
		for i, tt := range tests {
			w.sim.SetFaults(tt.faults)
			began := time.Now()
			a := w.request(target, fmt.Sprint("s", i), get)
			took := time.Since(began)
			if a.OK != tt.ok || a.Reached != tt.reached || !strings.Contains(a.Error, tt.error) || took < tt.atLeast || took > tt.atMost {
				t.Errorf("%+v: %+v after %v", tt.faults, a, took)
			}
		}
		w.sim.SetFaults(sim.Faults{Nack: 0.5, OAPLost: 0.5})
		good := 0
		for i := range 20 {
			if w.request(target, fmt.Sprint("n", i), get).OK {
				good++
			}
		}
		if good < 12 { // one in eight is lost three times
			t.Errorf("with half of everything lost, %d of 20 came through", good)
		}
		w.sim.SetFaults(sim.Faults{})
		w.sim.LoseMote(macs[0])
		if a := w.request(target, "gone", get); a.Stage != "failed" || a.Reached != "" || !strings.Contains(a.Error, "not in the network") {
			t.Errorf("a mote that has left: %+v", a)
		}
	})
}

// TestUntilWhileItWaits: a command whose time passes while another of the mote is at work is not

// TestRateIsKept: a rate that somebody changes, and one that was lost while nobody looked, is set

// TestManagerRequests: dangerous commands and those with secrets are refused over MQTT unless they

// TestSecretsStayInside: a join key is neither published nor logged, not even at debug level and

// TestNarrow: a mote that answers two bytes of sampleCount with TOO_MANY_BYTES is sent one. The

// simulated one wants two, so that its complaint tells what it was sent.
func TestNarrow(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		w.withRequests()
		w.start()
		w.until("readings", func() bool { return len(w.published("mote/+/temperature")) >= 2 })
		mac := smartmesh.MAC(w.sim.Motes()[0])
		target := "mote/" + mac.String() + "/oap"
		w.send(target+"/request", `{"id":"1","method":"put","address":"digital_in/D0","fields":{"sampleCount":2}}`, false)
		time.Sleep(20 * time.Millisecond)
		complaint := append(append([]byte{4, 12: 0}, mac[:]...), 0xf0, 0xb9, 0xf0, 0xb9, 0x03, 0x01, 0x02, 10, 0xff, 2, 2, 0)
		if !w.sim.Inject(complaint) {
			t.Fatal("nobody has subscribed")
		}
		w.until("result", w.has(target+"/result", `"id":"1"`))
		if a := w.result(target, "1"); a.Reached != "answered" || !strings.Contains(a.Error, "FEWER_BYTES") {
			t.Errorf("got %+v", a)
		}
	})
}

// TestDepartures: the event may come before the response that names it, and says whether it went.
func TestDepartures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDepartures()
		got := func(ch <-chan byte) string {
			select {
			case code := <-ch:
				return fmt.Sprint(code)
			default:
				return "nothing"
			}
		}
		d.left(1, 7)
		early, _ := d.of(1)
		again, forget := d.of(1) // the event has been used up
		late, _ := d.of(2)
		d.left(2, 0)
		forget()
		d.left(1, 9)
		if got(early) != "7" || got(late) != "0" || got(again) != "nothing" {
			t.Error("events went astray")
		}
		d.left(3, 5)
		time.Sleep(keepEarly) // an event of before the manager started over
		if old, _ := d.of(3); got(old) != "nothing" {
			t.Error("an old event was taken for a new one")
		}
		for h := range uint32(1000) {
			d.left(h+10, 0)
		}
		time.Sleep(keepEarly)
		if d.left(4, 0); len(d.early) != 1 {
			t.Errorf("%d events are kept that nobody wants", len(d.early))
		}
	})
}
