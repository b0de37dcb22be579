package oap

import (
	"bytes"
	"reflect"
	"testing"
	"time"
)

// vendorSample is a capture the vendor has printed: 22.97 degrees C, a report every 30 s.
const vendorSample = "00 00 05 00 ff0105 000000003d226bc6 00060eb3 00007530 01 10 08f9"

func TestParse(t *testing.T) {
	at := time.Unix(1025665990, 396979000).UTC()
	tests := []struct {
		name, payload string
		want          Message
	}{
		{"temperature", vendorSample,
			Sample{Channel: []byte{5}, UTC: at, Rate: 30 * time.Second, Size: 16, Values: []int{2297}}},
		{"negative", "00 00 05 00 ff0105 000000003d226bc6 00060eb3 00007530 02 10 fb2e ffff",
			Sample{Channel: []byte{5}, UTC: at, Rate: 30 * time.Second, Size: 16, Values: []int{-1234, -1}}},
		{"8 bits have no sign", "00 00 05 00 ff020203 000000003d226bc6 00060eb3 00000001 01 08 ff",
			Sample{Channel: []byte{2, 3}, UTC: at, Rate: time.Millisecond, Size: 8, Values: []int{255}}},
		{"no samples", "00 00 05 00 ff020403 000000003d226bc6 00060eb3 ffffffff 00 10",
			Sample{Channel: []byte{4, 3}, UTC: at, Rate: 1<<32*time.Millisecond - time.Millisecond, Size: 16, Values: []int{}}},
		{"bytes after the samples", vendorSample + "ffff",
			Sample{Channel: []byte{5}, UTC: at, Rate: 30 * time.Second, Size: 16, Values: []int{2297}}},
		{"digital change", "00 00 05 02 ff020201 000000003d226bc6 00060eb3 01",
			Digital{Channel: []byte{2, 1}, UTC: at, Value: 1}},
		{"stats, whatever the size", "00 00 05 01 ff0105 000000003d226bc6 00060eb3 00000064 0a 20 0102",
			Stats{Channel: []byte{5}, UTC: at, Rate: 100 * time.Millisecond, Count: 10, Size: 32, Rest: []byte{1, 2}}},
		{"pkgen", "00 00 05 04 ff01fe 00000007 00000001 00000064 aabb",
			PkGen{Channel: []byte{254}, PID: 7, StartPID: 1, NumPackets: 100, Payload: []byte{0xAA, 0xBB}}},
		{"response", "03 59 02 00 ff020302 0000",
			Response{Session: 5, Sequence: 9, Command: Put, Tags: []Tag{{0xFF, []byte{3, 2}}, {0, []byte{}}}}},
		{"bare response", "02 01 01 4d", Response{Sequence: 1, Command: Get, Result: 77}},
		{"response to a notification", "03 00 05 00", Response{Command: Notification}},
		{"request", "05 12 02 ff0105 000101", Request{Session: 1, Sequence: 2, Sync: true, Reliable: true, Command: Put,
			Address: []byte{5}, Tags: []Tag{{0, []byte{1}}}}},
	}
	for _, tt := range tests {
		got, err := Parse(unhex(t, tt.payload))
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s:\n got %+v, %v\nwant %+v", tt.name, got, err, tt.want)
		}
	}
}

func TestParseMalformed(t *testing.T) {
	tests := []struct {
		payload string
		want    error
	}{
		{"", TooShort},
		{"03 00", TooShort},
		{"03 00 02", TooShort},
		{"00 00 05", TooShort},
		{"05 00 01", Truncated},
		{"05 00 01 ff", Truncated},
		{"05 00 01 0000", NoAddress},
		{"05 00 01 ff0105 00", Truncated},
		{"03 00 02 00 ff0205", Truncated},
		{"03 00 02 00 ff0105 01", Truncated},
		{"00 00 05 00", Truncated},
		{"00 00 05 03", UnsupportedType},
		{"00 00 05 05 ff0105", UnsupportedType},
		{"00 00 05 00 ff00", UnknownChannel},
		{"00 00 05 00 ff0104", UnknownChannel},
		{"00 00 05 00 ff020500", UnknownChannel},
		{"00 00 05 00 ff020302", UnknownChannel},
		{"00 00 05 02 ff020201 000000003d226bc6 00060eb3", Truncated},
		{"00 00 05 04 ff01fe 00000007 00000001 000000", Truncated},
		{"00 00 05 01 ff0105 000000003d226bc6 00060eb3 00000064 0a", Truncated},
		{"00 00 05 00 ff0105 000000003d226bc6 00060eb3 00000064 01 00", BadSampleSize},
		{"00 00 05 00 ff0105 000000003d226bc6 00060eb3 00000064 01 20 00000000", BadSampleSize},
		{"00 00 05 00 ff0105 000000003d226bc6 00060eb3 00000064 ff 10 0000", Truncated},
	}
	for _, tt := range tests {
		if got, err := Parse(unhex(t, tt.payload)); err != tt.want || got != nil {
			t.Errorf("%s: got %v, %v, want %v", tt.payload, got, err, tt.want)
		}
	}
}

