package sim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meshgate/meshgate/hdlc"
)

type vectors struct {
	Vectors []struct {
		Name    string
		Hex     string
		Decoded map[string]any
	}
}

func readVectors(t testing.TB, group string) vectors {
	t.Helper()
	var v vectors
	readJSON(t, "testdata/"+group+".json", &v)
	if len(v.Vectors) == 0 {
		t.Fatalf("no vectors in %s", group)
	}
	return v
}

// unframe takes the one packet out of a frame.
func unframe(t testing.TB, frame string) packet {
	t.Helper()
	raw, err := hdlc.NewReader(bytes.NewReader(unhex(t, frame))).Next()
	if err != nil {
		t.Fatalf("%s: %v", frame, err)
	}
	p, ok := parse(bytes.Clone(raw))
	if !ok {
		t.Fatalf("%s: wrong length", frame)
	}
	return p
}

// same compares what was decoded with what a vector says, number by number.
func same(got, want any) bool {
	g, err1 := json.Marshal(got)
	w, err2 := json.Marshal(want)
	return err1 == nil && err2 == nil && bytes.Equal(g, w)
}

// The tests' own decoder first: it must agree with the golden responses.
func TestLayoutsDecodeVectors(t *testing.T) {
	l, checked := readLayouts(t), 0
	for _, v := range readVectors(t, "responses").Vectors {
		if !strings.HasPrefix(v.Name, "response/") || v.Decoded["rc"] != 0.0 || v.Decoded["missing"] != nil ||
			v.Decoded["trailing"] != nil || v.Decoded["warnings"] != nil {
			continue
		}
		p := unframe(t, v.Hex)
		values, err := l.response(p.kind, p.payload)
		if err != nil {
			t.Errorf("%s: %v", v.Name, err)
		} else if !same(values, v.Decoded["fields"]) {
			t.Errorf("%s: got %v, want %v", v.Name, values, v.Decoded["fields"])
		}
		checked++
	}
	if checked < 80 {
		t.Errorf("only %d responses checked", checked)
	}
}

// Every golden request is understood: the answer is well formed, has a code that is listed for the command, and no rule
// was broken. With and without the address of a mote that exists.
func TestRequestVectors(t *testing.T) {
	l := readLayouts(t)
	for _, known := range []bool{false, true} {
		ok := 0
		for _, v := range readVectors(t, "requests").Vectors {
			t.Run(fmt.Sprintf("%s/known=%v", v.Name, known), func(t *testing.T) {
				in(t, Config{Motes: 3}, func(t *testing.T, m *Manager, p *peer) {
					time.Sleep(time.Second)
					req := unframe(t, v.Hex)
					p.hello(req.seq - 1)
					if known {
						fields, _ := v.Decoded["fields"].(map[string]any)
						if old, _ := fields["macAddress"].(string); old != "" {
							mac := m.Motes()[0]
							req.raw = bytes.Replace(req.raw, unhex(t, old), mac[:], 1)
							req.payload = req.raw[4:]
						}
					}
					got := p.call(req.kind, req.payload...)
					values, err := l.response(req.kind, got)
					if err != nil {
						t.Fatal(err)
					}
					if values["RC"] == 0 {
						ok++
					}
					time.Sleep(2 * time.Second)
					clean(t, m)
				})
			})
		}
		if least := map[bool]int{false: 30, true: 45}[known]; ok < least {
			t.Errorf("known=%v: only %d requests succeeded", known, ok)
		}
	}
}

