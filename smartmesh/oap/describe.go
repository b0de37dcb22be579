package oap

import (
	"encoding/binary"
	"encoding/hex"
)

// Describe gives the documented JSON form of a payload that was sent to a UDP port, for people: kind, header, and all that
// the message holds; {"ignored": true} for what is no OAP; {"error": WORD} for what cannot be read. A request is described
// too, and marked as ignored, since that is what a client does with one that a mote sends.
func Describe(dstPort uint16, payload []byte) map[string]any {
	if dstPort != Port {
		return map[string]any{"ignored": true}
	}
	msg, err := Parse(payload)
	if err != nil {
		if len(payload) >= 3 && payload[0]&controlResponse == 0 && Command(payload[2]) != Notification {
			return map[string]any{"ignored": true}
		}
		return describeError(err)
	}
	m := map[string]any{
		"control":  payload[0],
		"reliable": payload[0]&controlReliable != 0,
		"response": payload[0]&controlResponse != 0,
		"sync":     payload[0]&controlSync != 0,
		"session":  payload[1] >> 4,
		"sequence": payload[1] & 0x0F,
		"command":  payload[2],
	}
	if c := Command(payload[2]); c >= Get && c <= Notification {
		m["command_name"] = c.String()
	}
	switch msg := msg.(type) {
	case Request:
		m["kind"], m["ignored"] = "oap_request", true
		m["address"] = describeAddress(msg.Address)
		m["tags"] = describeTags(append([]Tag{{TagAddress, msg.Address}}, msg.Tags...))
	case Response:
		m["kind"], m["result"] = "oap_response", msg.Result
		m["tags"] = describeTags(msg.Tags)
		if int(msg.Result) < len(resultNames) {
			m["result_name"] = msg.Result.String()
		}
	default:
		describeNotification(m, msg, payload)
	}
	return m
}

// describeNotification adds what a notification holds. The time is given as it is on the wire.
func describeNotification(m map[string]any, msg Message, payload []byte) {
	m["kind"] = "oap_notification"
	m["type"] = payload[3]
	_, rest, _ := cutAddress(payload[4:])
	if len(rest) >= stampSize && payload[3] != typePkGen {
		m["utcSecs"] = int64(binary.BigEndian.Uint64(rest))
		m["utcUsecs"] = int32(binary.BigEndian.Uint32(rest[8:]))
	}
	switch msg := msg.(type) {
	case Sample:
		m["type_name"], m["channel"] = "sample", describeAddress(msg.Channel)
		m["rate"], m["numSamples"], m["sampleSize"] = msg.Rate.Milliseconds(), len(msg.Values), msg.Size
		m["samples"] = msg.Values
		if msg.Channel[0] == AddrTemperature && len(msg.Values) == 1 {
			m["celsius_hundredths"] = msg.Values[0]
		}
	case Stats:
		m["type_name"], m["channel"] = "stats", describeAddress(msg.Channel)
		m["rate"], m["numSamples"], m["sampleSize"] = msg.Rate.Milliseconds(), msg.Count, msg.Size
		m["rest"] = hex.EncodeToString(msg.Rest)
	case Digital:
		m["type_name"], m["channel"] = "digital", describeAddress(msg.Channel)
		m["newValue"] = msg.Value
	case PkGen:
		m["type_name"], m["channel"] = "pkgen", describeAddress(msg.Channel)
		m["pid"], m["startPid"], m["numPackets"] = msg.PID, msg.StartPID, msg.NumPackets
		m["payload"] = hex.EncodeToString(msg.Payload)
	}
}

// DescribeBlink gives the documented JSON form of a blink payload, or {"error": WORD}.
func DescribeBlink(payload []byte) map[string]any {
	b, err := ParseBlink(payload)
	if err != nil {
		return describeError(err)
	}
	neighbors := b.Neighbors
	if neighbors == nil {
		neighbors = []BlinkNeighbor{}
	}
	return map[string]any{"kind": "blink", "data": hex.EncodeToString(b.Data), "neighbors": neighbors}
}

func describeError(err error) map[string]any {
	word := err.Error()
	if e, ok := err.(Error); ok {
		word = e.Word()
	}
	return map[string]any{"error": word}
}

// describeAddress gives an address as numbers: as a []byte it would become base64 in JSON.
func describeAddress(address []byte) []int {
	numbers := make([]int, len(address))
	for i, b := range address {
		numbers[i] = int(b)
	}
	return numbers
}

func describeTags(tags []Tag) []map[string]any {
	list := make([]map[string]any, len(tags))
	for i, t := range tags {
		list[i] = map[string]any{"tag": t.Tag, "length": len(t.Value), "value": hex.EncodeToString(t.Value)}
	}
	return list
}
