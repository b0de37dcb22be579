package gateway

import (
	"fmt"
	"maps"
	"time"

	"github.com/meshgate/meshgate/smartmesh"
	"github.com/meshgate/meshgate/smartmesh/health"
)

// keepReport is how long what a mote has reported of its neighbours counts: it reports each kind
// every 15 minutes, and a report may be lost.
const keepReport = 40 * time.Minute

// firstChannel is the IEEE 802.15.4 number of the first radio channel.
const firstChannel = 11

// vitals is what a mote has last said of itself in its health reports. Neighbours are kept by MAC:
// the ids in the reports hold only until the manager starts over.
type vitals struct {
	device   *health.Device
	links    map[smartmesh.MAC]neighbor
	heard    map[smartmesh.MAC]heardOnly
	channels *health.RSSI
}

// neighbor is a neighbour that a mote exchanges packets with.
type neighbor struct {
	health.Neighbor
	at time.Time
}

// heardOnly is one that it only hears.
type heardOnly struct {
	health.Discovery
	at time.Time
}

// keep takes over a report. Names gives the motes by their ids; who is not known is left out.
func (v *vitals) keep(r health.Report, names map[uint16]smartmesh.MAC, now time.Time) {
	for _, d := range r.Devices {
		v.device = &d
	}
	for _, c := range r.RSSI {
		v.channels = &c
	}
	if v.links == nil {
		v.links, v.heard = map[smartmesh.MAC]neighbor{}, map[smartmesh.MAC]heardOnly{}
	}
	for _, n := range r.Neighbors {
		for _, nb := range n.Neighbors {
			if mac, ok := names[nb.NeighborID]; ok {
				v.links[mac] = neighbor{nb, now}
			}
		}
	}
	for _, d := range r.Discovered {
		for _, nb := range d.DiscoveredNeighbors {
			if mac, ok := names[nb.NeighborID]; ok {
				v.heard[mac] = heardOnly{nb, now}
			}
		}
	}
	maps.DeleteFunc(v.links, func(_ smartmesh.MAC, l neighbor) bool { return now.Sub(l.at) > keepReport })
	maps.DeleteFunc(v.heard, func(_ smartmesh.MAC, h heardOnly) bool { return now.Sub(h.at) > keepReport })
}

// battery is in millivolts; nil where no report had it.
func (v *vitals) battery() *int {
	if v.device == nil || v.device.Present < hasVoltage {
		return nil
	}
	mv := int(v.device.BatteryVoltage)
	return &mv
}

// availability is the share of packets that the mote could take for sending.
func (v *vitals) availability() *float64 {
	if v.device != nil {
		if a, ok := v.device.Availability(); ok {
			return &a
		}
	}
	return nil
}

// stability is that of all paths of the mote together, by its own count.
func (v *vitals) stability() *float64 {
	var sent, failed uint64
	for _, l := range v.links {
		sent, failed = sent+uint64(l.NumTxPackets), failed+uint64(l.NumTxFailures)
	}
	if sent < health.MinPackets {
		return nil
	}
	s := 1 - float64(min(failed, sent))/float64(sent)
	return &s
}

// rssi is that of the neighbour heard best, in dBm.
func (v *vitals) rssi() *int {
	var best *int
	for _, l := range v.links {
		if r := int(l.RSSI); best == nil || r > *best {
			best = &r
		}
	}
	return best
}

// neighbors counts those the mote exchanges packets with.
func (v *vitals) neighbors() *int {
	if v.links == nil {
		return nil
	}
	n := len(v.links)
	return &n
}

// copy gives vitals that do not change any more.
func (v *vitals) copy() vitals {
	c := *v
	c.links, c.heard = maps.Clone(v.links), maps.Clone(v.heard)
	return c
}

// worstChannel names the radio channel on which most packets fail, where that stands out.
func (v *vitals) worstChannel() string {
	if v.channels == nil {
		return ""
	}
	worst, least := -1, strongStability
	for i, c := range v.channels {
		if s, ok := c.Stability(); ok && c.TxUnicastAttempts >= health.MinPackets && s < least {
			worst, least = i, s
		}
	}
	if worst < 0 {
		return ""
	}
	return fmt.Sprintf("; most fail on channel %d, where the noise is %d dBm", firstChannel+worst, v.channels[worst].IdleRSSI)
}
