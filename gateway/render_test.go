package gateway

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/meshgate/meshgate/bridge/spool"
)

func TestRender(t *testing.T) {
	at := time.Date(2026, 11, 25, 13, 0, 0, 396979000, time.FixedZone("CET", 3600))
	object, err := objectRecord("manager/main/event", map[string]any{"event": "moteJoin", "mac": "00-17-0d-00-00-38-05-e9"})
	if err != nil {
		t.Fatal(err)
	}
	empty, _ := objectRecord("x", nil)
	tests := []struct {
		rec  spool.Record
		want string
	}{
		{sampleRecord("mote/00-17-0d-00-00-38-05-e9/temperature", 2297, "main"),
			`{"time":"2026-11-25T12:00:00.396Z","value":22.97,"unit":"C","seq":9,"time_quality":"synced","manager":"main"}`},
		{sampleRecord("mote/00-17-0d-00-00-38-05-e9/temperature", -5, "main"),
			`{"time":"2026-11-25T12:00:00.396Z","value":-0.05,"unit":"C","seq":9,"time_quality":"synced","manager":"main"}`},
		{sampleRecord("mote/00-17-0d-00-00-38-05-e9/temperature", 2000, "main"),
			`{"time":"2026-11-25T12:00:00.396Z","value":20,"unit":"C","seq":9,"time_quality":"synced","manager":"main"}`},
		{sampleRecord("mote/00-17-0d-00-00-38-05-e9/analog/2", 1803, "main"),
			`{"time":"2026-11-25T12:00:00.396Z","value":1803,"unit":"mV","seq":9,"time_quality":"synced","manager":"main"}`},
		{sampleRecord("mote/00-17-0d-00-00-38-05-e9/digital/1", 1, "main"),
			`{"time":"2026-11-25T12:00:00.396Z","value":1,"seq":9,"time_quality":"synced","manager":"main"}`},
		{spool.Record{Kind: kindData, Topic: "mote/x/data/61626", Payload: []byte{0xde, 0xad}},
			`{"data":"dead","time":"2026-11-25T12:00:00.396Z","seq":9}`},
		{object, `{"event":"moteJoin","mac":"00-17-0d-00-00-38-05-e9","time":"2026-11-25T12:00:00.396Z","seq":9}`},
		{messageRecord(message{topic: "lamp/1", payload: []byte("hi"), from: "cloud"}, 1), "hi"},
		{empty, ``},
	}
	for _, tt := range tests {
		r := tt.rec
		r.Seq, r.Time, r.Synced = 9, at, true
		m, err := render(nil, r, false)
		if tt.want == "" {
			if err == nil {
				t.Errorf("%s: a record that cannot be read was taken for %s", r.Payload, m.payload)
			}
			continue
		}
		if err != nil || string(m.payload) != tt.want {
			t.Errorf("got  %s, %v\nwant %s", m.payload, err, tt.want)
		}
		if r.Kind != kindMessage && !json.Valid(m.payload) {
			t.Errorf("not JSON: %s", m.payload)
		}
	}
	m, _ := render(nil, messageRecord(message{topic: "lamp/1", payload: []byte("hi"), from: "cloud", retain: true}, 1), true)
	if m.from != "cloud" || !m.retain || m.topic != "lamp/1" {
		t.Errorf("got %+v", m)
	}
	unsynced := sampleRecord("mote/x/temperature", 1, "m")
	if m, _ := render(nil, unsynced, true); !json.Valid(m.payload) || !strings.HasSuffix(string(m.payload), `"time_quality":"unsynced","manager":"m","historical":true}`) {
		t.Errorf("got %s", m.payload)
	}
}

func TestRenderRefusesWhatItCannotRead(t *testing.T) {
	for _, r := range []spool.Record{
		{Kind: 0}, {Kind: 9, Payload: []byte("xxxx")},
		{Kind: kindSample, Payload: []byte{1, 2, 3}},
		{Kind: kindMessage, Payload: []byte{1}},
		{Kind: kindMessage, Payload: []byte{1, 5, 'a'}},
		{Kind: kindObject, Payload: []byte("x")},
	} {
		if m, err := render(nil, r, false); err == nil {
			t.Errorf("kind %d, %q: got %s", r.Kind, r.Payload, m.payload)
		}
	}
}
