package sim

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"testing"
)

// The layouts of the manager's API, as published in machine readable form. They are the tests' own reading of the
// protocol: nothing of them is used by the simulator.
type layouts struct {
	Enums map[string]struct {
		Values []struct{ Value int }
	}
	Codes []struct{ Value int } `json:"response_codes"`

	Commands []struct {
		Name     string
		ID       byte
		Channel  string
		Request  []layoutField
		Response []layoutField
		Size     int                    `json:"request_size"`
		More     bool                   `json:"request_variable"`
		Codes    []struct{ Value byte } `json:"response_codes"`
	}
	Notifications []struct {
		ID            byte
		Notifications []struct {
			NotifType byte
			Fields    []layoutField
			Events    []struct {
				EventType byte
				Fields    []layoutField
			}
		}
	}
}

type layoutField struct {
	Name    string
	Type    string
	Size    int
	Enum    string
	Count   string `json:"count_field"`
	Element []layoutField
}

func readLayouts(t testing.TB) (l layouts) {
	t.Helper()
	readJSON(t, "testdata/commands.json", &l)
	return l
}

func readJSON(t testing.TB, name string, into any) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// decode reads fields off b, strictly: all of them, with values their enums list. It returns the rest.
func (l layouts) decode(fields []layoutField, b []byte) (values map[string]any, rest []byte, err error) {
	values = map[string]any{}
	for _, f := range fields {
		switch f.Type {
		case "rest":
			values[f.Name], b = hex.EncodeToString(b), nil
		case "array":
			var list []any
			for range values[f.Count].(int) {
				var one map[string]any
				if one, b, err = l.decode(f.Element, b); err != nil {
					return nil, nil, err
				}
				list = append(list, one)
			}
			values[f.Name] = list
		default:
			if len(b) < f.Size {
				return nil, nil, fmt.Errorf("%s: %d bytes missing", f.Name, f.Size-len(b))
			}
			if values[f.Name], err = l.value(f, b[:f.Size]); err != nil {
				return nil, nil, err
			}
			b = b[f.Size:]
		}
	}
	return values, b, nil
}

func (l layouts) value(f layoutField, b []byte) (any, error) {
	if f.Type == "bytes" {
		return hex.EncodeToString(b), nil
	}
	n := int64(0)
	for _, c := range b {
		n = n<<8 | int64(c)
	}
	if f.Type[0] == 'i' && b[0] >= 0x80 {
		n -= 1 << (8 * len(b))
	}
	if f.Type == "bool" {
		if n > 1 {
			return nil, fmt.Errorf("%s: bool is %d", f.Name, n)
		}
		return n == 1, nil
	}
	if n > math.MaxInt {
		return n, nil // a u32 or more, where an int has 32 bits
	}
	if f.Enum == "" {
		return int(n), nil
	}
	values := l.Enums[f.Enum].Values
	if f.Enum == "RC" {
		values = l.Codes
	}
	for _, v := range values {
		if v.Value == int(n) {
			return int(n), nil
		}
	}
	return nil, fmt.Errorf("%s: %d is not in enum %s", f.Name, n, f.Enum)
}

// response decodes a response; with another code than 0 it must end after it.
func (l layouts) response(kind byte, payload []byte) (map[string]any, error) {
	for _, c := range l.Commands {
		if c.ID != kind || c.Channel == "mux" {
			continue
		}
		if len(payload) == 0 {
			return nil, fmt.Errorf("%s: no RC", c.Name)
		}
		fields := c.Response
		if payload[0] != 0 {
			fields = fields[:1]
		}
		values, rest, err := l.decode(fields, payload)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.Name, err)
		}
		if len(rest) > 0 && c.Name != "getMoteLinks" {
			return nil, fmt.Errorf("%s: %d bytes too many", c.Name, len(rest))
		}
		listed := payload[0] <= rcInvalidArgument // "not now" and a bad value are possible everywhere
		for _, code := range c.Codes {
			listed = listed || code.Value == payload[0]
		}
		if !listed {
			return nil, fmt.Errorf("%s: RC %d is not listed for it", c.Name, payload[0])
		}
		return values, nil
	}
	return nil, fmt.Errorf("no command %d", kind)
}

// notification decodes the payload of a notification, and of an event into the same map.
func (l layouts) notification(payload []byte) (map[string]any, error) {
	for _, n := range l.Notifications {
		for _, k := range n.Notifications {
			if len(payload) == 0 || k.NotifType != payload[0] {
				continue
			}
			values, rest, err := l.decode(k.Fields, payload[1:])
			if err != nil {
				return nil, fmt.Errorf("notification %d: %w", k.NotifType, err)
			}
			for _, e := range k.Events {
				if values["eventType"] != int(e.EventType) {
					continue
				}
				var more map[string]any
				if more, rest, err = l.decode(e.Fields, rest); err != nil {
					return nil, fmt.Errorf("event %d: %w", e.EventType, err)
				}
				for name, v := range more {
					values[name] = v
				}
			}
			if len(rest) > 0 {
				return nil, fmt.Errorf("notification %d: %d bytes too many: %x", k.NotifType, len(rest), rest)
			}
			return values, nil
		}
	}
	return nil, fmt.Errorf("no notification %x", payload)
}
