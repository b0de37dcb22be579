package gateway

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/meshgate/meshgate/bridge"
	"github.com/meshgate/meshgate/bridge/spool"
	"github.com/meshgate/meshgate/gateway/config"
	"github.com/meshgate/meshgate/gpio"
	"github.com/meshgate/meshgate/smartmesh"
)

const (
	// tidyPeriod is how often retained topics that nobody publishes to any more are looked for.
	tidyPeriod = 10 * time.Minute
	// moteGrace is how long a mote may stay unheard of after a start before its topics are deleted:
	// after a reset, the manager's list begins empty and motes take minutes to come back.
	moteGrace = time.Hour
)

// batch makes the remote messages of states that the rules carry. What has come by way of the disk
// goes that way, too.
func (f *forward) batch(list []state) []tracked {
	var out []tracked
	made := map[string]origin{}
	for _, st := range list {
		remote, rule, ok := f.cfg.Rules.OutBy(st.topic)
		if !ok || st.stored || st.topic == "gateway/status" {
			continue
		}
		m := bridge.Message{Topic: remote, Payload: st.payload, QoS: rule.QoS, Retain: rule.Retain.Flag(true)}
		if m.Retain && len(m.Payload) > 0 {
			made[remote] = origin{st.topic, true}
		}
		out = append(out, tracked{key{topic: st.topic}, m})
	}
	f.ledger.note(made)
	return out
}

// tidy deletes the retained topics of ours at the broker that have no owner any more.
func (f *forward) tidy(ctx context.Context, s *bridge.Session) error {
	gone := f.ledger.stale(f.stands)
	for part := range slices.Chunk(gone, 100) {
		var batch []tracked
		for _, remote := range part {
			batch = append(batch, tracked{key{topic: remote}, bridge.Message{Topic: remote, QoS: 1, Retain: true}})
		}
		if err := f.deliver(ctx, s, f.tells.mark, batch...); err != nil {
			return err
		}
		f.ledger.forget(part)
		f.log.Info("retained topics that nobody publishes to any more are deleted at the broker", "topics", part)
	}
	return nil
}

// stands reports whether a retained topic of ours at the broker still has an owner here, and a rule.
func (f *forward) stands(remote string, o origin) bool {
	if o.Local == "gateway/status" {
		return remote == f.statusTopic()
	}
	now, rule, ok := f.cfg.Rules.OutBy(o.Local)
	return ok && now == remote && rule.Retain.Flag(o.State) && f.g.owns(o.Local)
}

// owns reports whether there is still who a topic of the gateway's is about. In doubt there is.
func (g *Gateway) owns(topic string) bool {
	kind, rest, _ := strings.Cut(topic, "/")
	name, _, _ := strings.Cut(rest, "/")
	switch kind {
	case "actuator":
		return slices.ContainsFunc(g.conf().Outputs, func(o gpio.Output) bool { return o.Name == name })
	case "input":
		return slices.ContainsFunc(g.conf().Inputs, func(i gpio.Input) bool { return i.Name == name })
	case "manager":
		return slices.ContainsFunc(g.conf().Managers, func(m config.Manager) bool { return m.Name == name })
	case "mote":
		return g.mayCome(name)
	}
	return true
}

// mayCome reports whether a mote is known, or nobody can tell yet.
func (g *Gateway) mayCome(mac string) bool {
	if time.Since(g.since) < moteGrace {
		return true
	}
	parsed, err := smartmesh.ParseMAC(mac)
	if err != nil {
		return true
	}
	for _, m := range g.meshes() {
		if m.live.Load() == nil || m.motes.known(parsed) {
			return true
		}
	}
	return false
}

// newest keeps the backlog from putting an old value over a newer one that the broker retains: live
// records overtake it. It remembers, for up to maxNewest topics, the last record that was retained.
type newest struct {
	mu  sync.Mutex
	seq map[string]uint64
}

const maxNewest = 10_000

// publish has the message of a record published; one that is older than what is retained goes
// without the flag. The lock is held until the session has the message, so that none comes between.
func (n *newest) publish(m bridge.Message, seq uint64, by func(bridge.Message) (bridge.Receipt, error)) (bridge.Receipt, error) {
	if !m.Retain {
		return by(m)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	m.Retain = n.note(m.Topic, seq)
	return by(m)
}

// note remembers a record as the last of its topic, unless a newer one is known. The caller has mu.
func (n *newest) note(topic string, seq uint64) bool {
	last, known := n.seq[topic]
	if seq < last {
		return false
	}
	if n.seq == nil {
		n.seq = map[string]uint64{}
	}
	if known || len(n.seq) < maxNewest {
		n.seq[topic] = seq
	}
	return true
}

// recall remembers what was retained before this bridge came to run here, by another process for instance: the records that were
// delivered while older ones waited are still on the disk. It is called before the first of those goes out.
func (f *forward) recall() {
	if f.recalled {
		return
	}
	f.recalled = true
	known := routes{}
	for r := range f.reader.Delivered() {
		if to := known.of(r.Topic, f.cfg.Rules); to.ok && to.rule.Retain.Flag(r.Retain) {
			f.newest.mu.Lock()
			f.newest.note(to.remote, r.Seq)
			f.newest.mu.Unlock()
		}
		f.mark.beat()
	}
}

// retained gives the flag that a record's message goes out with. A reading that a rule has had
// retained is a retained topic of ours, to be deleted when its mote is gone.
func (f *forward) retained(r spool.Record, came bool, remote string, rule bridge.Rule) bool {
	keep := rule.Retain.Flag(came)
	if keep && r.Kind != kindMessage {
		f.ledger.note(map[string]origin{remote: {r.Topic, false}})
	}
	return keep
}
