package config

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

// schema is what schema.json uses of JSON schema.
type schema struct {
	Schema, ID, Title, Description string // said by nobody here
	Ref                            string `json:"$ref"`
	Defs                           map[string]*schema
	Type                           any
	Const                          any
	Enum                           []any
	Pattern                        string
	Minimum, Maximum               *float64
	ExclusiveMinimum               *float64
	MinItems, MaxItems             int
	Items                          *schema
	Required                       []string
	Properties                     map[string]*schema
	PropertyNames                  *schema
	AdditionalProperties           json.RawMessage
	AnyOf                          []*schema
}

func readSchema(t *testing.T) *schema {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(strings.NewReplacer(`"$schema":`, `"schema":`, `"$id":`, `"id":`, `"$defs":`, `"defs":`).Replace(Schema)))
	d.DisallowUnknownFields()
	var s schema
	if err := d.Decode(&s); err != nil {
		t.Fatal(err)
	}
	return &s
}

// others is the schema of the keys that have no name in s: nil when there are to be none.
func (s *schema) others() *schema {
	var o *schema
	if strings.HasPrefix(string(s.AdditionalProperties), "{") {
		o = &schema{}
		_ = json.Unmarshal(s.AdditionalProperties, o)
	}
	return o
}

func (s *schema) deref(root *schema) *schema {
	if s.Ref == "" {
		return s
	}
	return root.Defs[strings.TrimPrefix(s.Ref, "#/$defs/")]
}

// check gives what is wrong with a value, "" for nothing.
func (s *schema) check(root *schema, at string, v any) string {
	s = s.deref(root)
	number, isNumber := map[bool]float64{}, false
	if n, ok := v.(int); ok {
		number[true], isNumber = float64(n), true
	} else if f, ok := v.(float64); ok {
		number[true], isNumber = f, true
	}
	n, text := number[true], fmt.Sprint(v)
	list, isList := v.([]any)
	_, isText := v.(string)
	switch {
	case s.Type != nil && !slices.ContainsFunc(kinds(v), func(k string) bool {
		return strings.Contains(" "+strings.Trim(fmt.Sprint(s.Type), "[]")+" ", " "+k+" ")
	}):
		return fmt.Sprintf("%s: %v is no %v", at, v, s.Type)
	case s.Const != nil && fmt.Sprint(s.Const) != text, s.Enum != nil && !slices.Contains(s.Enum, v):
		return fmt.Sprintf("%s: %v is not one of %v%v", at, v, s.Const, s.Enum)
	case isText && s.Pattern != "" && !regexp.MustCompile(s.Pattern).MatchString(text):
		return fmt.Sprintf("%s: %v is not like %s", at, v, s.Pattern)
	case isNumber && (s.Minimum != nil && n < *s.Minimum || s.Maximum != nil && n > *s.Maximum || s.ExclusiveMinimum != nil && n <= *s.ExclusiveMinimum):
		return fmt.Sprintf("%s: %v is out of range", at, v)
	case isList && (len(list) < s.MinItems || s.MaxItems > 0 && len(list) > s.MaxItems):
		return fmt.Sprintf("%s: %d items", at, len(list))
	}
	if len(s.AnyOf) > 0 {
		var wrong []string
		for _, one := range s.AnyOf {
			wrong = append(wrong, one.check(root, at, v))
		}
		if !slices.Contains(wrong, "") {
			return strings.Join(wrong, "; or ")
		}
	}
	for i, e := range list {
		if w := s.Items.check(root, fmt.Sprintf("%s[%d]", at, i), e); w != "" {
			return w
		}
	}
	return s.checkObject(root, at, v)
}

func (s *schema) checkObject(root *schema, at string, v any) string {
	object, ok := v.(map[string]any)
	if !ok {
		return ""
	}
	for _, key := range s.Required {
		if _, there := object[key]; !there {
			return at + ": " + key + " is missing"
		}
	}
	for _, key := range slices.Sorted(maps.Keys(object)) {
		of := s.Properties[key]
		if of == nil {
			of = s.others()
		}
		if of == nil && s.AdditionalProperties != nil {
			return at + ": " + key + " is not known"
		}
		if of == nil { // an alternative of anyOf, which has no keys of its own
			continue
		}
		if w := of.check(root, at+"."+key, object[key]); w != "" {
			return w
		}
		if s.PropertyNames != nil {
			if w := s.PropertyNames.check(root, at, key); w != "" {
				return w
			}
		}
	}
	return ""
}

func kinds(v any) []string {
	switch v := v.(type) {
	case nil:
		return []string{"null"}
	case bool:
		return []string{"boolean"}
	case int:
		return []string{"integer", "number"}
	case float64:
		return []string{"number"}
	case string:
		return []string{"string"}
	case []any:
		return []string{"array"}
	case map[string]any:
		return []string{"object"}
	default:
		return []string{fmt.Sprintf("%T", v)}
	}
}

