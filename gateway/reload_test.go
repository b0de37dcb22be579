package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/meshgate/meshgate/bridge"
	"github.com/meshgate/meshgate/bridge/brokertest"
	"github.com/meshgate/meshgate/gateway/config"
	"github.com/meshgate/meshgate/gateway/control"
	"github.com/meshgate/meshgate/gpio"
	"github.com/meshgate/meshgate/smartmesh/sim"
)

// TestReloadOfABridge: the serial session does not notice, and no record is lost.
func TestReloadOfABridge(t *testing.T) {
	inChangingWorld(t, sim.Config{Motes: 5, Period: time.Second, Seed: 3}, func(c *changing) {
		c.start()
		c.until("readings", func() bool { return len(c.published("mote/+/temperature")) >= 20 })
		for range 5 {
			c.file.write("moved", c.changed(func(n *config.Config) { otherPrefix(&n.Bridges[0]) }))
			c.hup <- struct{}{}
			time.Sleep(5 * time.Second)
			c.file.write("back", c.changed(func(*config.Config) {}))
			c.hup <- struct{}{}
			time.Sleep(5 * time.Second)
		}
		var change control.Change
		if err := c.ask("POST", "reload", struct{}{}, &change); err != nil || len(change.Restarted)+len(change.Started)+len(change.Stopped) > 0 {
			t.Errorf("a reload of the same: %+v, %v", change, err)
		}
		if s := c.sim.Stats(); s.Sessions != 1 || len(s.Violations) > 0 {
			t.Errorf("%d sessions, violations %v", s.Sessions, s.Violations)
		}
		n := float64(len(c.seqs()))
		c.until("all records up to now", func() bool {
			got := c.seqs()
			for i := 1.0; i <= n; i++ {
				if !got[i] {
					return false
				}
			}
			return true
		})
		if p, ok := c.broker.Retained("elsewhere/gateway/status"); ok {
			t.Errorf("left behind at the old place: %q", p.Payload)
		}
	})
}

func TestReloadOfABadFile(t *testing.T) {
	inChangingWorld(t, twoMotes, func(c *changing) {
		c.start()
		c.until("readings", func() bool { return len(c.published("mote/+/temperature")) >= 2 })
		c.file.write("managrs:", nil)
		c.hup <- struct{}{}
		n := len(c.published("mote/+/temperature"))
		c.until("readings go on", func() bool { return len(c.published("mote/+/temperature")) >= n+4 })
		if !contains(c.log.String(), []string{"refused", "gateway.yaml:1:1", "old one stays"}) {
			t.Errorf("the log does not tell:\n%s", &c.log)
		}
		if err := c.ask("POST", "reload", struct{}{}, nil); err == nil || !strings.Contains(err.Error(), "gateway.yaml:1:1") {
			t.Errorf("reload: %v", err)
		}
		if s := c.sim.Stats(); s.Sessions != 1 {
			t.Errorf("%d sessions", s.Sessions)
		}
	})
}

// TestReloadAddsAndRemoves: a manager, an output and a bridge come and go.
func TestReloadAddsAndRemoves(t *testing.T) {
	inChangingWorld(t, twoMotes, func(c *changing) {
		c.start()
		c.until("readings", func() bool { return len(c.published("mote/+/temperature")) >= 2 })
		c.send("actuator/led/set", "on", false)
		c.until("the LED", c.has("actuator/led/state", `"on"`))
		c.file.write("more", c.changed(func(n *config.Config) {
			n.Managers = append(n.Managers, config.Manager{Name: "second", Port: "sim:second", Data: config.DataReliable})
			n.Outputs = append(n.Outputs, gpio.Output{Name: "fan", Pin: "sim"})
			n.StateDir, n.Spool.MaxSize = "/elsewhere", 1<<20
		}))
		var change control.Change
		if err := c.ask("POST", "reload", struct{}{}, &change); err != nil {
			t.Fatal(err)
		}
		want := control.Change{Started: []string{"manager second"}, Restarted: []string{"actuators"}, Waiting: []string{"state_dir", "spool"}}
		if fmt.Sprint(change) != fmt.Sprint(want) {
			t.Errorf("changed %+v, want %+v", change, want)
		}
		c.until("the second manager", c.has("manager/second/status", `"connected"`))
		c.until("its name", c.has("gateway/info", `"second"`, `"fan"`))
		c.send("actuator/fan/set", "on", false)
		c.until("the new output", c.has("actuator/fan/state", `"on"`))
		if states := c.published("actuator/led/state"); strings.Contains(states[len(states)-1], `"off"`) {
			t.Errorf("an output that has not changed was switched: %q", states)
		}
		c.file.write("first", c.cfg)
		c.hup <- struct{}{}
		c.until("the retained states go", func() bool {
			_, fan := c.broker.Retained(prefix + "actuator/fan/state")
			_, second := c.broker.Retained(prefix + "manager/second/status")
			return !fan && !second
		})
		var s control.Status
		if err := c.ask("GET", "status", nil, &s); err != nil {
			t.Fatal(err)
		}
		for _, l := range s.Links {
			if l.Name == "second" || l.Name == "fan" {
				t.Errorf("still a link: %+v", l)
			}
		}
		c.send("actuator/fan/set", `{"state":"on","id":"9"}`, false)
		c.until("gone", c.has("actuator/fan/result", `"id":"9"`, `"refused"`))
	})
}

