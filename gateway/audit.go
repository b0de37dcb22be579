package gateway

import (
	"encoding/json"
	"path/filepath"
	"sync"

	"github.com/meshgate/meshgate/bridge/spool"
)

const auditTopic = "gateway/audit"

// auditCount remembers where the last manifest ended.
type auditCount struct {
	mu      sync.Mutex
	next    uint64
	dropped map[string]uint64
}

// publishAudit stores a manifest of the records since the last one. The manifests of all lives of
// the gateway together name every record once: the first of a life begins where the last one that
// is on the disk has ended.
func (g *Gateway) publishAudit() {
	a := &g.intake.audit
	a.mu.Lock()
	begun := a.dropped != nil
	a.mu.Unlock()
	if !begun {
		a.begin(lastAudited(filepath.Join(g.conf().StateDir, "spool"))+1, map[string]uint64{})
	}
	next, dropped := g.spool.Stats().Next, g.dropped()
	if fields := a.manifest(next, dropped); fields != nil && g.intake.now(auditTopic, fields) == nil {
		a.begin(next, dropped) // else the next one tells of it
	}
}

// begin says where the next manifest begins. What was dropped is counted from the start of the
// program on, so for its first one all of it is news.
func (a *auditCount) begin(next uint64, dropped map[string]uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.next, a.dropped = next, dropped
}

// manifest tells of the records up to next, exclusive, that have come since the last manifest, and
// of what was dropped since; nil when there is nothing to tell but the manifest before.
func (a *auditCount) manifest(next uint64, dropped map[string]uint64) map[string]any {
	a.mu.Lock()
	defer a.mu.Unlock()
	lost := map[string]uint64{}
	for reason, n := range dropped {
		if d := n - a.dropped[reason]; d > 0 {
			lost[reason] = d
		}
	}
	if next <= a.next && len(lost) == 0 {
		return nil
	}
	return map[string]any{"first": a.next, "last": next - 1, "count": next - a.next, "dropped": lost}
}

// lastAudited gives the last record that a manifest on the disk covers. Where there is none any
// more, which needs more records in a minute than are looked through here, all that is stored is
// told of again rather than not at all.
func lastAudited(folder string) uint64 {
	look, err := spool.Inspect(folder)
	if err != nil || look.Next == 0 {
		return 0
	}
	end := look.Next
	for _, back := range []uint64{1000, 10_000, 100_000} {
		from := max(look.Oldest, look.Next-min(look.Next, back))
		if last, ok := newestManifest(look, from, end-1); ok {
			return last
		}
		if end = from; from == look.Oldest {
			break
		}
	}
	return max(look.Oldest, 1) - 1
}

func newestManifest(look *spool.Snapshot, from, to uint64) (last uint64, ok bool) {
	if to < from {
		return 0, false
	}
	for r, err := range look.All(spool.Filter{From: from, To: to}) {
		if err != nil || r.Kind != kindObject || r.Topic != auditTopic {
			continue
		}
		var m struct{ Last uint64 }
		if json.Unmarshal(r.Payload, &m) == nil && m.Last > 0 {
			last, ok = m.Last, true
		}
	}
	return last, ok
}
