package local

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"
)

// side is what the gateway needs of either way.
type side interface {
	Publish(topic string, payload []byte, retain bool) error
	Status() Status
	Stats() Stats
	Close() error
}

// Both ways behave alike: the broker inside, and Mosquitto as a neighbour.
func TestBothWays(t *testing.T) {
	t.Parallel()
	ways := map[string]func(t *testing.T, intake func(Message) error) (side, string){
		"listen": func(t *testing.T, intake func(Message) error) (side, string) {
			b := startBroker(t, Options{Intake: intake})
			return b, b.tcp()
		},
		"dial": func(t *testing.T, intake func(Message) error) (side, string) {
			m := newMosquitto(t)
			c := dial(t, DialOptions{URL: m.url(), ClientID: "gateway", Subscribe: []string{"#"}, Keep: true, Intake: intake})
			up(t, c)
			return c, m.url()
		},
	}
	for name, start := range ways {
		t.Run(name, func(t *testing.T) { bothWays(t, start) })
	}
}

func bothWays(t *testing.T, start func(*testing.T, func(Message) error) (side, string)) {
	in := newBox()
	var fail atomic.Bool
	gw, url := start(t, func(m Message) error {
		if fail.Load() && m.Topic == "bad" {
			return errors.New("disk full")
		}
		return in.intake(m)
	})
	dev := connect(t, pahoOptions(url, "dev"))
	dev.subscribe(t, "actuator/#", 1)

	// Down: retained or not, and never back to Intake.
	for i, retain := range []bool{true, false} {
		if err := gw.Publish("actuator/led/state", fmt.Append(nil, i), retain); err != nil {
			t.Fatal(err)
		}
		want(t, dev.next(t), fmt.Sprint("actuator/led/state=", i))
	}
	late := connect(t, pahoOptions(url, "late"))
	late.subscribe(t, "actuator/#", 1)
	want(t, late.next(t), "actuator/led/state=0 r")

	// Up: every QoS, in order for each topic.
	for i := range 90 {
		dev.publish(t, fmt.Sprint("dev/", i%3), byte(i%3), false, fmt.Sprint(i))
	}
	last := map[string]int{}
	for _, m := range in.wait(t, 90) {
		n := 0
		fmt.Sscan(string(m.Payload), &n)
		if before, ok := last[m.Topic]; m.Topic != fmt.Sprint("dev/", n%3) || ok && n != before+3 {
			t.Errorf("%s: %d after %d", m.Topic, n, before)
		}
		last[m.Topic] = n
	}

	// What is not taken comes again.
	fail.Store(true)
	opt := pahoOptions(url, "persistent").SetCleanSession(false)
	p := connect(t, opt)
	tok := p.Publish("bad", 1, false, "again")
	eventually(t, "a failure", func() bool { return gw.Stats().NotStored > 0 })
	fail.Store(false)
	select {
	case <-tok.Done(): // Mosquitto has it, and sends it again
	case <-p.lost: // the embedded broker did not take it: the client sends it again
		connect(t, pahoOptions(url, "persistent").SetCleanSession(false)).publish(t, "bad", 1, false, "again")
	case <-time.After(patience):
		t.Fatal("neither acknowledged nor disconnected")
	}
	if got := in.wait(t, 91); got[90].Topic != "bad" || string(got[90].Payload) != "again" {
		t.Errorf("%+v", got[90])
	}
	eventually(t, "it is up", func() bool { return gw.Status().Up })
	if err := gw.Publish("a/+", nil, false); err == nil {
		t.Error("published to a wildcard")
	}
	gw.Close()
	gw.Close()
	if s := gw.Status(); s.Up || s.Error != "closed" {
		t.Errorf("%+v", s)
	}
	if err := gw.Publish("a", nil, false); err == nil {
		t.Error("published after Close")
	}
	if n := len(in.all()); n != 91 {
		t.Errorf("%d messages at Intake", n)
	}
}
