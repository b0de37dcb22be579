package gateway

import (
	"bytes"
	"encoding/hex"
	"errors"
	"maps"
	"strconv"
	"time"

	"github.com/meshgate/meshgate/bridge/spool"
	"github.com/meshgate/meshgate/smartmesh"
	"github.com/meshgate/meshgate/smartmesh/health"
	"github.com/meshgate/meshgate/smartmesh/oap"
)

// notified turns a notification into records and keeps them. It runs on the session's goroutine;
// when it returns, the manager gets its acknowledgement, but not for data that the disk has refused:
// they are handed to the live listeners all the same, counted by intake, and sent again. What the
// manager does not want acknowledged does not wait for the disk: the event behind it must not be late.
func (m *mesh) notified(n smartmesh.Notification) {
	now := time.Now()
	var recs []spool.Record
	switch b := n.Body.(type) {
	case *smartmesh.DataNotification:
		recs = m.data(b, now)
	case *smartmesh.IPData:
		m.motes.packet(b.MAC, now)
		m.motes.update(b.MAC, func(mo *mote) { mo.pace.heard("ip", now) })
		recs = []spool.Record{m.dated(b.UTC, now, spool.Record{Kind: kindData, Topic: "mote/" + b.MAC.String() + "/data/ip", Payload: b.Data})}
	case *smartmesh.HealthReport:
		recs = m.report(b, now)
	default:
		recs = m.event(n, now)
	}
	if !n.Reliable {
		for _, r := range recs {
			r.Payload = bytes.Clone(r.Payload) // it may be in the session's buffer, which is used again
			m.g.tray.put(r)
		}
		return
	}
	err := m.g.intake.keep(recs...)
	switch n.Body.(type) {
	case *smartmesh.DataNotification, *smartmesh.IPData:
		m.refused = err != nil && !errors.Is(err, spool.ErrTooLarge)
	}
}

// data is a packet that a mote sent: samples one by one, an awaited OAP answer to who asked, and
// anything else as it came.
func (m *mesh) data(d *smartmesh.DataNotification, now time.Time) []spool.Record {
	m.motes.packet(d.MAC, now)
	if d.DstPort == oap.Port {
		if recs, ok := m.oapPacket(d, now); ok {
			return recs
		}
	}
	topic := "mote/" + d.MAC.String() + "/data/" + strconv.Itoa(int(d.DstPort))
	m.motes.update(d.MAC, func(mo *mote) { mo.pace.heard(topic, now) })
	return []spool.Record{m.dated(d.UTC, now, spool.Record{Kind: kindData, Topic: topic, Payload: d.Data})}
}

// oapPacket reads what was sent to the port of OAP; not ok when it is to be passed on as it came.
func (m *mesh) oapPacket(d *smartmesh.DataNotification, now time.Time) ([]spool.Record, bool) {
	msg, err := oap.Parse(d.Data)
	if err != nil {
		return nil, false
	}
	switch msg := msg.(type) {
	case oap.Sample:
		return m.samples(d, msg, now), true
	case oap.Digital:
		root, index, ok := oap.Channel(msg.Channel)
		if !ok {
			return nil, false
		}
		r := sampleRecord(channelTopic(d.MAC, root, index), int(msg.Value), m.cfg.Name)
		return []spool.Record{m.dated(msg.UTC, now, r)}, true
	case oap.Response:
		return nil, m.heardBroadcast(d.MAC, msg) || m.oap.answered(d.MAC, msg)
	}
	return nil, false
}

func (m *mesh) samples(d *smartmesh.DataNotification, s oap.Sample, now time.Time) []spool.Record {
	root, index, _ := oap.Channel(s.Channel) // oap.Parse gives samples of known channels only
	topic := channelTopic(d.MAC, root, index)
	m.motes.sampled(d.MAC, s, now)
	m.rateSeen(d.MAC, s, now)
	at := s.Start(d.UTC)
	recs := make([]spool.Record, len(s.Values))
	for i, v := range s.Values {
		recs[i] = m.dated(at.Add(time.Duration(i)*s.Rate), now, sampleRecord(topic, v, m.cfg.Name))
	}
	if n := len(s.Values); n > 0 && root == oap.AddrTemperature {
		m.motes.update(d.MAC, func(mo *mote) { mo.measured, mo.celsius = true, float64(s.Values[n-1])/100 })
	}
	return recs
}

// channelTopic names an input of a mote.
func channelTopic(mac smartmesh.MAC, root byte, index int) string {
	switch root {
	case oap.AddrTemperature:
		return "mote/" + mac.String() + "/temperature"
	case oap.AddrAnalog:
		return "mote/" + mac.String() + "/analog/" + strconv.Itoa(index)
	}
	return "mote/" + mac.String() + "/digital/" + strconv.Itoa(index)
}