// Cut anywhere, the vendor's capture is an error with a word, and never half a sample.
func TestEveryPrefix(t *testing.T) {
	payload := unhex(t, vendorSample)
	for n := range payload {
		msg, err := Parse(payload[:n])
		if want := []Error{Truncated, TooShort}[btoi(n < 4)]; err != want || msg != nil {
			t.Errorf("%d bytes: got %v, %v, want %v", n, msg, err, want)
		}
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func TestAppendRequest(t *testing.T) {
	put := Request{Sync: true, Reliable: true, Command: Put, Address: LED, Tags: []Tag{{0, []byte{1}}}}
	if got, want := AppendRequest([]byte{0xAA}, put), unhex(t, "aa 05 00 02 ff020302 000101"); !bytes.Equal(got, want) {
		t.Errorf("got %x, want %x", got, want)
	}
	get := Request{Session: 2, Sequence: 19, Reliable: true, Command: Get, Address: Temperature}
	if got, want := AppendRequest(nil, get), unhex(t, "01 23 01 ff0105"); !bytes.Equal(got, want) {
		t.Errorf("a sequence of 5 bits: got %x, want %x", got, want)
	}
	long := Request{Command: Put, Address: Temperature, Tags: []Tag{{0, make([]byte, 300)}, {1, []byte{7}}}}
	back, err := ParseRequest(AppendRequest(nil, long))
	if err != nil || len(back.Tags) != 2 || len(back.Tags[0].Value) != 255 {
		t.Errorf("a value of 300 bytes: got %v, %v", back, err)
	}
}

func TestTimes(t *testing.T) {
	at := time.Unix(1025700000, 0).UTC()
	three := Sample{UTC: at, Rate: 2 * time.Second, Values: []int{1, 2, 3}}
	seconds := func(times []time.Time) []float64 {
		s := []float64{}
		for _, x := range times {
			s = append(s, x.Sub(at).Seconds())
		}
		return s
	}
	tests := []struct {
		name   string
		sample Sample
		packet time.Time
		want   []float64
	}{
		{"stamp of the first", three, at.Add(5 * time.Second), []float64{0, 2, 4}},
		{"stamp of the first, just", three, at.Add(4 * time.Second), []float64{0, 2, 4}},
		{"stamp of the last", three, at.Add(4*time.Second - time.Microsecond), []float64{-4, -2, 0}},
		{"packet time not known", three, time.Time{}, []float64{0, 2, 4}},
		{"one", Sample{UTC: at, Rate: time.Hour, Values: []int{1}}, at.Add(-time.Second), []float64{0}},
		{"none", Sample{UTC: at, Rate: time.Hour}, at.Add(-time.Second), []float64{}},
		{"rate 0", Sample{UTC: at, Values: []int{1, 2}}, at, []float64{0, 0}},
	}
	for _, tt := range tests {
		if got := seconds(times(tt.sample, tt.packet)); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
	if got := three.Start(at); !got.Equal(at.Add(-4 * time.Second)) {
		t.Errorf("start: got %v", got)
	}
}

func TestChannel(t *testing.T) {
	tests := []struct {
		address []byte
		root    byte
		index   int
		ok      bool
	}{
		{[]byte{5}, AddrTemperature, 0, true},
		{[]byte{4, 3}, AddrAnalog, 3, true},
		{[]byte{2, 9}, AddrDigitalIn, 9, true},
		{[]byte{3, 2}, 0, 0, false},
		{[]byte{4}, 0, 0, false},
		{[]byte{5, 0}, 0, 0, false},
		{nil, 0, 0, false},
	}
	for _, tt := range tests {
		root, index, ok := Channel(tt.address)
		if root != tt.root || index != tt.index || ok != tt.ok {
			t.Errorf("%v: got %d, %d, %v", tt.address, root, index, ok)
		}
	}
}

func TestNames(t *testing.T) {
	got := []string{Put.String(), Command(0).String(), Command(9).String(), ExecSize.String(), Result(13).String(),
		NoAddress.Error(), NoAddress.Word()}
	want := []string{"PUT", "command 0", "command 9", "EXEC_SIZE", "result 13", "oap: oap_no_address", "oap_no_address"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A request of a mote is described and marked as ignored; one that cannot be read is ignored as well.
func TestDescribeRequests(t *testing.T) {
	if m := Describe(Port, unhex(t, "05 00 07 ff0105")); m["ignored"] != true || m["kind"] != "oap_request" {
		t.Errorf("got %v", m)
	}
	if m := Describe(Port, unhex(t, "05 00 01 ff0205")); !reflect.DeepEqual(m, map[string]any{"ignored": true}) {
		t.Errorf("cut: got %v", m)
	}
}

func TestBlink(t *testing.T) {
	tests := []struct {
		payload string
		err     error
		want    Blink
	}{
		{"9400", nil, Blink{Data: []byte{}}},
		{"94", BlinkTruncated, Blink{}},
		{"9401", BlinkTruncated, Blink{}},
		{"940107 95", BlinkTruncated, Blink{}},
		{"940107 9500", BlinkTruncated, Blink{}},
		{"940107 950300ffff", nil, Blink{Data: []byte{7}}},
		{"9500 940107", NotBlink, Blink{}},
		{"940107 9504010001ff 950401000280", nil, Blink{Data: []byte{7}, Neighbors: []BlinkNeighbor{{1, -1}, {2, -128}}}},
	}
	for _, tt := range tests {
		got, err := ParseBlink(unhex(t, tt.payload))
		if err != tt.err || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: got %+v, %v, want %+v, %v", tt.payload, got, err, tt.want, tt.err)
		}
	}
}

func TestParseAllocs(t *testing.T) {
	payload := unhex(t, vendorSample)
	if n := testing.AllocsPerRun(100, func() {
		if _, err := Parse(payload); err != nil {
			t.Fatal(err)
		}
	}); n > 2 {
		t.Errorf("%v allocations a sample, want 2: the values and the message", n)
	}
}

// No payload makes Parse or Describe panic; a request or response that was read is, once appended, read as the same; the
// times of samples are in order and their stamp is that of the first or the last.
func FuzzParse(f *testing.F) {
	for _, v := range vectors(f, "testdata/oap.json") {
		f.Add(unhex(f, v.Hex), int64(0))
	}
	f.Fuzz(func(t *testing.T, payload []byte, later int64) {
		plain(t, Describe(Port, payload))
		msg, err := Parse(payload)
		switch msg := msg.(type) {
		case nil:
			if _, ok := err.(Error); !ok {
				t.Errorf("%x: neither message nor Error: %v", payload, err)
			}
		case Request:
			if again, err := Parse(AppendRequest(nil, msg)); err != nil || !reflect.DeepEqual(again, any(msg)) {
				t.Errorf("%x: got %+v, %v, want %+v", payload, again, err, msg)
			}
			DecodeFields(msg.Address, msg.Tags)
		case Response:
			if again, err := Parse(appendResponse(nil, msg)); err != nil || !reflect.DeepEqual(again, any(msg)) {
				t.Errorf("%x: got %+v, %v, want %+v", payload, again, err, msg)
			}
		case Sample:
			times := times(msg, msg.UTC.Add(time.Duration(later)))
			if n := len(times); n != len(msg.Values) || n > 0 && !times[0].Equal(msg.UTC) && !times[n-1].Equal(msg.UTC) {
				t.Errorf("%x: times %v, stamp %v", payload, times, msg.UTC)
			}
		}
	})
}

func FuzzBlink(f *testing.F) {
	for _, v := range vectors(f, "testdata/blink.json") {
		f.Add(unhex(f, v.Hex))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		plain(t, DescribeBlink(payload))
		b, err := ParseBlink(payload)
		if (err == NotBlink) == IsBlink(payload) || err != nil && b.Data != nil {
			t.Errorf("%x: %+v, %v", payload, b, err)
		}
		if 3*len(b.Neighbors) > len(payload) {
			t.Errorf("%x: %d neighbours", payload, len(b.Neighbors))
		}
	})
}

func BenchmarkParse(b *testing.B) {
	for name, s := range map[string]string{
		"sample": vendorSample,
		"get":    "03000100ff0105000101010400007530020101030100040208f9",
	} {
		payload := unhex(b, s)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Parse(payload); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// times gives the time of every sample: they are Rate apart, from Start on.
func times(s Sample, packetMade time.Time) []time.Time {
	all := make([]time.Time, len(s.Values))
	t := s.Start(packetMade)
	for i := range all {
		all[i] = t
		t = t.Add(s.Rate)
	}
	return all
}

// appendResponse appends the response of a mote to a reliable request to dst.
func appendResponse(dst []byte, r Response) []byte {
	dst = append(dst, controlResponse|controlReliable, r.Session<<4|r.Sequence&0x0F, byte(r.Command), byte(r.Result))
	return appendTags(dst, r.Tags)
}
