package gateway

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"time"

	"github.com/meshgate/meshgate/smartmesh"
	"github.com/meshgate/meshgate/smartmesh/oap"
)

const (
	// rateWorkers is how many motes are asked at once: each takes a downstream packet, of which a
	// mesh has few, and one that does not answer must not hold up the others for half a minute.
	rateWorkers = 3
	// rateCheck is when a rate that was set is looked at again: a mote may boot without anybody
	// hearing of it.
	rateCheck = 10 * time.Minute
	// rateAgain is when a mote that could not be reached is tried once more. After that it has
	// either left, and comes back by its event, or does not speak OAP.
	rateAgain = time.Minute
)

// rates is the work of keeping the configured report rate in force: which motes are to be seen to,
// each once.
type rates struct {
	mu    sync.Mutex
	todo  map[smartmesh.MAC]task
	order []smartmesh.MAC
	wake  chan struct{}               // holds one
	seen  map[smartmesh.MAC]time.Time // when a report last told a rate that is not as configured
}

type task struct {
	ask   bool // look first: it may be right
	again bool // it could not be reached before
}

func newRates() *rates {
	return &rates{todo: map[smartmesh.MAC]task{}, seen: map[smartmesh.MAC]time.Time{}, wake: make(chan struct{}, 1)}
}

// add puts a mote on the list. To set is more than to look.
func (r *rates) add(mac smartmesh.MAC, t task) {
	r.mu.Lock()
	defer r.mu.Unlock()
	was, there := r.todo[mac]
	if !there {
		r.order = append(r.order, mac)
	} else {
		t.ask = t.ask && was.ask
	}
	r.todo[mac] = t
	r.tell()
}

func (r *rates) tell() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// next takes a mote off the list, waiting for one.
func (r *rates) next(ctx context.Context) (smartmesh.MAC, task, bool) {
	for {
		r.mu.Lock()
		if len(r.order) > 0 {
			mac := r.order[0]
			r.order = r.order[1:]
			t := r.todo[mac]
			delete(r.todo, mac)
			if len(r.order) > 0 {
				r.tell()
			}
			r.mu.Unlock()
			return mac, t, true
		}
		r.mu.Unlock()
		select {
		case <-r.wake:
		case <-ctx.Done():
			return smartmesh.MAC{}, task{}, false
		}
	}
}

// rejoined is for a mote that has become operational: whatever it was set to is back at default
// (oap.md, section 3: whether settings survive is unknown).
func (m *mesh) rejoined(mac smartmesh.MAC) {
	m.forgetLED(mac)
	m.wantRate(mac, task{})
}

// wantRate has the configured report rate seen to on a mote, if there is one.
func (m *mesh) wantRate(mac smartmesh.MAC, t task) {
	if m.cfg.Temperature > 0 {
		m.rates.add(mac, t)
	}
}

// checkRates looks at all motes that there are: what they were set to while nobody listened is not
// known.
func (m *mesh) checkRates() {
	for _, mo := range m.motes.snapshot() {
		if mo.state == "operational" && !mo.ap {
			m.wantRate(mo.mac, task{ask: true})
		}
	}
}

// rateSeen is the rate that a mote's report tells: one that is not as configured is looked into,
// now and then, since there may be motes that do not take it.
func (m *mesh) rateSeen(mac smartmesh.MAC, s oap.Sample, now time.Time) {
	if s.Rate != m.cfg.Temperature && m.cfg.Temperature > 0 && bytes.Equal(s.Channel, oap.Temperature) && m.rates.due(mac, now) {
		m.wantRate(mac, task{ask: true})
	}
}

func (r *rates) due(mac smartmesh.MAC, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if last, ok := r.seen[mac]; ok && now.Sub(last) < rateCheck {
		return false
	}
	r.seen[mac] = now
	return true
}

// setRates works off the motes that are to be seen to, until ctx ends.
func (m *mesh) setRates(ctx context.Context) {
	var wg sync.WaitGroup
	for range rateWorkers {
		wg.Go(func() {
			for {
				mac, t, ok := m.rates.next(ctx)
				if !ok {
					return
				}
				m.seeTo(ctx, mac, t)
			}
		})
	}
	wg.Wait()
}

// seeTo brings one mote to the configured rate, and comes back to it later.
func (m *mesh) seeTo(ctx context.Context, mac smartmesh.MAC, t task) {
	changed, err := m.keepRate(ctx, mac, t.ask)
	switch {
	case ctx.Err() != nil:
	case err == nil && changed:
		m.log.Info("report rate set", "mac", mac, "every", m.cfg.Temperature)
		time.AfterFunc(rateCheck, func() { m.wantRate(mac, task{ask: true}) })
	case err == nil:
	case !t.again && !errors.Is(err, errNotThere):
		time.AfterFunc(rateAgain, func() { m.wantRate(mac, task{ask: t.ask, again: true}) })
	default:
		m.log.Warn("a mote's report rate is not set", "mac", mac, "error", err)
	}
}

// keepRate enables temperature reports and sets their period in one request, so that there is no
// moment with the old one; with ask only if they are not so already.
func (m *mesh) keepRate(ctx context.Context, mac smartmesh.MAC, ask bool) (changed bool, err error) {
	if ask {
		r, err := m.ask(ctx, mac, oap.Request{Command: oap.Get, Address: oap.Temperature})
		if err != nil || m.rateRight(r) {
			return false, err
		}
	}
	ms := binary.BigEndian.AppendUint32(nil, uint32(m.cfg.Temperature/time.Millisecond))
	_, err = m.ask(ctx, mac, oap.Request{Command: oap.Put, Address: oap.Temperature,
		Tags: []oap.Tag{{Tag: 0, Value: []byte{1}}, {Tag: 1, Value: ms}}})
	return err == nil, err
}

// rateRight says whether a mote's answer tells the configured rate.
func (m *mesh) rateRight(r oap.Response) bool {
	f := oap.DecodeFields(oap.Temperature, r.Tags)
	return f["enable"] == int64(1) && f["rate"] == int64(m.cfg.Temperature/time.Millisecond)
}
