package smartmesh

import "context"

// SendData is a UDP payload for a mote, or for all (Broadcast).
type SendData struct {
	MAC      MAC      `sm:"macAddress" doc:"EUI-64 of the mote; all 0xFF = broadcast"`
	Priority Priority `sm:"priority" doc:"queueing priority"`
	SrcPort  uint16   `sm:"srcPort" doc:"UDP source port"`
	DstPort  uint16   `sm:"dstPort" doc:"UDP destination port"`
	Options  uint8    `sm:"options,zero" doc:"reserved, send 0"`
	Data     []byte   `sm:"data,zero" doc:"payload, to the end of the packet"` // the manager refuses more than some 80 bytes
}

// SendIP is a ready-made 6LoWPAN packet for a mote.
type SendIP struct {
	MAC             MAC      `sm:"macAddress" doc:"EUI-64 of the mote (or manager)"`
	Priority        Priority `sm:"priority" doc:"queueing priority"`
	Options         uint8    `sm:"options,zero" doc:"reserved, send 0"`
	EncryptedOffset uint8    `sm:"encryptedOffset" doc:"offset of the part to encrypt; 0xFF = none"`
	Data            []byte   `sm:"data,zero" doc:"payload, to the end of the packet"`
}

type nextMote struct {
	MAC  MAC  `sm:"macAddress,zero" doc:"EUI-64; all zero with next=true starts the list"`
	Next bool `sm:"next" doc:"false: this mote; true: the mote after it"`
}

type moteID struct {
	MoteID uint16 `sm:"moteId" doc:"16-bit mote id"`
}

// MoteConfig is a mote's static record.
type MoteConfig struct {
	MAC       MAC       `sm:"macAddress" doc:"EUI-64 of the mote"`
	MoteID    uint16    `sm:"moteId" doc:"16-bit mote id"`
	IsAP      bool      `sm:"isAP" doc:"true for the access point inside the manager"`
	State     MoteState `sm:"state" doc:"mote state"`
	Reserved  uint8     `sm:"reserved" doc:"reserved (older firmware: mobility type)"`
	IsRouting bool      `sm:"isRouting" doc:"true if the mote may route for others"`
}

// MoteInfo is a mote's dynamic record. The last three are absent with older managers.
type MoteInfo struct {
	MAC              MAC       `sm:"macAddress" doc:"EUI-64 of the mote"`
	State            MoteState `sm:"state" doc:"mote state"`
	NumNeighbors     uint8     `sm:"numNbrs" doc:"neighbours heard or connected"`
	NumGoodNeighbors uint8     `sm:"numGoodNbrs" doc:"neighbours with quality above 50"`
	RequestedBW      uint32    `sm:"requestedBw" doc:"bandwidth the mote asked for, ms per packet"`
	TotalNeededBW    uint32    `sm:"totalNeededBw" doc:"bandwidth needed by it and its children, ms per packet"`
	AssignedBW       uint32    `sm:"assignedBw" doc:"bandwidth it was given, ms per packet"`
	PacketsReceived  uint32    `sm:"packetsReceived" doc:"packets from it that arrived"`
	PacketsLost      uint32    `sm:"packetsLost" doc:"packets from it that were lost"`
	AvgLatency       uint32    `sm:"avgLatency" doc:"mean upstream latency, ms"`
	StateTime        *uint32   `sm:"stateTime,opt" doc:"seconds since the last state change"`
	NumJoins         *uint8    `sm:"numJoins,opt" doc:"joins so far, stops at 255"`
	HopDepth         *uint8    `sm:"hopDepth,opt" doc:"mean hops to the manager, times 10"`
}

type pathEnds struct {
	Source MAC `sm:"source" doc:"EUI-64 of side A"`
	Dest   MAC `sm:"dest" doc:"EUI-64 of side B"`
}

