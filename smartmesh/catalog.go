package smartmesh

import (
	"cmp"
	"maps"
	"slices"
)

// A NoticeInfo describes a notification or an event for people.
type NoticeInfo struct {
	Name   string      `json:"name"`
	ID     uint8       `json:"id"` // notifType, or eventType
	Fields []FieldInfo `json:"fields"`
}

// An EnumInfo is an enumeration with all its names.
type EnumInfo struct {
	Name   string      `json:"name"`
	Values []EnumValue `json:"values"`
}

// A CodeInfo is a response code.
type CodeInfo struct {
	Code    RC     `json:"code"`
	Name    string `json:"name"`
	Meaning string `json:"meaning"`
}

// Notifications lists the types of notification by number. The fields of notifEvent are those that stand before every
// event's own.
func Notifications() []NoticeInfo { return notices(notifications) }

// Events lists the events by number.
func Events() []NoticeInfo { return notices(events) }

func notices[K ~uint8](rows map[K]*notice) []NoticeInfo {
	var list []NoticeInfo
	for _, id := range slices.Sorted(maps.Keys(rows)) {
		list = append(list, NoticeInfo{rows[id].name, uint8(id), rows[id].layout.info()})
	}
	return list
}

// Enums lists the enumerations by name.
func Enums() []EnumInfo {
	var list []EnumInfo
	for _, e := range enums {
		list = append(list, EnumInfo{e.name, slices.Clone(e.values)})
	}
	slices.SortFunc(list, func(a, b EnumInfo) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

// ResponseCodes lists the response codes that have names, by number.
func ResponseCodes() []CodeInfo {
	var list []CodeInfo
	for _, c := range slices.Sorted(maps.Keys(responseCodes)) {
		list = append(list, CodeInfo{c, responseCodes[c].name, responseCodes[c].meaning})
	}
	return list
}
