package gateway

import "github.com/meshgate/meshgate/bridge/spool"

// Render gives the local topic and the payload of a record, as a bridge would send it; historical
// marks it as one that waited. The error is for a record of a later version, or a damaged one.
func Render(r spool.Record, historical bool) (topic string, payload []byte, err error) {
	m, err := render(r, historical)
	return m.topic, m.payload, err
}

// Numbered tells whether the payload of a record says its number: what a local client or another bridge has brought goes on as it came.
func Numbered(r spool.Record) bool { return r.Kind != kindMessage }
