package oap

import (
	"encoding/hex"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

func TestParseAddress(t *testing.T) {
	for s, want := range map[string][]byte{
		"temperature": {5}, "Temperature": {5}, "5": {5},
		"digital_out/INDICATOR_0": {3, 2}, "digital_out/indicator_0": {3, 2}, "3/2": {3, 2},
		"digital_in/D3": {2, 3}, "analog/A0": {4, 0}, "pkgen": {254}, "pkgen/echo": {254, 0},
		"info": {0}, "main": {1}, "9/8/7": {9, 8, 7}, "2": {2},
	} {
		if got, err := ParseAddress(s); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: got %v, %v, want %v", s, got, err, want)
		}
	}
	for s, want := range map[string]string{
		"":             `no resource ""`,
		"temp":         `no resource "temp"`,
		"analog":       `"analog" is a group: use one of analog/A0, analog/A1`,
		"ANALOG":       `"ANALOG" is a group`,
		"analog/":      `no resource "analog/"`,
		"256":          `no resource "256"`,
		"3/":           `no resource "3/"`,
		"-1":           `no resource "-1"`,
		"digital_in/4": `no resource "digital_in/4"`,

		strings.Repeat("1/", 16) + "1": "no resource",
	} {
		if got, err := ParseAddress(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, %v, want an error with %q", s, got, err, want)
		}
	}
	for _, r := range Resources() {
		if got, err := ParseAddress(FormatAddress(r.Address)); err != nil || !reflect.DeepEqual(got, r.Address) {
			t.Errorf("%s: there and back: %v, %v", r.Name, got, err)
		}
	}
	if got := FormatAddress([]byte{9, 200}); got != "9/200" {
		t.Errorf("got %q", got)
	}
}

func TestParseAddressIsACopy(t *testing.T) {
	a, _ := ParseAddress("temperature")
	a[0] = 77
	if Temperature[0] != 5 || resources[13].Address[0] != 5 {
		t.Error("the table was changed through what ParseAddress gave")
	}
}

func TestEncodeFields(t *testing.T) {
	tests := []struct {
		address, values, want string
	}{
		{"temperature", `{"rate": 10000, "enable": 1}`, "000101 010400002710"},
		{"temperature", `{"rate": 1e4, "enable": true}`, "000101 010400002710"},
		{"temperature", `{"rate": "0x2710", "enable": "1"}`, "000101 010400002710"},
		{"temperature", `{"rate": "0010"}`, "01040000000a"},
		{"temperature", `{"rate": 4294967295}`, "0104ffffffff"},
		{"digital_in/D3", `{"enable":1,"rate":2000,"sampleCount":1,"dataFormat":0}`, "000101 0104000007d0 02020001 030100"},
		{"digital_out/INDICATOR_0", `{"value": false}`, "000100"},
		{"main", `{"destAddr": "ff02::2", "destPort": 61625}`, "0010ff020000000000000000000000000002 0102f0b9"},
		{"main", `{"destAddr": "ff020000000000000000000000000002"}`, "0010ff020000000000000000000000000002"},
		{"pkgen", `{"echo":1,"numPackets":100,"rate":1000,"packetSize":60,"startPID":0}`,
			"000400000001 010400000064 0204000003e8 03013c 040400000000"},
		{"pkgen/echo", `{"echo": 2}`, "000400000002"},
		{"temperature", `{}`, ""},
	}
	for _, tt := range tests {
		address, err := ParseAddress(tt.address)
		if err != nil {
			t.Fatal(err)
		}
		var values map[string]any
		if err := json.Unmarshal([]byte(tt.values), &values); err != nil {
			t.Fatal(err)
		}
		tags, err := EncodeFields(address, values)
		if got := appendTags(nil, tags); err != nil || string(got) != string(unhex(t, tt.want)) {
			t.Errorf("%s %s: got %x, %v, want %s", tt.address, tt.values, got, err, tt.want)
		}
	}
	native := map[string]any{"enable": uint8(1), "rate": json.Number("500"), "sampleCount": int64(3)}
	tags, err := EncodeFields(Temperature, native)
	if got := hex.EncodeToString(appendTags(nil, tags)); err != nil || got != "0001010104000001f4020103" {
		t.Errorf("Go's own numbers: got %s, %v", got, err)
	}
}

func TestEncodeFieldsErrors(t *testing.T) {
	tests := []struct{ address, values, want string }{
		{"temperature", `{"speed": 1}`, `temperature has no field "speed": it has enable, rate, sampleCount, dataFormat, value`},
		{"temperature", `{"value": 1}`, "field value of temperature is read only"},
		{"info", `{"appId": 1}`, "field appId of info is read only"},
		{"temperature", `{"enable": 256}`, "field enable of temperature: 256 is out of range, 0 to 255"},
		{"temperature", `{"enable": -1}`, "-1 is out of range"},
		{"temperature", `{"rate": 4294967296}`, "4294967296 is out of range, 0 to 4294967295"},
		{"main", `{"destPort": 65536}`, "65536 is out of range, 0 to 65535"},
		{"temperature", `{"rate": 1.5}`, "1.5 is no whole number"},
		{"temperature", `{"rate": 1e300}`, "no whole number, or too large"},
		{"temperature", `{"rate": "fast"}`, `"fast" is no whole number`},
		{"temperature", `{"rate": "NaN"}`, `"NaN" is no whole number`},
		{"temperature", `{"rate": null}`, "a number is wanted, not null"},
		{"temperature", `{"rate": [1]}`, "a number is wanted, not a list"},
		{"temperature", `{"rate": {}}`, "a number is wanted, not an object"},
		{"main", `{"destAddr": 1}`, "an IPv6 address or 32 hex digits are wanted, not a number"},
		{"main", `{"destAddr": "10.0.0.1"}`, "neither an IPv6 address nor 32 hex digits"},
		{"main", `{"destAddr": "fe80::1%eth0"}`, "neither an IPv6 address nor 32 hex digits"},
		{"main", `{"destAddr": "ff02"}`, "neither an IPv6 address nor 32 hex digits"},
		{"9/1", `{"rate": 1}`, "the fields of resource 9/1 are not known"},
	}
	for _, tt := range tests {
		address, err := ParseAddress(tt.address)
		if err != nil {
			t.Fatal(err)
		}
		var values map[string]any
		if err := json.Unmarshal([]byte(tt.values), &values); err != nil {
			t.Fatal(err)
		}
		if tags, err := EncodeFields(address, values); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s %s: got %v, %v, want an error with %q", tt.address, tt.values, tags, err, tt.want)
		}
	}
}

