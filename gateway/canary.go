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
		own = append(own, bridge.Subscription{Filter: f.canaryTopic(), QoS: 1})
	}
	return append(f.cfg.Rules.Subscriptions(), own...)
}

// canary publishes twice in each canary time and expects to get it back within half of it, so that
// a broker that takes messages and does not deliver them, or one whose access rules deny them
// without a word, is known within that time.
func (f *forward) canary(ctx context.Context, s *bridge.Session) error {
	if f.cfg.Canary == 0 || slices.Contains(s.Refused(), f.canaryTopic()) {
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
		payload := fmt.Sprintf(`{"boot":%q,"n":%d,"time":%q}`, f.g.boot, n, stamp(time.Now()))
		message := bridge.Message{Topic: f.canaryTopic(), Payload: []byte(payload), QoS: 1}
		if err := f.deliver(ctx, s, nil, tracked{key{topic: canaryName}, message}); err != nil {
			return err
		}
		if !f.echoed(ctx, payload, next) {
			if ctx.Err() != nil {
				return ctx.Err()
			}
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
