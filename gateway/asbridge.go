package gateway

import (
	"context"
	"slices"

	"github.com/meshgate/meshgate/bridge"
	"github.com/meshgate/meshgate/gateway/local"
)

// asBridge is what is known of the brokers of a bridge when they are told that it is one: those that
// understand it send live messages with their retain flag, and a bridge's own messages not at all.
// So it is done only where a rule wants the flag, and the canary is asked for in a way in which it
// comes back all the same. A broker that takes none, or does not give the canary back, is spoken to
// as by any client for as long as the process lives.
type asBridge struct {
	now   bool // the session is one of a bridge
	gives bool // and is sent its own messages all the same: its birth was
	url   string
	never map[string]bool // by URL: as a client
	heard map[string]bool // by URL: as a bridge, and the canary came back
}

// unproven reports whether the broker of now is one of a bridge that never gave a canary back.
func (a *asBridge) unproven() bool { return a.now && !a.heard[a.url] }

func (a *asBridge) prove() {
	if a.unproven() {
		a.heard = noted(a.heard, a.url)
	}
}

func noted(set map[string]bool, url string) map[string]bool {
	if set == nil {
		set = map[string]bool{}
	}
	set[url] = true
	return set
}

// wantsFlags reports whether a rule carries something in, other than commands, with its retain flag.
func wantsFlags(rules bridge.Rules) bool {
	return slices.ContainsFunc(rules, func(r bridge.Rule) bool {
		commands := slices.ContainsFunc(commandFilters, func(f string) bool { return local.Covers(f, r.Local()) })
		return r.Direction != bridge.Out && r.Retain == bridge.Keep && !commands
	})
}

// dial connects as a bridge where that is of use and the broker is not known to refuse it.
func (f *forward) dial(ctx context.Context, url string) (*bridge.Session, error) {
	f.as.url, f.as.gives, f.as.now = url, false, wantsFlags(f.cfg.Rules) && !f.as.never[url]
	s, err := bridge.Connect(ctx, f.config(url), f.log)
	if !f.as.now || err == nil || !bridge.RefusesBridges(err) {
		return s, err
	}
	f.as.now = false
	if s, err = bridge.Connect(ctx, f.config(url), f.log); err == nil {
		f.noBridges("it refuses them")
	}
	return s, err
}

func (f *forward) noBridges(why string) {
	f.as.never = noted(f.as.never, f.as.url)
	f.log.Info("the broker takes no bridges: it will send live messages without their retain flag", "broker", f.as.url, "why", why)
}

// asClient is why a session as a bridge is ended, for one as a client, whose canary will tell.
func (f *forward) asClient(why string) error {
	f.noBridges(why)
	return renewal("as a client")
}

// canaryFilter is how the canary is asked for. A bridge is not sent its own messages, except by a
// subscription that it shares, with nobody.
func (f *forward) canaryFilter() string {
	if f.as.now {
		return "$share/" + f.g.boot + "/" + f.canaryTopic()
	}
	return f.canaryTopic()
}
