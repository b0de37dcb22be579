package smartmesh

import (
	"fmt"
	"reflect"
)

// An EnumValue is a number that has a name.
type EnumValue struct {
	Value uint8  `json:"value"`
	Name  string `json:"name"`
}

// The manager's enumerations, each one byte. A value that is not listed keeps its number.
type (
	AdvertisementState  uint8 // 0 is on: reversed from what one expects
	BackboneFrameMode   uint8
	CCAMode             uint8
	CommandResult       uint8
	DownstreamFrameMode uint8
	FrameProfile        uint8
	JoinFailure         uint8
	HelloMode           uint8
	MoteState           uint8
	NetworkState        uint8
	Priority            uint8
	PathDirection       uint8
	PathFilter          uint8
	RadiotestType       uint8
	ResetType           uint8
	SeqSize             uint8
	SuccessCode         uint8
	UserRole            uint8
)

// Values that a program uses by name.
const (
	AdvertisementOn  AdvertisementState = 0
	AdvertisementOff AdvertisementState = 1

	CommandOK      CommandResult = 0
	CommandNack    CommandResult = 1
	CommandTimeout CommandResult = 2

	DownstreamNormal DownstreamFrameMode = 0
	DownstreamFast   DownstreamFrameMode = 1

	StateLost        MoteState = 0
	StateNegotiating MoteState = 1
	StateOperational MoteState = 4

	NetworkOperational NetworkState = 0

	PriorityLow    Priority = 0
	PriorityMedium Priority = 1
	PriorityHigh   Priority = 2

	PathNone       PathDirection = 0
	PathUnused     PathDirection = 1
	PathUpstream   PathDirection = 2
	PathDownstream PathDirection = 3

	PathsAll      PathFilter = 0
	PathsUpstream PathFilter = 1

	ResetSystem ResetType = 0
	ResetMote   ResetType = 2

	HelloSuccess            SuccessCode = 0
	HelloUnsupportedVersion SuccessCode = 1
	HelloInvalidMode        SuccessCode = 2
)

// An enum is the list of an enumeration's values, with the name the protocol's documents give it.
type enum struct {
	name   string
	values []EnumValue
}

// enums has the lists by the Go types of the fields.
var enums = map[reflect.Type]*enum{
	reflect.TypeFor[AdvertisementState]():  {"advertisementState", []EnumValue{{0, "on"}, {1, "off"}}},
	reflect.TypeFor[BackboneFrameMode]():   {"backboneFrameMode", []EnumValue{{0, "off"}, {1, "upstream"}, {2, "bidirectional"}}},
	reflect.TypeFor[CCAMode]():             {"ccaMode", []EnumValue{{0, "off"}, {1, "energy"}, {2, "carrier"}, {3, "both"}}},
	reflect.TypeFor[CommandResult]():       {"commandFinishedResult", []EnumValue{{0, "OK"}, {1, "nack"}, {2, "commandTimeout"}}},
	reflect.TypeFor[DownstreamFrameMode](): {"downstreamFrameMode", []EnumValue{{0, "normal"}, {1, "fast"}}},
	reflect.TypeFor[FrameProfile]():        {"frameProfile", []EnumValue{{1, "Profile_01"}}},
	reflect.TypeFor[JoinFailure](): {"joinFailedReason", []EnumValue{{0, "counter"}, {1, "notOnACL"},
		{2, "authentication"}, {3, "unexpected"}}},
	reflect.TypeFor[HelloMode](): {"mode", []EnumValue{{0, "legacy"}}},
	reflect.TypeFor[MoteState](): {"moteState", []EnumValue{{0, "lost"}, {1, "negotiating"}, {4, "operational"}}},
	reflect.TypeFor[NetworkState](): {"networkState", []EnumValue{{0, "operational"}, {1, "radiotest"}, {2, "notStarted"},
		{3, "errorStartup"}, {4, "errorConfig"}, {5, "errorLicense"}}},
	reflect.TypeFor[Priority]():      {"packetPriority", []EnumValue{{0, "Low"}, {1, "Medium"}, {2, "High"}}},
	reflect.TypeFor[PathDirection](): {"pathDirection", []EnumValue{{0, "none"}, {1, "unused"}, {2, "upstream"}, {3, "downstream"}}},
	reflect.TypeFor[PathFilter]():    {"pathFilter", []EnumValue{{0, "all"}, {1, "upstream"}}},
	reflect.TypeFor[RadiotestType](): {"radiotestType", []EnumValue{{0, "packet"}, {1, "cm"}, {2, "cw"}, {3, "pkcca"}}},
	reflect.TypeFor[ResetType]():     {"resetType", []EnumValue{{0, "resetSystem"}, {2, "resetMote"}}},
	reflect.TypeFor[SeqSize](): {"seqSize", []EnumValue{{0, "0"}, {1, "1"}, {2, "2"}, {3, "3"}, {4, "4"}, {5, "5"},
		{6, "6"}, {7, "7"}, {8, "8"}, {9, "9"}, {10, "10"}}},
	reflect.TypeFor[SuccessCode](): {"successCode", []EnumValue{{0, "success"}, {1, "unsupported_version"}, {2, "invalid_mode"}}},
	reflect.TypeFor[UserRole]():    {"userRole", []EnumValue{{0, "viewer"}, {1, "user"}}},
}

// text gives the name of v, or "" where it has none.
func (e *enum) text(v uint8) string {
	for _, known := range e.values {
		if known.Value == v {
			return known.Name
		}
	}
	return ""
}

// enumText gives the name of v, or its number with the name of its enumeration.
func enumText[T ~uint8](v T) string {
	e := enums[reflect.TypeFor[T]()]
	if s := e.text(uint8(v)); s != "" {
		return s
	}
	return fmt.Sprintf("%s(%d)", e.name, uint8(v))
}

func (v AdvertisementState) String() string  { return enumText(v) }
func (v BackboneFrameMode) String() string   { return enumText(v) }
func (v CCAMode) String() string             { return enumText(v) }
func (v CommandResult) String() string       { return enumText(v) }
func (v DownstreamFrameMode) String() string { return enumText(v) }
func (v FrameProfile) String() string        { return enumText(v) }
func (v JoinFailure) String() string         { return enumText(v) }
func (v HelloMode) String() string           { return enumText(v) }
func (v MoteState) String() string           { return enumText(v) }
func (v NetworkState) String() string        { return enumText(v) }
func (v Priority) String() string            { return enumText(v) }
func (v PathDirection) String() string       { return enumText(v) }
func (v PathFilter) String() string          { return enumText(v) }
func (v RadiotestType) String() string       { return enumText(v) }
func (v ResetType) String() string           { return enumText(v) }
func (v SeqSize) String() string             { return enumText(v) }
func (v SuccessCode) String() string         { return enumText(v) }
func (v UserRole) String() string            { return enumText(v) }
