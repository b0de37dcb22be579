package smartmesh

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// A definition is a field as the protocol's machine-readable tables have it, extracted from the vendor's SDK.
type definition struct {
	Name     string       `json:"name"`
	Type     string       `json:"type"`
	Size     int          `json:"size"`
	Enum     string       `json:"enum"`
	Optional bool         `json:"optional_tail"`
	Element  []definition `json:"element"`
	ElemSize int          `json:"element_size"`
}

type definitions struct {
	Enums map[string]struct {
		Values []EnumValue `json:"values"`
	} `json:"enums"`
	Codes []struct {
		Value RC     `json:"value"`
		Name  string `json:"name"`
	} `json:"response_codes"`
	Commands []struct {
		Name     string       `json:"name"`
		ID       byte         `json:"id"`
		Channel  string       `json:"channel"`
		Request  []definition `json:"request"`
		Response []definition `json:"response"`
	} `json:"commands"`
	Notifications []struct {
		Fields        []definition `json:"fields"`
		Notifications []struct {
			Name   string       `json:"name"`
			Type   NotifType    `json:"notifType"`
			Fields []definition `json:"fields"`
			Events []struct {
				Name   string       `json:"name"`
				Type   EventType    `json:"eventType"`
				Fields []definition `json:"fields"`
			} `json:"events"`
		} `json:"notifications"`
	} `json:"notifications"`
}

func loadDefinitions(t testing.TB) definitions {
	t.Helper()
	var d definitions
	loadJSON(t, "commands.json", &d)
	return d
}

// matches holds fields against their definition. Of an optional field only the response's mean the same in both.
func matches(t *testing.T, what string, got []FieldInfo, want []definition, optional bool) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d fields, want %d", what, len(got), len(want))
		return
	}
	for i, w := range want {
		g := got[i]
		if w.Type == "array" {
			w.Size = w.ElemSize
			matches(t, what+"."+w.Name, g.Element, w.Element, optional)
		}
		if g.Name != w.Name || g.Type != w.Type || g.Size != w.Size || g.EnumName != w.Enum || optional && g.Optional != w.Optional {
			t.Errorf("%s: field %d is %s %s[%d] %s %v, want %s %s[%d] %s %v", what, i, g.Name, g.Type, g.Size, g.EnumName, g.Optional,
				w.Name, w.Type, w.Size, w.Enum, w.Optional)
		}
		if g.Meaning == "" {
			t.Errorf("%s: %s has no meaning", what, g.Name)
		}
		key := strings.Contains(strings.ToLower(g.Name), "key") || g.Name == "password"
		if g.Secret != key {
			t.Errorf("%s: %s secret: %v", what, g.Name, g.Secret)
		}
	}
}

func TestCommandsAreAsDefined(t *testing.T) {
	d := loadDefinitions(t)
	byName := map[string]CommandInfo{}
	for _, c := range Commands() {
		byName[c.Name] = c
	}
	n := 0
	for _, w := range d.Commands {
		if w.Channel != "serial and mux" {
			continue // the handshake
		}
		n++
		c, ok := byName[w.Name]
		if !ok || c.ID != w.ID || c.Meaning == "" {
			t.Errorf("%s (%d): %+v", w.Name, w.ID, c)
			continue
		}
		matches(t, w.Name+" request", c.Request, w.Request, false)
		matches(t, w.Name+" response", c.Response, w.Response, true)
	}
	if n != 43 || len(byName) != n {
		t.Errorf("%d commands, %d in the definitions", len(byName), n)
	}
}

func TestNotificationsAreAsDefined(t *testing.T) {
	d := loadDefinitions(t)
	nt, ne := 0, 0
	for _, top := range d.Notifications {
		for _, w := range top.Notifications {
			nt++
			if n := notifications[w.Type]; n == nil || n.name != w.Name {
				t.Errorf("%s (%d): %+v", w.Name, w.Type, n)
				continue
			}
			matches(t, w.Name, withMeaning(notifications[w.Type].layout.info()), w.Fields, true)
			for _, e := range w.Events {
				ne++
				if n := events[e.Type]; n == nil || n.name != e.Name {
					t.Errorf("%s (%d): %+v", e.Name, e.Type, n)
					continue
				}
				matches(t, e.Name, withMeaning(events[e.Type].layout.info()), e.Fields, true)
			}
		}
	}
	if nt != len(notifications) || ne != len(events) || nt != 6 || ne != 15 {
		t.Errorf("%d of %d notifications, %d of %d events", nt, len(notifications), ne, len(events))
	}
}

func withMeaning(fields []FieldInfo) []FieldInfo {
	for i := range fields {
		if fields[i].Meaning == "" {
			fields[i].Meaning = "-"
		}
	}
	return fields
}