// PathInfo is the path between two motes.
type PathInfo struct {
	Source      MAC           `sm:"source" doc:"EUI-64 of side A"`
	Dest        MAC           `sm:"dest" doc:"EUI-64 of side B"`
	Direction   PathDirection `sm:"direction" doc:"use of the path as seen from source"`
	NumLinks    uint8         `sm:"numLinks" doc:"number of links"`
	Quality     uint8         `sm:"quality" doc:"0..100: measured stability of a used path, RSSI-based estimate of an unused one"`
	RSSISrcDest int8          `sm:"rssiSrcDest" doc:"last RSSI, source to dest, dBm"`
	RSSIDestSrc int8          `sm:"rssiDestSrc" doc:"last RSSI, dest to source, dBm"`
}

type nextPath struct {
	MAC    MAC        `sm:"macAddress" doc:"EUI-64 of the mote (or manager)"`
	Filter PathFilter `sm:"filter,zero" doc:"which paths"`
	PathID uint16     `sm:"pathId,zero" doc:"iterator position; only meaningful for this mote"`
}

// NextPathInfo is one of a mote's paths.
type NextPathInfo struct {
	PathID      uint16        `sm:"pathId" doc:"iterator position; only meaningful for this mote"`
	Source      MAC           `sm:"source" doc:"EUI-64 of side A"`
	Dest        MAC           `sm:"dest" doc:"EUI-64 of side B"`
	Direction   PathDirection `sm:"direction" doc:"use of the path as seen from source"`
	NumLinks    uint8         `sm:"numLinks" doc:"number of links"`
	Quality     uint8         `sm:"quality" doc:"0..100: measured stability of a used path, RSSI-based estimate of an unused one"`
	RSSISrcDest int8          `sm:"rssiSrcDest" doc:"last RSSI, source to dest, dBm"`
	RSSIDestSrc int8          `sm:"rssiDestSrc" doc:"last RSSI, dest to source, dBm"`
}

type linksFrom struct {
	MAC MAC    `sm:"macAddress" doc:"EUI-64 of the mote (or manager)"`
	Idx uint16 `sm:"idx,zero" doc:"index of the first link asked for / returned"`
}

// MoteLinks are up to ten of a mote's links. There may be fewer than NumLinks says.
type MoteLinks struct {
	Idx         uint16 `sm:"idx" doc:"index of the first link asked for / returned"`
	Utilization uint8  `sm:"utilization" doc:"link utilization"`
	NumLinks    uint8  `sm:"numLinks,count" doc:"number of links"`
	Links       []Link `sm:"links" doc:"the links"`
}

// A Link is a slot in a mote's schedule.
type Link struct {
	FrameID       uint8  `sm:"frameId" doc:"slotframe id"`
	Slot          uint32 `sm:"slot" doc:"slot in the frame"`
	ChannelOffset uint8  `sm:"channelOffset" doc:"channel offset"`
	MoteID        uint16 `sm:"moteId" doc:"mote id of the other end"`
	Flags         uint8  `sm:"flags" doc:"link flag bits (values not documented)"`
}

var (
	pingMote = command[moteAddress, callback]{42, "pingMote",
		"Sends one best-effort echo request; the answer comes as eventPingResponse.", 0}
	sendData = command[SendData, callback]{44, "sendData",
		"Queues a UDP payload for one mote (or broadcast); eventPacketSent follows when it leaves the manager.", changes}
	getMoteConfig = command[nextMote, MoteConfig]{47, "getMoteConfig",
		"Reads one mote's static record, or the next one after it; the way to list all motes.", 0}
	getPathInfo     = command[pathEnds, PathInfo]{48, "getPathInfo", "Reads the path between two given motes.", 0}
	getNextPathInfo = command[nextPath, NextPathInfo]{49, "getNextPathInfo",
		"Iterates the paths of one mote; start with pathId 0.", 0}
	sendIP = command[SendIP, callback]{59, "sendIP",
		"Queues a ready-made 6LoWPAN packet for one mote; eventPacketSent follows.", changes}
	getMoteInfo = command[moteAddress, MoteInfo]{62, "getMoteInfo",
		"Reads one mote's dynamic record (bandwidth, counters, latency, hops).", 0}
	getMoteConfigByID = command[moteID, MoteConfig]{65, "getMoteConfigById", "Like getMoteConfig, keyed by the 16-bit mote id.", 0}
	deleteMote        = command[moteAddress, none]{69, "deleteMote", "Forgets a mote that is in state lost.", changes | dangerous}
	getMoteLinks      = command[linksFrom, MoteLinks]{70, "getMoteLinks",
		"Reads up to ten scheduled links of a mote, starting at index idx.", 0}

	moteCommands = []*spec{pingMote.spec(), sendData.spec(), getMoteConfig.spec(), getPathInfo.spec(), getNextPathInfo.spec(),
		sendIP.spec(), getMoteInfo.spec(), getMoteConfigByID.spec(), deleteMote.spec(), getMoteLinks.spec()}
)

