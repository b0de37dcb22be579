package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

type vector struct {
	Name    string
	Hex     string
	Decoded map[string]any
	DstPort *int
}

// vectors reads golden vectors where the room that owns them keeps them.
func vectors(t *testing.T, path string) []vector {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", path))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Count   int
		Vectors []vector
	}
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Vectors) == 0 || len(file.Vectors) != file.Count {
		t.Fatalf("%s: %d vectors of %d", path, len(file.Vectors), file.Count)
	}
	return file.Vectors
}

// meshgate runs a command line and gives what it wrote and its exit status.
func meshgate(t *testing.T, in string, args ...string) (out, errs string, code int) {
	t.Helper()
	var o, e bytes.Buffer
	code = execute(t.Context(), args, strings.NewReader(in), &o, &e)
	return o.String(), e.String(), code
}

// none are the keys that mean "none" where a vector does not list them (protocol reference, README).
var none = []string{"error", "errors", "missing", "warnings", "trailing", "pending", "skipped"}

// TestDecode gives every golden vector to the command as a user would.
func TestDecode(t *testing.T) {
	files := map[string]string{
		"hdlc":           "hdlc/testdata/hdlc.json",
		"handshake":      "smartmesh/testdata/handshake.json",
		"requests":       "smartmesh/testdata/requests.json",
		"responses":      "smartmesh/testdata/responses.json",
		"notifications":  "smartmesh/testdata/notifications.json",
		"oap":            "smartmesh/oap/testdata/oap.json",
		"blink":          "smartmesh/oap/testdata/blink.json",
		"health-reports": "smartmesh/health/testdata/health-reports.json",
		"mux":            "smartmesh/mux/testdata/mux.json",
	}
	for group, file := range files {
		t.Run(group, func(t *testing.T) {
			for _, v := range vectors(t, file) {
				line := v.Hex
				if v.DstPort != nil {
					line += fmt.Sprintf(" %d", *v.DstPort)
				}
				out, errs, code := meshgate(t, line+"\n", "decode", "--group", group)
				var got map[string]any
				if err := json.Unmarshal([]byte(out), &got); code != 0 || err != nil {
					t.Errorf("%s: status %d, %v: %s%s", v.Name, code, err, out, errs)
					continue
				}
				compare(t, v, got)
			}
		})
	}
}

func compare(t *testing.T, v vector, got map[string]any) {
	t.Helper()
	for key, want := range v.Decoded {
		if key == "meaning" {
			continue // it is for the reader
		}
		if !reflect.DeepEqual(got[key], want) {
			t.Errorf("%s: %s\n got  %v\n want %v", v.Name, key, got[key], want)
		}
	}
	for _, key := range none {
		if _, listed := v.Decoded[key]; !listed && !empty(got[key]) {
			t.Errorf("%s: %s is %v, want none", v.Name, key, got[key])
		}
	}
}

func empty(v any) bool {
	return v == nil || v == "" || v == false || reflect.ValueOf(v).Kind() == reflect.Slice && reflect.ValueOf(v).Len() == 0
}

func TestEncode(t *testing.T) {
	for _, v := range vectors(t, "smartmesh/testdata/requests.json") {
		form, err := json.Marshal(v.Decoded)
		if err != nil {
			t.Fatal(err)
		}
		out, errs, code := meshgate(t, string(form)+"\n", "encode")
		if code != 0 || strings.TrimSpace(out) != v.Hex {
			t.Errorf("%s: status %d\n got  %s%s\n want %s", v.Name, code, out, errs, v.Hex)
		}
	}
}

func TestCodecRefuses(t *testing.T) {
	tests := []struct {
		in   string
		args []string
		code int
		want string
	}{
		{"7e\nxx\n", []string{"decode"}, 1, "line 2: not hex"},
		{"", []string{"decode", "--group", "morse"}, 2, "none of hdlc, handshake"},
		{"00 70000\n", []string{"decode", "--group", "oap"}, 1, "destination port"},
		{"{}\n", []string{"encode"}, 1, "line 1"},
		{`{"command":"getTme"}` + "\n", []string{"encode"}, 1, "getTme"},
	}
	for _, tt := range tests {
		_, errs, code := meshgate(t, tt.in, tt.args...)
		if code != tt.code || !strings.Contains(errs, tt.want) {
			t.Errorf("%v: status %d, %q; want %d, %q", tt.args, code, errs, tt.code, tt.want)
		}
	}
}

// TestDecodeEachLine: a line that is no hex costs only itself, and where a line is a payload an empty one is an empty payload.
func TestDecodeEachLine(t *testing.T) {
	tests := []struct{ group, in, want string }{
		{"oap", "zz\n\n00\n", "not hex|oap_too_short|oap_too_short"},
		{"blink", "\n9500\n", "not_blink|not_blink"},
		{"handshake", "7e\n\nxx\n7e00030002\n", "0 whole frames|not hex|0 whole frames"},
	}
	for _, tt := range tests {
		out, _, _ := meshgate(t, tt.in, "decode", "--group", tt.group)
		lines, want := strings.Split(strings.TrimSpace(out), "\n"), strings.Split(tt.want, "|")
		if len(lines) != len(want) {
			t.Errorf("%s: %d objects, want %d:\n%s", tt.group, len(lines), len(want), out)
			continue
		}
		for i := range want {
			if !strings.Contains(lines[i], want[i]) {
				t.Errorf("%s: line %d is %s, want %s", tt.group, i+1, lines[i], want[i])
			}
		}
	}
}

func TestGroupsAreListed(t *testing.T) {
	for group := range decoders() {
		if !slices.ContainsFunc(strings.Split(groups, ", "), func(g string) bool { return strings.Fields(g)[0] == group }) {
			t.Errorf("group %s is not in the help: %s", group, groups)
		}
	}
}
