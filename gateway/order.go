package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// The stages of a command, as result topics tell them (contract, section 3).
const (
	stageApplied   = "applied"   // the pin reads what was asked
	stageConfirmed = "confirmed" // the mote has answered that it did it
	stageRefused   = "refused"   // not tried: the command or the moment is wrong
	stageExpired   = "expired"   // not tried: it came too late
	stageFailed    = "failed"    // tried, and it did not work or nobody knows
)

// maxOrder bounds the payload of a command; a legal one is a few dozen bytes.
const maxOrder = 4 << 10

// order is what a command asks for: on, off, or the opposite of what is.
type order struct {
	id         string
	on         bool
	toggle     bool
	hold       time.Duration   // how long on or off is to last; 0: until the next command
	brightness int             // percent; 0: as bright as it gets
	blink      []time.Duration // on, off, on, off ... until hold is over or the next command

	deadline time.Time // until when it may be carried out; zero: no matter when
}

// what says what is asked, whatever the id and the moment: two orders with the same id and the same
// what are one order that came twice.
func (o order) what() string {
	s := onOff(o.on)
	if o.toggle {
		s = "toggle"
	}
	if o.brightness > 0 {
		s += fmt.Sprintf(" %d%%", o.brightness)
	}
	if o.blink != nil {
		s += fmt.Sprintf(" blink %v", o.blink)
	}
	if o.hold > 0 {
		s += " for " + o.hold.String()
	}
	return s
}

// result is how far a command came, and when.
type result struct {
	id       string
	stage    string
	err      error
	accepted time.Time // when the gateway took it up; zero: not at all
	done     time.Time // when the stage was reached
	repeated bool      // it came before: this is the answer of then
}

func (r result) ok() bool { return r.stage == stageApplied || r.stage == stageConfirmed }

func refused(id string, err error) result { return result{id: id, stage: stageRefused, err: err} }

var errExpired = errors.New("its time (until) has passed")

// parseOrder reads the payload of a set topic: a word (on, off, toggle, 1, 0, true, false in any
// case), or an object {"state", "id", "for", "until", "brightness", "blink"}. The id is given back
// whenever it could be read, also with an error, so that a refusal reaches the one who asked; with
// errExpired all of the order is.
func parseOrder(payload []byte, now time.Time) (order, error) {
	if len(payload) > maxOrder {
		return order{}, fmt.Errorf("the command is %d bytes long, more than the %d allowed", len(payload), maxOrder)
	}
	text := strings.TrimSpace(string(payload))
	if !strings.HasPrefix(text, "{") {
		var o order
		return o, o.state(text)
	}
	return parseObject([]byte(text), now)
}

func parseObject(text []byte, now time.Time) (order, error) {
	var form struct {
		State *string         `json:"state"`
		ID    json.RawMessage `json:"id"`
		For   *string         `json:"for"`
		Until *string         `json:"until"`

		Brightness *int     `json:"brightness"`
		Blink      []string `json:"blink"`
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	err := dec.Decode(&form)
	id, known := orderID(form.ID)
	o := order{id: id}
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.As(err, &wrong):
		return o, fmt.Errorf("not a command: %q cannot be a %s", wrong.Field, wrong.Value)
	case err != nil:
		return o, fmt.Errorf("not a command: %w", err)
	case !known:
		return o, errors.New(`"id" is neither a text nor a number`)
	case !atEnd(dec):
		return o, errors.New("not a command: more follows the object")
	}
	if key := twice(text); key != "" {
		return o, fmt.Errorf("not a command: %.40q is there twice", key)
	}
	if err := o.wanted(form.State, form.Brightness); err != nil {
		return o, err
	}
	if err := o.pattern(form.Blink); err != nil {
		return o, err
	}
	if form.For != nil {
		if o.hold, err = time.ParseDuration(*form.For); err != nil || o.hold <= 0 {
			return o, fmt.Errorf(`"for" is %.40q: it must be a time such as "5s"`, *form.For)
		}
	}
	if form.Until == nil {
		return o, nil
	}
	return o, o.until(*form.Until, now)
}

