package smartmesh

import (
	"bytes"
	"encoding/json"
	"slices"
)

// A CommandInfo describes one command of the API for people and for generic callers.
type CommandInfo struct {
	Name      string      `json:"name"`
	ID        byte        `json:"id"`
	Meaning   string      `json:"meaning"`
	Request   []FieldInfo `json:"request"`
	Response  []FieldInfo `json:"response"`
	Changes   bool        `json:"changes"`   // has an effect beyond reading
	Dangerous bool        `json:"dangerous"` // may strand, stop or reconfigure the network or the manager
	Secret    bool        `json:"secret"`    // some field is
}

// A FieldInfo describes one field of a payload.
type FieldInfo struct {
	Name     string      `json:"name"`
	Type     string      `json:"type"`           // uint8..uint64, int8..int32, bool, bytes, rest, array
	Size     int         `json:"size,omitempty"` // bytes; of one element for an array, 0 for a rest
	Meaning  string      `json:"meaning"`
	EnumName string      `json:"enum,omitempty"`
	Enum     []EnumValue `json:"values,omitempty"`
	Optional bool        `json:"optional,omitempty"` // an older manager leaves it out; in a request it may be left out, and is 0
	Secret   bool        `json:"secret,omitempty"`   // never to be logged or published
	Element  []FieldInfo `json:"element,omitempty"`  // of an array
}

// Commands lists the API by number.
func Commands() []CommandInfo {
	list := make([]CommandInfo, 0, len(specs))
	for _, s := range specs {
		list = append(list, CommandInfo{
			Name: s.name, ID: s.id, Meaning: s.meaning,
			Request:   s.req.info(),
			Response:  append([]FieldInfo{{Name: "RC", Type: "uint8", Size: 1, Meaning: "response code", EnumName: "RC"}}, s.resp.info()...),
			Changes:   s.is(changes),
			Dangerous: s.is(dangerous),
			Secret:    s.req.isSecret() || s.resp.isSecret(),
		})
	}
	slices.SortFunc(list, func(a, b CommandInfo) int { return int(a.ID) - int(b.ID) })
	return list
}

func (l *layout) info() []FieldInfo {
	list := []FieldInfo{}
	for i := range l.fields {
		f := &l.fields[i]
		if f.flat {
			for i := range maxList {
				for _, e := range f.elem.info() {
					e.Name = flatName(field{name: e.Name}, i)
					list = append(list, e)
				}
			}
			continue
		}
		info := FieldInfo{Name: f.name, Type: f.typeName(), Size: f.size, Meaning: f.meaning,
			Optional: f.optional || f.zero, Secret: f.secret}
		if f.enum != nil {
			info.EnumName, info.Enum = f.enum.name, f.enum.values
		}
		if f.elem != nil {
			info.Element = f.elem.info()
		}
		list = append(list, info)
	}
	return list
}

// Redact gives the fields of a command's request or response with its secrets replaced, for logs and publications.
// Fields that are not a JSON object it replaces altogether when the command has secrets.
func Redact(command string, fields json.RawMessage) json.RawMessage {
	row, err := specNamed(command)
	if err != nil || len(bytes.TrimSpace(fields)) == 0 {
		return fields
	}
	var given map[string]json.RawMessage
	if !row.req.isSecret() && !row.resp.isSecret() {
		return fields
	}
	if json.Unmarshal(fields, &given) != nil {
		return json.RawMessage(`"(secret)"`)
	}
	for _, f := range slices.Concat(row.req.fields, row.resp.fields) {
		if _, ok := given[f.name]; ok && f.secret {
			given[f.name] = json.RawMessage(`"(secret)"`)
		}
	}
	out, err := json.Marshal(given)
	if err != nil {
		return json.RawMessage(`"(secret)"`)
	}
	return out
}
