package smartmesh

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/meshgate/meshgate/hdlc"
)

// A vector is a golden vector, made by running the vendor's software.
type vector struct {
	Name    string          `json:"name"`
	Hex     string          `json:"hex"`
	Decoded json.RawMessage `json:"decoded"`
}

func loadVectors(t testing.TB, group string) []vector {
	t.Helper()
	var file struct {
		Count   int      `json:"count"`
		Vectors []vector `json:"vectors"`
	}
	loadJSON(t, group+".json", &file)
	if len(file.Vectors) == 0 || len(file.Vectors) != file.Count {
		t.Fatalf("%s: %d vectors, the file says %d", group, len(file.Vectors), file.Count)
	}
	return file.Vectors
}

func loadJSON(t testing.TB, name string, v any) {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, v); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatalf("%q: %v", s, err)
	}
	return b
}

// packetsIn takes the frames of a stream apart.
func packetsIn(t testing.TB, stream []byte) [][]byte {
	t.Helper()
	var packets [][]byte
	r := hdlc.NewReader(bytes.NewReader(stream))
	for {
		p, err := r.Next()
		if err != nil {
			return packets
		}
		packets = append(packets, bytes.Clone(p))
	}
}

// groups are the groups of vectors that are one packet each, and what describes them.
var groups = map[string]func([]byte) map[string]any{
	"handshake":     DescribeHandshake,
	"requests":      DescribeRequest,
	"responses":     DescribeResponse,
	"notifications": DescribeNotification,
}

func TestVectors(t *testing.T) {
	for group, describe := range groups {
		for _, v := range loadVectors(t, group) {
			t.Run(v.Name, func(t *testing.T) {
				packets := packetsIn(t, unhex(t, v.Hex))
				if len(packets) != 1 {
					t.Fatalf("%d packets in %s", len(packets), v.Hex)
				}
				for _, bad := range compare(v.Decoded, describe(packets[0])) {
					t.Error(bad)
				}
				if group == "requests" || strings.HasPrefix(v.Name, "hello/") {
					again, err := EncodeRequest(v.Decoded)
					if err != nil || !bytes.Equal(again, packets[0]) {
						t.Errorf("EncodeRequest gives %x, %v; want %x", again, err, packets[0])
					}
				}
			})
		}
	}
}

// TestMissing cuts a response between its fields, one after the other: what is absent is listed, and never 0.
func TestMissing(t *testing.T) {
	for _, v := range loadVectors(t, "responses") {
		p, err := ParsePacket(packetsIn(t, unhex(t, v.Hex))[0])
		if err != nil || p.Payload == nil || !strings.HasSuffix(v.Name, "/1") {
			continue
		}
		want := DescribeResponse(p.Append(nil))["fields"].(map[string]any)
		whole := 0
		for n := 1; n <= len(p.Payload); n++ {
			cut := p
			cut.Payload = p.Payload[:n]
			d := DescribeResponse(cut.Append(nil))
			if d["error"] != nil {
				continue // within a field
			}
			missing, _ := d["missing"].([]string)
			fields := d["fields"].(map[string]any)
			for name, value := range fields {
				if !reflect.DeepEqual(value, want[name]) && name != "links" {
					t.Errorf("%s, %d bytes: %s is %v, want %v", v.Name, n, name, value, want[name])
				}
			}
			if len(fields)+len(missing) != len(want) {
				t.Errorf("%s, %d bytes: %v and missing %v", v.Name, n, fields, missing)
			}
			if _, ok := fields["links"]; ok && slices.Contains(missing, "numLinks") {
				t.Errorf("%s, %d bytes: a list without its count", v.Name, n)
			}
			whole++
		}
		if whole < len(want) {
			t.Errorf("%s: %d of %d fields come one by one", v.Name, whole, len(want))
		}
	}
}

// compare tells where got is not as the vector's decoded says: everything in it must be equal, some keys it does not have
// mean none, others are not judged.
func compare(want json.RawMessage, got map[string]any) (bad []string) {
	text, err := json.Marshal(got)
	if err != nil {
		return []string{err.Error()}
	}
	var g, w map[string]any
	if err := json.Unmarshal(text, &g); err != nil {
		return []string{err.Error()}
	}
	if err := json.Unmarshal(want, &w); err != nil {
		return []string{err.Error()}
	}
	for key, v := range w {
		if have, ok := g[key]; key != "meaning" && (!ok || !reflect.DeepEqual(have, v)) {
			bad = append(bad, fmt.Sprintf("%s is %v, want %v", key, have, v))
		}
	}
	for _, key := range []string{"error", "errors", "missing", "warnings", "trailing", "pending", "skipped"} {
		if _, ok := w[key]; !ok && g[key] != nil {
			bad = append(bad, fmt.Sprintf("%s is %v, want none", key, g[key]))
		}
	}
	return bad
}

