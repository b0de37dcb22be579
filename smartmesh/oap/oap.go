// Package oap is the language of motes that run the default firmware in master mode: they report temperature, analog and
// digital inputs, and take commands, in UDP datagrams on port 0xF0B9 (61625) inside the mesh.
//
//	0  control   bit 0 reliable, bit 1 response, bit 2 sync
//	1  id        high nibble session, low nibble sequence
//	2  command   1 GET  2 PUT  3 POST  4 DELETE  5 NOTIFICATION
//	3  request       address TLV, further TLVs
//	   response      result u8, TLVs (the first normally the address)
//	   notification  type u8, then by type
//
// A TLV is tag u8, length u8, value[length]; tag 0xFF holds the address, one byte for each level of its path. All numbers
// are big-endian. LED on, and one sample of 22.97 degrees C:
//
//	05 00 02 | ff 02 03 02 | 00 01 01
//	00 00 05 00 | ff 01 05 | 000000003d226bc6 | 00060eb3 | 00007530 | 01 | 10 | 08f9
//
// What Parse returns refers to the bytes of the payload and is valid as long as they are.
//
// Source: the SmartMesh SDK's OAPMessage, OAPNotif and OAPDefines; the vendor has not published a specification.
package oap

import (
	"encoding/binary"
	"strconv"
	"time"
)

// Port is the UDP port of OAP, in both directions. A payload is OAP when its destination port is this.
const Port = 0xF0B9

// Bits of the control byte.
const (
	controlReliable = 0x01
	controlResponse = 0x02
	controlSync     = 0x04
)

// TagAddress is the tag of the address TLV.
const TagAddress = 0xFF

// Command is what a message asks or tells.
type Command uint8

// The commands.
const (
	Get          Command = 1
	Put          Command = 2
	Post         Command = 3
	Delete       Command = 4
	Notification Command = 5
)

var commandNames = [...]string{Get: "GET", Put: "PUT", Post: "POST", Delete: "DELETE", Notification: "NOTIFICATION"}

// String gives the name, GET, or "command 9" for one that is not known.
func (c Command) String() string {
	if int(c) < len(commandNames) && commandNames[c] != "" {
		return commandNames[c]
	}
	return "command " + strconv.Itoa(int(c))
}

// Result is a mote's answer to a request. It has nothing to do with the manager's response codes.
type Result uint8

// The results.
const (
	OK           Result = 0
	NotFound     Result = 1
	NoResources  Result = 2
	UnkParam     Result = 3
	InvValue     Result = 4
	InvAddr      Result = 5
	NoSupport    Result = 6
	RdOnly       Result = 7
	WrOnly       Result = 8
	FewerBytes   Result = 9
	TooManyBytes Result = 10
	UnkError     Result = 11
	ExecSize     Result = 12
)

var resultNames = [...]string{
	"OK", "NOT_FOUND", "NO_RESOURCES", "UNK_PARAM", "INV_VALUE", "INV_ADDR", "NO_SUPPORT",
	"RD_ONLY", "WR_ONLY", "FEWER_BYTES", "TOO_MANY_BYTES", "UNK_ERROR", "EXEC_SIZE",
}

// String gives the name, INV_ADDR, or "result 77" for one that is not known.
func (r Result) String() string {
	if int(r) < len(resultNames) {
		return resultNames[r]
	}
	return "result " + strconv.Itoa(int(r))
}

// Error says why a payload could not be read. Its text ends with one of the words of the protocol reference.
type Error string

// What can be wrong with a payload. In each case it is to be passed on as plain data.
const (
	TooShort        Error = "oap_too_short"        // fewer than 3 bytes, or a response or notification without a fourth
	Truncated       Error = "oap_truncated"        // a TLV, a field or a sample runs beyond the end
	NoAddress       Error = "oap_no_address"       // the first TLV is not the address
	UnknownChannel  Error = "oap_unknown_channel"  // samples of something that is no temperature, analog or digital input
	BadSampleSize   Error = "oap_bad_sample_size"  // samples of neither 8 nor 16 bits
	UnsupportedType Error = "oap_unsupported_type" // a notification that is not 0, 1, 2 or 4
)

// Error gives the word after the name of the package.
func (e Error) Error() string { return "oap: " + string(e) }

// Word gives the word of the protocol reference, such as oap_truncated.
func (e Error) Word() string { return string(e) }

// Tag is one TLV.
type Tag struct {
	Tag   byte
	Value []byte // at most 255 bytes; none at all means "no value", which is not zero
}

// Request asks a mote for something. Requests are made by this side; one that comes from a mote is not meant for a client.
type Request struct {
	Session  uint8 // 0..15
	Sequence uint8 // 0..15, comes back in the response
	Sync     bool  // take Sequence as a new start: to be set always
	Reliable bool  // an answer is wanted
	Command  Command
	Address  []byte
	Tags     []Tag // what follows the address, in ascending order
}

// Response is a mote's answer to a request.
type Response struct {
	Session  uint8
	Sequence uint8
	Command  Command
	Result   Result
	Tags     []Tag // with the address, which a mote may have shortened
}

// Message is what Parse returns: a Request, Response, Sample, Stats, Digital or PkGen, by value.
type Message any

