package mux

import (
	"encoding/binary"
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

// someCommands stands for the layer above: the commands of the vectors that have a fixed size, by request and response.
func someCommands(command byte, request bool, data []byte) map[string]any {
	layout := map[byte]struct {
		name              string
		request, response int
	}{
		22: {"subscribe", 8, 1}, 23: {"getTime", 0, 24}, 44: {"sendData", 34, 5},
		46: {"getSystemInfo", 0, 16}, 47: {"getMoteConfig", 9, 15}, 49: {"getNextPathInfo", 11, 24},
	}[command]
	m := map[string]any{"command": layout.name}
	switch {
	case command == TypeNotification:
		return map[string]any{"notification": "notifEvent"}
	case request && len(data) > layout.request:
		m["trailing"] = hex.EncodeToString(data[layout.request:])
	case request && len(data) < layout.request:
		m["error"] = "field_truncated"
	case !request && data[0] == 0 && len(data) != layout.response:
		m["missing"] = []string{"something"}
	}
	return m
}

func TestVectors(t *testing.T) {
	for _, v := range vectors(t, "testdata/mux.json") {
		stream := unhex(t, v.Hex)
		got := plain(t, Describe(stream, someCommands))
		name, _ := v.Decoded["command"].(string)
		for key, want := range v.Decoded {
			own := strings.HasPrefix(name, "mux_")
			switch key {
			case "fields", "notification", "event", "eventId":
				if !own { // the layer above has these
					continue
				}
			case "rc_name":
				if rc := v.Decoded["rc"].(float64); rc > 5 {
					continue
				}
			}
			if !reflect.DeepEqual(got[key], want) {
				t.Errorf("%s: %s is %v, want %v", v.Name, key, got[key], want)
			}
		}
		if v.Decoded["pending"] == nil && got["pending"] != nil {
			t.Errorf("%s: pending", v.Name)
		}
		if v.Decoded["errors"] == nil && len(got["errors"].([]any)) != 0 {
			t.Errorf("%s: errors %v", v.Name, got["errors"])
		}
		if v.Decoded["type"] != nil {
			data := unhex(t, v.Decoded["data"].(string))
			if again := AppendMessage(nil, byte(v.Decoded["type"].(float64)), data); string(again) != string(stream) {
				t.Errorf("%s: appended again it is %x", v.Name, again)
			}
		}
	}
}

func TestDescribeOdd(t *testing.T) {
	tests := []struct {
		stream string
		want   map[string]any
	}{
		{"a740a0f5 0003 0000 01", map[string]any{"kind": "mux_response", "error": "bad_data"}},
		{"a740a0f5 0004 0000 01 04", map[string]any{"kind": "mux_response", "rc_name": "MUX_UNSUPPORTED_VERSION"}},
		{"a740a0f5 0004 0000 02 01", map[string]any{"kind": "mux_response", "rc_name": "RC_INVALID_COMMAND"}},
		{"a740a0f5 0004 0000 02 00", map[string]any{"kind": "mux_response", "error": "bad_data"}},
		{"a740a0f5 0004 0000 2e 12", map[string]any{"kind": "mux_response", "rc": 18.0}},
		{"a740a0f5 0004 0000 14 07", map[string]any{"kind": "mux_notification", "notification": "notifEvent"}},
	}
	for _, tt := range tests {
		got := plain(t, Describe(unhex(t, tt.stream), someCommands))
		for key, want := range tt.want {
			if !reflect.DeepEqual(got[key], want) {
				t.Errorf("%s: %s is %v, want %v", tt.stream, key, got[key], want)
			}
		}
	}
	got := plain(t, Describe(unhex(t, "a740a0f5 0004 0000 2e 12"), nil))
	if got["type"] != 46.0 || got["kind"] != nil {
		t.Errorf("without the layer above: %v", got)
	}
}

// Both directions of reset have nine bytes: a type or an RC, and a MAC.
func TestDescribeAmbiguous(t *testing.T) {
	fitting := func(byte, bool, []byte) map[string]any { return map[string]any{"command": "reset"} }
	for first, want := range map[string]string{"00": "mux_response", "02": "mux_request"} {
		stream := unhex(t, "a740a0f5 000c 0000 15"+first+"00170d0000c1f11d")
		if got := Describe(stream, fitting)["kind"]; got != want {
			t.Errorf("first byte %s: %v, want %s", first, got, want)
		}
	}
}

// What is read from any stream, appended again, is read as the same; Describe finds as much.
func FuzzReader(f *testing.F) {
	for _, v := range vectors(f, "testdata/mux.json") {
		f.Add(unhex(f, v.Hex))
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		r := NewReader(strings.NewReader(string(stream)))
		var again, want []byte
		messages := 0
		for {
			msg, err := r.Next()
			if err == BadLength {
				continue
			}
			if err != nil {
				break
			}
			messages++
			at := len(again)
			again = AppendMessage(again, msg.Type, msg.Data)
			binary.BigEndian.PutUint16(again[at+6:], msg.ID)
			want = append(append(want, msg.Type), msg.Data...)
		}
		var got []byte
		r = NewReader(strings.NewReader(string(again)))
		for {
			msg, err := r.Next()
			if err != nil {
				break
			}
			got = append(append(got, msg.Type), msg.Data...)
		}
		if string(got) != string(want) || r.Pending() {
			t.Errorf("got %x, want %x", got, want)
		}
		if m := Describe(stream, someCommands); len(m["messages"].([]map[string]any)) != messages {
			t.Errorf("%d messages read, described: %v", messages, m)
		}
	})
}

// After any noise that holds no token, a message is read whole.
func FuzzNoise(f *testing.F) {
	f.Add([]byte{0xA7, 0x40, 0xA0}, []byte{1, 2, 3})
	f.Fuzz(func(t *testing.T, noise, data []byte) {
		if strings.Contains(string(noise)+token[:3], token) || len(data) > MaxData {
			return
		}
		stream := AppendMessage(noise[:len(noise):len(noise)], 44, data)
		msg, err := NewReader(strings.NewReader(string(stream))).Next()
		if err != nil || msg.Type != 44 || string(msg.Data) != string(data) {
			t.Errorf("after %x: got %+v, %v", noise, msg, err)
		}
	})
}

func BenchmarkReader(b *testing.B) {
	message := AppendMessage(nil, TypeNotification, make([]byte, 52))
	stream := strings.Repeat(string(message), 1000)
	b.SetBytes(int64(len(message)))
	b.ReportAllocs()
	var r *Reader
	for i := range b.N {
		if i%1000 == 0 {
			r = NewReader(strings.NewReader(stream))
		}
		if _, err := r.Next(); err != nil {
			b.Fatal(err)
		}
	}
}
