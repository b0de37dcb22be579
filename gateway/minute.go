package gateway

import (
	"os"
	"time"
)

// minute publishes gateway/health and gateway/audit, and reads the outputs again, so that a pin
// that has vanished while it was idle is noticed.
func (g *Gateway) minute() {
	g.outs().Refresh()
	g.dates.look()
	g.clock.tick()
	g.wear.note(time.Now(), g.spool.Stats().Written)
	g.publishHealth()
	g.publishAudit()
}

// dropped counts the records that were lost, by reason, since the start.
func (g *Gateway) dropped() map[string]uint64 {
	out := map[string]uint64{}
	d := g.spool.Stats().Dropped
	for reason, n := range map[string]uint64{"size": d.Size, "age": d.Age, "disk_full": d.Space,
		"damaged": g.spool.Stats().Damaged, "refused": g.intake.lost.Load()} {
		if n > 0 {
			out[reason] = n
		}
	}
	return out
}

func (g *Gateway) publishHealth() {
	st := g.spool.Stats()
	sp := map[string]any{"records": st.Records, "bytes": st.Bytes, "oldest": nil, "dropped": g.dropped(),
		"damaged": st.Damaged, "late_sync": st.LateSyncs, "syncs": st.Syncs,
		"written": map[string]int64{"records": st.Written.Records, "headers": st.Written.Headers, "fill": st.Written.Fill, "cursors": st.Written.Cursors}}
	if st.Err != nil {
		sp["error"] = st.Err.Error()
	}
	if day := g.writtenDay(st); day != nil {
		sp["written_day"] = day
	}
	if !st.OldestTime.IsZero() {
		sp["oldest"] = stamp(st.OldestTime)
	}
	bridges, serial, session := map[string]any{}, map[string]any{}, map[string]any{}
	for _, f := range g.bridges() {
		bridges[f.cfg.Name] = f.health()
	}
	for _, m := range g.meshes() {
		serial[m.cfg.Name], session[m.cfg.Name] = m.counters()
	}
	health := map[string]any{"time": stamp(time.Now()), "spool": sp, "bridge": bridges, "serial": serial, "session": session, "mesh": g.meshHealth()}
	if l := g.side(); l != nil {
		health["local"] = l.figures.Load()
	}
	g.hub.publish(message{topic: "gateway/health", retain: true, payload: jsonObject(health)})
}

// counters splits what was counted on a port into the line's and the session's.
func (m *mesh) counters() (serial, session map[string]int64) {
	serial, session = map[string]int64{}, map[string]int64{}
	m.stats.Each(func(name string, n int64) {
		switch name {
		case "frames", "bad_fcs", "too_short", "aborted", "too_long", "header_too_short", "length_mismatch":
			serial[name] = n
		default:
			session[name] = n
		}
	})
	return serial, session
}

// publishInfo says what this gateway is.
func (g *Gateway) publishInfo() {
	host, err := os.Hostname()
	if err != nil {
		host = ""
	}
	managers, actuators, inputs := []string{}, []string{}, []string{}
	for _, m := range g.conf().Managers {
		managers = append(managers, m.Name)
	}
	for _, o := range g.conf().Outputs {
		actuators = append(actuators, o.Name)
	}
	for _, i := range g.conf().Inputs {
		inputs = append(inputs, i.Name)
	}
	g.hub.publish(message{topic: "gateway/info", retain: true, payload: jsonObject(map[string]any{"id": g.conf().ID,
		"version": g.hw.Version, "host": host, "managers": managers, "actuators": actuators, "inputs": inputs})})
}
