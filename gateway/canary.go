package gateway

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/meshgate/meshgate/bridge"
)

const canaryName = "gateway/canary"

// canaryTopic is where the gateway publishes what it expects back.
func (f *forward) canaryTopic() string { return f.cfg.Prefix + canaryName }

// subscriptions are those of the rules and of what the gateway itself listens to.
func (f *forward) subscriptions() []bridge.Subscription {
	own := []bridge.Subscription{{Filter: f.statusTopic(), QoS: 1}}
	if f.cfg.Canary > 0 {
		own = append(own, bridge.Subscription{Filter: f.canaryFilter(), QoS: 1})
	}
	return append(f.cfg.Rules.Subscriptions(), own...)
}

// canary publishes twice in each canary time and expects to get it back within half of it, so that
// a broker that takes messages and does not deliver them, or one whose access rules deny them
// without a word, is known within that time.
func (f *forward) canary(ctx context.Context, s *bridge.Session) error {
	refused := slices.Contains(s.Refused(), f.canaryFilter())
	if refused && f.cfg.Canary > 0 && f.as.unproven() {
		return f.asClient("it refuses a subscription that is shared")
	}
	if f.cfg.Canary == 0 || refused {
		<-ctx.Done()
		return ctx.Err()
	}
	select { // first what every session begins with
	case <-f.stated:
	case <-ctx.Done():
		return ctx.Err()
	}
	heard := time.Now() // of this session; a broker has half a canary time for the first
	for n := 1; ; n++ {
		if f.park.holds(key{topic: canaryName}) {
			f.state.routed("not checked", "")
			<-ctx.Done()
			return ctx.Err()
		}
		next := time.After(f.cfg.Canary / 2)
		back, err := f.sing(ctx, s, n, next)
		if err != nil {
			return err
		}
		if !back {
			f.routes(fmt.Sprintf("tcp up, mqtt up, route down: no echo of %s for %v: the broker takes messages and does not deliver them, "+
				"or its access rules silently deny publishing or reading that topic", f.canaryTopic(), time.Since(heard).Round(time.Second)))
			continue
		}
		heard = time.Now()
		f.routes("")
		select {
		case <-next:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// sing publishes a canary and reports whether it has come back by the time that late ticks. As a bridge that never got
// one back, it does not wait for so long: there is to be time for another session.
func (f *forward) sing(ctx context.Context, s *bridge.Session, n int, late <-chan time.Time) (bool, error) {
	payload := fmt.Sprintf(`{"boot":%q,"n":%d,"time":%q}`, f.g.boot, n, stamp(time.Now()))
	message := bridge.Message{Topic: f.canaryTopic(), Payload: []byte(payload), QoS: 1}
	if err := f.deliver(ctx, s, nil, tracked{key{topic: canaryName}, message}); err != nil {
		return false, err
	}
	if f.as.unproven() {
		late = time.After(f.cfg.Canary / 4)
	}
	switch back := f.echoed(ctx, payload, late); {
	case ctx.Err() != nil:
		return false, ctx.Err()
	case !back && f.as.unproven():
		return false, f.asClient("it does not give the canary back")
	case back:
		f.as.prove()
		return true, nil
	}
	return false, nil
}

// echoed waits for a message to come back. When it does not, it takes the tick of late.
func (f *forward) echoed(ctx context.Context, payload string, late <-chan time.Time) bool {
	for {
		select {
		case got := <-f.echoes:
			if got == payload {
				return true
			}
		case <-late:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// echo is for what comes back on the canary's topic.
func (f *forward) echo(payload []byte) {
	select {
	case f.echoes <- string(payload):
	default: // nobody waits for so many
	}
}

// routes shows whether the broker routes, and logs when that changes.
func (f *forward) routes(trouble string) {
	bad := trouble != ""
	if bad {
		f.state.routed("down", trouble)
	} else {
		f.state.routed("up", "")
	}
	if bad != f.mute {
		if f.mute = bad; bad {
			f.log.Warn("the broker does not route", "error", trouble)
		} else {
			f.log.Info("the broker routes again")
		}
	}
}