// TestTrialTakenBack: what would cut the gateway off is taken back, and nothing is lost in between.
func TestTrialTakenBack(t *testing.T) {
	inChangingWorld(t, twoMotes, func(c *changing) {
		c.start()
		c.until("readings", func() bool { return len(c.published("mote/+/temperature")) >= 2 })
		c.file.known["typo"] = c.changed(func(n *config.Config) {
			n.Bridges[0].Name, n.Bridges[0].URLs = "clod", []string{"mqtt://broker:1"}
		})
		c.broker.Set(refuseAll)
		var s control.ConfigState
		if err := c.ask("POST", "config/apply", control.ApplyRequest{Text: "typo", Confirm: "2m"}, &s); err != nil || s.Trial == nil {
			t.Fatalf("%+v, %v", s, err)
		}
		if err := c.ask("POST", "config/apply", control.ApplyRequest{Text: "first"}, nil); err == nil || !strings.Contains(err.Error(), "on trial") {
			t.Errorf("a second one: %v", err)
		}
		if err := c.ask("POST", "reload", struct{}{}, nil); err == nil || !strings.Contains(err.Error(), "on trial") {
			t.Errorf("a reload: %v", err)
		}
		time.Sleep(2*time.Minute + 5*time.Second)
		c.broker.Set(refuseNone)
		if s := c.state(); s.Trial != nil || !strings.Contains(s.Outcome, "taken back") {
			t.Errorf("after the time: %+v", s)
		}
		if c.file.says() != "first" {
			t.Errorf("the file says %q", c.file.says())
		}
		c.until("all records", func() bool {
			got := c.seqs()
			for i := 1.0; i <= 24; i++ {
				if !got[i] {
					return false
				}
			}
			return true
		})
		if s := c.sim.Stats(); s.Sessions != 1 {
			t.Errorf("%d sessions", s.Sessions)
		}
	})
}

func TestTrialConfirmed(t *testing.T) {
	inChangingWorld(t, twoMotes, func(c *changing) {
		c.start()
		c.until("readings", func() bool { return len(c.published("mote/+/temperature")) >= 2 })
		c.file.known["moved"] = c.changed(func(n *config.Config) { otherPrefix(&n.Bridges[0]) })
		if err := c.ask("POST", "config/confirm", struct{}{}, nil); err == nil {
			t.Error("confirmed what is not there")
		}
		for _, bad := range []string{"never", "1ms", "-1m"} {
			if err := c.ask("POST", "config/apply", control.ApplyRequest{Text: "moved", Confirm: bad}, nil); err == nil {
				t.Errorf("%q was taken as a time", bad)
			}
		}
		c.broker.Set(refuseAll)
		if err := c.ask("POST", "config/apply", control.ApplyRequest{Text: "moved", Confirm: "2m"}, nil); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if c.file.says() != "first" {
			t.Errorf("the file says %q before it is confirmed", c.file.says())
		}
		var s control.ConfigState
		if err := c.ask("POST", "config/confirm", struct{}{}, &s); err != nil || s.Outcome != "confirmed" {
			t.Errorf("%+v, %v", s, err)
		}
		if c.file.says() != "moved" {
			t.Errorf("the file says %q", c.file.says())
		}
		time.Sleep(5 * time.Minute)
		c.broker.Set(refuseNone)
		c.until("the new place", func() bool { _, ok := c.broker.Retained("elsewhere/gateway/status"); return ok })
	})
}

// TestTrialKept: nobody confirms, and it works: it is kept, though the file may not be written.
func TestTrialKept(t *testing.T) {
	inChangingWorld(t, twoMotes, func(c *changing) {
		c.start()
		c.until("readings", func() bool { return len(c.published("mote/+/temperature")) >= 2 })
		c.file.known["moved"] = c.changed(func(n *config.Config) { otherPrefix(&n.Bridges[0]) })
		c.file.bad = errors.New("read-only file system")
		if err := c.ask("POST", "config/apply", control.ApplyRequest{Text: "moved", Confirm: "2m"}, nil); err != nil {
			t.Fatal(err)
		}
		time.Sleep(30 * time.Second)
		if s := c.state(); s.Trial != nil || !strings.Contains(s.Outcome, "kept") || s.Unsaved != "moved" || !strings.Contains(s.Error, "read-only") {
			t.Errorf("%+v", s)
		}
		if !strings.Contains(c.log.String(), "until the next start") {
			t.Errorf("the log does not tell:\n%s", &c.log)
		}
	})
}

