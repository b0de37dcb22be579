package gateway

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/meshgate/meshgate/smartmesh"
)

// helloPause is the least between two hellos, so that a manager that gives up each session at once is not driven round.
const helloPause = time.Second

// Left is a session that goes from a process of the daemon to the next one, without the manager noticing.
type Left struct {
	Manager string
	Terms   string // the port as configured and what is subscribed to: on other terms it is of no use
	Port    io.ReadWriteCloser
	Ahead   time.Duration // of the host's clock before the manager's; 0: not known
	State   smartmesh.State
}

// terms are what a session has to be opened anew for when they change.
func (m *mesh) terms() string {
	return fmt.Sprintf("%s %x %x", m.cfg.Port, uint32(wanted), uint32(m.unacked()))
}

// open gives a session on the port: the one that the process before has left, or a new one.
func (m *mesh) open(ctx context.Context) (io.ReadWriteCloser, *smartmesh.Session, error) {
	m.resumed = false
	m.subscribed.Store(false)
	if m.g.hw.Left != nil {
		if l, ok := m.g.hw.Left(m.cfg.Name, m.terms()); ok {
			m.log.Info("the session of the process before is taken up")
			m.resumed = true
			m.subscribed.Store(true)
			if l.Ahead != 0 {
				now := time.Now()
				m.clock.Observe(now, now, smartmesh.TimeInfo{UTC: now.Add(-l.Ahead)})
			}
			m.serial.up(m.cfg.Port)
			return l.Port, smartmesh.Resume(m.recording.tap(l.Port), l.State, m.options()), nil
		}
	}
	if !sleep(ctx, time.Until(m.greeted.Add(helloPause))) {
		return nil, nil, context.Cause(ctx)
	}
	port, err := m.g.hw.OpenPort(ctx, m.cfg.Port)
	if err != nil {
		m.serial.down(err)
		return nil, nil, err
	}
	m.serial.up(m.cfg.Port)
	s, err := smartmesh.Connect(ctx, m.recording.tap(port), m.options())
	m.greeted = time.Now()
	return port, s, err
}

// letGo ends the session: for the next process to take up when the daemon ends, else for good.
func (m *mesh) letGo(s *smartmesh.Session, port io.ReadWriteCloser) {
	if m.g.hw.Leave == nil || m.g.parts.ctx.Err() == nil || !m.subscribed.Load() {
		s.Close()
		return
	}
	l := Left{Manager: m.cfg.Name, Terms: m.terms(), Port: port}
	epoch := time.Unix(0, 0)
	if wall, ok := m.clock.Wall(epoch); ok {
		l.Ahead = wall.Sub(epoch)
	}
	if m.g.hw.Leave(l, s.Detach) {
		m.log.Info("the session is left to the next process")
	}
	s.Close()
}
