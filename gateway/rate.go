package gateway

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/meshgate/meshgate/smartmesh"
	"github.com/meshgate/meshgate/smartmesh/oap"
)

// maxRates is how many motes may wait for their report rate to be set; a mesh has at most a
// hundred or so. Beyond it a mote keeps its own rate until it joins again.
const maxRates = 1024

// rejoined is for a mote that has become operational: whatever it was set to is back at default
// (oap.md, section 3: whether settings survive is unknown).
func (m *mesh) rejoined(mac smartmesh.MAC) {
	m.forgetLED(mac)
	m.wantRate(mac)
}

// wantRate has the configured report rate set on a mote, if there is one.
func (m *mesh) wantRate(mac smartmesh.MAC) {
	if m.cfg.Temperature == 0 {
		return
	}
	select {
	case m.rates <- mac:
	default:
		m.log.Warn("too many motes join at once: this one keeps its own report rate", "mac", mac)
	}
}

// setRates works off the motes whose rate is to be set, one after the other: each takes a
// downstream packet, of which a mesh has few. A mote that could not be reached is tried once more
// a while later; after that it has either left, and comes back by its event, or does not speak OAP.
func (m *mesh) setRates(ctx context.Context) {
	again := map[smartmesh.MAC]bool{}
	for {
		select {
		case mac := <-m.rates:
			err := m.setRate(ctx, mac)
			if err == nil {
				delete(again, mac)
				continue
			}
			m.log.Warn("a mote's report rate is not set", "mac", mac, "error", err)
			if !again[mac] && ctx.Err() == nil {
				again[mac] = true
				time.AfterFunc(time.Minute, func() { m.wantRate(mac) })
			}
		case <-ctx.Done():
			return
		}
	}
}

// setRate enables temperature reports and sets their period in one request, so that there is no
// moment with the old one.
func (m *mesh) setRate(ctx context.Context, mac smartmesh.MAC) error {
	ms := binary.BigEndian.AppendUint32(nil, uint32(m.cfg.Temperature/time.Millisecond))
	_, err := m.ask(ctx, mac, oap.Request{Command: oap.Put, Address: oap.Temperature,
		Tags: []oap.Tag{{Tag: 0, Value: []byte{1}}, {Tag: 1, Value: ms}}})
	if err == nil {
		m.log.Info("report rate set", "mac", mac, "every", m.cfg.Temperature)
	}
	return err
}
