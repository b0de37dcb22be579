package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/meshgate/meshgate/bridge"
)

// brokerSteps are the steps of bridge.Connect that a URL has, in order, in words.
func brokerSteps(u bridge.URL) []step {
	steps := []step{{bridge.StepConfig, "settings"}, {bridge.StepPassword, "password file"}, {bridge.StepCertificate, "certificates"}}
	if net.ParseIP(u.Host) == nil {
		steps = append(steps, step{bridge.StepDNS, "DNS"})
	}
	steps = append(steps, step{bridge.StepTCP, "TCP"})
	if u.Secure() {
		steps = append(steps, step{bridge.StepTLS, "TLS"})
	}
	if u.WebSocket() {
		steps = append(steps, step{bridge.StepWebSocket, "WebSocket"})
	}
	return append(steps, step{bridge.StepMQTT, "login"})
}

type step struct {
	is   bridge.Step
	name string
}

const routeBack = 10 * time.Second

// testBroker goes the way of the daemon to a broker, step by step, and says how far it comes: to
// the host, in, and with a message there and back. It publishes on topic, which the broker is to
// route back to it.
func testBroker(ctx context.Context, cfg bridge.Config, topic string, say func(step string, err error)) error {
	u, err := bridge.ParseURL(cfg.URL)
	if err != nil {
		say("URL", err)
		return err
	}
	cfg.Subscribe = []bridge.Subscription{{Filter: topic, QoS: 1}}
	s, err := bridge.Connect(ctx, cfg, nil)
	steps := brokerSteps(u)
	if err != nil {
		failed := bridge.StepMQTT
		var ce *bridge.ConnectError
		if errors.As(err, &ce) {
			failed = ce.Step
		}
		at := max(0, slices.IndexFunc(steps, func(s step) bool { return s.is == failed }))
		for _, st := range steps[:at] {
			say(st.name, nil)
		}
		say(steps[at].name, err)
		return err
	}
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		s.Close(end)
	}()
	for _, st := range steps {
		say(st.name, nil)
	}
	return thereAndBack(ctx, s, topic, say)
}

func thereAndBack(ctx context.Context, s *bridge.Session, topic string, say func(string, error)) error {
	if len(s.Refused()) > 0 {
		err := fmt.Errorf("the broker refuses the subscription to %s: its access list has to allow it, or commands will not arrive", topic)
		say("subscribe", err)
		return err
	}
	say("subscribe", nil)
	ctx, cancel := context.WithTimeout(ctx, routeBack)
	defer cancel()
	mark := make([]byte, 8)
	rand.Read(mark) // never fails
	text := `{"setup":"` + hex.EncodeToString(mark) + `"}`
	receipt, err := s.Publish(ctx, bridge.Message{Topic: topic, Payload: []byte(text), QoS: 1})
	if err == nil {
		select {
		case <-receipt.Done():
			err = receipt.Err()
		case <-ctx.Done():
			err = errors.New("the broker does not acknowledge it")
		}
	}
	say("publish", err)
	if err != nil {
		return err
	}
	for {
		select {
		case m, ok := <-s.Messages():
			if ok && string(m.Payload) != text {
				continue
			}
			if !ok {
				err = s.Wait()
			}
		case <-ctx.Done():
			err = fmt.Errorf("what was published on %s does not come back: the broker's access list drops it, or nobody may read it", topic)
		}
		say("route back", err)
		return err
	}
}
