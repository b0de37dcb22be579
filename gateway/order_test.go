package gateway

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

func TestParseOrder(t *testing.T) {
	tests := []struct {
		in   string
		want order
	}{
		{"on", order{on: true}},
		{"ON\n", order{on: true}},
		{"1", order{on: true}},
		{"True", order{on: true}},
		{"off", order{}},
		{"0", order{}},
		{"false", order{}},
		{"Toggle", order{toggle: true}},
		{`{"state":"on"}`, order{on: true}},
		{` {"state":"on","id":"7f","for":"5s"}`, order{on: true, id: "7f", hold: 5 * time.Second}},
		{`{"state":"off","id":17}`, order{id: "17"}},
		{`{"state":"on","id":null,"for":null}`, order{on: true}},
		{`{"state":"on","until":"2026-11-25T12:00:01Z"}`, order{on: true, deadline: noon.Add(time.Second)}},
		{`{"state":"on","brightness":40}`, order{on: true, brightness: 40}},
		{`{"brightness":1}`, order{on: true, brightness: 1}},
		{`{"brightness":0}`, order{}},
		{`{"state":"off","brightness":0}`, order{}},
		{`{"state":"on","blink":["500ms","2s"],"for":"10s"}`,
			order{on: true, blink: []time.Duration{500 * time.Millisecond, 2 * time.Second}, hold: 10 * time.Second}},
	}
	for _, tt := range tests {
		if got, err := parseOrder([]byte(tt.in), noon); err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: got %+v, %v, want %+v", tt.in, got, err, tt.want)
		}
	}
}

func TestParseOrderRefuses(t *testing.T) {
	tests := []struct{ in, id, err string }{
		{"", "", "no state"},
		{"onn", "", "say on, off or toggle"},
		{"{", "", "not a command"},
		{`{"id":"a"}`, "a", `"state" is missing`},
		{`{"id":"a","state":"dim"}`, "a", `"dim" is no state`},
		{`{"id":"a","state":"on","fro":"5s"}`, "a", `unknown field "fro"`},
		{`{"id":"a","state":"on"} x`, "a", "more follows"},
		{`{"id":"a","state":"on"}}`, "a", "more follows"},
		{`{"id":"a","state":"on"}]`, "a", "more follows"},
		{`{"id":["a"],"state":"on"}`, "", "neither a text nor a number"},
		{`{"id":true,"state":"on"}`, "", "neither a text nor a number"},
		{`{"id":"a","state":"off","state":"on"}`, "a", `"state" is there twice`},
		{`{"id":"a","blink":["1s","1s"],"state":"on","State":"off"}`, "a", `"state" is there twice`},
		{`{"id":"a","state":"on","for":""}`, "a", `"for" is ""`},
		{`{"id":"a","state":"on","until":""}`, "a", `"until" is ""`},
		{`{"id":"a","state":"on","for":"5"}`, "a", `"for" is "5"`},
		{`{"id":"a","state":"on","for":"-5s"}`, "a", `"for" is "-5s"`},
		{`{"id":"a","brightness":101}`, "a", "0 to 100 percent"},
		{`{"id":"a","brightness":-1}`, "a", "0 to 100 percent"},
		{`{"id":"a","brightness":1.5}`, "a", `"brightness" cannot be a number 1.5`},
		{`{"id":"a","state":true}`, "a", `"state" cannot be a bool`},
		{`{"id":"a","state":"off","brightness":1}`, "a", "contradict"},
		{`{"id":"a","state":"on","brightness":0}`, "a", "contradict"},
		{`{"id":"a","state":"toggle","brightness":5}`, "a", "contradict"},
		{`{"id":"a","state":"on","blink":["fast"]}`, "a", `"blink" has "fast"`},
		{`{"id":"a","state":"on","blink":["0s"]}`, "a", "500ms"},
		{`{"id":"a","state":"on","blink":"1s"}`, "a", "not a command"},
		{`{"id":"a","state":"on","until":"noon"}`, "a", `"until" is "noon"`},
		{`{"id":"a","state":"on","until":"2026-11-25T12:00:00Z"}`, "a", "has passed"},
		{strings.Repeat("x", 1<<20), "", "1048576 bytes long"},
	}
	for _, tt := range tests {
		o, err := parseOrder([]byte(tt.in), noon)
		if err == nil || !strings.Contains(err.Error(), tt.err) || o.id != tt.id {
			t.Errorf("%.40s: got id %q, %v, want id %q, %s", tt.in, o.id, err, tt.id, tt.err)
		}
	}
}

// TestOrderSays: repeats are told by what is asked, not by how or until when.
func TestOrderSays(t *testing.T) {
	for in, want := range map[string]string{
		"on": "on", `{"state":"1","id":"x","until":"2026-11-25T12:00:01Z"}`: "on", "0": "off", "toggle": "toggle",
		`{"brightness":40,"for":"5s"}`: "on 40% for 5s", `{"state":"on","blink":["50ms","1s"]}`: "on blink [50ms 1s]",
	} {
		o, err := parseOrder([]byte(in), noon)
		if err != nil || o.what() != want {
			t.Errorf("%s: %q, %v, want %q", in, o.what(), err, want)
		}
	}
}

func FuzzParseOrder(f *testing.F) {
	f.Add("on")
	f.Add(`{"state":"on","id":"7f","for":"5s","until":"2026-11-25T12:00:01Z"}`)
	f.Fuzz(func(t *testing.T, in string) {
		o, err := parseOrder([]byte(in), noon)
		if err == nil && (o.hold < 0 || o.on && o.toggle || len(in) > maxOrder) {
			t.Errorf("%q gave %+v", in, o)
		}
	})
}
