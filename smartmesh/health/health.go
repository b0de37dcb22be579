// Package health reads the health reports that motes send and the manager passes on unread.
//
// A payload is a sequence of reports in any order, id u8, length u8, data[length], everything big-endian:
//
//	0x80 Device      27 bytes, 24 from motes before 1.4
//	0x81 Neighbors   numItems u8, then 10 bytes each: links in use
//	0x82 Discovered  numJoinParents u8, numItems u8, then 4 bytes each: heard, not used
//	0x91 Extended    extType u8, extLength u8, data; type 1 (RSSI): 15 entries of 5 bytes
//
// A device that has drawn 1311 mC, at 22 degrees C and 3026 mV, with 43 packets sent and 11 received:
//
//	80 18 | 0000051f 31 16 0bd2 002b 0000 000b 0000 00 00 00 00000000 00
//
// A mote sends each kind about every 15 minutes. Neighbours are named by mote id, which only holds until the manager's
// next reset.
//
// Source: the SmartMesh SDK's HrParser; the descriptions of fields in the VManager API.
package health

import "encoding/binary"

// Ids of the reports.
const (
	idDevice     = 0x80
	idNeighbors  = 0x81
	idDiscovered = 0x82
	idExtended   = 0x91

	extRSSI = 1
)

// Error says why a payload could not be read to its end. Its text ends with one of the words of the protocol reference.
type Error string

// What can be wrong with a payload.
const (
	TooShort  Error = "hr_too_short" // one byte is left over where a report should begin
	Truncated Error = "hr_truncated" // a report or one of its fields runs beyond its end
)

// Error gives the word after the name of the package.
func (e Error) Error() string { return "health: " + string(e) }

// Word gives the word of the protocol reference, such as hr_truncated.
func (e Error) Word() string { return string(e) }

// Report is what one payload holds. Usually that is one report of one kind.
type Report struct {
	Devices    []Device
	Neighbors  []Neighbors
	Discovered []Discovered
	RSSI       []RSSI
	Skipped    []Skipped // reports that are not known
}

// Device is a mote's report on itself. Counters are of the interval since the last one, only the charge runs on; a counter
// of 8 bits may have stopped at its top or wrapped.
type Device struct {
	Charge         uint32 // mC drawn since the mote booted
	QueueOcc       uint8  // high nibble largest, low nibble mean length of the packet queue
	Temperature    int8   // degrees C
	BatteryVoltage uint16 // mV
	NumTxOk        uint16 // packets the network layer sent
	NumTxFail      uint16 // packets it could not take for sending: congestion
	NumRxOk        uint16 // packets received
	NumRxLost      uint16 // packets lost on reception
	NumMacDropped  uint8  // packets dropped by the MAC layer: retries, age, no route
	NumTxBad       uint8  // failed transmissions on the worst link, which is:
	BadLinkFrameID uint8  // its slotframe
	BadLinkSlot    uint32 // its slot
	BadLinkOffset  uint8  // its channel offset
	NumNetMicErr   uint8  // authentication errors of the network layer
	NumMacMicErr   uint8  // and of the MAC layer
	NumMacCrcErr   uint8  // check errors of the MAC layer

	// Present is how many of the fields above the report had, from the first. The others are 0 here and absent in Fields.
	Present int
}

// Neighbors are the links a mote uses. The neighbours of one mote may come in several reports.
type Neighbors struct {
	NumItems  uint8      `json:"numItems"`
	Neighbors []Neighbor `json:"neighbors"`
}

// Neighbor is one link in use.
type Neighbor struct {
	NeighborID    uint16 `json:"neighborId"`    // mote id, not MAC
	NeighborFlag  uint8  `json:"neighborFlag"`  // not published, 0 seen
	RSSI          int8   `json:"rssi"`          // dBm, mean of what is heard from the neighbour
	NumTxPackets  uint16 `json:"numTxPackets"`  // unicast transmissions to it
	NumTxFailures uint16 `json:"numTxFailures"` // of these without acknowledgement
	NumRxPackets  uint16 `json:"numRxPackets"`  // packets received from it
}

// Discovered are the motes that a mote hears but has no link to.
type Discovered struct {
	NumJoinParents      uint8       `json:"numJoinParents"` // possible parents when joining
	NumItems            uint8       `json:"numItems"`
	DiscoveredNeighbors []Discovery `json:"discoveredNeighbors"`
}

// Discovery is one mote heard.
type Discovery struct {
	NeighborID uint16 `json:"neighborId"` // mote id, not MAC
	RSSI       int8   `json:"rssi"`       // dBm
	NumRx      uint8  `json:"numRx"`      // times heard
}

// Channels is the number of radio channels in an RSSI report.
const Channels = 15

// RSSI is an extended report of type 1: entry i is channel index i, which is IEEE channel 11 + i.
type RSSI [Channels]Channel

// Channel is what a mote has seen on one radio channel.
type Channel struct {
	IdleRSSI          int8   `json:"idleRssi"` // dBm, background noise
	TxUnicastAttempts uint16 `json:"txUnicastAttempts"`
	TxUnicastFailures uint16 `json:"txUnicastFailures"`
}

