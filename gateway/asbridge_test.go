package gateway

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/meshgate/meshgate/bridge"
	"github.com/meshgate/meshgate/bridge/brokertest"
	"github.com/meshgate/meshgate/gateway/config"
)

// levels are the protocol levels of the connections that a client has made.
func (w *world) levels(client string) string {
	var all []string
	for _, c := range w.broker.Connects() {
		if c.ClientID == client {
			all = append(all, fmt.Sprintf("%x", c.Level))
		}
	}
	return strings.Join(all, " ")
}

// carriesFlags starts a gateway with a rule that carries something in as it is kept, and a second bridge that shows it.
func carriesFlags(t *testing.T, how func(*brokertest.Behaviour), test func(*world, *pipes)) {
	inWorld(t, twoMotes, func(w *world) {
		w.broker.Set(how)
		w.cfg.Bridges[0].Canary = time.Minute
		w.cfg.Bridges[0].Rules = append(w.cfg.Bridges[0].Rules, bridge.Rule{Pattern: "conf/#", Direction: bridge.In, QoS: 1, RemotePrefix: prefix})
		w.cfg.Bridges = append(w.cfg.Bridges, config.Bridge{Name: "other", URLs: []string{"mqtt://broker:1884"}, ClientID: "meshgate-other",
			Keepalive: 30 * time.Second, Prefix: "o/", Rules: bridge.Rules{{Pattern: "conf/#", QoS: 1, RemotePrefix: "o/"}}})
		door := newPipes()
		w.startWith(door, nil)
		w.until("online", w.has("gateway/status", "online"))
		time.Sleep(time.Minute)
		test(w, door)
	})
}

// TestAsBridge: a broker that understands bridges sends what is retained with its flag, also live; canary, presence and
// commands are as ever.
func TestAsBridge(t *testing.T) {
	carriesFlags(t, func(b *brokertest.Behaviour) { b.Bridges = true }, func(w *world, door *pipes) {
		w.send("conf/a", "kept", true)
		w.send("conf/b", "passing", false)
		w.until("it is carried", func() bool { return w.holds("o/conf/a") })
		if time.Sleep(time.Second); w.holds("o/conf/b") {
			t.Error("what was not retained is")
		}
		w.send("conf/a", "", true)
		w.until("its deletion", func() bool { return !w.holds("o/conf/a") })
		w.send("actuator/led/set", `{"state":"on","id":"kept"}`, true)
		w.until("a retained command is refused", w.has("actuator/led/result", `"id":"kept"`, `"refused"`, "retained"))
		w.send("actuator/led/set", `{"state":"on","id":"live"}`, false)
		w.until("a command", w.has("actuator/led/result", `"id":"live"`, `"ok":true`))
		w.send("gateway/status", `{"state":"offline","reason":"lost"}`, true)
		w.until("it says that it is there", func() bool {
			p, _ := w.broker.Retained(prefix + "gateway/status")
			return strings.Contains(string(p.Payload), "online")
		})
		time.Sleep(5 * time.Minute)
		if l := door.bridgeLink(t); !strings.HasSuffix(l.Detail, "route up") || w.levels("meshgate-t") != "84" || w.levels("meshgate-other") != "4" {
			t.Errorf("%+v, %s, %s", l, w.levels("meshgate-t"), w.levels("meshgate-other"))
		}
		w.broker.Set(func(b *brokertest.Behaviour) { b.NoRoute = true })
		time.Sleep(time.Minute)
		if l := door.bridgeLink(t); !strings.Contains(l.Error, "route down") || w.levels("meshgate-t") != "84" {
			t.Errorf("%+v", l)
		}
	})
}

// TestAsBridgeSaysTheSame: a bridge is not sent its own messages, so one of another client that says the same as one of ours
// is no echo.
func TestAsBridgeSaysTheSame(t *testing.T) {
	for _, understood := range []bool{true, false} {
		inWorld(t, twoMotes, func(w *world) {
			w.broker.Set(func(b *brokertest.Behaviour) { b.Bridges = understood })
			w.cfg.Bridges[0].Rules = bridge.Rules{{Pattern: "lamp/#", Direction: bridge.Both, QoS: 1, RemotePrefix: prefix}}
			w.cfg.Bridges = append(w.cfg.Bridges, config.Bridge{Name: "other", URLs: []string{"mqtt://broker:1884"}, ClientID: "meshgate-other",
				Keepalive: 30 * time.Second, Prefix: "o/", Rules: bridge.Rules{{Pattern: "lamp/#", QoS: 1, RemotePrefix: "o/"}}})
			door := newPipes()
			w.startWith(door, nil)
			w.until("online", w.has("gateway/status", "online"))
			time.Sleep(time.Minute)
			door.post(t, "pub", `{"topic":"lamp/1","payload":"on"}`)
			time.Sleep(time.Second)
			w.send("lamp/1", "off", false)
			w.send("lamp/1", "on", false)
			time.Sleep(time.Second)
			var got string
			for _, p := range w.broker.Published() {
				if p.Topic == "o/lamp/1" {
					got += string(p.Payload) + " "
				}
			}
			if got != "on off on " || w.levels("meshgate-t") != "84" {
				t.Errorf("understood %v: the other bridge has carried %q, levels %s", understood, got, w.levels("meshgate-t"))
			}
		})
	}
}

// TestNotAsBridge: a broker that refuses bridges, hangs up, takes no notice or delivers nothing to them is spoken to as a
// client, and is not asked again; one that routes for nobody is found within the canary time all the same.
func TestNotAsBridge(t *testing.T) {
	for name, how := range map[string]func(*brokertest.Behaviour){
		"refuses":  func(b *brokertest.Behaviour) { b.NoBridges = true },
		"hangs up": hangUpOnBridges,
		"ignorant": func(*brokertest.Behaviour) {},
		"refuses the shared subscription": func(b *brokertest.Behaviour) {
			b.Bridges, b.RefuseSub = true, func(f string) bool { return strings.HasPrefix(f, "$share") }
		},
		"routes nothing": func(b *brokertest.Behaviour) { b.Bridges, b.NoRoute = true, true },
	} {
		t.Run(name, func(t *testing.T) {
			carriesFlags(t, how, func(w *world, door *pipes) {
				want, bridge := "route up", "84 "
				if name == "hangs up" {
					bridge = "" // before the broker has noted it
				}
				if name == "routes nothing" {
					want = "route down"
				}
				if l := door.bridgeLink(t); !strings.Contains(l.Detail+l.Error, want) || w.levels("meshgate-t") != bridge+"4" {
					w.t.Fatalf("%+v, %s", l, w.levels("meshgate-t"))
				}
				w.broker.Cut("meshgate-t")
				time.Sleep(time.Minute)
				if w.levels("meshgate-t") != bridge+"4 4" {
					t.Errorf("connections: %s", w.levels("meshgate-t"))
				}
				if name == "routes nothing" {
					return
				}
				w.send("actuator/led/set", `{"state":"on","id":"1"}`, false)
				w.until("a command", w.has("actuator/led/result", `"id":"1"`, `"ok":true`))
			})
		})
	}
}

func hangUpOnBridges(b *brokertest.Behaviour) {
	b.Cut = func(_ string, p brokertest.Packet) bool {
		return p.Type == brokertest.CONNECT && len(p.Body) > 6 && p.Body[6]&0x80 != 0
	}
}