func TestDecodeFields(t *testing.T) {
	tests := []struct{ address, tags, want string }{
		{"temperature", "ff0105 000101 010400007530 020101 030100 0402fb2e",
			`{"enable":1,"rate":30000,"sampleCount":1,"dataFormat":0,"value":-1234}`},
		{"analog/A0", "ff020400 000100 010400002710 0400", `{"enable":0,"rate":10000,"value":null}`},
		{"analog/A0", "0402ffff", `{"value":65535}`},
		{"info", "ff0100 000101 030118", `{"swRevMaj":1,"swRevBuild":24}`},
		{"info", "03020018 0504ffffffff", `{"swRevBuild":24,"resetCounter":4294967295}`},
		{"digital_in/D0", "020101", `{"sampleCount":1}`},
		{"temperature", "0401ff", `{"value":-1}`},
		{"temperature", "04050000000001", `{"value":"0000000001"}`},
		{"pkgen/echo", "ff01fe 000400000002", `{"echo":2}`},
		{"main", "0010ff020000000000000000000000000002 0102f0b9",
			`{"destAddr":"ff020000000000000000000000000002","destPort":61625}`},
		{"temperature", "09020102", `{"tag_9":"0102"}`},
		{"9/1", "ff020901 000101", `{"tag_0":"01"}`},
	}
	for _, tt := range tests {
		address, err := ParseAddress(tt.address)
		if err != nil {
			t.Fatal(err)
		}
		tags, err := parseTags(unhex(t, tt.tags))
		if err != nil {
			t.Fatal(err)
		}
		var want map[string]any
		if err := json.Unmarshal([]byte(tt.want), &want); err != nil {
			t.Fatal(err)
		}
		if got := plain(t, DecodeFields(address, tags)); !reflect.DeepEqual(got, want) {
			t.Errorf("%s %s: got %v, want %v", tt.address, tt.tags, got, want)
		}
	}
}

// What can be written and read comes back as it went, at both ends of its range.
func TestFieldsRoundTrip(t *testing.T) {
	for _, r := range Resources() {
		for _, f := range r.Fields {
			if f.Access == ReadOnly || f.Type == Bytes16 {
				continue
			}
			lo, hi := f.Type.bounds()
			for _, n := range []int64{lo, hi} {
				tags, err := EncodeFields(r.Address, map[string]any{f.Name: n})
				if err != nil {
					t.Fatal(err)
				}
				if got := DecodeFields(r.Address, tags)[f.Name]; got != n {
					t.Errorf("%s %s: got %v, want %d", r.Name, f.Name, got, n)
				}
			}
		}
	}
}

func TestNarrow(t *testing.T) {
	d0 := []byte{AddrDigitalIn, 0}
	wide, err := EncodeFields(d0, map[string]any{"enable": 1, "sampleCount": 7})
	if err != nil {
		t.Fatal(err)
	}
	got, ok := Narrow(d0, wide)
	if want := "000101020107"; !ok || hex.EncodeToString(appendTags(nil, got)) != want {
		t.Errorf("got %v, %v, want %s", got, ok, want)
	}
	if len(wide[1].Value) != 2 {
		t.Error("the wide form was changed")
	}
	if _, again := Narrow(d0, got); again {
		t.Error("narrowed twice")
	}
	large, _ := EncodeFields(d0, map[string]any{"sampleCount": 256})
	if _, ok := Narrow(d0, large); ok {
		t.Error("256 does not fit into one byte")
	}
	if _, ok := Narrow(Temperature, wide); ok {
		t.Error("only digital inputs have two forms")
	}
}

// Any text that EncodeFields takes for a field is in its range and decodes as the same number.
func FuzzEncodeFields(f *testing.F) {
	f.Add("10000")
	f.Add("0x2710")
	f.Add("1e4")
	f.Add("-1")
	f.Fuzz(func(t *testing.T, s string) {
		for _, name := range []string{"enable", "rate", "value", s} {
			tags, err := EncodeFields(Temperature, map[string]any{name: s})
			if err != nil {
				continue
			}
			n, err := whole(s)
			if got := DecodeFields(Temperature, tags)[name]; err != nil || got != n {
				t.Errorf("%s %q: got %v, want %d (%v)", name, s, got, n, err)
			}
		}
		if address, err := ParseAddress(s); err == nil {
			if again, err := ParseAddress(FormatAddress(address)); err != nil || string(again) != string(address) {
				t.Errorf("address %q: %v, then %v, %v", s, address, again, err)
			}
		}
	})
}