// Skipped is a report that is not known. Its data refers to the bytes of the payload.
type Skipped struct {
	ID   byte
	Data []byte
}

// Parse reads a payload. With an error, which is an Error, the report holds what came before the mistake, and a device report
// cut inside a field holds the whole fields before that.
func Parse(payload []byte) (Report, error) {
	var r Report
	for len(payload) > 0 {
		if len(payload) < 2 {
			return r, TooShort
		}
		end := 2 + int(payload[1])
		if len(payload) < end {
			return r, Truncated
		}
		if err := r.add(payload[0], payload[2:end:end]); err != nil {
			return r, err
		}
		payload = payload[end:]
	}
	return r, nil
}

// add reads the data of one report.
func (r *Report) add(id byte, data []byte) error {
	switch id {
	case idDevice:
		d, err := parseDevice(data)
		r.Devices = append(r.Devices, d)
		return err
	case idNeighbors:
		n, err := parseNeighbors(data)
		if err != nil {
			return err
		}
		r.Neighbors = append(r.Neighbors, n)
	case idDiscovered:
		d, err := parseDiscovered(data)
		if err != nil {
			return err
		}
		r.Discovered = append(r.Discovered, d)
	case idExtended:
		return r.addExtended(data)
	default:
		r.Skipped = append(r.Skipped, Skipped{ID: id, Data: data})
	}
	return nil
}

// deviceEnds are the offsets at which the fields of a device report end.
var deviceEnds = [...]int{4, 5, 6, 8, 10, 12, 14, 16, 17, 18, 19, 23, 24, 25, 26, 27}

// parseDevice reads as many whole fields as are there. Bytes after the last known field are ignored.
func parseDevice(data []byte) (Device, error) {
	size, present := 0, 0
	for _, end := range deviceEnds {
		if len(data) < end {
			break
		}
		size = end
		present++
	}
	var b [27]byte
	copy(b[:], data[:size])
	d := Device{
		Charge:         binary.BigEndian.Uint32(b[0:]),
		QueueOcc:       b[4],
		Temperature:    int8(b[5]),
		BatteryVoltage: binary.BigEndian.Uint16(b[6:]),
		NumTxOk:        binary.BigEndian.Uint16(b[8:]),
		NumTxFail:      binary.BigEndian.Uint16(b[10:]),
		NumRxOk:        binary.BigEndian.Uint16(b[12:]),
		NumRxLost:      binary.BigEndian.Uint16(b[14:]),
		NumMacDropped:  b[16],
		NumTxBad:       b[17],
		BadLinkFrameID: b[18],
		BadLinkSlot:    binary.BigEndian.Uint32(b[19:]),
		BadLinkOffset:  b[23],
		NumNetMicErr:   b[24],
		NumMacMicErr:   b[25],
		NumMacCrcErr:   b[26],
		Present:        present,
	}
	if present < len(deviceEnds) && len(data) > size {
		return d, Truncated
	}
	return d, nil
}

func parseNeighbors(data []byte) (Neighbors, error) {
	if len(data) < 1 || len(data) < 1+10*int(data[0]) {
		return Neighbors{}, Truncated
	}
	n := Neighbors{NumItems: data[0], Neighbors: make([]Neighbor, data[0])}
	for i := range n.Neighbors {
		b := data[1+10*i:]
		n.Neighbors[i] = Neighbor{
			NeighborID:    binary.BigEndian.Uint16(b),
			NeighborFlag:  b[2],
			RSSI:          int8(b[3]),
			NumTxPackets:  binary.BigEndian.Uint16(b[4:]),
			NumTxFailures: binary.BigEndian.Uint16(b[6:]),
			NumRxPackets:  binary.BigEndian.Uint16(b[8:]),
		}
	}
	return n, nil
}

func parseDiscovered(data []byte) (Discovered, error) {
	if len(data) < 2 || len(data) < 2+4*int(data[1]) {
		return Discovered{}, Truncated
	}
	d := Discovered{NumJoinParents: data[0], NumItems: data[1], DiscoveredNeighbors: make([]Discovery, data[1])}
	for i := range d.DiscoveredNeighbors {
		b := data[2+4*i:]
		d.DiscoveredNeighbors[i] = Discovery{NeighborID: binary.BigEndian.Uint16(b), RSSI: int8(b[2]), NumRx: b[3]}
	}
	return d, nil
}

// addExtended reads an extended report. Its inner length must agree with the outer one.
func (r *Report) addExtended(data []byte) error {
	if len(data) < 2 || int(data[1]) != len(data)-2 {
		return Truncated
	}
	if data[0] != extRSSI || data[1] != 5*Channels {
		r.Skipped = append(r.Skipped, Skipped{ID: idExtended, Data: data})
		return nil
	}
	var rssi RSSI
	for i := range rssi {
		b := data[2+5*i:]
		rssi[i] = Channel{
			IdleRSSI:          int8(b[0]),
			TxUnicastAttempts: binary.BigEndian.Uint16(b[1:]),
			TxUnicastFailures: binary.BigEndian.Uint16(b[3:]),
		}
	}
	r.RSSI = append(r.RSSI, rssi)
	return nil
}
