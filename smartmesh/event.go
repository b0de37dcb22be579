package smartmesh

import "time"

// An EventType is the number of a network event.
type EventType uint8

// The events. 8 and 9 are reserved.
const (
	EventMoteReset       EventType = 0
	EventNetworkReset    EventType = 1
	EventCommandFinished EventType = 2
	EventMoteJoin        EventType = 3
	EventMoteOperational EventType = 4
	EventMoteLost        EventType = 5
	EventNetworkTime     EventType = 6
	EventPingResponse    EventType = 7
	EventPathCreate      EventType = 10
	EventPathDelete      EventType = 11
	EventPacketSent      EventType = 12
	EventMoteCreate      EventType = 13
	EventMoteDelete      EventType = 14
	EventJoinFailed      EventType = 15
	EventInvalidMIC      EventType = 16
)

// MoteReset: the manager carried out the reset of a mote that a user asked for.
type MoteReset struct {
	MAC MAC `sm:"macAddress" doc:"EUI-64 of the mote"`
}

// NetworkReset: the manager started the network; all motes have to join again.
type NetworkReset struct{}

// CommandFinished: an operation that returned a handle has ended.
type CommandFinished struct {
	CallbackID uint32        `sm:"callbackId" doc:"handle that the operation's response gave"`
	RC         CommandResult `sm:"rc" doc:"result of the operation"`
}

// MoteJoin: a mote is joining; one that was operational has lost its settings.
type MoteJoin struct {
	MAC MAC `sm:"macAddress" doc:"EUI-64 of the mote"`
}

// MoteOperational: a mote finished joining.
type MoteOperational struct {
	MAC MAC `sm:"macAddress" doc:"EUI-64 of the mote"`
}

// MoteLost: a mote stopped answering.
type MoteLost struct {
	MAC MAC `sm:"macAddress" doc:"EUI-64 of the mote"`
}

// NetworkTime: strobe of the time pin, or, with some managers, a getTime.
type NetworkTime struct {
	Uptime    uint32    `sm:"uptime" doc:"seconds since the manager booted"`
	UTC       time.Time `sm:"utcSecs+utcUsecs"`
	ASN       ASN       `sm:"asn" doc:"absolute slot number, 40-bit big-endian"`
	ASNOffset uint16    `sm:"asnOffset" doc:"microseconds into the slot"`
}

// NoPingAnswer is the Delay of a ping that timed out.
const NoPingAnswer uint32 = 0xFFFFFFFF

// PingResponse: answer to pingMote, or its time-out.
type PingResponse struct {
	CallbackID  uint32 `sm:"callbackId" doc:"handle that pingMote gave"`
	MAC         MAC    `sm:"macAddress" doc:"EUI-64 of the mote"`
	Delay       uint32 `sm:"delay" doc:"round trip in ms; 0xFFFFFFFF (-1) = no answer"`
	Voltage     uint16 `sm:"voltage" doc:"supply voltage, mV"`
	Temperature int8   `sm:"temperature" doc:"temperature, degrees C"`
}

// PathCreate: a path came into use.
type PathCreate struct {
	Source    MAC           `sm:"source" doc:"EUI-64 of side A"`
	Dest      MAC           `sm:"dest" doc:"EUI-64 of side B"`
	Direction PathDirection `sm:"direction" doc:"use of the path as seen from source"`
}

// PathDelete: a path was removed.
type PathDelete struct {
	Source    MAC           `sm:"source" doc:"EUI-64 of side A"`
	Dest      MAC           `sm:"dest" doc:"EUI-64 of side B"`
	Direction PathDirection `sm:"direction" doc:"use of the path as seen from source"`
}

// PacketSent: a packet of sendData or sendIP left the manager's queue.
type PacketSent struct {
	CallbackID uint32 `sm:"callbackId" doc:"handle that sendData gave"`
	RC         uint8  `sm:"rc" doc:"0 = handed to the radio network; other values are errors"`
}

// MoteCreate: a mote was seen for the first time.
type MoteCreate struct {
	MAC    MAC    `sm:"macAddress" doc:"EUI-64 of the mote"`
	MoteID uint16 `sm:"moteId" doc:"mote id given"`
}

// MoteDelete: a mote was removed by deleteMote.
type MoteDelete struct {
	MAC    MAC    `sm:"macAddress" doc:"EUI-64 of the mote"`
	MoteID uint16 `sm:"moteId" doc:"mote id it had"`
}

// JoinFailed: a join request was refused (manager 1.4.1 and later).
type JoinFailed struct {
	MAC    MAC         `sm:"macAddress" doc:"EUI-64 of the mote"`
	Reason JoinFailure `sm:"reason" doc:"why the join was refused"`
}

// InvalidMIC: a packet from a mote failed decryption (manager 1.4.1 and later).
type InvalidMIC struct {
	MAC MAC `sm:"macAddress" doc:"EUI-64 of the mote"`
}

var events = map[EventType]*notice{
	EventMoteReset:       row[MoteReset]("eventMoteReset"),
	EventNetworkReset:    row[NetworkReset]("eventNetworkReset"),
	EventCommandFinished: row[CommandFinished]("eventCommandFinished"),
	EventMoteJoin:        row[MoteJoin]("eventMoteJoin"),
	EventMoteOperational: row[MoteOperational]("eventMoteOperational"),
	EventMoteLost:        row[MoteLost]("eventMoteLost"),
	EventNetworkTime:     row[NetworkTime]("eventNetworkTime"),
	EventPingResponse:    row[PingResponse]("eventPingResponse"),
	EventPathCreate:      row[PathCreate]("eventPathCreate"),
	EventPathDelete:      row[PathDelete]("eventPathDelete"),
	EventPacketSent:      row[PacketSent]("eventPacketSent"),
	EventMoteCreate:      row[MoteCreate]("eventMoteCreate"),
	EventMoteDelete:      row[MoteDelete]("eventMoteDelete"),
	EventJoinFailed:      row[JoinFailed]("eventJoinFailed"),
	EventInvalidMIC:      row[InvalidMIC]("eventInvalidMIC"),
}