// Every notification leaves as the golden ones do, and the golden acknowledgement is taken.
func TestNotificationVectors(t *testing.T) {
	for _, v := range readVectors(t, "notifications").Vectors {
		ack, reliable := v.Decoded["ack_hex"].(string)
		if strings.Contains(v.Name, "length") || v.Decoded["length"] == 0.0 {
			continue // cannot be sent by Inject
		}
		in(t, Config{}, func(t *testing.T, m *Manager, p *peer) {
			p.set(func() { p.ack = false })
			want := unframe(t, v.Hex)
			p.hello(0)
			unack := byte(0xff)
			if reliable {
				unack = 0
			}
			p.want(rcOK, 22, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, unack)
			m.relSeq = want.seq - 1
			if sent := m.Inject(want.payload); sent != (want.payload[0] < 32) {
				t.Fatalf("%s: sent %v", v.Name, sent)
			}
			got := p.takeNotes()
			if want.payload[0] >= 32 {
				return
			}
			if len(got) != 1 || got[0].control != want.control || !bytes.Equal(got[0].payload, want.payload) ||
				reliable && !bytes.Equal(hdlc.AppendFrame(nil, got[0].raw), unhex(t, v.Hex)) {
				t.Fatalf("%s: got %x, want %x", v.Name, got, want)
			}
			if reliable {
				p.conn.Write(unhex(t, ack))
				synctest.Wait()
				if m.Stats().Acked != 1 {
					t.Errorf("%s: not acknowledged by %s", v.Name, ack)
				}
			}
			clean(t, m)
		})
	}
}

func TestHandshakeVectors(t *testing.T) {
	for _, v := range readVectors(t, "handshake").Vectors {
		command, _ := v.Decoded["command"].(string)
		fields := v.Decoded["fields"].(map[string]any)
		in(t, Config{}, func(t *testing.T, m *Manager, p *peer) {
			want := unframe(t, v.Hex)
			switch {
			case command == "":
				if got := p.take(); len(got) != 1 || !bytes.Equal(got[0].raw, want.raw) {
					t.Errorf("%s: got %v", v.Name, got)
				}
			case command == "hello":
				p.take()
				p.conn.Write(unhex(t, v.Hex))
				p.take()
				p.seq = byte(v.Decoded["next_request_seq"].(float64)) - 1
				p.want(rcOK, 46)
			case fields["successCode"] == 0.0:
				m.relSeq = byte(fields["mgrSeqNo"].(float64))
				if got := p.hello(byte(fields["cliSeqNo"].(float64))); !bytes.Equal(got, want.payload) {
					t.Errorf("%s: got %x, want %x", v.Name, got, want.payload)
				}
			}
			clean(t, m)
		})
	}
}

// Answers of the motes, byte by byte as seen in the field.
func TestOAPVectors(t *testing.T) {
	hexOf := map[string]string{}
	for _, v := range readVectors(t, "oap").Vectors {
		hexOf[v.Name] = v.Hex
	}
	synctest.Test(t, func(t *testing.T) {
		m := New(Config{Motes: 1, Numbered: true}, nil)
		mo := m.field[0]
		mo.samples = 0x08f9
		for _, c := range []struct{ request, response string }{
			{"request/get-temperature", "response/get-temperature"},
			{"request/led-on", "response/put-led-ok"},
			{"request/led-off", "response/put-led-ok"},
			{"request/temperature-10s", "response/put-ok"},
			{"request/temperature-off", "response/put-ok"},
			{"request/get-analog-a0", "response/get-analog-empty-value"},
			{"malformed/empty", ""},
			{"malformed/two-bytes", ""},
			{"response/put-ok", ""},
			{"notification/temperature-vendor", ""},
		} {
			request, ok := hexOf[c.request]
			want, ok2 := hexOf[c.response]
			if !ok || !ok2 && c.response != "" {
				t.Fatalf("no vector %s or %s", c.request, c.response)
			}
			if got := m.oap(mo, unhex(t, request)); !bytes.Equal(got, unhex(t, want)) {
				t.Errorf("%s: got %x, want %s", c.request, got, want)
			}
		}
		for name, request := range hexOf {
			if strings.HasPrefix(name, "request/") && !strings.Contains(name, "post") && !strings.Contains(name, "delete") {
				if got := m.oap(mo, unhex(t, request)); got[3] != oapOK {
					t.Errorf("%s: result %d", name, got[3])
				}
			}
		}
	})
}