func TestSchemaOfExamples(t *testing.T) {
	s := readSchema(t)
	texts := map[string]string{"example.yaml": Example, "minimal": minimal}
	for _, file := range []string{"testdata/every.yaml", "testdata/contract.yaml", "../../packaging/gateway.yaml"} {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		texts[file] = string(data)
	}
	for name, text := range texts {
		var doc any
		if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
			t.Fatal(err)
		}
		if wrong := s.check(s, name, doc); wrong != "" {
			t.Error(wrong)
		}
	}
	for text, want := range map[string]string{
		"version: 1":                                                    "managers is missing",
		"managers: []":                                                  "0 items",
		minimal + "prot: x":                                             "prot is not known",
		minimal + "version: 2":                                          "not one of",
		minimal + "log: [info]":                                         "is no",
		minimal + "actuators: {a/b: {pin: sim}}":                        "not like",
		minimal + "actuators: {a: {pin: sim, max_on: 10}}":              "10 is not one of",
		minimal + "actuators: {a: {safe: on}}":                          "pin is missing",
		minimal + "actuators: {a: {pin: sim, rate: 60001}}":             "out of range",
		minimal + "bridges: [{name: a, url: 'tcp://h'}]":                "not like",
		minimal + "bridges: [{name: a, url: 'mqtt://h', topics: [{}]}]": "topic is missing",
		minimal + "spool: {when_full: drop}":                            "not one of",
		minimal + "spool: {max_size: 1k}":                               "not like",
		minimal + "automations: [{name: a, when: {}, set: b, to: on}]":  "missing",
		minimal + "local: {tls: {}}":                                    "listen is missing",
	} {
		var doc any
		if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
			t.Fatal(err)
		}
		if wrong := s.check(s, "", doc); !strings.Contains(wrong, want) {
			t.Errorf("%s: %q, want %q", text, wrong, want)
		}
	}
}

// place is an object or a list of words in the schema, and YAML that leads there with %s in its place.
type place struct{ path, yaml string }

// walk visits every schema with YAML that leads to it.
func (s *schema) walk(root *schema, p place, visit func(*schema, place)) {
	s = s.deref(root)
	visit(s, p)
	in := func(format string) string { return strings.Replace(p.yaml, "%s", format, 1) }
	if p.path == ".local" {
		in = func(format string) string { // the decoder looks no further without
			return strings.Replace(p.yaml, "%s", strings.Replace(format, "{", "{listen: 'tcp://localhost:1', ", 1), 1)
		}
	}
	for key, of := range s.Properties {
		of.walk(root, place{p.path + "." + key, in("{" + key + ": %s}")}, visit)
	}
	for _, of := range s.AnyOf {
		of.walk(root, p, visit)
	}
	if s.Items != nil {
		s.Items.walk(root, place{p.path, in("[%s]")}, visit)
	}
	if of := s.others(); of != nil {
		of.walk(root, place{p.path, in("{x: %s}")}, visit)
	}
}

// The keys of the schema are those that the decoder knows, and so are the words that a key may have.
func TestSchemaIsTheDecoders(t *testing.T) {
	s, objects, words := readSchema(t), 0, 0
	s.walk(s, place{"", "%s"}, func(s *schema, p place) {
		switch {
		case s.Properties != nil:
			objects++
			known := said(t, strings.Replace(p.yaml, "%s", "{qqqqqqqqqqqqqqqq: 1}", 1), `; known here: (.*)`, ", ")
			if want := slices.Sorted(maps.Keys(s.Properties)); !slices.Equal(known, want) {
				t.Errorf("%s: decoder %v, schema %v", p.path, known, want)
			}
		case s.Enum != nil && !slices.Contains(s.Enum, any("yes")) && p.path != ".actuators.kind":
			words++
			known := said(t, strings.Replace(p.yaml, "%s", "qqqqqqqq", 1), `expected (.*), found "q`, ", ")
			var want []string
			for _, w := range s.Enum {
				want = append(want, w.(string))
			}
			if slices.Sort(want); !slices.Equal(known, want) {
				t.Errorf("%s: decoder %v, schema %v", p.path, known, want)
			}
		}
	})
	if objects < 14 || words < 6 {
		t.Errorf("only %d objects and %d lists of words compared", objects, words)
	}
}

// said reads a file with a mistake and gives the words that the message about it lists.
func said(t *testing.T, text, pattern, sep string) []string {
	t.Helper()
	_, err := read("/", text+"\n")
	if err == nil {
		t.Fatalf("%s: no mistake", text)
	}
	m := regexp.MustCompile(pattern).FindStringSubmatch(err.Error())
	if m == nil {
		t.Fatalf("%s: %v", text, err)
	}
	list := strings.Split(strings.ReplaceAll(m[1], " or ", sep), sep)
	slices.Sort(list)
	return list
}

// The example, of which gateway.yaml(5) is made, names every key in the section where it belongs.
func TestExampleHasEveryKey(t *testing.T) {
	sections, section := map[string]string{}, ""
	top := regexp.MustCompile(`^(?:# )?([a-z_]+):`)
	for line := range strings.Lines(Example) {
		if m := top.FindStringSubmatch(line); m != nil {
			section = m[1]
		}
		sections[section] += line
	}
	s := readSchema(t)
	for name, of := range s.Properties {
		of.walk(s, place{name, "%s"}, func(s *schema, p place) {
			for key := range s.Properties {
				if !regexp.MustCompile(`\b` + key + `:`).MatchString(sections[name]) {
					t.Errorf("example.yaml lacks %s.%s", p.path, key)
				}
			}
		})
		if sections[name] == "" {
			t.Errorf("example.yaml lacks %s", name)
		}
	}
}
