package config

import (
	"fmt"
	"maps"
	"slices"

	"go.yaml.in/yaml/v4"
)

// value is one value in the file, with the path of keys that lead to it.
type value struct {
	d    *decoder
	key  *yaml.Node // where it stands in a mapping; nil in a list
	node *yaml.Node
	path string
}

// maxVisits bounds the work on one file, however its aliases multiply it.
const maxVisits = 100_000

// deref returns v with an alias (*name) replaced by what it stands for, and false when the
// file asks for too many values. The schema is of a bounded depth, so aliases that contain
// themselves end in a wrong type.
func (v value) deref() (value, bool) {
	if v.d.visits++; v.d.visits > maxVisits {
		if !v.d.gaveUp {
			v.d.errs, v.d.mistakes = nil, 0 // of no use beside this one
			v.fail("the file has more than %d values", maxVisits)
			v.d.gaveUp = true
		}
		return v, false
	}
	for v.node.Kind == yaml.AliasNode && v.node.Alias != nil {
		v.node = v.node.Alias
	}
	return v, true
}

// fail notes a mistake at the value.
func (v value) fail(format string, args ...any) {
	v.d.report(v.node.Line, v.node.Column, v.path, format, args...)
}

// failKey notes a mistake at the key of the value.
func (v value) failKey(format string, args ...any) {
	if v.key == nil {
		v.fail(format, args...)
		return
	}
	v.d.report(v.key.Line, v.key.Column, v.path, format, args...)
}

func (v value) isNull() bool {
	return v.node.Kind == yaml.ScalarNode && v.node.ShortTag() == "!!null"
}

// found says in words what stands where something else is expected.
func (v value) found() string {
	switch v.node.Kind {
	case yaml.MappingNode:
		return "a mapping (key: value)"
	case yaml.SequenceNode:
		return "a list"
	}
	switch tag := v.node.ShortTag(); tag {
	case "!!null":
		return "nothing"
	case "!!bool", "!!int", "!!float":
		return v.node.Value
	case "!!str":
		return fmt.Sprintf("text %q", clip(v.node.Value))
	default:
		return fmt.Sprintf("%s %q", tag, clip(v.node.Value))
	}
}

// clip keeps a message readable when somebody pastes a novel.
func clip(s string) string {
	if r := []rune(s); len(r) > 80 {
		return string(r[:80]) + "..."
	}
	return s
}

func (v value) wrongType(want string) {
	v.fail("expected %s, found %s", want, v.found())
}

// list returns the elements of a list. Nothing at all counts as an empty list.
func (v value) list(want string) []value {
	v, ok := v.deref()
	if !ok || v.isNull() {
		return nil
	}
	if v.node.Kind != yaml.SequenceNode {
		v.wrongType(want)
		return nil
	}
	all := make([]value, 0, len(v.node.Content))
	for i, n := range v.node.Content {
		all = append(all, value{d: v.d, node: n, path: fmt.Sprintf("%s[%d]", v.path, i)})
	}
	return all
}

// entry is one pair of a mapping whose keys are names that the user chose.
type entry struct {
	name string
	value
}

// entries returns the pairs of a mapping in the order of the file, each key once. Nothing at
// all counts as an empty mapping. ok is false when there is something else.
func (v value) entries(want string) (all []entry, ok bool) {
	v, ok = v.deref()
	if !ok {
		return nil, false
	}
	if v.isNull() {
		return nil, true
	}
	if v.node.Kind != yaml.MappingNode {
		v.wrongType(want)
		return nil, false
	}
	first := map[string]int{}
	for i := 0; i+1 < len(v.node.Content); i += 2 {
		key := v.node.Content[i]
		e := entry{key.Value, value{d: v.d, key: key, node: v.node.Content[i+1], path: v.path}}
		switch line, twice := first[e.name]; {
		case key.Kind != yaml.ScalarNode:
			e.failKey("a key is to be one plain word")
		case key.ShortTag() == "!!merge":
			e.failKey("merge keys (<<) are not supported; write the keys out")
		case twice:
			e.failKey("key %q is here twice, first in line %d", clip(e.name), line)
		default:
			first[e.name] = key.Line
			e.path = join(v.path, e.name)
			all = append(all, e)
		}
	}
	return all, true
}

func join(path, key string) string {
	if path == "" {
		return clip(key)
	}
	return path + "." + clip(key)
}

// object is a mapping with known keys. Its methods return the value of a key or its default
// and note what is wrong with it.
type object struct {
	value
	at map[string]value // the keys that are there
	ok bool             // it is a mapping
}

// object reads v as a mapping that may have the given keys.
func (v value) object(known ...string) object {
	all, ok := v.entries("a mapping with " + list(known))
	o := object{value: v, at: map[string]value{}, ok: ok}
	for _, e := range all {
		if !slices.Contains(known, e.name) {
			e.path = v.path
			missing := slices.DeleteFunc(slices.Clone(known), func(k string) bool { _, there := o.at[k]; return there })
			e.failKey("unknown key %q%s", clip(e.name), didYouMean(e.name, missing))
			continue
		}
		o.at[e.name] = e.value
	}
	return o
}

// has reports whether the key is there with a value.
func (o object) has(key string) bool {
	v, ok := o.at[key]
	return ok && !v.isNull()
}

// get returns the value of a key that is there.
func (o object) get(key string) (value, bool) {
	v, ok := o.at[key]
	if !ok {
		return value{}, false
	}
	return v.deref()
}

// need notes that a key is missing.
func (o object) need(key, why string) {
	if _, there := o.at[key]; o.ok && !there {
		if why != "" {
			why = " " + why
		}
		o.fail("missing key %q%s", key, why)
	}
}

// keys returns the names of a set in order.
func keys[V any](set map[string]V) []string { return slices.Sorted(maps.Keys(set)) }

// list writes words as "a, b or c".
func list(words []string) string {
	switch n := len(words); n {
	case 0:
		return ""
	case 1:
		return words[0]
	default:
		s := words[0]
		for _, w := range words[1 : n-1] {
			s += ", " + w
		}
		return s + " or " + words[n-1]
	}
}