func TestEnumsAreAsDefined(t *testing.T) {
	d := loadDefinitions(t)
	for _, e := range enums {
		if w, ok := d.Enums[e.name]; !ok || !reflect.DeepEqual(w.Values, e.values) {
			t.Errorf("%s: %v, want %v", e.name, e.values, w.Values)
		}
	}
	if len(enums) != len(d.Enums) {
		t.Errorf("%d enumerations, want %d", len(enums), len(d.Enums))
	}
	for _, c := range d.Codes {
		if c.Value.Name() != c.Name {
			t.Errorf("%d is %q, want %q", c.Value, c.Value.Name(), c.Name)
		}
	}
	if len(responseCodes) != len(d.Codes) {
		t.Errorf("%d codes, want %d", len(responseCodes), len(d.Codes))
	}
	for _, s := range []fmt.Stringer{StateLost, MoteState(3), RCNack, RC(99), AdvertisementOff, ResetMote} {
		t.Log(s)
	}
	if StateOperational.String() != "operational" || MoteState(3).String() != "moteState(3)" || RC(99).String() != "response code 99" {
		t.Error("String")
	}
}

// TestDangerousCommands holds the list of those that need a confirmation.
func TestDangerousCommands(t *testing.T) {
	for _, c := range Commands() {
		reads := strings.HasPrefix(c.Name, "get") || slices.Contains([]string{"subscribe", "pingMote"}, c.Name)
		harmless := reads || slices.Contains([]string{"sendData", "sendIP", "clearStatistics"}, c.Name)
		if c.Changes == reads || c.Dangerous == harmless {
			t.Errorf("%s: changes %v, dangerous %v", c.Name, c.Changes, c.Dangerous)
		}
	}
}

func TestEncodeRequestErrors(t *testing.T) {
	tests := []struct{ form, want string }{
		{`{`, "bad argument"},
		{`{"command":"getNothing"}`, `unknown command "getNothing"`},
		{`{"command":"getnetworkinfo"}`, "did you mean getNetworkInfo?"},
		{`{"command":"getNetworkInfo","fields":{"mac":"1"}}`, `unknown field "mac"; there are no fields`},
		{`{"command":"getMoteConfig","fields":{"mac":"1","next":true}}`, `unknown field "mac"; the fields are macAddress, next`},
		{`{"command":"getMoteConfig","fields":{"macAddress":"00170d0000000001"}}`, `field "next" is missing`},
		{`{"command":"radiotestTx","fields":{"pkLen_11":1}}`, `unknown field "pkLen_11"`},
		{`{"command":"radiotestTx","fields":{"testType":0,"chanMask":1,"repeatCnt":1,"txPower":0,"seqSize":1,"pkLen_1":1,"delay_1":1,"delay_2":1,"stationId":1}}`,
			`field "delay_2" is more than the list holds`},
		{`{"command":"getMoteInfo","fields":{"macAddress":"00170d00000001"}}`, "not a MAC address of 8 bytes"},
		{`{"command":"getMoteInfo","fields":{"macAddress":17}}`, "17 is not text in hex"},
		{`{"command":"getMoteInfo","fields":[]}`, "fields: json"},
		{`{"command":"getMoteConfigById","fields":{"moteId":65536}}`, "out of range"},
		{`{"command":"getMoteConfigById","fields":{"moteId":-1}}`, "invalid syntax"},
		{`{"command":"getMoteConfigById","fields":{"moteId":1.5}}`, "invalid syntax"},
		{`{"command":"getMoteConfigById","fields":{"moteId":true}}`, "true is not a number"},
		{`{"command":"getMoteConfigById","fields":{"moteId":null}}`, "not a number"},
		{`{"command":"radiotestTxPER","fields":{"txPower":-129,"numPackets":1,"chanMask":1,"numRepeat":1}}`, "out of range"},
		{`{"command":"setAdvertising","fields":{"activate":"maybe"}}`, "invalid syntax"},
		{`{"command":"getMoteConfig","fields":{"macAddress":"00170d0000000001","next":2}}`, "invalid syntax"},
		{`{"command":"setCommonJoinKey","fields":{"key":"c0ffee"}}`, `field "key": not 16 bytes in hex`},
		{`{"command":"radiotestTx","fields":{"testType":0,"chanMask":1,"repeatCnt":1,"txPower":0,"seqSize":11,"stationId":1}}`, "at most 10"},
		{`{"command":"sendIP","fields":{"macAddress":"ffffffffffffffff","priority":0,"encryptedOffset":255,"data":"` + strings.Repeat("00", 245) + `"}}`, "at most 255 fit"},
		{`{"command":"getTime","type":22}`, "getTime has type 23, not 22"},
	}
	for _, tt := range tests {
		packet, err := EncodeRequest(json.RawMessage(tt.form))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %x, %v; want %q", tt.form, packet, err, tt.want)
		}
		if strings.Contains(fmt.Sprint(err), "c0ffee") {
			t.Errorf("a secret in an error: %v", err)
		}
	}
}

