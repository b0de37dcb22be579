package oap

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"
)

type vector struct {
	Name    string
	Hex     string
	Decoded map[string]any
	DstPort uint16
}

func vectors(t testing.TB, file string) []vector {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var f struct {
		Count   int
		Vectors []vector
	}
	if err := json.Unmarshal(data, &f); err != nil {
		t.Fatal(err)
	}
	if len(f.Vectors) == 0 || len(f.Vectors) != f.Count {
		t.Fatalf("%s: %d vectors, want %d", file, len(f.Vectors), f.Count)
	}
	return f.Vectors
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// plain makes of a value what JSON makes of it.
func plain(t testing.TB, v any) map[string]any {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// checkVector compares what a vector lists, and that there is no error where it lists none.
func checkVector(t *testing.T, v vector, got map[string]any) {
	t.Helper()
	for key, want := range v.Decoded {
		if !reflect.DeepEqual(got[key], want) {
			t.Errorf("%s: %s is %v, want %v", v.Name, key, got[key], want)
		}
	}
	if v.Decoded["error"] == nil && got["error"] != nil {
		t.Errorf("%s: error %v", v.Name, got["error"])
	}
}

func TestVectors(t *testing.T) {
	for _, v := range vectors(t, "testdata/oap.json") {
		port := v.DstPort
		if port == 0 {
			port = Port
		}
		payload := unhex(t, v.Hex)
		checkVector(t, v, plain(t, Describe(port, payload)))
		if v.Decoded["error"] != nil {
			continue
		}
		msg, err := Parse(payload)
		if err != nil {
			t.Errorf("%s: %v", v.Name, err)
		}
		var again []byte
		switch msg := msg.(type) {
		case Request:
			again = AppendRequest(nil, msg)
		case Response:
			again = appendResponse(nil, msg)
		default:
			continue
		}
		if string(again) != string(payload) {
			t.Errorf("%s: appended again it is %x", v.Name, again)
		}
	}
}

func TestBlinkVectors(t *testing.T) {
	for _, v := range vectors(t, "testdata/blink.json") {
		checkVector(t, v, plain(t, DescribeBlink(unhex(t, v.Hex))))
	}
}
