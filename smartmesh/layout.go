package smartmesh

import (
	"fmt"
	"reflect"
	"strings"
	"time"
)

// A payload's layout is the struct that documents it: its fields in order, big-endian, their protocol names and options
// in the tag `sm`, their meaning in the tag `doc`.
//
//	uint8..uint64, int8..int32    that many bytes
//	bool                          one byte, 0 or 1
//	[n]byte                       n bytes
//	[]byte                        all that is left
//	*T                            T, absent at the end of what an older manager sends (option opt)
//	time.Time                     seconds u64 and microseconds u32, under two names joined by "+"
//	[]struct                      as many as the field with option count says, at most ten
//
// Further options: flat, a list whose elements' fields are numbered from 1 in place of making a list of their own, and
// all there; zero, may be left out of a request's fields and is 0 then; secret, never to be logged or published.
type layout struct {
	typ    reflect.Type
	fields []field
	size   int // of the fixed part
}

type kind uint8

const (
	kindUint kind = iota
	kindInt
	kindBool
	kindBytes
	kindRest
	kindList
)

// kindNames are the type names of the protocol's documents; numbers get their width in bits as well.
var kindNames = [...]string{"uint", "int", "bool", "bytes", "rest", "array"}

// Parts of a time.
const (
	wholeValue = iota
	seconds
	microseconds
)

// maxList is the largest number of elements in a list.
const maxList = 10

type field struct {
	name, meaning string
	kind          kind
	size          int // bytes of the value, or of one element
	index         int // of the struct's field
	part          int
	enum          *enum
	elem          *layout // of a list

	optional, secret, zero, counts, flat bool
}

// layoutOf reads a struct type's tags. It panics on a type that is no layout: a mistake in this package's tables.
func layoutOf[T any]() *layout { return makeLayout(reflect.TypeFor[T]()) }

func makeLayout(t reflect.Type) *layout {
	l := &layout{typ: t}
	for i := range t.NumField() {
		sf := t.Field(i)
		tag, tagged := sf.Tag.Lookup("sm")
		if !tagged {
			continue // not on the wire
		}
		for _, f := range makeFields(sf, tag) {
			f.index = i
			l.fields = append(l.fields, f)
			if f.kind != kindList {
				l.size += f.size
			}
		}
	}
	return l
}

func makeFields(sf reflect.StructField, tag string) []field {
	name, options, _ := strings.Cut(tag, ",")
	f := field{name: name, meaning: sf.Tag.Get("doc")}
	for o := range strings.SplitSeq(options, ",") {
		switch o {
		case "opt":
			f.optional = true
		case "secret":
			f.secret = true
		case "zero":
			f.zero = true
		case "count":
			f.counts = true
		case "flat":
			f.flat = true
		case "":
		default:
			panic(fmt.Sprintf("smartmesh: option %q of %s", o, sf.Name))
		}
	}
	t := sf.Type
	if t == reflect.TypeFor[time.Time]() {
		secs, usecs := f, f
		secs.name, usecs.name, _ = strings.Cut(name, "+")
		secs.size, secs.part, secs.meaning = 8, seconds, "whole seconds of the time stamp"
		usecs.size, usecs.part, usecs.meaning = 4, microseconds, "microseconds within that second"
		return []field{secs, usecs}
	}
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	f.setType(t)
	return []field{f}
}

func (f *field) setType(t reflect.Type) {
	f.enum = enums[t]
	f.size = int(t.Size())
	switch t.Kind() {
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		f.kind = kindUint
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		f.kind = kindInt
	case reflect.Bool:
		f.kind = kindBool
	case reflect.Array:
		f.kind = kindBytes
	case reflect.Slice:
		f.kind, f.size = kindRest, 0
		if t.Elem().Kind() == reflect.Struct {
			f.kind, f.elem = kindList, makeLayout(t.Elem())
			f.size = f.elem.size
		}
	default:
		panic(fmt.Sprintf("smartmesh: %s has a layout of no kind: %v", f.name, t))
	}
}

// typeName gives the type as the protocol's documents do: uint16, bytes, rest.
func (f *field) typeName() string {
	if f.kind == kindUint || f.kind == kindInt {
		return fmt.Sprintf("%s%d", kindNames[f.kind], 8*f.size)
	}
	return kindNames[f.kind]
}

// names lists the fields.
func (l *layout) names() []string {
	var names []string
	for _, f := range l.fields {
		if !f.flat {
			names = append(names, f.name)
			continue
		}
		for i := range maxList {
			for _, e := range f.elem.fields {
				names = append(names, flatName(e, i))
			}
		}
	}
	return names
}

// flatName gives the name of a field in element i of a flat list.
func flatName(f field, i int) string { return fmt.Sprintf("%s_%d", f.name, i+1) }

// A cursor cuts a payload into its fields.
type cursor struct {
	rest  []byte
	count int  // of the list that follows
	ended bool // a field was wholly absent, and so are all after it
}

// next cuts off the bytes of f. It is not ok when nothing of f is left; a part of f is an error.
func (c *cursor) next(f *field) (raw []byte, ok bool, err error) {
	n := f.size
	switch f.kind {
	case kindRest:
		n = len(c.rest)
	case kindList:
		n *= min(c.count, maxList)
		if !f.flat && n > len(c.rest) { // fewer whole elements than announced are fine
			if len(c.rest)%f.size != 0 {
				return nil, false, errTruncated
			}
			n = len(c.rest)
		}
	}
	if c.ended || n > 0 && len(c.rest) == 0 {
		c.ended = true
		return nil, false, nil
	}
	if n > len(c.rest) {
		return nil, false, errTruncated
	}
	raw, c.rest = c.rest[:n], c.rest[n:]
	if f.counts {
		c.count = int(raw[0])
	}
	return raw, true, nil
}
