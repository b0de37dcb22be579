package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/meshgate/meshgate/gateway/config"
	"github.com/meshgate/meshgate/gateway/control"
	"github.com/meshgate/meshgate/smartmesh"
	"github.com/meshgate/meshgate/smartmesh/oap"
)

const (
	clockPeriod    = 15 * time.Second // getTime: the clock's sample, and the heartbeat of the session
	listPeriod     = 15 * time.Minute // the list of motes is read again, in case an event was missed
	requestTimeout = 30 * time.Second
)

// The notifications asked for: events, logs, data, IP data, health reports, radio test results
// (notifications.md, section 2). Of these, data and IP data can be had without acknowledgement.
const (
	wanted        smartmesh.Filter = 0xf6
	unackedWanted smartmesh.Filter = 0x30
)

// mesh is one manager with its motes, through as many sessions as it takes.
type mesh struct {
	cfg   config.Manager
	g     *Gateway
	log   *slog.Logger
	motes *motes
	oap   *requester
	all   broadcast
	clock smartmesh.Clock
	stats smartmesh.Stats

	survey  *survey
	failing map[string]int // checks that fail, for how many minutes; of the minute alone

	serial, session, link *link
	mark                  *mark
	live                  atomic.Pointer[smartmesh.Session]
	mu                    sync.Mutex
	info                  meshInfo
	relist                chan struct{} // holds one: the list of motes is to be read again
	reclock               chan struct{} // holds one: and so is the clock
	resubscribe           chan struct{} // holds one: the disk takes data again
	latest                time.Time     // newest packet by the manager\'s clock, in its run latestRun; of notified alone
	latestRun             uint16
	rates                 *rates                 // motes whose report rate is to be seen to
	leds                  map[smartmesh.MAC]bool // as the motes have confirmed
	holds                 map[smartmesh.MAC]*time.Timer
	ended                 bool
	resumed               bool            // of the goroutine that holds the session: it was taken up, with its subscription
	greeted               time.Time       // of the goroutine that holds the session: when the last hello was answered, or given up
	subscribed            atomic.Bool     // what terms say is in force
	missing               map[string]bool // of the goroutine that ages the motes: those that are lost, and whether the log says so
	refused               bool            // the disk has not taken the data that came last; of the session's goroutine
	mute                  bool            // of the goroutine that holds the session: getNetworkConfig is not answered
	share                 *share          // nil: the port is not shared
	recording             *recording      // nil: it is not recorded
}

// meshInfo is what manager/NAME/status tells.
type meshInfo struct {
	mac, version string
	networkID    *uint16
}

func newMesh(cfg config.Manager, g *Gateway) *mesh {
	m := &mesh{cfg: cfg, g: g, log: g.log.With("manager", cfg.Name),
		oap: newRequester(), relist: make(chan struct{}, 1), reclock: make(chan struct{}, 1), resubscribe: make(chan struct{}, 1), rates: newRates(),
		leds: map[smartmesh.MAC]bool{}, missing: map[string]bool{}, holds: map[smartmesh.MAC]*time.Timer{},
		serial: g.links.add("serial", cfg.Name, cfg.Port), session: g.links.add("session", cfg.Name, ""),
		link: g.links.add("mesh", cfg.Name, ""), survey: newSurvey()}
	m.mark = g.progress.add("manager "+cfg.Name, nil)
	m.motes = newMotes(m.publishMote)
	m.share, m.recording = newShare(cfg.Share, m), newRecording(cfg.Record, m)
	return m
}

// run keeps a session with the manager until ctx ends.
func (m *mesh) run(ctx context.Context) {
	m.publishStatus("disconnected", nil)
	var wg sync.WaitGroup
	wg.Go(func() {
		every(ctx, time.Second, func() { m.motes.age(time.Now()); m.showMesh() })
	})
	wg.Go(func() { m.setRates(ctx) })
	supervise(ctx, m.log, m.mark, m.lost, m.once)
	wg.Wait()
	m.dropHolds()
	close(m.oap.over)
	m.publishStatus("disconnected", nil)
}

