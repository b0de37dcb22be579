package oap

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// First byte of the addresses that motes have.
const (
	AddrInfo        = 0
	AddrMain        = 1
	AddrDigitalIn   = 2
	AddrDigitalOut  = 3
	AddrAnalog      = 4
	AddrTemperature = 5
	AddrPkGen       = 254
)

// Addresses used most; not to be written to.
var (
	LED         = []byte{AddrDigitalOut, 2} // digital_out/INDICATOR_0
	Temperature = []byte{AddrTemperature}
)

// Access says what can be done with a field.
type Access string

// The kinds of access.
const (
	ReadOnly  Access = "r"
	WriteOnly Access = "w"
	ReadWrite Access = "rw"
)

// Type is the form of a field on the wire. A mote may send another length: the TLV's own counts.
type Type string

// The types.
const (
	U8      Type = "u8"
	U16     Type = "u16"
	U32     Type = "u32"
	I16     Type = "i16"
	Bytes16 Type = "bytes16" // an IPv6 address
)

// Field is one value of a resource.
type Field struct {
	Tag    byte
	Name   string
	Type   Type
	Access Access
	Unit   string // "", "ms", "mV", "0.01 C"
}

// Resource is something on a mote that has an address and fields.
type Resource struct {
	Name    string // "digital_out/INDICATOR_0"
	Address []byte
	Fields  []Field
}

var infoFields = []Field{
	{0, "swRevMaj", U8, ReadOnly, ""},
	{1, "swRevMin", U8, ReadOnly, ""},
	{2, "swRevPatch", U8, ReadOnly, ""},
	{3, "swRevBuild", U16, ReadOnly, ""},
	{4, "appId", U16, ReadOnly, ""},
	{5, "resetCounter", U32, ReadOnly, ""},
	{6, "changeCounter", U32, ReadOnly, ""},
}

var mainFields = []Field{
	{0, "destAddr", Bytes16, ReadWrite, ""},
	{1, "destPort", U16, ReadWrite, ""},
}

// The SDK disagrees with itself on sampleCount of a digital input: u16 in its table of fields, u8 in its Sensor class.
var digitalInFields = []Field{
	{0, "enable", U8, ReadWrite, ""},
	{1, "rate", U32, ReadWrite, "ms"},
	{2, "sampleCount", U16, ReadWrite, ""},
	{3, "dataFormat", U8, ReadWrite, ""},
	{4, "value", U8, ReadOnly, ""},
}

var digitalOutFields = []Field{
	{0, "value", U8, WriteOnly, ""},
}

var analogFields = []Field{
	{0, "enable", U8, ReadWrite, ""},
	{1, "rate", U32, ReadWrite, "ms"},
	{2, "sampleCount", U8, ReadWrite, ""},
	{3, "dataFormat", U8, ReadWrite, ""},
	{4, "value", U16, ReadOnly, "mV"},
}

var temperatureFields = []Field{
	{0, "enable", U8, ReadWrite, ""},
	{1, "rate", U32, ReadWrite, "ms"},
	{2, "sampleCount", U8, ReadWrite, ""},
	{3, "dataFormat", U8, ReadWrite, ""},
	{4, "value", I16, ReadOnly, "0.01 C"},
}

var pkGenFields = []Field{
	{0, "echo", U32, ReadWrite, ""},
	{1, "numPackets", U32, WriteOnly, ""},
	{2, "rate", U32, WriteOnly, "ms"},
	{3, "packetSize", U8, WriteOnly, ""},
	{4, "startPID", U32, WriteOnly, ""},
}

var resources = []Resource{
	{"info", []byte{AddrInfo}, infoFields},
	{"main", []byte{AddrMain}, mainFields},
	{"digital_in/D0", []byte{AddrDigitalIn, 0}, digitalInFields},
	{"digital_in/D1", []byte{AddrDigitalIn, 1}, digitalInFields},
	{"digital_in/D2", []byte{AddrDigitalIn, 2}, digitalInFields},
	{"digital_in/D3", []byte{AddrDigitalIn, 3}, digitalInFields},
	{"digital_out/D4", []byte{AddrDigitalOut, 0}, digitalOutFields},
	{"digital_out/D5", []byte{AddrDigitalOut, 1}, digitalOutFields},
	{"digital_out/INDICATOR_0", []byte{AddrDigitalOut, 2}, digitalOutFields},
	{"analog/A0", []byte{AddrAnalog, 0}, analogFields},
	{"analog/A1", []byte{AddrAnalog, 1}, analogFields},
	{"analog/A2", []byte{AddrAnalog, 2}, analogFields},
	{"analog/A3", []byte{AddrAnalog, 3}, analogFields},
	{"temperature", []byte{AddrTemperature}, temperatureFields},
	{"pkgen", []byte{AddrPkGen}, pkGenFields},
	{"pkgen/echo", []byte{AddrPkGen, 0}, pkGenFields[:1:1]},
}

// Resources gives all that motes are known to have, in the order of their addresses. The fields are not to be written to.
func Resources() []Resource { return slices.Clone(resources) }

// Lookup finds the resource with an address.
func Lookup(address []byte) (Resource, bool) {
	for _, r := range resources {
		if bytes.Equal(r.Address, address) {
			return r, true
		}
	}
	return Resource{}, false
}

// ParseAddress reads an address given by name ("temperature", "digital_out/INDICATOR_0", in any case) or by number ("3/2",
// also one that is in no table).
func ParseAddress(s string) ([]byte, error) {
	if address, ok := numbers(s); ok {
		return address, nil
	}
	var inside []string
	for _, r := range resources {
		if strings.EqualFold(r.Name, s) {
			return slices.Clone(r.Address), nil
		}
		if len(s) < len(r.Name) && strings.EqualFold(r.Name[:len(s)]+"/", s+r.Name[len(s):len(s)+1]) {
			inside = append(inside, r.Name)
		}
	}
	if inside != nil {
		return nil, fmt.Errorf("oap: %q is a group: use one of %s", s, strings.Join(inside, ", "))
	}
	return nil, fmt.Errorf("oap: no resource %q: use a name such as temperature or digital_out/INDICATOR_0, or numbers such as 3/2", s)
}

// numbers reads "3/2". The address must fit into a TLV with room to spare: 16 levels are more than any mote has.
func numbers(s string) ([]byte, bool) {
	parts := strings.Split(s, "/")
	if len(parts) > 16 {
		return nil, false
	}
	address := make([]byte, len(parts))
	for i, p := range parts {
		n, err := strconv.ParseUint(p, 10, 8)
		if err != nil {
			return nil, false
		}
		address[i] = byte(n)
	}
	return address, true
}

// FormatAddress gives the name of an address, or its numbers where it has none.
func FormatAddress(address []byte) string {
	if r, ok := Lookup(address); ok {
		return r.Name
	}
	parts := make([]string, len(address))
	for i, b := range address {
		parts[i] = strconv.Itoa(int(b))
	}
	return strings.Join(parts, "/")
}
