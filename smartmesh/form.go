package smartmesh

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// A style says how addresses are written: as bare hex, as in the golden vectors, or with dashes, as everywhere else.
type style bool

const (
	bareHex style = false
	dashes  style = true
)

// A form is a payload as names and values, ready for JSON: numbers as numbers, enumerations too, bytes in hex.
type form struct {
	fields   map[string]any
	missing  []string // fields wholly absent after the last byte
	warnings []string
	trailing []byte // after the last field
}

// describe makes the form of payload b.
func (l *layout) describe(b []byte, st style) (form, error) {
	out := form{fields: make(map[string]any, len(l.fields))}
	c := cursor{rest: b}
	for i := range l.fields {
		f := &l.fields[i]
		raw, ok, err := c.next(f)
		switch {
		case err != nil:
			return form{}, fmt.Errorf("%w: %s", err, f.name)
		case !ok:
			out.missing = append(out.missing, f.name)
		case f.kind != kindList:
			out.put(f, f.name, raw, st)
		case f.flat:
			for i := range len(raw) / f.size {
				out.putElement(f.elem, raw[i*f.size:], st, func(e field) string { return flatName(e, i) })
			}
		default:
			list := make([]map[string]any, 0, maxList)
			for i := range len(raw) / f.size {
				element := form{fields: make(map[string]any)}
				element.putElement(f.elem, raw[i*f.size:], st, func(e field) string { return e.name })
				list = append(list, element.fields)
			}
			out.fields[f.name] = list
		}
	}
	out.trailing = c.rest
	return out, nil
}

// putElement puts one element of a list.
func (out *form) putElement(l *layout, raw []byte, st style, name func(field) string) {
	c := cursor{rest: raw}
	for i := range l.fields {
		part, _, _ := c.next(&l.fields[i])
		out.put(&l.fields[i], name(l.fields[i]), part, st)
	}
}

// put puts one value, and a warning where it is odd.
func (out *form) put(f *field, name string, raw []byte, st style) {
	switch f.kind {
	case kindUint:
		out.fields[name] = number(raw)
		if f.enum != nil && f.enum.text(raw[0]) == "" {
			out.warnings = append(out.warnings, "unknown_enum:"+name)
		}
	case kindInt:
		out.fields[name] = signed(raw)
	case kindBool:
		out.fields[name] = raw[0] != 0
		if raw[0] > 1 {
			out.warnings = append(out.warnings, "bad_bool:"+name)
		}
	default:
		if st == dashes && f.kind == kindBytes && len(raw) == len(MAC{}) {
			out.fields[name] = MAC(raw).String()
		} else {
			out.fields[name] = hex.EncodeToString(raw)
		}
	}
}

// parse makes the payload of the form's fields, the strict reverse of describe. Enumerations may be given by name,
// numbers as text, MACs in any form ParseMAC reads. The error names the fields there are.
func (l *layout) parse(fields json.RawMessage) ([]byte, error) {
	given, err := l.readFields(fields)
	if err != nil {
		return nil, err
	}
	var out []byte
	count := 0 // of the list that follows
	for i := range l.fields {
		f := &l.fields[i]
		if f.kind == kindList {
			out, err = f.takeList(out, count, given)
		} else {
			out, err = f.take(out, f.name, given)
		}
		if err != nil {
			return nil, err
		}
		if f.counts {
			count = int(out[len(out)-1])
		}
		if count > maxList {
			return nil, fmt.Errorf("field %q: at most %d", f.name, maxList)
		}
	}
	for name := range given {
		return nil, fmt.Errorf("field %q is more than the list holds", name)
	}
	if len(out) > maxPayload {
		return nil, fmt.Errorf("%d bytes of fields, at most %d fit", len(out), maxPayload)
	}
	return out, nil
}

