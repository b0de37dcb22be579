package health

import "encoding/hex"

// deviceNames are the documented names of the fields of a device report, in their order.
var deviceNames = [len(deviceEnds)]string{
	"charge", "queueOcc", "temperature", "batteryVoltage", "numTxOk", "numTxFail", "numRxOk", "numRxLost",
	"numMacDropped", "numTxBad", "badLinkFrameId", "badLinkSlot", "badLinkOffset",
	"numNetMicErr", "numMacMicErr", "numMacCrcErr",
}

// Fields gives the fields that the report had by their documented names, ready for JSON.
func (d Device) Fields() map[string]any {
	values := [len(deviceNames)]any{
		d.Charge, d.QueueOcc, d.Temperature, d.BatteryVoltage, d.NumTxOk, d.NumTxFail, d.NumRxOk, d.NumRxLost,
		d.NumMacDropped, d.NumTxBad, d.BadLinkFrameID, d.BadLinkSlot, d.BadLinkOffset,
		d.NumNetMicErr, d.NumMacMicErr, d.NumMacCrcErr,
	}
	m := make(map[string]any, d.Present)
	for i := range min(d.Present, len(values)) {
		m[deviceNames[i]] = values[i]
	}
	return m
}

// Derived gives the figures that follow from the fields: queueMax, queueMean, availability, each where there is one.
func (d Device) Derived() map[string]any {
	m := make(map[string]any, 3)
	if d.Present >= 2 {
		m["queueMax"], m["queueMean"] = d.QueueMax(), d.QueueMean()
	}
	if a, ok := d.Availability(); ok {
		m["availability"] = a
	}
	return m
}

// Fields gives the report by documented names, ready for JSON. Each neighbour with enough packets has its stability too.
func (n Neighbors) Fields() map[string]any {
	list := make([]map[string]any, len(n.Neighbors))
	for i, nb := range n.Neighbors {
		list[i] = nb.Fields()
	}
	return map[string]any{"numItems": n.NumItems, "neighbors": list}
}

// Fields gives the link by documented names, ready for JSON, with its stability if it has one.
func (n Neighbor) Fields() map[string]any {
	m := map[string]any{
		"neighborId": n.NeighborID, "neighborFlag": n.NeighborFlag, "rssi": n.RSSI,
		"numTxPackets": n.NumTxPackets, "numTxFailures": n.NumTxFailures, "numRxPackets": n.NumRxPackets,
	}
	if s, ok := n.Stability(); ok {
		m["stability"] = s
	}
	return m
}

// Fields gives the report by documented names, ready for JSON.
func (d Discovered) Fields() map[string]any {
	return map[string]any{
		"numJoinParents": d.NumJoinParents, "numItems": d.NumItems, "discoveredNeighbors": d.DiscoveredNeighbors,
	}
}

// Fields gives the mote heard by documented names, ready for JSON.
func (d Discovery) Fields() map[string]any {
	return map[string]any{"neighborId": d.NeighborID, "rssi": d.RSSI, "numRx": d.NumRx}
}

// Fields gives the report by documented names, ready for JSON.
func (r RSSI) Fields() map[string]any { return map[string]any{"RSSI": r[:]} }

// Describe gives the documented JSON form of a payload, for people: Device, Neighbors, Discovered, Extended, derived and
// skipped, each if there is one, and error, a word, beside what was read before it. Of several reports of a kind the last
// has the name, and all are in a list "all", in the order of their kinds.
func Describe(payload []byte) map[string]any {
	r, err := Parse(payload)
	m := map[string]any{"kind": "health_report"}
	if e, ok := err.(Error); ok {
		m["error"] = e.Word()
	}
	var all []map[string]any
	add := func(name string, form any) {
		m[name] = form
		all = append(all, map[string]any{name: form})
	}
	for _, d := range r.Devices {
		add("Device", d.Fields())
		if d.Present >= 2 {
			m["derived"] = map[string]any{"queueMax": d.QueueMax(), "queueMean": d.QueueMean()}
		}
	}
	for _, n := range r.Neighbors {
		add("Neighbors", n)
	}
	for _, d := range r.Discovered {
		add("Discovered", d)
	}
	for _, x := range r.RSSI {
		add("Extended", x.Fields())
	}
	if len(r.Devices) > 1 || len(r.Neighbors) > 1 || len(r.Discovered) > 1 || len(r.RSSI) > 1 {
		m["all"] = all
	}
	if skipped := describeSkipped(r.Skipped); skipped != nil {
		m["skipped"] = skipped
	}
	return m
}

func describeSkipped(skipped []Skipped) []map[string]any {
	var list []map[string]any
	for _, s := range skipped {
		list = append(list, map[string]any{"id": s.ID, "data": hex.EncodeToString(s.Data)})
	}
	return list
}
