package health

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"math"
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

func vectors(t testing.TB) []vector {
	t.Helper()
	data, err := os.ReadFile("testdata/health-reports.json")
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
		t.Fatalf("%d vectors, want %d", len(f.Vectors), f.Count)
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

func TestVectors(t *testing.T) {
	for _, v := range vectors(t) {
		got := plain(t, Describe(unhex(t, v.Hex)))
		for key, want := range v.Decoded {
			if !reflect.DeepEqual(got[key], want) {
				t.Errorf("%s: %s is\n     %v\nwant %v", v.Name, key, got[key], want)
			}
		}
		for _, key := range []string{"error", "skipped"} {
			if v.Decoded[key] == nil && got[key] != nil {
				t.Errorf("%s: %s is %v", v.Name, key, got[key])
			}
		}
	}
}

const device24 = "80 18 0000051f 31 16 0bd2 002b 0001 000b 0002 03 04 05 00000006 07"

func TestDevice(t *testing.T) {
	r, err := Parse(unhex(t, device24))
	if err != nil {
		t.Fatal(err)
	}
	want := []Device{{
		Charge: 1311, QueueOcc: 0x31, Temperature: 22, BatteryVoltage: 3026, NumTxOk: 43, NumTxFail: 1, NumRxOk: 11,
		NumRxLost: 2, NumMacDropped: 3, NumTxBad: 4, BadLinkFrameID: 5, BadLinkSlot: 6, BadLinkOffset: 7, Present: 13,
	}}
	if !reflect.DeepEqual(r.Devices, want) {
		t.Errorf("\n got %+v\nwant %+v", r.Devices, want)
	}
	fields := r.Devices[0].Fields()
	if len(fields) != 13 || fields["badLinkOffset"] != uint8(7) {
		t.Errorf("fields: %v", fields)
	}
	if _, there := fields["numMacCrcErr"]; there {
		t.Errorf("numMacCrcErr of a 24 byte report: %v", fields)
	}
}

// Cut at every length, a device report has the whole fields that are left, and is wrong only where a field is cut.
func TestDeviceCut(t *testing.T) {
	full := unhex(t, "deadbeef 31 16 0bd2 002b 0001 000b 0002 03 04 05 a0b0c0d0 07 08 09 0a ffff")
	for n := range len(full) + 1 {
		r, err := Parse(append([]byte{0x80, byte(n)}, full[:n]...))
		present, cut := 0, n > 0
		for _, end := range deviceEnds {
			if n >= end {
				present++
				cut = n != end && n < 27
			}
		}
		if wrong := errors.Is(err, Truncated); wrong != cut || (err != nil) != cut {
			t.Errorf("%d bytes: error %v, want %v", n, err, cut)
		}
		if len(r.Devices) != 1 || r.Devices[0].Present != present || len(r.Devices[0].Fields()) != present {
			t.Fatalf("%d bytes: got %+v, want %d fields", n, r.Devices, present)
		}
		if present < 12 && r.Devices[0].BadLinkSlot != 0 {
			t.Errorf("%d bytes: part of a field: %x", n, r.Devices[0].BadLinkSlot)
		}
	}
}

func TestMalformed(t *testing.T) {
	const discovered = "82 02 03 00"
	tests := []struct {
		name, payload string
		err           error
		kept          int // Discovered reports
	}{
		{"nothing", "", nil, 0},
		{"an id left over", discovered + "80", TooShort, 1},
		{"no room for the report", discovered + "82 03 03 00", Truncated, 1},
		{"neighbors without count", discovered + "81 00", Truncated, 1},
		{"neighbors cut", discovered + "81 0a 01 000000000000000000", Truncated, 1},
		{"neighbors with bytes after", "81 0c 01 00000000000000000000 ff" + discovered, nil, 1},
		{"discovered without count", discovered + "82 01 03", Truncated, 1},
		{"discovered cut", discovered + "82 05 03 01 000000", Truncated, 1},
		{"discovered with bytes after", "82 03 03 00 ff" + discovered, nil, 2},
		{"extended without length", discovered + "91 01 01", Truncated, 1},
		{"extended, inner length too small", discovered + "91 04 02 01 0000", Truncated, 1},
		{"RSSI of other size", discovered + "91 04 01 02 0000" + discovered, nil, 2},
		{"what follows a mistake is dropped", discovered + "91 00" + discovered, Truncated, 1},
	}
	for _, tt := range tests {
		r, err := Parse(unhex(t, tt.payload))
		if err != tt.err || len(r.Discovered) != tt.kept {
			t.Errorf("%s: got %v and %+v, want %v and %d reports", tt.name, err, r, tt.err, tt.kept)
		}
	}
}

func TestSkipped(t *testing.T) {
	r, err := Parse(unhex(t, "85 02 0102 91 04 01 02 0304 90 00"))
	want := []Skipped{{0x85, []byte{1, 2}}, {0x91, []byte{1, 2, 3, 4}}, {0x90, []byte{}}}
	if err != nil || !reflect.DeepEqual(r.Skipped, want) {
		t.Errorf("got %v, %v, want %v", r.Skipped, err, want)
	}
}

func TestTwice(t *testing.T) {
	payload := unhex(t, "82 02 03 00 82 02 04 00"+device24)
	r, err := Parse(payload)
	if err != nil || len(r.Discovered) != 2 || r.Discovered[0].NumJoinParents != 3 || r.Discovered[1].NumJoinParents != 4 {
		t.Errorf("got %+v, %v", r, err)
	}
	m := plain(t, Describe(payload))
	if all, _ := m["all"].([]any); len(all) != 3 {
		t.Errorf("all: %v", m["all"])
	}
	if d, _ := m["Discovered"].(map[string]any); d["numJoinParents"] != 4.0 {
		t.Errorf("Discovered is %v, want the last", d)
	}
}

func TestFields(t *testing.T) {
	r, err := Parse(unhex(t, "81 15 02 0001 00 d3 0064 0019 0007 0002 01 a0 001d 0000 0009 82 06 05 01 0003 aa 04"))
	if err != nil {
		t.Fatal(err)
	}
	got, _ := json.Marshal(r.Neighbors[0].Fields())
	want := `{"neighbors":[` +
		`{"neighborFlag":0,"neighborId":1,"numRxPackets":7,"numTxFailures":25,"numTxPackets":100,"rssi":-45,"stability":0.75},` +
		`{"neighborFlag":1,"neighborId":2,"numRxPackets":9,"numTxFailures":0,"numTxPackets":29,"rssi":-96}],"numItems":2}`
	if string(got) != want {
		t.Errorf("neighbors:\n got %s\nwant %s", got, want)
	}
	got, _ = json.Marshal(r.Discovered[0].Fields())
	want = `{"discoveredNeighbors":[{"neighborId":3,"rssi":-86,"numRx":4}],"numItems":1,"numJoinParents":5}`
	if string(got) != want {
		t.Errorf("discovered:\n got %s\nwant %s", got, want)
	}
	want = `{"neighborId":3,"numRx":4,"rssi":-86}`
	if got, _ = json.Marshal(r.Discovered[0].DiscoveredNeighbors[0].Fields()); string(got) != want {
		t.Errorf("discovery:\n got %s\nwant %s", got, want)
	}
	got, _ = json.Marshal(RSSI{{-80, 10, 5}}.Fields())
	if want := `{"RSSI":[{"idleRssi":-80,"txUnicastAttempts":10,"txUnicastFailures":5},`; !strings.HasPrefix(string(got), want) {
		t.Errorf("RSSI:\n got %s\nwant %s...", got, want)
	}
}

func TestDerived(t *testing.T) {
	availability := func(present int, ok, fail uint16) (float64, bool) {
		return Device{NumTxOk: ok, NumTxFail: fail, Present: present}.Availability()
	}
	stability := func(packets, failures uint16) (float64, bool) {
		return Neighbor{NumTxPackets: packets, NumTxFailures: failures}.Stability()
	}
	channel := func(attempts, failures uint16) (float64, bool) {
		return Channel{TxUnicastAttempts: attempts, TxUnicastFailures: failures}.Stability()
	}
	type figure struct {
		value float64
		ok    bool
	}
	of := func(value float64, ok bool) figure { return figure{value, ok} }
	tests := []struct {
		name      string
		got, want figure
	}{
		{"availability", of(availability(16, 400, 4)), figure{0.99, true}},
		{"availability, nothing sent", of(availability(16, 0, 0)), figure{}},
		{"availability, all failed", of(availability(16, 0, 9)), figure{0, true}},
		{"availability, clamped", of(availability(16, 5, 9)), figure{0, true}},
		{"availability, field absent", of(availability(5, 400, 0)), figure{}},
		{"stability", of(stability(40, 10)), figure{0.75, true}},
		{"stability, too few packets", of(stability(29, 10)), figure{}},
		{"stability, just enough", of(stability(30, 0)), figure{1, true}},
		{"stability, clamped", of(stability(30, 31)), figure{0, true}},
		{"channel", of(channel(4, 1)), figure{0.75, true}},
		{"channel, nothing sent", of(channel(0, 0)), figure{}},
		{"reliability", of(Reliability(1, 999)), figure{0.999, true}},
		{"reliability, nothing sent", of(Reliability(0, 0)), figure{}},
		{"reliability, all lost", of(Reliability(7, 0)), figure{0, true}},
		{"reliability, counters at their top", of(Reliability(math.MaxUint64, math.MaxUint64)), figure{0, true}},
	}
	for _, tt := range tests {
		if tt.got.ok != tt.want.ok || math.Abs(tt.got.value-tt.want.value) > 1e-9 {
			t.Errorf("%s: got %v, want %v", tt.name, tt.got, tt.want)
		}
	}
	d := Device{QueueOcc: 0x31, NumTxOk: 100, NumTxFail: 1, Present: 16}
	want := map[string]any{"queueMax": 3, "queueMean": 1, "availability": 0.99}
	if got := d.Derived(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := (Device{}).Derived(); len(got) != 0 {
		t.Errorf("of nothing: %v", got)
	}
}

func TestErrorText(t *testing.T) {
	if got := Truncated.Error() + " " + Truncated.Word(); got != "health: hr_truncated hr_truncated" {
		t.Error(got)
	}
}

// No payload makes Parse or Describe panic, what was decoded from all but the last byte is decoded from all, and figures
// are within 0 and 1.
func FuzzParse(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add(unhex(f, v.Hex))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		r, err := Parse(payload)
		plain(t, Describe(payload))
		if len(payload) > 0 {
			before, _ := Parse(payload[:len(payload)-1])
			if len(before.Neighbors) > len(r.Neighbors) || len(before.Discovered) > len(r.Discovered) ||
				len(before.Skipped) > len(r.Skipped) || len(before.RSSI) > len(r.RSSI) {
				t.Errorf("%x (%v): less than without its last byte: %+v, %+v", payload, err, r, before)
			}
		}
		within := func(v float64, ok bool) {
			if !(v >= 0 && v <= 1) || !ok && v != 0 {
				t.Errorf("%x: a figure is %v, %v", payload, v, ok)
			}
		}
		for _, d := range r.Devices {
			within(d.Availability())
		}
		for _, n := range r.Neighbors {
			if len(n.Neighbors) != int(n.NumItems) {
				t.Errorf("%x: %d items of %d", payload, len(n.Neighbors), n.NumItems)
			}
			for _, nb := range n.Neighbors {
				within(nb.Stability())
			}
		}
		for _, x := range r.RSSI {
			for _, c := range x {
				within(c.Stability())
			}
		}
	})
}

func BenchmarkParse(b *testing.B) {
	for _, v := range vectors(b) {
		switch v.Name {
		case "device/sol-27", "neighbors/eight", "extended/rssi":
		default:
			continue
		}
		payload := unhex(b, v.Hex)
		b.Run(v.Name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Parse(payload); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
