package oap

import "encoding/binary"

// Blink is the payload of a mote that sends without joining the network.
//
//	TLVs: 0x94 user data (first), 0x95 neighbours: count u8, then for each id u16, rssi i8
//
// Unknown tags are skipped by their length. Source: the SmartMesh SDK's blink application.
type Blink struct {
	Data      []byte
	Neighbors []BlinkNeighbor // those the mote has heard
}

// BlinkNeighbor is a mote heard by a mote that blinks.
type BlinkNeighbor struct {
	ID   uint16 `json:"id"`   // mote id, not MAC
	RSSI int8   `json:"rssi"` // dBm
}

// What can be wrong with a blink payload. It is to be passed on as plain data.
const (
	NotBlink       Error = "not_blink"       // the first byte is not 0x94
	BlinkTruncated Error = "blink_truncated" // a TLV or a neighbour runs beyond the end
)

const (
	tagBlinkData      = 0x94
	tagBlinkNeighbors = 0x95
)

// IsBlink says whether a payload begins like a blink packet.
func IsBlink(payload []byte) bool { return len(payload) > 0 && payload[0] == tagBlinkData }

// ParseBlink reads a payload. The error is an Error: NotBlink or BlinkTruncated.
func ParseBlink(payload []byte) (Blink, error) {
	var b Blink
	if !IsBlink(payload) {
		return b, NotBlink
	}
	for rest := payload; len(rest) > 0; {
		tag, after, err := cutTag(rest)
		if err != nil {
			return Blink{}, BlinkTruncated
		}
		rest = after
		switch tag.Tag {
		case tagBlinkData:
			b.Data = tag.Value
		case tagBlinkNeighbors:
			if b.Neighbors, err = appendNeighbors(b.Neighbors, tag.Value); err != nil {
				return Blink{}, err
			}
		}
	}
	return b, nil
}

// appendNeighbors reads the value of a 0x95 TLV. Extra bytes are ignored.
func appendNeighbors(dst []BlinkNeighbor, value []byte) ([]BlinkNeighbor, error) {
	if len(value) < 1 || len(value) < 1+3*int(value[0]) {
		return nil, BlinkTruncated
	}
	for i := range int(value[0]) {
		item := value[1+3*i:]
		dst = append(dst, BlinkNeighbor{ID: binary.BigEndian.Uint16(item), RSSI: int8(item[2])})
	}
	return dst, nil
}