// PingMote sends one echo request, which may be lost. The handle returned comes back in a *PingResponse.
func (s *Session) PingMote(ctx context.Context, mac MAC) (callbackID uint32, err error) {
	r, err := call(ctx, s, pingMote, moteAddress{mac})
	return r.CallbackID, err
}

// SendData queues a payload. The handle returned comes back in a *PacketSent when it left the manager, which does not mean
// that it reached the mote.
func (s *Session) SendData(ctx context.Context, d SendData) (callbackID uint32, err error) {
	r, err := call(ctx, s, sendData, d)
	return r.CallbackID, err
}

// SendDataIn reads the request of a sendData. It is not ok when the command is another, or the request is cut.
func SendDataIn(command byte, payload []byte) (d SendData, ok bool) {
	if command != sendData.id {
		return d, false
	}
	missing, _, err := specs[command].req.unmarshal(&d, payload)
	return d, err == nil && missing == 0
}

// SendIP queues a packet, like SendData.
func (s *Session) SendIP(ctx context.Context, p SendIP) (callbackID uint32, err error) {
	r, err := call(ctx, s, sendIP, p)
	return r.CallbackID, err
}

// GetMoteConfig reads the record of a mote, or of the next one after it in the manager's list; see Motes.
func (s *Session) GetMoteConfig(ctx context.Context, mac MAC, next bool) (MoteConfig, error) {
	return call(ctx, s, getMoteConfig, nextMote{mac, next})
}

// GetMoteConfigByID reads the record of the mote with that id.
func (s *Session) GetMoteConfigByID(ctx context.Context, id uint16) (MoteConfig, error) {
	return call(ctx, s, getMoteConfigByID, moteID{id})
}

// GetMoteInfo reads a mote's figures.
func (s *Session) GetMoteInfo(ctx context.Context, mac MAC) (MoteInfo, error) {
	return call(ctx, s, getMoteInfo, moteAddress{mac})
}

// GetPathInfo reads the path between two motes.
func (s *Session) GetPathInfo(ctx context.Context, source, dest MAC) (PathInfo, error) {
	return call(ctx, s, getPathInfo, pathEnds{source, dest})
}

// GetNextPathInfo reads the path after pathID of a mote; see Paths.
func (s *Session) GetNextPathInfo(ctx context.Context, mac MAC, filter PathFilter, pathID uint16) (NextPathInfo, error) {
	return call(ctx, s, getNextPathInfo, nextPath{mac, filter, pathID})
}

// DeleteMote makes the manager forget a mote that is lost.
func (s *Session) DeleteMote(ctx context.Context, mac MAC) error {
	_, err := call(ctx, s, deleteMote, moteAddress{mac})
	return err
}

// GetMoteLinks reads links of a mote, from index idx on; see Links.
func (s *Session) GetMoteLinks(ctx context.Context, mac MAC, idx uint16) (MoteLinks, error) {
	return call(ctx, s, getMoteLinks, linksFrom{mac, idx})
}
