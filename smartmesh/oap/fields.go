package oap

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// EncodeFields makes the TLVs of a PUT from values by name, in ascending order of tag. A value is a number of any kind Go
// or JSON has, a bool (1 or 0), or a text with a number ("10000", "0x2710"); destAddr is a text, an IPv6 address or 32 hex
// digits. The error names the field that is unknown, read only, or out of range.
func EncodeFields(address []byte, values map[string]any) ([]Tag, error) {
	r, ok := Lookup(address)
	if !ok {
		return nil, fmt.Errorf("oap: the fields of resource %s are not known", FormatAddress(address))
	}
	tags := make([]Tag, 0, len(values))
	for _, name := range slices.Sorted(maps.Keys(values)) {
		i := slices.IndexFunc(r.Fields, func(f Field) bool { return f.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("oap: %s has no field %q: it has %s", r.Name, name, fieldNames(r.Fields))
		}
		f := r.Fields[i]
		if f.Access == ReadOnly {
			return nil, fmt.Errorf("oap: field %s of %s is read only", name, r.Name)
		}
		b, err := f.encode(values[name])
		if err != nil {
			return nil, fmt.Errorf("oap: field %s of %s: %w", name, r.Name, err)
		}
		tags = append(tags, Tag{Tag: f.Tag, Value: b})
	}
	slices.SortFunc(tags, func(a, b Tag) int { return int(a.Tag) - int(b.Tag) })
	return tags, nil
}

func fieldNames(fields []Field) string {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.Name
	}
	return strings.Join(names, ", ")
}

// encode gives the bytes of a value.
func (f Field) encode(v any) ([]byte, error) {
	if f.Type == Bytes16 {
		return encodeBytes16(v)
	}
	n, err := whole(v)
	if err != nil {
		return nil, err
	}
	lo, hi := f.Type.bounds()
	if n < lo || n > hi {
		return nil, fmt.Errorf("%d is out of range, %d to %d", n, lo, hi)
	}
	switch f.Type {
	case U8:
		return []byte{byte(n)}, nil
	case U32:
		return binary.BigEndian.AppendUint32(nil, uint32(n)), nil
	}
	return binary.BigEndian.AppendUint16(nil, uint16(n)), nil
}

// bounds gives the least and the greatest number a type can hold.
func (t Type) bounds() (lo, hi int64) {
	switch t {
	case U8:
		return 0, 1<<8 - 1
	case U16:
		return 0, 1<<16 - 1
	case U32:
		return 0, 1<<32 - 1
	}
	return -1 << 15, 1<<15 - 1
}

// whole makes a whole number of v.
func whole(v any) (int64, error) {
	switch v := v.(type) {
	case bool:
		if v {
			return 1, nil
		}
		return 0, nil
	case string:
		return wholeText(v)
	case json.Number:
		return wholeText(v.String())
	case float64:
		if v != float64(int64(v)) {
			return 0, fmt.Errorf("%v is no whole number, or too large", v)
		}
		return int64(v), nil
	case int, int8, int16, int32, int64, uint, uint8, uint16, uint32, uint64:
		return wholeText(fmt.Sprint(v))
	}
	return 0, fmt.Errorf("a number is wanted, not %s", kindOf(v))
}

func wholeText(s string) (int64, error) {
	digits, base := s, 10
	if after, ok := strings.CutPrefix(strings.ToLower(s), "0x"); ok {
		digits, base = after, 16
	}
	n, err := strconv.ParseInt(digits, base, 64)
	if err == nil {
		return n, nil
	}
	if x, ferr := strconv.ParseFloat(s, 64); ferr == nil && x == float64(int64(x)) {
		return int64(x), nil // 1e4, as JSON may write it
	}
	return 0, fmt.Errorf("%q is no whole number, or too large", s)
}

// kindOf names a value as the one who wrote it in JSON knows it.
func kindOf(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case string:
		return "a text"
	case []any:
		return "a list"
	case map[string]any:
		return "an object"
	case float64, json.Number:
		return "a number"
	}
	return fmt.Sprintf("%T", v)
}

func encodeBytes16(v any) ([]byte, error) {
	s, ok := v.(string)
	if !ok {
		return nil, fmt.Errorf("an IPv6 address or 32 hex digits are wanted, not %s", kindOf(v))
	}
	if b, err := hex.DecodeString(s); err == nil && len(b) == 16 {
		return b, nil
	}
	a, err := netip.ParseAddr(s)
	if err != nil || !a.Is6() || a.Zone() != "" {
		return nil, fmt.Errorf("%q is neither an IPv6 address nor 32 hex digits", s)
	}
	b := a.As16()
	return b[:], nil
}

// DecodeFields names the TLVs of a response. The address is the one that was asked for, since a mote may shorten it in its
// answer. Numbers are int64, of the length they were sent with; destAddr, and a number of more than 4 bytes, is hex; a value
// of length 0 is nil. A tag that is not in the table is kept as "tag_9", in hex.
func DecodeFields(address []byte, tags []Tag) map[string]any {
	r, _ := Lookup(address)
	m := make(map[string]any, len(tags))
	for _, t := range tags {
		if t.Tag == TagAddress {
			continue
		}
		i := slices.IndexFunc(r.Fields, func(f Field) bool { return f.Tag == t.Tag })
		switch {
		case i < 0:
			m["tag_"+strconv.Itoa(int(t.Tag))] = hex.EncodeToString(t.Value)
		default:
			m[r.Fields[i].Name] = r.Fields[i].decode(t.Value)
		}
	}
	return m
}

// decode gives the value of some bytes.
func (f Field) decode(b []byte) any {
	if len(b) == 0 {
		return nil
	}
	if f.Type == Bytes16 || len(b) > 4 {
		return hex.EncodeToString(b)
	}
	var n int64
	if f.Type == I16 && b[0]&0x80 != 0 {
		n = -1
	}
	for _, c := range b {
		n = n<<8 | int64(c)
	}
	return n
}

// Narrow gives the TLVs of a PUT in the form for motes that take sampleCount of a digital input as one byte and answer
// TooManyBytes to two. It is false where there is nothing to change.
func Narrow(address []byte, tags []Tag) ([]Tag, bool) {
	if len(address) != 2 || address[0] != AddrDigitalIn {
		return tags, false
	}
	for i, t := range tags {
		if t.Tag == 2 && len(t.Value) == 2 && t.Value[0] == 0 {
			tags = slices.Clone(tags)
			tags[i].Value = t.Value[1:]
			return tags, true
		}
	}
	return tags, false
}
