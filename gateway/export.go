package gateway

import (
	"path/filepath"

	"github.com/meshgate/meshgate/bridge/spool"
	"github.com/meshgate/meshgate/gateway/config"
)

// Render gives the local topic and the payload of a record, as a bridge would send it; historical
// marks it as one that waited. The error is for a record of a later version, or a damaged one.
func Render(r spool.Record, historical bool) (topic string, payload []byte, err error) {
	m, err := render(nil, r, historical)
	return m.topic, m.payload, err
}

// Carries tells whether a bridge carries a record, which it does not when it has brought it in itself, and as what.
func Carries(b config.Bridge, r spool.Record) (remote string, qos byte, ok bool) {
	if remote, qos, ok = b.Rules.Out(r.Topic); ok && r.Kind == kindMessage {
		m, err := render(nil, r, false)
		ok = err == nil && m.from != b.Name
	}
	return remote, qos, ok
}

// Numbered tells whether the payload of a record says its number: what a local client or another bridge has brought goes on as it came.
func Numbered(r spool.Record) bool { return r.Kind != kindMessage }

// Redate gives a function that dates records of before the host's clock was right as a bridge would, as far as the state folder
// knows when their boots were.
func Redate(stateDir string) (func(*spool.Record), error) {
	boots, err := readBoots(filepath.Join(stateDir, bootsFile))
	return func(r *spool.Record) {
		if r.Synced || r.Anchor.Session == 0 {
			return
		}
		if b := boots.run(r.Anchor.Session); b != nil && b.Date != nil {
			redate(r, *b.Date)
		}
	}, err
}
