package gpio

import (
	"errors"
	"reflect"
	"time"
)

// Change makes the bank one of other outputs. An output that is described as before stays as it is, with its state and what
// it waits for; one that is gone or described otherwise is brought to its safe state and given back first, and only then are
// the new ones opened, in their safe states. Outputs that are on and may no longer be so together go to their safe states.
// The error names the outputs that could not be made safe.
func (b *Bank) Change(outs []Output) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return ErrClosed
	}
	now := time.Now()
	b.expire(now)
	want := make(map[string]Output)
	for _, d := range outs {
		if _, twice := want[d.Name]; !twice {
			want[d.Name] = d
		}
	}
	kept := make(map[string]*output)
	var gone []*output
	for _, o := range b.outs {
		if d, ok := want[o.Name]; ok && reflect.DeepEqual(d, o.Output) {
			kept[o.Name] = o
		} else {
			gone = append(gone, o)
		}
	}
	b.outs = gone
	err := b.closePins(now)
	for _, o := range gone {
		b.past[o.Wire()] = o.changes
	}
	b.rebuild(outs, kept)
	var added []*output
	for _, o := range b.outs {
		if kept[o.Name] == nil {
			o.changes = b.past[o.Wire()]
			added = append(added, o)
		}
	}
	b.openAll(added)
	b.signal()
	return errors.Join(err, b.separate(now))
}

// rebuild makes the tables anew and puts what the kept outputs were into them.
func (b *Bank) rebuild(outs []Output, kept map[string]*output) {
	b.outs, b.byName, b.groups, b.names = nil, make(map[string]*output), nil, nil
	b.box.mu.Lock()
	b.box.limit = max(b.box.limit, 64+4*len(outs))
	b.box.mu.Unlock()
	b.name(outs)
	for _, o := range b.outs {
		if was := kept[o.Name]; was != nil {
			partners, groups := o.partners, o.groups
			*o = *was
			o.partners, o.groups = partners, groups
		}
	}
}

// separate makes outputs safe that an interlock forbids to be on together now.
func (b *Bank) separate(now time.Time) error {
	var errs []error
	for _, o := range b.outs {
		for _, p := range o.partners {
			if o.away() && p.away() {
				errs = append(errs, b.toSafe(o, ByCheck, now))
			}
		}
	}
	return errors.Join(errs...)
}
