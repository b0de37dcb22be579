package smartmesh

import (
	"encoding/binary"
	"fmt"
	"reflect"
	"time"
)

// unmarshal reads the payload b into the struct v points to. It returns the number of fields that were wholly absent,
// which stay as they are, and the bytes after the last one. Slices of bytes become parts of b.
func (l *layout) unmarshal(v any, b []byte) (missing int, trailing []byte, err error) {
	s := reflect.ValueOf(v).Elem()
	c := cursor{rest: b}
	for i := range l.fields {
		f := &l.fields[i]
		raw, ok, err := c.next(f)
		if err != nil {
			return missing, nil, fmt.Errorf("%w: %s", err, f.name)
		}
		if !ok {
			if !f.optional {
				missing++
			}
			continue
		}
		f.set(s.Field(f.index), raw)
	}
	return missing, c.rest, nil
}

// set gives v the value of raw.
func (f *field) set(v reflect.Value, raw []byte) {
	if f.optional {
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	switch {
	case f.part != wholeValue:
		t := v.Addr().Interface().(*time.Time)
		if f.part == seconds {
			*t = time.Unix(int64(number(raw)), 0).UTC()
		} else {
			*t = t.Add(time.Duration(number(raw)) * time.Microsecond)
		}
	case f.kind == kindUint:
		v.SetUint(number(raw))
	case f.kind == kindInt:
		v.SetInt(signed(raw))
	case f.kind == kindBool:
		v.SetBool(raw[0] != 0)
	case f.kind == kindBytes:
		copy(v.Bytes(), raw)
	case f.kind == kindRest:
		v.SetBytes(raw)
	case f.kind == kindList:
		n := len(raw) / f.size
		list := reflect.MakeSlice(v.Type(), n, n)
		for i := range n {
			c := cursor{rest: raw[i*f.size:]}
			for j := range f.elem.fields {
				e := &f.elem.fields[j]
				part, _, _ := c.next(e)
				e.set(list.Index(i).Field(e.index), part)
			}
		}
		v.Set(list)
	}
}

// marshal appends the payload of the struct v points to. An optional field that is absent ends it. A count is that of
// the list.
func (l *layout) marshal(dst []byte, v any) []byte {
	return l.appendStruct(dst, reflect.ValueOf(v).Elem())
}

func (l *layout) appendStruct(dst []byte, s reflect.Value) []byte {
	for i := range l.fields {
		f := &l.fields[i]
		v := s.Field(f.index)
		if f.optional {
			if v.IsNil() {
				break
			}
			v = v.Elem()
		}
		dst = f.appendValue(dst, v)
	}
	return dst
}

func (f *field) appendValue(dst []byte, v reflect.Value) []byte {
	switch {
	case f.part != wholeValue:
		t := v.Addr().Interface().(*time.Time)
		if f.part == seconds {
			return appendNumber(dst, uint64(t.Unix()), f.size)
		}
		return appendNumber(dst, uint64(t.Nanosecond()/1000), f.size)
	case f.kind == kindUint:
		return appendNumber(dst, v.Uint(), f.size)
	case f.kind == kindInt:
		return appendNumber(dst, uint64(v.Int()), f.size)
	case f.kind == kindBool && v.Bool():
		return append(dst, 1)
	case f.kind == kindBool:
		return append(dst, 0)
	case f.kind == kindBytes, f.kind == kindRest:
		return append(dst, v.Bytes()...)
	}
	for i := range v.Len() {
		dst = f.elem.appendStruct(dst, v.Index(i))
	}
	return dst
}

// number reads a big-endian number of 1, 2, 4 or 8 bytes.
func number(raw []byte) uint64 {
	switch len(raw) {
	case 1:
		return uint64(raw[0])
	case 2:
		return uint64(binary.BigEndian.Uint16(raw))
	case 4:
		return uint64(binary.BigEndian.Uint32(raw))
	}
	return binary.BigEndian.Uint64(raw)
}

// signed reads the same in two's complement.
func signed(raw []byte) int64 {
	shift := 64 - 8*len(raw)
	return int64(number(raw)<<shift) >> shift
}

// appendNumber appends the low size bytes of n, big-endian.
func appendNumber(dst []byte, n uint64, size int) []byte {
	for shift := 8 * (size - 1); shift >= 0; shift -= 8 {
		dst = append(dst, byte(n>>shift))
	}
	return dst
}