// atEnd reports whether nothing but white space is left.
func atEnd(dec *json.Decoder) bool {
	_, err := dec.Token()
	return errors.Is(err, io.EOF)
}

// twice gives a key that an object, which is well formed and flat, has more than once, in any case: which of its values is
// meant is not known.
func twice(object []byte) string {
	dec := json.NewDecoder(bytes.NewReader(object))
	seen := map[string]bool{}
	depth := 0
	for isKey := false; ; {
		t, err := dec.Token()
		if err != nil {
			return ""
		}
		switch d, _ := t.(json.Delim); d {
		case '{', '[':
			depth++
			isKey = depth == 1
			continue
		case '}', ']':
			depth--
			isKey = depth == 1
			continue
		}
		if depth != 1 {
			continue
		}
		if key, _ := t.(string); isKey {
			if key = strings.ToLower(key); seen[key] {
				return key
			}
			seen[key] = true
		}
		isKey = !isKey
	}
}

// wanted reads the state and the brightness, of which one will do.
func (o *order) wanted(state *string, brightness *int) error {
	switch {
	case state == nil && brightness == nil:
		return errors.New(`not a command: "state" is missing (on, off or toggle)`)
	case state != nil:
		if err := o.state(*state); err != nil {
			return err
		}
	default:
		o.on = *brightness > 0
	}
	switch {
	case brightness == nil:
	case *brightness < 0 || *brightness > 100:
		return fmt.Errorf(`"brightness" is %d: it must be 0 to 100 percent`, *brightness)
	case o.toggle || o.on != (*brightness > 0):
		return fmt.Errorf(`"brightness" %d and "state" %q contradict each other`, *brightness, *state)
	default:
		o.brightness = *brightness
	}
	return nil
}

// pattern reads how long a blinking output is on, off, on and so on.
func (o *order) pattern(phases []string) error {
	for _, p := range phases {
		d, err := time.ParseDuration(p)
		if err != nil || d <= 0 {
			return fmt.Errorf(`"blink" has %.40q: each phase must be a time such as "500ms"`, p)
		}
		o.blink = append(o.blink, d)
	}
	return nil
}

// state reads on, off, toggle and their synonyms into o.
func (o *order) state(word string) error {
	switch strings.ToLower(strings.TrimSpace(word)) {
	case "on", "1", "true":
		o.on = true
	case "off", "0", "false":
	case "toggle":
		o.toggle = true
	default:
		return fmt.Errorf("%.40q is no state: say on, off or toggle", word)
	}
	return nil
}

// until refuses a command whose time has passed.
func (o *order) until(text string, now time.Time) error {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return fmt.Errorf(`"until" is %.40q: it must be a time such as %q`, text, stamp(now))
	}
	if !t.After(now) {
		return errExpired
	}
	o.deadline = t
	return nil
}

// orderID takes a string or a number as it was written; none is the empty one. ok is false for anything else.
func orderID(raw json.RawMessage) (id string, ok bool) {
	if len(raw) == 0 || json.Unmarshal(raw, &id) == nil {
		return id, true
	}
	var n json.Number
	if json.Unmarshal(raw, &n) == nil {
		return n.String(), true
	}
	return "", false
}

// words is an error's text on one line.
func words(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// fields are the result's JSON without its time, which is added when it is sent. Each rung of the
// ladder that was reached has its own time: accepted, then applied or confirmed.
func (r result) fields() map[string]any {
	f := map[string]any{"ok": r.ok(), "stage": r.stage}
	if r.id != "" {
		f["id"] = r.id
	}
	if r.err != nil {
		f["error"] = words(r.err)
		if far := reached(r.err); far != "" {
			f["reached"] = far
		}
	}
	if !r.accepted.IsZero() {
		f["accepted"] = stamp(r.accepted)
	}
	if r.ok() && !r.done.IsZero() {
		f[r.stage] = stamp(r.done)
	}
	if r.repeated {
		f["repeated"] = true
	}
	return f
}