// Sample is a notification of type 0: values of an input, taken at regular intervals.
//
//	address TLV, utcSecs i64, utcUsecs i32, rate u32 ms, numSamples u8, sampleSize u8 (bits), samples
type Sample struct {
	Channel []byte        // address of the input: [5], [4,x] or [2,x], see Channel
	UTC     time.Time     // of the mote's sampling, in the manager's clock; see Times
	Rate    time.Duration // between two samples
	Size    int           // bits in a sample: 8, unsigned, or 16, signed
	Values  []int         // hundredths of a degree C, millivolts, or 0 and 1; may be empty
}

// Stats is a notification of type 1. The layout of what follows its head is not published.
type Stats struct {
	Channel []byte
	UTC     time.Time
	Rate    time.Duration
	Count   int // samples that went into the figures
	Size    int // bits in each figure
	Rest    []byte
}

// Digital is a notification of type 2: a digital input has changed.
//
//	address TLV, utcSecs i64, utcUsecs i32, newValue u8
type Digital struct {
	Channel []byte
	UTC     time.Time
	Value   uint8
}

// PkGen is a notification of type 4, from a mote's generator of test packets.
//
//	address TLV, pid u32, startPid u32, numPackets u32, payload
type PkGen struct {
	Channel    []byte
	PID        uint32 // counts from StartPID
	StartPID   uint32
	NumPackets uint32
	Payload    []byte
}

// Parse reads a payload that came to Port. The error is an Error.
func Parse(payload []byte) (Message, error) {
	if len(payload) < 3 {
		return nil, TooShort
	}
	switch {
	case payload[0]&controlResponse != 0:
		return parseResponse(payload)
	case Command(payload[2]) == Notification:
		return parseNotification(payload)
	}
	req, err := ParseRequest(payload)
	if err != nil {
		return nil, err
	}
	return req, nil
}

// parseResponse reads a response, whose control byte has already been looked at.
func parseResponse(payload []byte) (Message, error) {
	if len(payload) < 4 {
		return nil, TooShort
	}
	tags, err := parseTags(payload[4:])
	if err != nil {
		return nil, err
	}
	return Response{
		Session:  payload[1] >> 4,
		Sequence: payload[1] & 0x0F,
		Command:  Command(payload[2]),
		Result:   Result(payload[3]),
		Tags:     tags,
	}, nil
}

// ParseRequest reads a request. The error is an Error: TooShort, Truncated, or NoAddress.
func ParseRequest(payload []byte) (Request, error) {
	if len(payload) < 3 {
		return Request{}, TooShort
	}
	address, rest, err := cutAddress(payload[3:])
	if err != nil {
		return Request{}, err
	}
	tags, err := parseTags(rest)
	if err != nil {
		return Request{}, err
	}
	return Request{
		Session:  payload[1] >> 4,
		Sequence: payload[1] & 0x0F,
		Sync:     payload[0]&controlSync != 0,
		Reliable: payload[0]&controlReliable != 0,
		Command:  Command(payload[2]),
		Address:  address,
		Tags:     tags,
	}, nil
}

// AppendRequest appends a request to dst.
func AppendRequest(dst []byte, r Request) []byte {
	var control byte
	if r.Reliable {
		control |= controlReliable
	}
	if r.Sync {
		control |= controlSync
	}
	dst = append(dst, control, r.Session<<4|r.Sequence&0x0F, byte(r.Command))
	dst = appendTag(dst, Tag{Tag: TagAddress, Value: r.Address})
	return appendTags(dst, r.Tags)
}

func appendTags(dst []byte, tags []Tag) []byte {
	for _, t := range tags {
		dst = appendTag(dst, t)
	}
	return dst
}

// appendTag appends one TLV. Its length has one byte: of a longer value only the first 255 bytes are taken.
func appendTag(dst []byte, t Tag) []byte {
	value := t.Value[:min(len(t.Value), 255)]
	dst = append(dst, t.Tag, byte(len(value)))
	return append(dst, value...)
}

// parseTags reads TLVs to the end.
func parseTags(data []byte) ([]Tag, error) {
	n := 0
	for rest := data; len(rest) > 0; n++ {
		var err error
		if _, rest, err = cutTag(rest); err != nil {
			return nil, err
		}
	}
	if n == 0 {
		return nil, nil
	}
	tags := make([]Tag, n)
	for i := range tags {
		tags[i], data, _ = cutTag(data)
	}
	return tags, nil
}

// cutTag takes one TLV from the front of data.
func cutTag(data []byte) (tag Tag, rest []byte, err error) {
	if len(data) < 2 || len(data) < 2+int(data[1]) {
		return Tag{}, nil, Truncated
	}
	end := 2 + int(data[1])
	return Tag{Tag: data[0], Value: data[2:end:end]}, data[end:], nil
}

// cutAddress takes the address TLV from the front of data.
func cutAddress(data []byte) (address, rest []byte, err error) {
	tag, rest, err := cutTag(data)
	if err != nil {
		return nil, nil, err
	}
	if tag.Tag != TagAddress {
		return nil, nil, NoAddress
	}
	return tag.Value, rest, nil
}

// stamp reads utcSecs i64 and utcUsecs i32, 12 bytes.
func stamp(b []byte) time.Time {
	return time.Unix(int64(binary.BigEndian.Uint64(b)), int64(int32(binary.BigEndian.Uint32(b[8:])))*1000).UTC()
}
