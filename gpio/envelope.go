package gpio

import (
	"fmt"
	"time"
)

// The deadlines of an output; each has its cause. All of them lead to the safe state.
const (
	byFor = iota
	byMaxOn
	byLease
	byLink
	deadlines
)

var dueCause = [deadlines]Cause{ByFor, ByMaxOn, ByLease, ByLink}

const (
	minBlink  = 50 * time.Millisecond
	maxBlinks = 16 // phases of a pattern
)

// output is one output and where its envelope stands. Its fields are the bank's lock's.
type output struct {
	Output
	partners []*output // never on together with this one
	groups   []*group

	pin   Pin // nil: not open
	on    bool
	want  int // the brightness asked for while it is on, in percent
	level int // and what the pin read
	read  time.Time
	cause Cause
	err   error // why pin is nil
	told  Reading

	by       string               // who gave the command in force
	due      [deadlines]time.Time // zero: none
	blink    []time.Duration      // nil: not blinking
	phase    int
	blinkAt  time.Time
	offSince time.Time
	changes  []time.Time // of the last minute, oldest first; kept only with a Rate

	retryAt time.Time
	backoff time.Duration
	logged  string // the last error that was logged
}

// away reports whether a command keeps the output from its safe state, dims or blinks.
func (o *output) away() bool {
	return o.pin != nil && (o.on != o.Safe || o.blink != nil || o.on && o.want < full)
}

func (o *output) reading() Reading {
	r := Reading{Name: o.Name, On: o.on && o.pin != nil, Known: o.pin != nil, Time: o.read, Cause: o.cause, Err: o.err}
	if r.Dims = dims(o.pin) != nil; r.Dims && r.On {
		r.Brightness = o.level
	}
	return r
}

func (g *group) reading() Reading {
	r := Reading{Name: g.name, On: true, Known: true}
	for _, o := range g.members {
		m := o.reading()
		r.On = r.On && m.On
		r.Known = r.Known && m.Known
		if r.Err == nil {
			r.Err = m.Err
		}
		if !m.Time.Before(r.Time) {
			r.Time, r.Cause = m.Time, m.Cause
		}
	}
	r.On = r.On && r.Known && len(g.members) > 0
	return r
}

// valid finds what is wrong with a command whatever the output.
func (c Command) valid(name string, now time.Time) error {
	refuse := func(reason string) error { return &Refusal{Output: name, Rule: "command", Reason: reason} }
	switch {
	case !c.Until.IsZero() && !now.Before(c.Until):
		return ErrExpired
	case c.Action > Toggle:
		return refuse("neither on, off nor toggle")
	case c.For < 0:
		return refuse("for is negative")
	case c.Brightness < 0 || c.Brightness > full:
		return refuse("brightness is 0 to 100 percent")
	case c.Brightness > 0 && c.Action != On:
		return refuse("only on has a brightness")
	case len(c.Blink) > 0 && c.Action != On:
		return refuse("only on can blink")
	case len(c.Blink) > maxBlinks:
		return refuse(fmt.Sprintf("a pattern has at most %d phases", maxBlinks))
	}
	for _, d := range c.Blink {
		if d < minBlink {
			return refuse(fmt.Sprintf("a phase of a pattern lasts at least %v", minBlink))
		}
	}
	return nil
}

// command carries out c, which is valid and does not toggle, on one output.
func (b *Bank) command(o *output, c Command, now time.Time) error {
	if o.pin == nil {
		return o.err
	}
	want := c.Action == On
	dimmed := c.Brightness > 0 && c.Brightness < full
	if dimmed && dims(o.pin) == nil {
		return &Refusal{Output: o.Name, Rule: "command", Reason: "it is switched on and off, it has no brightness"}
	}
	if err := b.refuse(o, want, len(c.Blink) > 0 || dimmed, now); err != nil {
		return err
	}
	o.clear()
	if dimmed {
		o.want = c.Brightness
	}
	if err := b.drive(o, want, ByCommand, now); err != nil {
		return err
	}
	if len(c.Blink) > 0 {
		o.blink, o.phase, o.blinkAt = c.Blink, 0, now.Add(c.Blink[0])
	}
	if !o.away() {
		return nil
	}
	o.by = c.By
	if c.For > 0 {
		o.due[byFor] = now.Add(c.For)
	}
	if o.Lease > 0 {
		o.due[byLease] = now.Add(o.Lease)
	}
	if b.linkDown && o.OnLinkLoss == GoSafe {
		o.due[byLink] = now.Add(o.LinkDelay)
	}
	return nil
}