// TestReadersOnTrial: the spool keeps the records of a bridge that may come back.
func TestReadersOnTrial(t *testing.T) {
	named := func(names ...string) *config.Config {
		var c config.Config
		for _, n := range names {
			c.Bridges = append(c.Bridges, config.Bridge{Name: n})
		}
		return &c
	}
	var g Gateway
	g.trial.before = named("cloud", "plant")
	if got := g.readers(named("clod", "plant")); !slices.Equal(got, []string{"clod", "cloud", "plant"}) {
		t.Errorf("on trial: %v", got)
	}
	g.trial.claim("")
	if got := g.readers(named("clod", "plant")); !slices.Equal(got, []string{"clod", "plant"}) {
		t.Errorf("decided: %v", got)
	}
}

// TestReloadKeepsWhatIsTaken: what a local client publishes while a bridge is being changed waits for it, also when another
// that is changed as well takes its time to end; and what only the configuration that may come back carries is kept for it.
func TestReloadKeepsWhatIsTaken(t *testing.T) {
	inChangingWorld(t, twoMotes, func(c *changing) {
		slow := brokertest.New()
		defer slow.Close()
		lamps := bridge.Rules{{Pattern: "lamp/#", Direction: bridge.Out, QoS: 1, RemotePrefix: prefix}}
		c.cfg.Bridges[0].Rules = lamps
		other := c.cfg.Bridges[0]
		other.Name, other.ClientID, other.URLs, other.Rules = "other", "meshgate-o", []string{"mqtt://slow:1883"}, nil
		c.cfg.Bridges = append(c.cfg.Bridges, other)
		plain := c.hw
		c.hw = func(hw *Hardware) {
			plain(hw)
			hw.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
				if addr == "slow:1883" {
					return slow.Dial(ctx, network, addr)
				}
				return c.broker.Dial(ctx, network, addr)
			}
		}
		c.start()
		c.until("connected", func() bool { return c.holds(prefix + "gateway/status") })
		slow.Set(func(b *brokertest.Behaviour) { b.NoAck = true })
		c.file.write("changed", c.changed(func(n *config.Config) {
			n.Bridges[0].Keepalive, n.Bridges[1].Keepalive = time.Minute, time.Minute
		}))
		c.hup <- struct{}{}
		var want []string
		post := func(payload string) {
			if err := c.ask("POST", "pub", control.Message{Topic: "lamp/1", Payload: payload}, nil); err != nil {
				t.Errorf("not taken: %v", err)
			}
			want = append(want, payload)
		}
		for i := range 50 {
			post(fmt.Sprint(i))
			time.Sleep(100 * time.Millisecond)
		}
		c.file.known["none"] = c.changed(func(n *config.Config) { n.Bridges = nil })
		if err := c.ask("POST", "config/apply", control.ApplyRequest{Text: "none", Confirm: "5s"}, nil); err != nil {
			t.Fatal(err)
		}
		post("on trial")
		c.until("all", func() bool { return len(c.published("lamp/1")) >= len(want) })
		got := c.published("lamp/1")
		slices.Sort(got) // live ones go before those that waited
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("came %q, want %q", got, want)
		}
	})
}

// TestTrialOfRules: what rules on trial do not carry waits for the end of the trial: it goes when they are taken back, and is let
// go when they are kept.
func TestTrialOfRules(t *testing.T) {
	for _, confirm := range []bool{false, true} {
		inChangingWorld(t, twoMotes, func(c *changing) {
			plain := c.hw
			c.hw = func(hw *Hardware) {
				plain(hw)
				open := hw.OpenPort
				hw.OpenPort = func(ctx context.Context, port string) (io.ReadWriteCloser, error) {
					if port == "nowhere" {
						return nil, io.ErrUnexpectedEOF
					}
					return open(ctx, port)
				}
			}
			c.start()
			c.until("readings", func() bool { return len(c.published("mote/+/temperature")) >= 2 })
			c.file.known["fewer"] = c.changed(func(n *config.Config) {
				n.Bridges[0].Rules = bridge.Rules{{Pattern: "gateway/#", Direction: bridge.Out, QoS: 1, RemotePrefix: prefix}}
				n.Managers[0].Port = "nowhere"
			})
			if err := c.ask("POST", "config/apply", control.ApplyRequest{Text: "fewer", Confirm: "2m"}, nil); err != nil {
				t.Fatal(err)
			}
			c.broker.Cut("meshgate-t") // what comes until it is back waits
			if err := c.ask("POST", "pub", control.Message{Topic: "mote/x/temperature", Payload: "x"}, nil); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			n := len(c.published("mote/+/temperature"))
			if confirm {
				if err := c.ask("POST", "config/confirm", struct{}{}, nil); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(3*time.Minute + 500*time.Millisecond)
			var s control.Status
			if err := c.ask("GET", "status", nil, &s); err != nil {
				t.Fatal(err)
			}
			if got := len(c.published("mote/+/temperature")) > n; got == confirm || s.Spool.Records > 0 {
				t.Errorf("confirmed %v: readings come %v, %d records wait:\n%s", confirm, got, s.Spool.Records, &c.log)
			}
			if got := len(c.published("mote/x/temperature")) > 0; got == confirm {
				t.Errorf("confirmed %v: what a local client has published in between has come %v", confirm, got)
			}
		})
	}
}