// readFields reads a JSON object of fields of which all are known; nothing and null are one without any.
func (l *layout) readFields(fields json.RawMessage) (map[string]any, error) {
	given := map[string]any{}
	if len(bytes.TrimSpace(fields)) > 0 {
		d := json.NewDecoder(bytes.NewReader(fields))
		d.UseNumber()
		if err := d.Decode(&given); err != nil {
			return nil, fmt.Errorf("fields: %w", err)
		}
		if d.More() {
			return nil, errors.New("fields: something follows the object")
		}
	}
	known := l.names()
	for name := range given {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("unknown field %q; %s", name, fieldList(known))
		}
	}
	return given, nil
}

// takeList takes the elements of a flat list.
func (f *field) takeList(dst []byte, count int, given map[string]any) (_ []byte, err error) {
	for i := range count {
		for j := range f.elem.fields {
			e := &f.elem.fields[j]
			if dst, err = e.take(dst, flatName(*e, i), given); err != nil {
				return nil, err
			}
		}
	}
	return dst, nil
}

// fieldList says which fields there are.
func fieldList(names []string) string {
	if len(names) == 0 {
		return "there are no fields"
	}
	return "the fields are " + strings.Join(names, ", ")
}

// take appends the value given under name and takes it out of the map.
func (f *field) take(dst []byte, name string, given map[string]any) ([]byte, error) {
	v, ok := given[name]
	if !ok {
		if f.zero {
			return append(dst, make([]byte, f.size)...), nil
		}
		return nil, fmt.Errorf("field %q is missing", name)
	}
	delete(given, name)
	dst, err := f.appendGiven(dst, v)
	if err != nil && f.secret {
		return nil, fmt.Errorf("field %q: not %d bytes in hex", name, f.size)
	}
	if err != nil {
		return nil, fmt.Errorf("field %q: %w", name, err)
	}
	return dst, nil
}

func (f *field) appendGiven(dst []byte, v any) ([]byte, error) {
	text, isText := v.(string)
	switch n := v.(type) {
	case json.Number:
		text = n.String()
	case bool:
		text = strconv.FormatBool(n)
	}
	switch f.kind {
	case kindUint:
		if _, isBool := v.(bool); isBool || text == "" {
			return nil, fmt.Errorf("%v is not a number", v)
		}
		if f.enum != nil {
			if i := slices.IndexFunc(f.enum.values, func(e EnumValue) bool { return strings.EqualFold(e.Name, text) }); i >= 0 {
				return append(dst, f.enum.values[i].Value), nil
			}
		}
		n, err := strconv.ParseUint(text, 0, 8*f.size)
		return appendNumber(dst, n, f.size), err
	case kindInt:
		n, err := strconv.ParseInt(text, 0, 8*f.size)
		return appendNumber(dst, uint64(n), f.size), err
	case kindBool:
		b, err := strconv.ParseBool(text)
		if b {
			return append(dst, 1), err
		}
		return append(dst, 0), err
	}
	if !isText {
		return nil, fmt.Errorf("%v is not text in hex", v)
	}
	raw, err := parseBytes(text, f.size)
	if err == nil && f.kind == kindBytes && len(raw) != f.size {
		err = fmt.Errorf("%d bytes, not %d", len(raw), f.size)
	}
	return append(dst, raw...), err
}

// parseBytes reads bytes in hex, a MAC in its forms where there are to be 8 bytes, an IPv6 address where 16.
func parseBytes(text string, size int) ([]byte, error) {
	switch size {
	case len(MAC{}):
		m, err := ParseMAC(text)
		return m[:], err
	case len(IPv6{}):
		if a, err := netip.ParseAddr(text); err == nil && a.Is6() && strings.Contains(text, ":") {
			raw := a.As16()
			return raw[:], nil
		}
	}
	return hex.DecodeString(text)
}

// isSecret tells whether any field of the layout is.
func (l *layout) isSecret() bool {
	return slices.ContainsFunc(l.fields, func(f field) bool { return f.secret })
}