func TestEncodeRequestForms(t *testing.T) {
	tests := []struct{ form, want string }{
		{`{"command":"getTime"}`, "02170000"},
		{`{"command":"getTime","fields":null,"seq":7}`, "02170700"},
		{`{"command":"setAdvertising","fields":{"activate":"OFF"}}`, "02320001 01"},
		{`{"command":"setAdvertising","fields":{"activate":"0x1"}}`, "02320001 01"},
		{`{"command":"getMoteConfig","fields":{"next":"true"}}`, "022f0009 0000000000000000 01"},
		{`{"command":"getMoteConfig","fields":{"macAddress":"00:17:0d:00:00:38:05:e9","next":0}}`, "022f0009 00170d00003805e9 00"},
		{`{"command":"reset","fields":{"type":"resetSystem"}}`, "02150009 00 0000000000000000"},
		{`{"command":"setIPConfig","fields":{"ipv6Address":"fe80::1","mask":"ffffffffffffffff0000000000000000"}}`,
			"02440020 fe800000000000000000000000000001 ffffffffffffffff0000000000000000"},
		{`{"command":"radiotestTx","fields":{"testType":"cw","chanMask":1,"repeatCnt":2,"txPower":-1,"seqSize":1,"pkLen_1":3,"delay_1":4,"stationId":5}}`,
			"0223000b 02 0001 0002 ff 01 03 0004 05"},
		{`{"command":"hello","fields":{"version":4,"cliSeqNo":9,"mode":0}}`, "00010003 040900"},
	}
	for _, tt := range tests {
		packet, err := EncodeRequest(json.RawMessage(tt.form))
		if want := unhex(t, tt.want); err != nil || !reflect.DeepEqual(packet, want) {
			t.Errorf("%s: %x, %v; want %x", tt.form, packet, err, want)
		}
	}
}

func TestRedact(t *testing.T) {
	tests := []struct{ command, fields, want string }{
		{"setACLEntry", `{"macAddress":"00","joinKey":"c0ffee"}`, `{"joinKey":"(secret)","macAddress":"00"}`},
		{"getNextACLEntry", `{"RC":0,"joinKey":"c0ffee"}`, `{"RC":0,"joinKey":"(secret)"}`},
		{"setCLIUser", `["c0ffee"]`, `"(secret)"`},
		{"getTime", `{"uptime":1}`, `{"uptime":1}`},
		{"setCommonJoinKey", ``, ``},
		{"unheard", `{"key":1}`, `{"key":1}`},
	}
	for _, tt := range tests {
		if got := Redact(tt.command, json.RawMessage(tt.fields)); string(got) != tt.want {
			t.Errorf("%s %s: %s, want %s", tt.command, tt.fields, got, tt.want)
		}
	}
	k := Key{0xC0, 0xFF, 0xEE}
	if s := fmt.Sprintf("%v %+v %#v %s", k, ACLEntry{JoinKey: k}, k, k); strings.Contains(s, "192") || strings.Contains(s, "c0") {
		t.Errorf("a key prints: %s", s)
	}
	if b, err := json.Marshal(ACLEntry{JoinKey: k}); err != nil || !strings.Contains(string(b), "(secret)") {
		t.Errorf("a key marshals: %s, %v", b, err)
	}
}

func TestMAC(t *testing.T) {
	want := MAC{0, 0x17, 0x0d, 0, 0, 0x38, 5, 0xe9}
	for _, s := range []string{"00-17-0d-00-00-38-05-e9", "00:17:0D:00:00:38:05:E9", "00170d00003805e9"} {
		if m, err := ParseMAC(s); err != nil || m != want {
			t.Errorf("%s: %v, %v", s, m, err)
		}
	}
	for _, s := range []string{"", "00-17-0d-00-00-38-05", "00-17-0d-00-00-38-05:e9", "00-17:0d-00-00-38-05-e9", "00170d00003805eg",
		"0-017-0d-00-00-38-05-e9", "00170d00003805e900", "00-17-0d-00-00-38-05-e9-"} {
		if m, err := ParseMAC(s); err == nil {
			t.Errorf("%q gives %v", s, m)
		}
	}
	var m MAC
	if text, _ := want.MarshalText(); string(text) != want.String() || m.UnmarshalText(text) != nil || m != want {
		t.Errorf("text: %v", m)
	}
}
