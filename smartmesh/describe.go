package smartmesh

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/meshgate/meshgate/hdlc"
)

// describeHeader gives the header's fields, which stand in every description, or the error that the packet has none.
func describeHeader(packet []byte, kind string) (Packet, map[string]any, bool) {
	p, err := ParsePacket(packet)
	switch {
	case errors.Is(err, ErrHeaderTooShort):
		return p, map[string]any{"error": "header_too_short"}, false
	case err != nil:
		return p, map[string]any{"error": "length_mismatch"}, false
	}
	return p, map[string]any{
		"control": p.Control, "type": p.Type, "seq": p.Seq, "length": len(p.Payload),
		"payload": hex.EncodeToString(p.Payload), "kind": kind,
	}, true
}

// addForm adds a payload's form to a description. whole demands that no field be missing.
func addForm(d map[string]any, l *layout, payload []byte, whole bool) (fields map[string]any, ok bool) {
	out, err := l.describe(payload, bareHex)
	if err != nil || whole && len(out.missing) > 0 {
		d["error"] = errTruncated.Error()
		return nil, false
	}
	d["fields"] = out.fields
	if len(out.missing) > 0 {
		d["missing"] = out.missing
	}
	if len(out.warnings) > 0 {
		d["warnings"] = out.warnings
	}
	if len(out.trailing) > 0 {
		d["trailing"] = hex.EncodeToString(out.trailing)
	}
	return out.fields, true
}

// DescribeHandshake gives a packet of the handshake in the documented form: its header, "command" or "notification",
// "fields", and what follows for the session.
func DescribeHandshake(packet []byte) map[string]any {
	p, d, ok := describeHeader(packet, "handshake")
	if !ok {
		return d
	}
	switch p.Type {
	case typeHello:
		d["command"] = "hello"
		if fields, ok := addForm(d, helloLayout, p.Payload, true); ok {
			d["next_request_seq"] = byte(fields["cliSeqNo"].(uint64)) + 1
		}
	case typeHelloResponse:
		d["command"] = "hello_response"
		if fields, ok := addForm(d, helloResponseLayout, p.Payload, true); ok {
			open := fields["successCode"] == uint64(HelloSuccess) && fields["version"] == uint64(protocolVersion)
			d["session_open"] = open
			if open {
				d["next_request_seq"] = byte(fields["cliSeqNo"].(uint64)) + 1
				d["next_reliable_seq_from_manager"] = byte(fields["mgrSeqNo"].(uint64)) + 1
			}
		}
	case typeManagerHello:
		d["notification"] = "manager_hello"
		if _, ok := addForm(d, managerHelloLayout, p.Payload, true); ok {
			d["session_open"] = false
		}
	default:
		d["error"] = errUnknownCmd.Error()
	}
	return d
}

// DescribeRequest gives a request in the documented form: its header, "command" and "fields".
func DescribeRequest(packet []byte) map[string]any {
	p, d, ok := describeHeader(packet, "request")
	if !ok {
		return d
	}
	row := specs[p.Type]
	if row == nil {
		d["error"] = errUnknownCmd.Error()
		return d
	}
	d["command"] = row.name
	addForm(d, row.req, p.Payload, true)
	return d
}

// DescribeResponse gives a response in the documented form: its header, "command", "rc", "rc_name" and "fields", of which
// those that an older manager does not send are listed in "missing".
func DescribeResponse(packet []byte) map[string]any {
	p, d, ok := describeHeader(packet, "response")
	if !ok {
		return d
	}
	row := specs[p.Type]
	if row == nil {
		d["error"] = errUnknownCmd.Error()
		return d
	}
	d["command"] = row.name
	if len(p.Payload) == 0 {
		d["error"] = errMissingRC.Error()
		return d
	}
	rc := RC(p.Payload[0])
	fields := map[string]any{}
	if rc == RCOK {
		if fields, ok = addForm(d, row.resp, p.Payload[1:], false); !ok {
			return d
		}
	}
	fields["RC"] = rc
	d["fields"], d["rc"], d["rc_name"] = fields, rc, rc.Name()
	if rc.Name() == "" {
		d["rc_name"] = nil
		d["warnings"] = []string{"unknown_enum:RC"}
	}
	return d
}

// DescribeNotification gives a notification in the documented form: its header, "reliable", "notification", "notifType",
// for events "event", "eventType" and "eventId", "fields", and "ack_hex", the frame that acknowledges it, or nil.
func DescribeNotification(packet []byte) map[string]any {
	p, d, ok := describeHeader(packet, "notification")
	if !ok {
		return d
	}
	d["reliable"], d["ack_hex"] = p.isReliable(), nil
	if p.isReliable() {
		d["ack_hex"] = hex.EncodeToString(hdlc.AppendFrame(nil, p.acknowledgement().Append(nil)))
	}
	if len(p.Payload) < notifHeadSize {
		d["error"] = errTruncated.Error()
		return d
	}
	number, body := NotifType(p.Payload[0]), p.Payload[notifHeadSize:]
	what := notifications[number]
	d["notifType"] = number
	if what == nil {
		d["error"], d["rest"] = errUnknownNotif.Error(), hex.EncodeToString(body)
		return d
	}
	d["notification"] = what.name
	if number == NotifEvent {
		if what, body = describeEvent(d, body); what == nil {
			return d
		}
	}
	if fields, ok := addForm(d, what.layout, body, true); ok && what == events[EventPingResponse] && fields["delay"] == uint64(NoPingAnswer) {
		d["meaning"] = "ping timed out"
	}
	return d
}

// describeEvent describes what stands before an event's own fields, and returns their layout and bytes; nil for none.
func describeEvent(d map[string]any, body []byte) (*notice, []byte) {
	head, err := notifications[NotifEvent].layout.describe(body, bareHex)
	if err != nil || len(head.missing) > 0 {
		d["error"] = errTruncated.Error()
		if id, ok := head.fields["eventId"]; ok {
			d["eventId"] = id
		}
		return nil, nil
	}
	number := EventType(body[eventHeadSize-1])
	d["eventId"], d["eventType"] = head.fields["eventId"], number
	body = body[eventHeadSize:]
	what := events[number]
	if what == nil {
		d["error"], d["rest"] = errUnknownEvent.Error(), hex.EncodeToString(body)
		return nil, nil
	}
	d["event"] = what.name
	return what, body
}

// EncodeRequest makes the packet of a request, or of a hello, from the documented form: "command", "fields" and "seq".
// "control" and "type" may be given and must then be right; other members are not looked at.
func EncodeRequest(form json.RawMessage) ([]byte, error) {
	var f struct {
		Control *byte           `json:"control"`
		Type    *byte           `json:"type"`
		Seq     byte            `json:"seq"`
		Command string          `json:"command"`
		Fields  json.RawMessage `json:"fields"`
	}
	if err := json.Unmarshal(form, &f); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrArgument, err)
	}
	p := Packet{Control: controlReliable, Seq: f.Seq}
	l := helloLayout
	if f.Command == "hello" {
		p.Control, p.Type = 0, typeHello
	} else {
		row, err := specNamed(f.Command)
		if err != nil {
			return nil, err
		}
		p.Type, l = row.id, row.req
	}
	if f.Type != nil && *f.Type != p.Type {
		return nil, fmt.Errorf("%w: %s has type %d, not %d", ErrArgument, f.Command, p.Type, *f.Type)
	}
	if f.Control != nil {
		p.Control = *f.Control
	}
	var err error
	if p.Payload, err = l.parse(f.Fields); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrArgument, f.Command, err)
	}
	return p.Append(nil), nil
}
