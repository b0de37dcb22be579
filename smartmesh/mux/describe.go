package mux

import (
	"bytes"
	"encoding/hex"
	"errors"
	"maps"
)

// Describer gives the documented JSON form of what the data of a message means, for the layer above: of a request or a
// response of the command, or, with command TypeNotification, of a notification. That is names and "fields"; for a response
// also "rc" and "rc_name". Where the data does not fit, the form has one of the keys error, missing, trailing, warnings.
type Describer func(command byte, request bool, data []byte) map[string]any

// Describe gives the documented JSON form of a piece of a stream, for people: "messages", "errors" and "pending", and, if
// there is just one message, what it is. Nothing on the wire tells a request from a response: data is a request's if it fits
// that better. Without describe only the messages of the mux itself are explained.
func Describe(stream []byte, describe Describer) map[string]any {
	messages, words := []map[string]any{}, []string{}
	var single map[string]any
	r := NewReader(bytes.NewReader(stream))
	for {
		msg, err := r.Next()
		var e Error
		if errors.As(err, &e) {
			words = append(words, e.Word())
			continue
		}
		if err != nil {
			break
		}
		m := map[string]any{"id": msg.ID, "type": msg.Type, "data": hex.EncodeToString(msg.Data)}
		messages = append(messages, m)
		single = describeMessage(msg, describe)
	}
	if len(messages) != 1 {
		single = map[string]any{}
	}
	single["messages"], single["errors"] = messages, words
	if r.Pending() {
		single["pending"] = true
	}
	return single
}

// describeMessage gives the form of one message.
func describeMessage(msg Message, describe Describer) map[string]any {
	var m map[string]any
	switch msg.Type {
	case TypeHello:
		m = describeHello(msg.Data)
	case TypeInfo:
		m = describeInfo(msg.Data)
	default:
		m = describeOther(msg, describe)
	}
	m["id"], m["type"], m["length"] = msg.ID, msg.Type, bodyMin+len(msg.Data)
	m["data"] = hex.EncodeToString(msg.Data)
	return m
}

func describeHello(data []byte) map[string]any {
	if h, err := ParseHello(data); err == nil {
		return map[string]any{
			"kind": "mux_request", "command": "mux_hello",
			"fields": map[string]any{"version": h.Version, "secret": hex.EncodeToString(h.Secret[:])},
		}
	}
	m := map[string]any{"kind": "mux_response", "command": "mux_hello"}
	h, err := ParseHelloResponse(data)
	if err != nil {
		m["error"] = BadData.Word()
		return m
	}
	fields := map[string]any{"RC": h.RC}
	if len(data) >= 2 {
		fields["version"] = h.Version
	}
	m["fields"] = fields
	describeRC(m, h.RC)
	return m
}

func describeInfo(data []byte) map[string]any {
	if len(data) == 0 {
		return map[string]any{"kind": "mux_request", "command": "mux_info", "fields": map[string]any{}}
	}
	m := map[string]any{"kind": "mux_response", "command": "mux_info"}
	i, err := ParseInfo(data)
	switch {
	case err == nil:
		m["fields"] = map[string]any{
			"RC": i.RC, "protocolVersion": i.ProtocolVersion,
			"major": i.Major, "minor": i.Minor, "release": i.Release, "build": i.Build,
		}
	case data[0] != RCOK:
		m["fields"] = map[string]any{"RC": data[0]}
	default:
		m["error"] = BadData.Word()
	}
	describeRC(m, data[0])
	return m
}

// describeOther gives the form of a notification, a request or a response.
func describeOther(msg Message, describe Describer) map[string]any {
	if describe == nil {
		if msg.Type == TypeNotification {
			return map[string]any{"kind": "mux_notification"}
		}
		return map[string]any{}
	}
	if msg.Type == TypeNotification {
		return withKind("mux_notification", describe(msg.Type, false, msg.Data))
	}
	request := describe(msg.Type, true, msg.Data)
	if len(msg.Data) == 0 {
		return withKind("mux_request", request)
	}
	response := describe(msg.Type, false, msg.Data)
	refused := msg.Data[0] != RCOK && len(msg.Data) > 1 // would be a refusal with fields
	if fits(request) && (!fits(response) || refused) {
		return withKind("mux_request", request)
	}
	m := withKind("mux_response", response)
	describeRC(m, msg.Data[0])
	return m
}

// withKind copies a form, which is its maker's.
func withKind(kind string, form map[string]any) map[string]any {
	m := make(map[string]any, len(form)+6)
	maps.Copy(m, form)
	m["kind"] = kind
	return m
}

// fits says whether data was just what a layout wants.
func fits(form map[string]any) bool {
	for _, key := range []string{"error", "missing", "trailing", "warnings"} {
		if _, there := form[key]; there {
			return false
		}
	}
	return form != nil
}

// describeRC adds a response code, and its name where it is the mux's own, whatever the manager means by that number.
func describeRC(m map[string]any, rc byte) {
	m["rc"] = rc
	switch rc {
	case RCOK:
		m["rc_name"] = "RC_OK"
	case RCInvalidCommand:
		m["rc_name"] = "RC_INVALID_COMMAND"
	case RCInvalidAuth:
		m["rc_name"] = "MUX_INVALID_AUTH"
	case RCUnsupportedVersion:
		m["rc_name"] = "MUX_UNSUPPORTED_VERSION"
	case RCCommandTimeout:
		m["rc_name"] = "MUX_COMMAND_TIMEOUT"
	}
}