func (m *mesh) lost(err error) {
	m.session.down(err)
	m.publishStatus("disconnected", err)
}

// whole runs the manager and what hangs on it: the door of its shared port, the recording.
func (m *mesh) whole(ctx context.Context) {
	var wg sync.WaitGroup
	if m.share != nil {
		wg.Go(func() { m.share.run(ctx) })
	}
	if m.recording != nil {
		wg.Go(func() { m.recording.run(ctx) })
	}
	m.run(ctx)
	wg.Wait()
}

// once opens the port, holds one session and returns what ended it.
func (m *mesh) once(ctx context.Context, up func(...any)) (err error) {
	defer func() {
		if errors.Is(err, smartmesh.ErrRead) { // the port has gone, and not only the session
			m.serial.down(err)
		}
	}()
	port, s, err := m.open(ctx)
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	work, stop := context.WithCancelCause(ctx)
	defer m.share.end()
	defer wg.Wait()
	defer m.letGo(s, port)
	defer stop(nil)
	wg.Go(func() { stop(m.hold(work, s, up)) })
	wg.Go(func() { stop(s.Wait()) })
	<-work.Done()
	m.live.Store(nil)
	return context.Cause(work)
}

// hold asks the new session what it needs to know, and then keeps clock and list true.
func (m *mesh) hold(ctx context.Context, s *smartmesh.Session, up func(...any)) error {
	if err := patiently(ctx, func() error { m.mark.beat(); return m.start(ctx, s) }); err != nil {
		return err
	}
	m.live.Store(s)
	m.share.begin(s)
	m.checkRates()
	ctx, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	wg.Go(func() { m.surveyMesh(ctx, s) })
	up("mac", m.info.mac, "version", m.info.version, "motes", len(m.motes.list("")))
	clock, list := time.NewTicker(clockPeriod), time.NewTicker(listPeriod)
	defer clock.Stop()
	defer list.Stop()
	told := "" // the refusal that was logged last
	for {
		m.mark.rest(clockPeriod)
		var err error
		select {
		case <-clock.C:
			err = m.readClock(ctx, s)
		case <-m.reclock:
			err = m.readClock(ctx, s)
		case <-m.resubscribe:
			err = m.subscribeAll(ctx, s)
		case <-list.C:
			err = m.relistMotes(ctx, s)
		case <-m.relist:
			err = m.relistMotes(ctx, s)
		case <-ctx.Done():
			return ctx.Err()
		}
		switch {
		case isRC(err) || errors.Is(err, smartmesh.ErrBadResponse): // no reason to end a session in which it answers
			if why := err.Error(); why != told {
				told = why
				m.log.Warn("the manager does not tell what it is asked for; asking again later", "error", err)
			}
		case err != nil:
			return err
		}
	}
}

// start is the order of serial.md, section 9: who is it, subscribe, clock, motes. It subscribes
// before it lists, so that no event falls between.
func (m *mesh) start(ctx context.Context, s *smartmesh.Session) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	sys, err := s.GetSystemInfo(ctx)
	if err != nil {
		return err
	}
	info := meshInfo{mac: sys.MAC.String(), version: fmt.Sprintf("%d.%d.%d.%d", sys.SWMajor, sys.SWMinor, sys.SWPatch, sys.SWBuild)}
	if _, err := s.GetNetworkInfo(ctx); isBusy(err) || err != nil && !isRC(err) {
		return err
	}
	m.mu.Lock()
	m.info = info
	m.mu.Unlock()
	if err := m.readClock(ctx, s); isBusy(err) || err != nil && !isRC(err) { // before the first packet needs it
		return err
	}
	if !m.resumed {
		if err := m.subscribeAll(ctx, s); err != nil {
			return err
		}
	}
	if err := m.readMotes(ctx, s); err != nil {
		return err
	}
	if err := m.readNetworkID(ctx, s); err != nil {
		return err
	}
	m.session.up(info.mac + ", version " + info.version)
	m.publishStatus("connected", nil)
	return nil
}

func isRC(err error) bool {
	var rc *smartmesh.RCError
	return errors.As(err, &rc)
}