// refuse says why the envelope forbids the state, or nil. The safe state, once, for good and not dimmed, is never forbidden.
func (b *Bank) refuse(o *output, want, special bool, now time.Time) error {
	no := func(rule, format string, args ...any) error {
		return &Refusal{Output: o.Name, Rule: rule, Reason: fmt.Sprintf(format, args...)}
	}
	if want == o.Safe && !special {
		return nil
	}
	if b.linkDown && o.OnLinkLoss == GoSafe && o.LinkDelay <= 0 {
		return no("on_link_loss", "the link is down")
	}
	if want == o.on {
		return nil
	}
	if n := o.recent(now); o.Rate > 0 && n >= o.Rate {
		return no("rate", "%d changes within a minute, %d are allowed", n, o.Rate)
	}
	if !want || o.Safe {
		return nil
	}
	if left := o.MinOff - now.Sub(o.offSince); left > 0 {
		return no("min_off", "must stay off for another %v", left.Round(time.Millisecond))
	}
	for _, p := range o.partners {
		if p.pin == nil {
			return no("interlock", "%s is not known to be off", p.Name)
		}
		if p.on {
			return no("interlock", "%s is on", p.Name)
		}
	}
	return nil
}

// clear forgets the command in force. MaxOn counts from when the output went on, whatever came since.
func (o *output) clear() {
	maxOn := o.due[byMaxOn]
	o.due = [deadlines]time.Time{}
	o.due[byMaxOn] = maxOn
	o.by, o.blink, o.blinkAt, o.want = "", nil, time.Time{}, full
}

// drive sets the pin, reads it back and keeps the books. With an error the pin is closed and will be tried again.
func (b *Bank) drive(o *output, on bool, cause Cause, now time.Time) error {
	level, err := setAndRead(o.pin, on, o.want)
	if err != nil {
		err = fmt.Errorf("gpio: output %s: pin %s: %w", o.Name, o.Pin, err)
		b.fail(o, err, now)
		return err
	}
	changed := on != o.on
	o.on, o.level, o.read, o.cause = on, level, now, cause
	if changed {
		b.noteChange(o, now)
	}
	b.tell(o)
	return nil
}

func (b *Bank) noteChange(o *output, now time.Time) {
	b.count(o)
	o.due[byMaxOn] = time.Time{}
	if !o.on {
		o.offSince = time.Now() // the pin may have taken its time
	} else if o.MaxOn > 0 && !o.Safe {
		o.due[byMaxOn] = now.Add(o.MaxOn)
	}
}

func word(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

// toSafe ends whatever is in force.
func (b *Bank) toSafe(o *output, cause Cause, now time.Time) error {
	o.clear()
	if o.pin == nil {
		return nil
	}
	return b.drive(o, o.Safe, cause, now)
}

// expire does all that is due at now.
func (b *Bank) expire(now time.Time) {
	for _, o := range b.outs {
		if over(o.retryAt, now) {
			b.open(o, ByRetry, now)
		}
		for i, d := range o.due {
			if over(d, now) {
				_ = b.toSafe(o, dueCause[i], now) // its error is in the reading and the log
				break
			}
		}
		if over(o.blinkAt, now) {
			b.nextPhase(o, now)
		}
	}
}

func over(t, now time.Time) bool { return !t.IsZero() && !now.Before(t) }

// nextPhase goes on with a pattern. Where the envelope forbids that, the pattern is over and the output safe.
func (b *Bank) nextPhase(o *output, now time.Time) {
	want := !o.on
	if err := b.refuse(o, want, true, now); err != nil {
		b.log.Warn("blinking ends", "output", o.Name, "error", err)
		_ = b.toSafe(o, ByBlink, now)
		return
	}
	if b.drive(o, want, ByBlink, now) == nil {
		o.phase = (o.phase + 1) % len(o.blink)
		o.blinkAt = now.Add(o.blink[o.phase])
	}
}

// next is when something is due next, zero for never.
func (b *Bank) next() time.Time {
	var next time.Time
	sooner := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	for _, o := range b.outs {
		sooner(o.retryAt)
		sooner(o.blinkAt)
		for _, d := range o.due {
			sooner(d)
		}
	}
	return next
}

// tell passes the reading on if it says something new, and those of the groups it is in.
func (b *Bank) tell(o *output) {
	if r := o.reading(); news(r, o.told) {
		o.told = r
		b.box.push(r)
	}
	for _, g := range o.groups {
		if r := g.reading(); news(r, g.told) {
			g.told = r
			b.box.push(r)
		}
	}
}

func news(r, told Reading) bool {
	return told.Name == "" || r.On != told.On || r.Known != told.Known || r.Brightness != told.Brightness || message(r.Err) != message(told.Err)
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
