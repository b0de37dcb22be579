package gateway

import (
	"context"
	"errors"
	"time"

	"github.com/meshgate/meshgate/smartmesh"
	"github.com/meshgate/meshgate/smartmesh/oap"
)

var (
	errLEDUnknown = errors.New("toggle is refused: the LED's state is not known; say on or off")
	errLEDPlain   = errors.New("a mote's LED has neither brightness nor patterns; say on or off")
)

// switchLED sets a mote's indicator LED. Confirmed means that the mote has answered; nothing less
// changes the state that is shown.
func (m *mesh) switchLED(ctx context.Context, mac smartmesh.MAC, o order) result {
	if o.brightness > 0 || o.blink != nil {
		return refused(o.id, errLEDPlain)
	}
	if !o.deadline.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadlineCause(ctx, o.deadline, errExpired)
		defer cancel()
	}
	on := o.on
	if o.toggle {
		was, known := m.led(mac)
		if !known {
			return refused(o.id, errLEDUnknown)
		}
		on = !was
	}
	if err := m.putLED(ctx, mac, on); err != nil {
		if errors.Is(err, errExpired) && reached(err) == "" {
			return result{id: o.id, stage: stageExpired, err: err}
		}
		return result{id: o.id, stage: stageFailed, err: err}
	}
	if o.hold > 0 {
		m.holdLED(mac, !on, o.hold)
	}
	return result{id: o.id, stage: stageConfirmed}
}

func (m *mesh) putLED(ctx context.Context, mac smartmesh.MAC, on bool) error {
	m.cancelHold(mac)
	m.overrule(mac)
	_, err := m.askFor(ctx, mac, oap.Request{Command: oap.Put, Address: oap.LED, Tags: []oap.Tag{{Tag: 0, Value: ledValue(on)}}}, true)
	if err != nil {
		m.publishLED(mac, "unknown") // it may have been done: only the answer was lost
		return err
	}
	return nil
}

func ledValue(on bool) []byte {
	if on {
		return []byte{1}
	}
	return []byte{0}
}

// setLED keeps and shows what a mote has confirmed.
func (m *mesh) setLED(mac smartmesh.MAC, on bool) {
	m.mu.Lock()
	m.leds[mac] = on
	m.mu.Unlock()
	m.publishLED(mac, onOff(on))
}

func (m *mesh) led(mac smartmesh.MAC) (on, known bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	on, known = m.leds[mac]
	return on, known
}

// holdLED sets the LED back after d. It belongs to the manager, not to the session that asked:
// an LED that was to be on for five seconds goes off although the cloud has gone meanwhile.
func (m *mesh) holdLED(mac smartmesh.MAC, on bool, d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ended {
		return
	}
	m.holds[mac] = time.AfterFunc(d, func() {
		ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
		defer cancel()
		set := m.putLED
		if mac == smartmesh.Broadcast {
			set = func(ctx context.Context, _ smartmesh.MAC, on bool) error { return m.broadcastLED(ctx, on) }
		}
		if err := set(ctx, mac, on); err != nil {
			m.log.Warn("a mote's LED could not be set back", "mac", mac, "error", err)
		}
	})
}

func (m *mesh) cancelHold(mac smartmesh.MAC) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if t := m.holds[mac]; t != nil {
		t.Stop()
		delete(m.holds, mac)
	}
}

// dropHolds ends what was to be set back later: the manager is not ours any more.
func (m *mesh) dropHolds() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ended = true
	for _, t := range m.holds {
		t.Stop()
	}
	clear(m.holds)
}

// forgetLED is for a mote that has started over: its outputs are back at default, which nobody
// has confirmed.
func (m *mesh) forgetLED(mac smartmesh.MAC) {
	m.mu.Lock()
	_, known := m.leds[mac]
	delete(m.leds, mac)
	m.mu.Unlock()
	if known {
		m.publishLED(mac, "unknown")
	}
}

func (m *mesh) publishLED(mac smartmesh.MAC, state string) {
	if state == "unknown" {
		m.mu.Lock()
		delete(m.leds, mac)
		m.mu.Unlock()
	}
	m.g.publishState("mote/"+mac.String()+"/led/state", state, time.Now())
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}
