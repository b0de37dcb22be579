package gpio

import (
	"slices"
	"time"
)

// Switch is one change of an output that has a Rate.
type Switch struct {
	Wire string // what was switched, under whatever name: the pin
	At   time.Time
	Away bool // and is now away from its safe state, or nobody knows
}

// Wire names what the output switches, for [Bank.Remember]: a pin has worn contacts whatever the output is called.
func (o Output) Wire() string {
	if o.Pin == "sim" || o.Pin == "" {
		return "sim " + o.Name
	}
	return o.Pin
}

// Remember adds what happened before [Open]: when wires were switched within the last minute, oldest first. note, which must
// not block and is called with the bank's lock held, gets what the next Remember needs.
func (b *Bank) Remember(before map[string][]time.Time, note func(Switch)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.note = note
	for wire, at := range before {
		b.past[wire] = slices.Clone(at)
	}
	for _, o := range b.outs {
		o.changes = append(b.past[o.Wire()], o.changes...)
	}
}

// count counts a change, or what may have been one.
func (b *Bank) count(o *output) {
	if o.Rate <= 0 {
		return
	}
	now := time.Now() // a pin may have taken its time
	o.recent(now)
	o.changes = append(o.changes, now)
	if b.note != nil {
		b.note(Switch{Wire: o.Wire(), At: now, Away: o.pin == nil || o.on != o.Safe})
	}
}

// recent counts the changes of the last minute.
func (o *output) recent(now time.Time) int {
	for len(o.changes) > 0 && now.Sub(o.changes[0]) >= time.Minute {
		o.changes = o.changes[1:]
	}
	return len(o.changes)
}