// dated gives a record the time at which the mote made it. Before the manager's clock is known it
// is the time of arrival, and stays so; so it is when the time would be in the future.
func (m *mesh) dated(utc, arrived time.Time, r spool.Record) spool.Record {
	wall, ok := m.clock.Wall(utc)
	ago := time.Now().Round(0).Sub(wall)
	if !ok || ago < -jumped {
		r = m.arrived(arrived, r)
	} else {
		m.g.dates.put(&r, ago)
	}
	if m.doubts(utc, ok, ago) {
		r.Synced, r.Anchor = false, spool.Anchor{}
	}
	return r
}

// report splits a health report into its kinds. What cannot be read of it is passed on as it came.
func (m *mesh) report(h *smartmesh.HealthReport, now time.Time) []spool.Record {
	m.motes.packet(h.MAC, now)
	base := "mote/" + h.MAC.String() + "/"
	rep, err := health.Parse(h.Payload)
	m.motes.report(h.MAC, rep, now)
	var recs []spool.Record
	add := func(topic string, fields map[string]any) {
		if r, err := objectRecord(base+topic, fields); err == nil {
			recs = append(recs, m.arrived(now, r))
		}
	}
	for _, d := range rep.Devices {
		f := d.Fields()
		if figures := d.Derived(); len(figures) > 0 {
			f["derived"] = figures
		}
		add("health", f)
	}
	for _, n := range rep.Neighbors {
		add("neighbors", n.Fields())
	}
	for _, d := range rep.Discovered {
		add("discovered", d.Fields())
	}
	for _, r := range rep.RSSI {
		add("health", r.Fields())
	}
	for _, s := range rep.Skipped {
		add("health", map[string]any{"id": s.ID, "data": hex.EncodeToString(s.Data)})
	}
	if err != nil {
		m.log.Debug("health report is damaged", "mac", h.MAC, "error", err)
		recs = append(recs, m.arrived(now, spool.Record{Kind: kindData, Topic: base + "data/health", Payload: h.Payload}))
	}
	return recs
}

// hasVoltage is how many fields a device report has at least when its battery's is among them.
const hasVoltage = 4

// event is everything that is not a mote's packet: it changes what is known of the mesh, and is
// kept with all its fields. Types nobody knows are kept as bytes.
func (m *mesh) event(n smartmesh.Notification, now time.Time) []spool.Record {
	m.learn(n.Body)
	fields := maps.Clone(n.Fields())
	if fields == nil {
		fields = map[string]any{}
	}
	fields["event"] = n.EventName()
	if mac, ok := fields["macAddress"]; ok {
		delete(fields, "macAddress")
		fields["mac"] = mac
	}
	if n.Body == nil {
		fields["type"], fields["data"] = n.Type, hex.EncodeToString(n.Raw)
		m.log.Debug("a notification that cannot be read is passed on as it came", "type", n.Type, "error", n.Err)
	}
	if n.Type == smartmesh.NotifEvent {
		fields["eventId"] = n.EventID
	}
	r, err := objectRecord("manager/"+m.cfg.Name+"/event", fields)
	if err != nil {
		m.log.Error("an event cannot be kept", "event", n.EventName(), "error", err)
		return nil
	}
	return []spool.Record{m.arrived(now, r)}
}

// arrived dates a record that carries no time of its own.
func (m *mesh) arrived(now time.Time, r spool.Record) spool.Record {
	m.g.dates.put(&r, time.Since(now))
	return r
}

// learn applies an event to what is known of the motes.
func (m *mesh) learn(body any) {
	switch e := body.(type) {
	case *smartmesh.MoteCreate:
		m.motes.created(e.MAC, e.MoteID)
	case *smartmesh.MoteDelete:
		m.motes.deleted(e.MAC)
	case *smartmesh.MoteJoin:
		m.motes.event(e.MAC, "negotiating")
	case *smartmesh.MoteOperational:
		m.motes.event(e.MAC, "operational")
		m.rejoined(e.MAC)
	case *smartmesh.MoteLost:
		m.motes.event(e.MAC, "lost")
	case *smartmesh.PathCreate:
		m.survey.pathChanged(e.Source, e.Dest)
	case *smartmesh.PathDelete:
		m.survey.pathChanged(e.Source, e.Dest)
	case *smartmesh.PacketSent:
		m.oap.departures.left(e.CallbackID, byte(e.RC))
	case *smartmesh.NetworkReset:
		m.relistSoon()
	}
}