// readNetworkID asks for the one thing that is only nice to know. A manager that does not even
// answer costs the session; it is not asked again.
func (m *mesh) readNetworkID(ctx context.Context, s *smartmesh.Session) error {
	if m.mute {
		return nil
	}
	m.mute = true
	net, err := s.GetNetworkConfig(ctx)
	if err != nil && !isRC(err) {
		return err
	}
	m.mute = false
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.info.networkID = nil; err == nil {
		m.info.networkID = &net.NetworkID
	}
	return nil
}

// readClock takes a sample of the manager's clock; it doubles as the sign that the manager lives.
// A request that had to be repeated says nothing about when it was answered.
func (m *mesh) readClock(ctx context.Context, s *smartmesh.Session) error {
	t, err := s.GetTime(ctx)
	if err == nil && !t.Repeated {
		m.clock.Observe(t.Sent, t.Received, t)
	}
	return err
}

func (m *mesh) readMotes(ctx context.Context, s *smartmesh.Session) error {
	began := time.Now()
	var list []smartmesh.MoteConfig
	for c, err := range s.Motes(ctx) {
		if err != nil {
			return err
		}
		list = append(list, c)
	}
	m.motes.listed(began, list)
	return nil
}

// relistMotes reads the list again in a session that goes on.
func (m *mesh) relistMotes(ctx context.Context, s *smartmesh.Session) error {
	return patiently(ctx, func() error { return m.readMotes(ctx, s) })
}

// relistSoon has the list of motes read again: the manager or the network started over.
func (m *mesh) relistSoon() {
	select {
	case m.relist <- struct{}{}:
	default: // already asked for
	}
}

func (m *mesh) publishStatus(state string, cause error) {
	m.mu.Lock()
	info := m.info
	m.mu.Unlock()
	f := map[string]any{"state": state, "mac": info.mac, "version": info.version, "network_id": info.networkID,
		"since": stamp(time.Now()), "error": ""}
	if cause != nil {
		f["error"] = cause.Error()
	}
	m.g.hub.publish(message{topic: "manager/" + m.cfg.Name + "/status", payload: jsonObject(f), retain: true})
}

func (m *mesh) publishMote(mo *mote) {
	m.g.hub.publish(message{topic: "mote/" + mo.mac.String() + "/status", payload: jsonObject(mo.status()), retain: true})
}

// current gives the session there is now.
func (m *mesh) current() (*smartmesh.Session, error) {
	if s := m.live.Load(); s != nil {
		return s, nil
	}
	return nil, fmt.Errorf("manager %s is not connected", m.cfg.Name)
}

// call is a command of the manager's API by name.
func (m *mesh) call(ctx context.Context, r control.CallRequest) (json.RawMessage, error) {
	s, err := m.current()
	if err != nil {
		return nil, err
	}
	if r.Command == "subscribe" {
		return m.subscribe(ctx, s, r.Fields)
	}
	return s.Call(ctx, r.Command, r.Fields)
}

// ask sends an OAP request to a mote and waits for its answer.
func (m *mesh) ask(ctx context.Context, mac smartmesh.MAC, req oap.Request) (oap.Response, error) {
	return m.askFor(ctx, mac, req, false)
}

func (m *mesh) askFor(ctx context.Context, mac smartmesh.MAC, req oap.Request, patient bool) (oap.Response, error) {
	s, err := m.current()
	if err != nil {
		return oap.Response{}, err
	}
	r, err := m.oap.do(ctx, s, mac, req, patient)
	if err == nil && req.Command == oap.Put {
		m.confirmed(mac, req)
	}
	return r, err
}

// confirmed is for a setting that a mote has confirmed, whoever asked for it.
func (m *mesh) confirmed(mac smartmesh.MAC, req oap.Request) {
	m.motes.update(mac, func(mo *mote) { mo.pace.set(req, time.Now()) })
	if bytes.Equal(req.Address, oap.LED) && len(req.Tags) == 1 {
		m.setLED(mac, number(req.Tags[0].Value) != 0)
	}
}
