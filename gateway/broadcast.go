package gateway

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/meshgate/meshgate/smartmesh"
	"github.com/meshgate/meshgate/smartmesh/oap"
)

const (
	broadcastTries = 2               // nobody repeats a broadcast that a mote did not hear
	broadcastPause = 2 * time.Second // between the two
	// broadcastSession marks answers to a broadcast, so that they are not taken for those to a
	// request for one mote: those are of session 0.
	broadcastSession = 0x0f
)

var errAllToggle = errors.New("toggle is refused: the LEDs of all motes need not be the same; say on or off")

// broadcast is the LED command for all motes that was given last, and who has not answered it yet.
type broadcast struct {
	mu     sync.Mutex
	seq    uint8
	on     bool
	silent map[smartmesh.MAC]bool
}

// switchAll switches the LEDs of all motes of all managers. There is no confirmation that could be
// relied on: applied means that it has left the manager twice. The LEDs of motes that answer all
// the same are shown as they say, those of the others as unknown.
func (g *Gateway) switchAll(ctx context.Context, o order) result {
	if o.toggle {
		return refused(o.id, errAllToggle)
	}
	var wg sync.WaitGroup
	errs := make([]error, len(g.meshes()))
	for i, m := range g.meshes() {
		wg.Go(func() { errs[i] = m.broadcastLED(ctx, o.on) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return result{id: o.id, stage: stageFailed, err: err}
	}
	if o.hold > 0 {
		for _, m := range g.meshes() {
			m.holdLED(smartmesh.Broadcast, !o.on, o.hold)
		}
	}
	return result{id: o.id, stage: stageApplied}
}

func (m *mesh) broadcastLED(ctx context.Context, on bool) error {
	s, err := m.current()
	if err != nil {
		return err
	}
	seq := m.beginBroadcast(on)
	data := oap.AppendRequest(nil, oap.Request{Session: broadcastSession, Sequence: seq, Sync: true, Reliable: true,
		Command: oap.Put, Address: oap.LED, Tags: []oap.Tag{{Tag: 0, Value: ledValue(on)}}})
	for i := range broadcastTries {
		if i > 0 && !sleep(ctx, broadcastPause) {
			return context.Cause(ctx)
		}
		if !m.latestBroadcast(seq) {
			return errors.New("a later command for all motes has taken its place")
		}
		if err := m.leave(ctx, s, smartmesh.Broadcast, data); err != nil {
			return err
		}
	}
	return nil
}

// leave queues a packet and waits until it has left the manager.
func (m *mesh) leave(ctx context.Context, s *smartmesh.Session, mac smartmesh.MAC, data []byte) error {
	ctx, cancel := context.WithTimeoutCause(ctx, leaveTimeout, errNotSent)
	defer cancel()
	handle, err := send(ctx, s, mac, data)
	if err != nil {
		return err
	}
	left, forget := m.oap.departures.of(handle)
	defer forget()
	select {
	case code := <-left:
		if code != 0 {
			return &reachedError{reachedQueued, errNotSent}
		}
		return nil
	case <-ctx.Done():
		return &reachedError{reachedQueued, context.Cause(ctx)}
	}
}

// beginBroadcast makes all LEDs unknown until their motes answer, and numbers the request.
func (m *mesh) beginBroadcast(on bool) uint8 {
	silent := map[smartmesh.MAC]bool{}
	m.cancelHold(smartmesh.Broadcast)
	for _, mo := range m.motes.snapshot() {
		if !mo.ap && mo.state == "operational" {
			silent[mo.mac] = true
			m.cancelHold(mo.mac)
			m.publishLED(mo.mac, "unknown")
		}
	}
	m.all.mu.Lock()
	defer m.all.mu.Unlock()
	m.all.seq = (m.all.seq + 1) & 0x0f
	m.all.on, m.all.silent = on, silent
	return m.all.seq
}

// latestBroadcast says whether no other has begun since.
func (m *mesh) latestBroadcast(seq uint8) bool {
	m.all.mu.Lock()
	defer m.all.mu.Unlock()
	return m.all.seq == seq
}

// heardBroadcast takes the answer of a mote to the latest broadcast, and reports whether it was one
// to any: late ones are of no use to anybody.
func (m *mesh) heardBroadcast(mac smartmesh.MAC, r oap.Response) bool {
	if r.Session != broadcastSession || r.Command != oap.Put {
		return false
	}
	m.all.mu.Lock()
	counts := r.Sequence == m.all.seq && m.all.silent[mac] && r.Result == oap.OK
	delete(m.all.silent, mac)
	on := m.all.on
	m.all.mu.Unlock()
	if counts {
		m.setLED(mac, on)
	}
	return true
}

// overrule has a mote's answer to the latest broadcast not count any more: its LED is set by itself.
func (m *mesh) overrule(mac smartmesh.MAC) {
	m.all.mu.Lock()
	defer m.all.mu.Unlock()
	delete(m.all.silent, mac)
}
