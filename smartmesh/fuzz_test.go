package smartmesh

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"reflect"
	"testing"
	"time"
)

// addVectors seeds a fuzzer with the packets of the golden vectors.
func addVectors(f *testing.F, groups ...string) {
	f.Helper()
	for _, g := range groups {
		for _, v := range loadVectors(f, g) {
			for _, p := range packetsIn(f, unhex(f, v.Hex)) {
				f.Add(p)
			}
		}
	}
}

// FuzzPacket: what parses gives the same bytes again, and every description is fit for JSON.
func FuzzPacket(f *testing.F) {
	addVectors(f, "handshake", "requests", "responses", "notifications", "sessions")
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParsePacket(b)
		if err == nil && !bytes.Equal(p.Append(nil), b) {
			t.Errorf("%x becomes %x", b, p.Append(nil))
		}
		for _, describe := range groups {
			d := describe(b)
			if _, err := json.Marshal(d); err != nil {
				t.Errorf("%x: %v", b, err)
			}
			if (err != nil) != (d["control"] == nil) {
				t.Errorf("%x: %v, described as %v", b, err, d)
			}
		}
	})
}

// FuzzNotification: there is a body or an error; a body gives the same bytes again, and so do its fields.
func FuzzNotification(f *testing.F) {
	addVectors(f, "notifications")
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParsePacket(b)
		if err != nil {
			return
		}
		p.Type = typeNotification
		n := ParseNotification(p)
		if (n.Body == nil) == (n.Err == nil) {
			t.Fatalf("%x: body %v, error %v", b, n.Body, n.Err)
		}
		if _, err := json.Marshal(n.Fields()); err != nil {
			t.Errorf("%x: %v", b, err)
		}
		if n.Body == nil || n.EventName() == "networkTime" || n.Type == NotifData || n.Type == NotifIPData {
			return // a time of more than a million microseconds is put right
		}
		l, payload := layoutFor(p)
		if got := l.marshal(nil, n.Body); !bytes.HasPrefix(payload, got) {
			t.Errorf("%x becomes %+v and that %x", payload, n.Body, got)
		}
	})
}

// FuzzRequest: what is described can be encoded again, to the same bytes.
func FuzzRequest(f *testing.F) {
	addVectors(f, "requests")
	f.Fuzz(func(t *testing.T, b []byte) {
		d := DescribeRequest(b)
		if d["error"] != nil || d["warnings"] != nil || d["trailing"] != nil {
			return
		}
		form, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := EncodeRequest(form); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x: %s\nbecomes %x, %v", b, form, again, err)
		}
	})
}

// FuzzResponse: struct and description agree on what is there, and the struct gives the same bytes again.
func FuzzResponse(f *testing.F) {
	addVectors(f, "responses")
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParsePacket(b)
		if err != nil || specs[p.Type] == nil || len(p.Payload) == 0 {
			return
		}
		l, payload := specs[p.Type].resp, p.Payload[1:]
		v := reflect.New(l.typ).Interface()
		missing, trailing, err := l.unmarshal(v, payload)
		form, err2 := l.describe(payload, dashes)
		if (err == nil) != (err2 == nil) || err == nil && !bytes.Equal(trailing, form.trailing) {
			t.Fatalf("%x: %v and %v, trailing %x and %x", payload, err, err2, trailing, form.trailing)
		}
		if err != nil || missing > 0 || len(form.warnings) > 0 || specs[p.Type].id == getTime.id {
			return
		}
		if got := append(l.marshal(nil, v), trailing...); !bytes.Equal(got, payload) {
			t.Errorf("%x becomes %+v and that %x", payload, v, got)
		}
	})
}

