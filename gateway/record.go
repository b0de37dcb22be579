package gateway

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/meshgate/meshgate/bridge/spool"
)

// The kinds of record in the spool. A record says what was measured, not how it is written: the
// JSON is made when it is sent, so that another format or a corrected clock reaches the backlog too.
//
//	kindMessage  qos u8, len u8, name of the bridge that brought it, then the payload as it came
//	kindSample   raw value i32, then the manager's name; the topic tells the channel and its unit
//	kindData     what a mote sent, as it came
//	kindObject   a JSON object, to which time and seq are added
const (
	kindMessage = 1
	kindSample  = 2
	kindData    = 3
	kindObject  = 4
)

const timeFormat = "2006-01-02T15:04:05.000Z07:00"

// stamp writes a time as the contract says: RFC 3339, UTC, milliseconds.
func stamp(t time.Time) string { return t.UTC().Format(timeFormat) }

func sampleRecord(topic string, value int, manager string) spool.Record {
	payload := make([]byte, 0, 4+len(manager))
	return spool.Record{Kind: kindSample, Topic: topic,
		Payload: append(binary.BigEndian.AppendUint32(payload, uint32(int32(value))), manager...)}
}

// objectRecord keeps fields as JSON; they must hold only what JSON can say.
func objectRecord(topic string, fields map[string]any) (spool.Record, error) {
	payload, err := json.Marshal(fields)
	if err != nil {
		return spool.Record{}, fmt.Errorf("gateway: %s: %w", topic, err)
	}
	return spool.Record{Kind: kindObject, Topic: topic, Payload: payload}, nil
}

func messageRecord(m message, qos byte) spool.Record {
	payload := append([]byte{qos, byte(len(m.from))}, m.from...)
	return spool.Record{Kind: kindMessage, Topic: m.topic, Retain: m.retain, Payload: append(payload, m.payload...)}
}

// render makes the local message of a record. A record of a kind that this version does not know,
// or whose payload is not what its kind says, is an error: it was written by a newer meshgate or
// damaged in a way that its check sum did not show. Historical marks what waited for a connection.
// The payload is made in room if it fits there, and may be the record's own.
func render(room []byte, r spool.Record, historical bool) (message, error) {
	m := message{topic: r.Topic, retain: r.Retain}
	switch r.Kind {
	case kindMessage:
		if len(r.Payload) < 2 || len(r.Payload) < 2+int(r.Payload[1]) {
			return m, unreadable(r)
		}
		from, body, _ := bytesAt(r.Payload[2:], int(r.Payload[1]))
		m.from, m.payload = string(from), body
	case kindSample:
		if len(r.Payload) < 4 {
			return m, unreadable(r)
		}
		m.payload = renderSample(room, r, historical)
	case kindData:
		m.payload = appendTail(append(hex.AppendEncode(append(room, `{"data":"`...), r.Payload), '"'), r, historical)
	case kindObject:
		body, ok := bytes.CutSuffix(r.Payload, []byte("}"))
		if !ok {
			return m, unreadable(r)
		}
		m.payload = appendTail(append(room, body...), r, historical)
	default:
		return m, unreadable(r)
	}
	return m, nil
}

func unreadable(r spool.Record) error {
	return fmt.Errorf("gateway: record %d (%s) of kind %d cannot be read", r.Seq, r.Topic, r.Kind)
}

func bytesAt(b []byte, n int) (head, tail []byte, ok bool) {
	if len(b) < n {
		return nil, nil, false
	}
	return b[:n], b[n:], true
}

// renderSample writes {"time","value","unit","seq","time_quality","manager"}; temperatures are
// kept in hundredths of a degree, analog values in millivolts, digital ones have no unit.
func renderSample(b []byte, r spool.Record, historical bool) []byte {
	raw := int32(binary.BigEndian.Uint32(r.Payload))
	b = append(b, `{"time":"`...)
	b = r.Time.UTC().AppendFormat(b, timeFormat)
	b = append(b, `","value":`...)
	switch {
	case strings.HasSuffix(r.Topic, "/temperature"):
		b = strconv.AppendFloat(b, float64(raw)/100, 'f', -1, 64)
		b = append(b, `,"unit":"C"`...)
	case strings.Contains(r.Topic, "/analog/"):
		b = strconv.AppendInt(b, int64(raw), 10)
		b = append(b, `,"unit":"mV"`...)
	default:
		b = strconv.AppendInt(b, int64(raw), 10)
	}
	b = append(b, `,"seq":`...)
	b = strconv.AppendUint(b, r.Seq, 10)
	b = append(append(append(b, `,"time_quality":"`...), quality(r)...), `","manager":`...)
	b = strconv.AppendQuote(b, string(r.Payload[4:]))
	return append(append(b, waited(historical)...), '}')
}

// appendTail ends an open JSON object with the record's time and number.
func appendTail(dst []byte, r spool.Record, historical bool) []byte {
	if len(dst) > 1 {
		dst = append(dst, ',')
	}
	return fmt.Appendf(dst, `"time":%q,"seq":%d%s}`, stamp(r.Time), r.Seq, waited(historical))
}

func waited(historical bool) string {
	if historical {
		return `,"historical":true`
	}
	return ""
}

func quality(r spool.Record) string {
	if r.Synced {
		return "synced"
	}
	return "unsynced"
}

// jsonObject writes fields in the order of their names.
func jsonObject(fields map[string]any) []byte {
	b, err := json.Marshal(fields)
	if err != nil { // a value that JSON cannot say is a mistake of ours; the reader sees which
		b, _ = json.Marshal(map[string]any{"error": err.Error()})
	}
	return b
}

// with gives fields and one more.
func with(fields map[string]any, name string, value any) map[string]any {
	out := maps.Clone(fields)
	if out == nil {
		out = map[string]any{}
	}
	out[name] = value
	return out
}
