package config

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

// renamed is a step that calls a key at the top something else.
func renamed(from, to string) step {
	return func(text []byte, root *yaml.Node) ([]byte, error) {
		for i := 0; i < len(root.Content); i += 2 {
			if key := root.Content[i]; key.Value == from {
				at := offset(text, key)
				return slices.Replace(slices.Clone(text), at, at+len(from), []byte(to)...), nil
			}
		}
		return nil, errors.New("there is no " + from)
	}
}

// third is a form whose files said devices and mgrs before.
var third = form{3, map[int]step{1: renamed("devices", "mgrs"), 2: renamed("mgrs", "managers")}}

func TestMigrate(t *testing.T) {
	for _, tt := range []struct {
		name, text, want string
		from             int
	}{
		{"oldest", "# mine\nversion: 1   # old\n\ndevices:  # two\n  - {name: main,  port: auto}\n", "# mine\nversion: 3   # old\n\nmanagers:  # two\n  - {name: main,  port: auto}\n", 1},
		{"older", "version: 2\nmgrs: [{name: main, port: auto}]\n", "version: 3\nmanagers: [{name: main, port: auto}]\n", 2},
		{"without a version", "# ä\ndevices: [{name: main, port: auto}] # ö\n", "# ä\nversion: 3\nmanagers: [{name: main, port: auto}] # ö\n", 1},
		{"indented", "  devices: [{name: main, port: auto}]\n", "  version: 3\n  managers: [{name: main, port: auto}]\n", 1},
		{"flow", `{id: "a", devices: [{name: main, port: auto}]}`, `{version: 3, id: "a", managers: [{name: main, port: auto}]}`, 1},
		{"behind other letters", `{? "id" : "a", ` + "\"version\": 1, devices: [{name: main, port: auto}]}", `{? "id" : "a", ` + "\"version\": 3, managers: [{name: main, port: auto}]}", 1},
		{"with a mark and CRLF", "\ufeffdevices: [{name: main, port: auto}]\r\nversion: 1\r\n", "managers: [{name: main, port: auto}]\r\nversion: 3\r\n", 1},
		{"as it is to be", "version: 3\nmanagers: [{name: main, port: auto}]\n", "", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text, from, err := migrate("f.yaml", []byte(tt.text), "/", plainHost(), third)
			if err != nil || from != tt.from || string(text) != tt.want {
				t.Fatalf("%q from %d, %v; want %q from %d", text, from, err, tt.want, tt.from)
			}
			got, err := newDecoder("f.yaml", "/", plainHost(), third).parse([]byte(tt.text))
			if err != nil || got.Older != tt.from {
				t.Fatalf("read as it is: %+v, %v", got, err)
			}
			if tt.from == 0 {
				return
			}
			again, err := newDecoder("f.yaml", "/", plainHost(), third).parse(text)
			if got.Older = 0; err != nil || !reflect.DeepEqual(got, again) {
				t.Errorf("the migrated file is read as %+v, %v; the old one as %+v", again, err, got)
			}
		})
	}
}

// What is wrong with an older file is told, and a later one refused.
func TestMigrateMistakes(t *testing.T) {
	for text, want := range map[string]string{
		"version: 1\ndevices: [{name: main, prot: auto}]\n": `f.yaml:2:25: managers[0]: unknown key "prot"`,
		"devices: [{name: main, prot: auto}]\n":             `f.yaml:1:25: managers[0]: unknown key "prot"`,
		"version: 1\nmanagers: [{name: main, port: auto}]":  "f.yaml:1:1: this file of version 1 cannot be made one of version 2: there is no devices",
		"version: 4\ndevices: x\n":                          "f.yaml:1:10: version: version 4 is for a later meshgate; this one reads version 3",
		"id: &a 1\nversion: *a\nmanagers: []\n":             "version: write the version as a plain number",
		"version: !!int \"1\"\nmanagers: []\n":              "version: write the version as a plain number",
		"- a\n":                                             "expected a mapping",
	} {
		if _, _, err := migrate("f.yaml", []byte(text), "/", plainHost(), third); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// This program's own form: every version up to it can be read.
func TestEveryVersionHasAStep(t *testing.T) {
	for v := 1; v < current.version; v++ {
		if current.steps[v] == nil {
			t.Errorf("there is no way from version %d to %d", v, v+1)
		}
	}
	if text, from, err := Migrate("f.yaml", []byte(minimal), "/"); text != nil || from != 0 || err != nil {
		t.Errorf("%q, %d, %v", text, from, err)
	}
}