// FuzzEncodeRequest: whatever is accepted is a packet that describes itself and encodes to the same bytes again.
func FuzzEncodeRequest(f *testing.F) {
	for _, v := range loadVectors(f, "requests") {
		f.Add([]byte(v.Decoded))
	}
	f.Add([]byte(`{"command":"setAdvertising","fields":{"activate":"off"},"seq":3}`))
	f.Fuzz(func(t *testing.T, form []byte) {
		packet, err := EncodeRequest(form)
		if err != nil {
			return
		}
		if packet[1] == typeHello {
			return
		}
		d := DescribeRequest(packet)
		again, err := json.Marshal(d)
		if err != nil || d["error"] != nil {
			t.Fatalf("%s: %x: %v", form, packet, d)
		}
		if p, err := EncodeRequest(again); err != nil || !bytes.Equal(p, packet) {
			t.Errorf("%s: %x, then %x, %v", form, packet, p, err)
		}
	})
}

// FuzzParseMAC: what is read is written in the one form, and that is read again.
func FuzzParseMAC(f *testing.F) {
	for _, s := range []string{"00-17-0d-00-00-38-05-e9", "00:17:0d:00:00:38:05:e9", "00170d00003805e9", "--", "00-17:0d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		m, err := ParseMAC(s)
		if err != nil {
			return
		}
		if again, err := ParseMAC(m.String()); err != nil || again != m {
			t.Errorf("%q: %v, then %v, %v", s, m, again, err)
		}
	})
}

// dataFrame is a temperature sample as the manager sends it.
const dataFrame = "0014023404000000003d226bc600060eb300170d0000303132f0b9f0b900000500ff0105000000003d226bc600060eb300007530011008f9"

func TestParseAllocations(t *testing.T) {
	b := unhex(t, dataFrame)
	if n := testing.AllocsPerRun(100, func() {
		p, _ := ParsePacket(b)
		if n := ParseNotification(p); n.Err != nil {
			t.Fatal(n.Err)
		}
	}); n > 1 {
		t.Errorf("%v allocations a notification, want 1: its body", n)
	}
	p, _ := ParsePacket(b)
	d := ParseNotification(p).Body.(*DataNotification)
	if want := time.Unix(0x3d226bc6, 0x60eb3*1000).UTC(); !d.UTC.Equal(want) || d.MAC.String() != "00-17-0d-00-00-30-31-32" ||
		d.SrcPort != 0xF0B9 || d.DstPort != 0xF0B9 || len(d.Data) != 27 {
		t.Errorf("%+v", d)
	}
}

// BenchmarkDataNotification decodes a frame's packet to a Notification.
func BenchmarkDataNotification(b *testing.B) {
	packet := unhex(b, dataFrame)
	b.ReportAllocs()
	for b.Loop() {
		p, err := ParsePacket(packet)
		if err != nil {
			b.Fatal(err)
		}
		if n := ParseNotification(p); n.Body == nil {
			b.Fatal(n.Err)
		}
	}
}

// BenchmarkSession takes a reliable data notification from the port to its acknowledgement.
func BenchmarkSession(b *testing.B) {
	s, end := benchSession(b)
	packet := unhex(b, dataFrame)
	packet[0] = controlReliable
	b.ReportAllocs()
	for b.Loop() {
		packet[2]++
		s.in.len = copy(s.in.buf[:], packet)
		if err := s.receive(&s.in); err != nil {
			b.Fatal(err)
		}
	}
	end()
}

// A sink is a port that takes everything and gives nothing.
type sink struct{ gone chan struct{} }

func (s *sink) Read([]byte) (int, error)    { <-s.gone; return 0, io.EOF }
func (s *sink) Write(b []byte) (int, error) { return len(b), nil }
func (s *sink) Close() error                { close(s.gone); return nil }

// benchSession makes a session without its loop, and what takes it down.
func benchSession(b *testing.B) (*Session, func()) {
	b.Helper()
	opt := Options{OnNotify: func(Notification) {}, Log: slog.New(slog.DiscardHandler), Stats: new(Stats)}
	s := &Session{opt: opt, line: newLine(&sink{make(chan struct{})}, opt.Stats, opt.Log), closing: make(chan struct{})}
	return s, func() { s.line.close(func(*frame) {}) }
}