// TestStructsKeepTheBytes decodes the payload of every good vector into its struct and encodes it again.
func TestStructsKeepTheBytes(t *testing.T) {
	n := 0
	for group := range groups {
		for _, v := range loadVectors(t, group) {
			p, err := ParsePacket(packetsIn(t, unhex(t, v.Hex))[0])
			if err != nil {
				continue
			}
			l, payload := layoutFor(p)
			if l == nil || strings.HasPrefix(v.Name, "malformed/") {
				continue
			}
			s := reflect.New(l.typ).Interface()
			_, trailing, err := l.unmarshal(s, payload)
			if err != nil {
				t.Errorf("%s: %v", v.Name, err)
				continue
			}
			n++
			if got := l.marshal(nil, s); !bytes.Equal(append(got, trailing...), payload) {
				t.Errorf("%s: %x becomes %+v and that %x", v.Name, payload, s, got)
			}
		}
	}
	if n < 200 {
		t.Errorf("only %d vectors were used", n)
	}
}

// layoutFor finds the layout of a packet's own fields, and their bytes.
func layoutFor(p Packet) (*layout, []byte) {
	switch row := specs[p.Type]; {
	case row != nil && !p.isAck():
		return row.req, p.Payload
	case row != nil && len(p.Payload) > 0 && p.Payload[0] == 0:
		return row.resp, p.Payload[1:]
	case p.Type == typeNotification && len(p.Payload) > 0 && p.Payload[0] == byte(NotifEvent):
		if len(p.Payload) > 5 && events[EventType(p.Payload[5])] != nil {
			return events[EventType(p.Payload[5])].layout, p.Payload[6:]
		}
	case p.Type == typeNotification && len(p.Payload) > 0 && notifications[NotifType(p.Payload[0])] != nil:
		return notifications[NotifType(p.Payload[0])].layout, p.Payload[1:]
	}
	return nil, nil
}

// TestNotificationsParse holds the typed notifications against the vectors.
func TestNotificationsParse(t *testing.T) {
	for _, v := range loadVectors(t, "notifications") {
		p, err := ParsePacket(packetsIn(t, unhex(t, v.Hex))[0])
		if err != nil {
			continue
		}
		var want struct {
			Reliable  bool           `json:"reliable"`
			NotifType NotifType      `json:"notifType"`
			EventType EventType      `json:"eventType"`
			EventID   uint32         `json:"eventId"`
			Event     string         `json:"event"`
			Fields    map[string]any `json:"fields"`
			Error     string         `json:"error"`
		}
		if err := json.Unmarshal(v.Decoded, &want); err != nil {
			t.Fatal(err)
		}
		n := ParseNotification(p)
		if n.Reliable != want.Reliable || n.Type != want.NotifType || n.Event != want.EventType || n.EventID != want.EventID {
			t.Errorf("%s: %+v", v.Name, n)
		}
		if (want.Error == "") != (n.Err == nil) || (n.Body == nil) != (n.Err != nil) || n.Err != nil && !strings.Contains(n.Err.Error(), want.Error) {
			t.Errorf("%s: error %v, want %q; body %v", v.Name, n.Err, want.Error, n.Body)
		}
		if want.Event != "" && n.Err == nil && "event"+strings.ToUpper(n.EventName()[:1])+n.EventName()[1:] != want.Event {
			t.Errorf("%s: EventName %q", v.Name, n.EventName())
		}
		if n.Err != nil {
			continue
		}
		var got map[string]any
		text, _ := json.Marshal(n.Fields())
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatal(err)
		}
		for name, value := range got { // the same but for the dashes
			if mac, ok := value.(string); ok && len(mac) == 23 {
				got[name] = strings.ReplaceAll(mac, "-", "")
			}
		}
		if !reflect.DeepEqual(got, want.Fields) {
			t.Errorf("%s: Fields %v, want %v", v.Name, got, want.Fields)
		}
	}
}
