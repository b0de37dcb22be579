package smartmesh

import (
	"encoding/hex"
	"fmt"
	"reflect"
	"strings"
	"time"
)

// A NotifType is the first byte of a notification's payload. The bit 1<<type is its place in a Filter.
type NotifType uint8

// The notification types. 0 and 3 are reserved.
const (
	NotifEvent          NotifType = 1
	NotifLog            NotifType = 2
	NotifData           NotifType = 4
	NotifIPData         NotifType = 5
	NotifHealthReport   NotifType = 6
	NotifRadioTestStats NotifType = 7
)

// A Notification is what the manager sends unasked.
type Notification struct {
	Reliable bool
	Type     NotifType
	Event    EventType // only of a NotifEvent, as is EventID
	EventID  uint32    // running number, anew when the manager boots
	Body     any       // pointer to one of the structs below, or nil for a number not known
	Raw      []byte    // the payload, valid during the call, as are all slices of bytes within Body
	Err      error     // why there is no Body
}

// DataNotification is a UDP payload from a mote to the manager.
type DataNotification struct {
	UTC     time.Time `sm:"utcSecs+utcUsecs"` // when the packet was made at the mote, on the manager's clock; see Clock
	MAC     MAC       `sm:"macAddress" doc:"EUI-64 of the mote"`
	SrcPort uint16    `sm:"srcPort" doc:"UDP source port"`
	DstPort uint16    `sm:"dstPort" doc:"UDP destination port"`
	Data    []byte    `sm:"data" doc:"payload, to the end of the packet"`
}

// IPData is a 6LoWPAN packet from a mote to an address other than the manager's.
type IPData struct {
	UTC  time.Time `sm:"utcSecs+utcUsecs"`
	MAC  MAC       `sm:"macAddress" doc:"EUI-64 of the mote"`
	Data []byte    `sm:"data" doc:"6LoWPAN packet, to the end of the packet"`
}

// HealthReport is a mote's health report, to be read by package health.
type HealthReport struct {
	MAC     MAC    `sm:"macAddress" doc:"EUI-64 of the mote"`
	Payload []byte `sm:"payload" doc:"health report messages, to the end of the packet"`
}

// LogNotification is a piece of the log of a mote or the manager; not necessarily UTF-8.
type LogNotification struct {
	MAC MAC    `sm:"macAddress" doc:"EUI-64 of the mote (or manager)"`
	Msg []byte `sm:"logMsg" doc:"log text, to the end of the packet"`
}

// RadioTestStats is the result of a packet-error-rate receive test.
type RadioTestStats struct {
	NumRxOK   uint16 `sm:"numRxOK" doc:"good packets"`
	NumRxErr  uint16 `sm:"numRxErr" doc:"bad packets"`
	NumRxInv  uint16 `sm:"numRxInv" doc:"unrelated packets"`
	NumRxMiss uint16 `sm:"numRxMiss" doc:"missed packets"`
	PERInt    uint16 `sm:"perInt" doc:"error rate, integer part"`
	PERFrac   uint16 `sm:"perFrac" doc:"error rate, fraction part"`
}

// eventHead is what stands before every event's own fields.
type eventHead struct {
	ID   uint32 `sm:"eventId" doc:"running event number"`
	Type uint8  `sm:"eventType" doc:"selects the layout that follows"`
}

const (
	notifHeadSize = 1
	eventHeadSize = 5
)

// A notice is one row of the notifications or events: a name and the layout of what follows the number.
type notice struct {
	name   string
	layout *layout
	make   func() any
}

func row[T any](name string) *notice {
	return &notice{name, layoutOf[T](), func() any { return new(T) }}
}

var notifications = map[NotifType]*notice{
	NotifEvent:          row[eventHead]("notifEvent"),
	NotifLog:            row[LogNotification]("notifLog"),
	NotifData:           row[DataNotification]("notifData"),
	NotifIPData:         row[IPData]("notifIpData"),
	NotifHealthReport:   row[HealthReport]("notifHealthReport"),
	NotifRadioTestStats: row[RadioTestStats]("notifRadiotestStatsPER"),
}

// ParseNotification reads a notification packet. It always gives what can be known: a number that is not known, or a
// field that is missing, leaves Body nil and says so in Err.
func ParseNotification(p Packet) Notification {
	n := Notification{Reliable: p.isReliable(), Raw: p.Payload}
	if len(p.Payload) < notifHeadSize {
		n.Err = fmt.Errorf("smartmesh: notification: %w: notifType", errTruncated)
		return n
	}
	n.Type = NotifType(p.Payload[0])
	body, what := p.Payload[notifHeadSize:], notifications[n.Type]
	if what == nil {
		n.Err = fmt.Errorf("smartmesh: %w %d", errUnknownNotif, n.Type)
		return n
	}
	if n.Type == NotifEvent {
		if len(body) >= 4 {
			n.EventID = uint32(number(body[:4]))
		}
		if len(body) < eventHeadSize {
			n.Err = fmt.Errorf("smartmesh: event: %w", errTruncated)
			return n
		}
		n.Event = EventType(body[4])
		body, what = body[eventHeadSize:], events[n.Event]
		if what == nil {
			n.Err = fmt.Errorf("smartmesh: %w %d", errUnknownEvent, n.Event)
			return n
		}
	}
	v := what.make()
	missing, _, err := what.layout.unmarshal(v, body)
	if err == nil && missing > 0 {
		err = errTruncated
	}
	if err != nil {
		n.Err = fmt.Errorf("smartmesh: %s: %w", what.name, err)
		return n
	}
	n.Body = v
	return n
}

// EventName gives an event's name without the leading "event", first letter in lower case: "moteJoin". A notification
// that is no event has its own name, without "notif": "log". What is not known is "event99" or "notif9".
func (n Notification) EventName() string {
	what, kind, number := notifications[n.Type], "notif", byte(n.Type)
	if n.Type == NotifEvent {
		what, kind, number = events[n.Event], "event", byte(n.Event)
	}
	if what == nil {
		return fmt.Sprintf("%s%d", kind, number)
	}
	name := strings.TrimPrefix(what.name, kind)
	return strings.ToLower(name[:1]) + name[1:]
}

// Name gives the notification's name in the protocol's documents: "notifData", and "eventMoteJoin" for an event.
func (n Notification) Name() string {
	what := notifications[n.Type]
	if n.Type == NotifEvent {
		what = events[n.Event]
	}
	if what == nil {
		return "unknown"
	}
	return what.name
}

// Fields gives the body's fields by their documented names, ready for JSON: MACs with dashes, bytes in hex, numbers and
// enumerations as numbers. An unknown body is given as "data", in hex.
func (n Notification) Fields() map[string]any {
	what := notifications[n.Type]
	rest := notifHeadSize
	if n.Type == NotifEvent {
		what = events[n.Event]
		rest += eventHeadSize
	}
	if n.Body == nil || what == nil || reflect.TypeOf(n.Body).Elem() != what.layout.typ {
		return map[string]any{"data": hex.EncodeToString(n.Raw[min(rest, len(n.Raw)):])}
	}
	out, err := what.layout.describe(what.layout.marshal(nil, n.Body), dashes)
	if err != nil {
		panic(fmt.Sprintf("smartmesh: %s does not read what it writes: %v", what.name, err))
	}
	return out.fields
}
