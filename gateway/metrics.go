package gateway

import (
	"maps"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/meshgate/meshgate/gateway/local"
)

// serveMetrics is GET /metrics.
func (g *Gateway) serveMetrics(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	_ = g.metrics().write(w) // who asked has gone if this fails
}

func (g *Gateway) metrics() *exposition {
	e := new(exposition)
	e.gauge("meshgate_build_info", "The version that runs; the value is always 1.", 1, "version", g.hw.Version)
	e.gauge("process_start_time_seconds", "When the process started.", seconds(g.since))
	e.gauge("go_goroutines", "Goroutines that exist.", float64(runtime.NumGoroutine()))
	e.gauge("meshgate_alive", "Whether every part makes progress.", truth(g.alive() == nil))
	links, _ := g.links.list()
	for _, l := range links {
		e.gauge("meshgate_link_up", "Whether a link of the chain works.", truth(l.Up), "kind", l.Kind, "name", l.Name)
	}
	g.spoolMetrics(e)
	for _, f := range g.bridges() {
		e.counter("meshgate_bridge_sent_total", "Records that the broker has acknowledged.", float64(f.sent.Load()), "bridge", f.cfg.Name)
		e.counter("meshgate_bridge_failures_total", "Sessions with the broker that failed or could not be made.", float64(f.failures.Load()), "bridge", f.cfg.Name)
		e.gauge("meshgate_bridge_waiting_records", "Records that wait for the broker.", float64(f.reader.Waiting()), "bridge", f.cfg.Name)
	}
	for _, m := range g.meshes() {
		g.meshMetrics(e, m)
	}
	if l := g.side(); l != nil {
		if st := l.figures.Load(); st != nil {
			localMetrics(e, st)
		}
	}
	for _, r := range g.outs().All() {
		if r.Known {
			e.gauge("meshgate_output_on", "What an output's pin reads.", truth(r.On), "output", r.Name)
		}
	}
	return e
}

func (g *Gateway) spoolMetrics(e *exposition) {
	st := g.spool.Stats()
	e.gauge("meshgate_spool_records", "Records on the disk that some bridge has not delivered.", float64(st.Records))
	e.gauge("meshgate_spool_bytes", "Bytes of those records.", float64(st.Bytes))
	e.gauge("meshgate_spool_size_bytes", "Bytes that the buffer takes on the disk.", float64(st.Size))
	if !st.OldestTime.IsZero() {
		e.gauge("meshgate_spool_oldest_timestamp_seconds", "Time of the oldest of those records.", seconds(st.OldestTime))
	}
	e.counter("meshgate_spool_appended_total", "Records taken in.", float64(st.Appended))
	const help = "Records that no bridge will deliver."
	d := st.Dropped
	for _, r := range []struct {
		reason string
		n      uint64
	}{{"size", d.Size}, {"age", d.Age}, {"disk_full", d.Space}, {"damaged", st.Damaged}, {"refused", g.intake.lost.Load()}} {
		e.counter("meshgate_spool_dropped_total", help, float64(r.n), "reason", r.reason)
	}
	e.counter("meshgate_spool_late_syncs_total", "Appends that were acknowledged before the disk had answered.", float64(st.LateSyncs))
	e.counter("meshgate_spool_syncs_total", "Flushes that the disk was asked for.", float64(st.Syncs))
	e.counter("meshgate_spool_failures_total", "Writes and flushes that the disk has failed.", float64(st.Failures))
	const written = "Bytes written to the disk, by what they were written for."
	e.counter("meshgate_spool_written_bytes_total", written, float64(st.Written.Records), "what", "records")
	e.counter("meshgate_spool_written_bytes_total", written, float64(st.Written.Headers), "what", "headers")
	e.counter("meshgate_spool_written_bytes_total", written, float64(st.Written.Fill), "what", "fill")
	e.counter("meshgate_spool_written_bytes_total", written, float64(st.Written.Cursors), "what", "cursors")
}

func (g *Gateway) meshMetrics(e *exposition, m *mesh) {
	serial, session := m.counters()
	for _, name := range slices.Sorted(maps.Keys(serial)) {
		e.counter("meshgate_serial_"+name+"_total", "On the serial line: "+spaced(name)+".", float64(serial[name]), "manager", m.cfg.Name)
	}
	for _, name := range slices.Sorted(maps.Keys(session)) {
		e.counter("meshgate_session_"+name+"_total", "In sessions with the manager: "+spaced(name)+".", float64(session[name]), "manager", m.cfg.Name)
	}
	motes := m.motes.list(m.cfg.Name)
	states := map[string]int{"operational": 0, "negotiating": 0, "lost": 0, "never": 0}
	for _, mo := range motes {
		states[mo.State]++
	}
	for _, state := range slices.Sorted(maps.Keys(states)) {
		e.gauge("meshgate_motes", "Motes by their state.", float64(states[state]), "manager", m.cfg.Name, "state", state)
	}
	for _, mo := range motes {
		labels := []string{"manager", m.cfg.Name, "mac", mo.MAC}
		if mo.LastSeen != nil {
			e.gauge("meshgate_mote_last_seen_timestamp_seconds", "When a mote's last packet came.", seconds(*mo.LastSeen), labels...)
			e.gauge("meshgate_mote_fresh", "Whether a mote's readings come at their usual pace.", truth(mo.Fresh == "fresh"), labels...)
		}
		if mo.Celsius != nil {
			e.gauge("meshgate_mote_temperature_celsius", "A mote's last temperature.", *mo.Celsius, labels...)
		}
		if mo.Battery != nil {
			e.gauge("meshgate_mote_battery_volts", "A mote's supply.", float64(*mo.Battery)/1000, labels...)
		}
	}
}

func localMetrics(e *exposition, st *local.Stats) {
	e.gauge("meshgate_local_clients", "Clients that are connected to the local broker.", float64(st.Clients))
	e.gauge("meshgate_local_sessions", "Its sessions, those of persistent clients that are away included.", float64(st.Sessions))
	e.gauge("meshgate_local_subscriptions", "Its subscriptions.", float64(st.Subscriptions))
	e.gauge("meshgate_local_retained_topics", "Topics of which it retains a message.", float64(st.Retained))
	e.gauge("meshgate_local_retained_bytes", "Bytes of those messages.", float64(st.RetainedBytes))
	e.counter("meshgate_local_received_total", "Messages of local clients.", float64(st.Received))
	e.counter("meshgate_local_sent_total", "Messages to local clients.", float64(st.Sent))
	e.counter("meshgate_local_not_stored_total", "Messages of local clients that a bridge was to carry and the disk did not take.", float64(st.NotStored))
	e.counter("meshgate_local_not_retained_total", "Messages beyond the bounds of what is retained.", float64(st.NotRetained))
	e.counter("meshgate_local_slow_total", "Messages left out for clients that do not keep up.", float64(st.Slow))
	e.counter("meshgate_local_published_total", "Messages of the gateway to the local broker.", float64(st.Published))
	e.counter("meshgate_local_dropped_total", "Messages of the gateway that were not published there.", float64(st.Dropped))
	e.counter("meshgate_local_refused_total", "Connections, subscriptions and messages refused.", float64(st.Refused))
	e.counter("meshgate_local_reconnects_total", "Connections to local.broker after the first.", float64(st.Reconnects))
}

func spaced(name string) string { return strings.ReplaceAll(name, "_", " ") }

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
