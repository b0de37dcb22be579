package gpio

import (
	"errors"
	"log/slog"
	"time"
)

const (
	firstRetry = 100 * time.Millisecond // after a pin failed; doubled up to lastRetry
	lastRetry  = 10 * time.Second
	patience   = time.Second // for a receiver of readings that does not return, at the end
)

// Bank is a set of named outputs and groups of them, safe for concurrent use. They all share one lock, because interlocks look
// at each other: a pin that does not answer within a second has failed.
type Bank struct {
	pins *patient
	log  *slog.Logger
	box  *mailbox
	wake chan struct{} // a deadline may have changed; one signal is enough
	quit chan struct{}
	done chan struct{}

	mu       lock
	outs     []*output
	byName   map[string]*output
	groups   []*group
	names    []string // of outputs and groups as they were given
	linkDown bool
	note     func(Switch)           // may be nil
	past     map[string][]time.Time // when lines were switched that no output has now, or that one may get
	closed   bool
	closeErr error
}

// group is several outputs under one name.
type group struct {
	name    string
	members []*output
	told    Reading
}

// Open opens every output and brings it to its safe state before it returns. An output whose pin cannot be opened is
// reported once, its reading says why, and it is tried again for ever, after 100 ms at first and every 10 s in the end.
//
// onChange, which may be nil, gets a reading whenever a state changes, the first of every output included, one at a time,
// in order, on a goroutine of the bank's and outside its locks. When it is slow, readings that a later one of the same
// output has overtaken are left out. It may be called before Open returns and must not call Close.
//
// Descriptions are taken as they are: [Check] finds their mistakes. A name given twice counts the first time only.
func Open(outs []Output, m Machine, onChange func(Reading), log *slog.Logger) *Bank {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if onChange == nil {
		onChange = func(Reading) {}
	}
	b := &Bank{
		pins: newPatient(m), log: log, box: newMailbox(len(outs), onChange), byName: make(map[string]*output),
		wake: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{}), past: make(map[string][]time.Time),
		mu: make(lock, 1),
	}
	b.mu.Lock()
	b.name(outs)
	b.openAll(b.outs)
	b.mu.Unlock()
	go func() { defer b.CloseOnPanic(); b.box.run() }()
	go b.run()
	return b
}

// name fills the tables: outputs first, then what refers to them.
func (b *Bank) name(outs []Output) {
	seen := make(map[string]bool)
	for _, d := range outs {
		if seen[d.Name] {
			continue
		}
		seen[d.Name] = true
		b.names = append(b.names, d.Name)
		if len(d.Group) == 0 {
			o := &output{Output: d}
			b.outs = append(b.outs, o)
			b.byName[d.Name] = o
		}
	}
	for _, d := range outs {
		if len(d.Group) == 0 || b.byName[d.Name] != nil || b.group(d.Name) != nil {
			continue
		}
		g := &group{name: d.Name}
		for _, member := range d.Group {
			if o := b.byName[member]; o != nil {
				g.members = append(g.members, o)
				o.groups = append(o.groups, g)
			}
		}
		b.groups = append(b.groups, g)
	}
	for _, o := range b.outs {
		for _, name := range o.Interlock {
			if p := b.byName[name]; p != nil && p != o {
				o.partners = append(o.partners, p)
				p.partners = append(p.partners, o)
			}
		}
	}
}

func (b *Bank) group(name string) *group {
	for _, g := range b.groups {
		if g.name == name {
			return g
		}
	}
	return nil
}

// run is the bank's one goroutine for everything that happens by itself.
func (b *Bank) run() {
	defer close(b.done)
	defer b.CloseOnPanic()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-b.quit:
			return
		case <-b.wake:
		case <-timer.C:
		}
		if next := b.step(); next.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(time.Until(next))
		}
	}
}

// step does what is due and tells when there will be more. A driver that panics leaves the lock free for CloseOnPanic.
func (b *Bank) step() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.expire(time.Now())
	return b.next()
}

func (b *Bank) signal() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// Set is Do with On or Off. With for_ the output returns to its safe state so long after.
func (b *Bank) Set(name string, on bool, for_ time.Duration) (Reading, error) {
	action := Off
	if on {
		action = On
	}
	return b.Do(name, Command{Action: action, For: for_})
}

// Toggle is Do with Toggle. Of a group, members that are not all on are switched on; one that is not known does not count.
func (b *Bank) Toggle(name string) (Reading, error) { return b.Do(name, Command{Action: Toggle}) }

// Do carries out a command and returns what the pin reads afterwards, which is also what it reads when an error says that
// the command was not carried out: ErrUnknown, ErrClosed, ErrExpired, a *Refusal (ErrRefused), or the error of the pin. In
// a group every member is tried, and the errors are joined.
func (b *Bank) Do(name string, c Command) (Reading, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	members, err := b.find(name)
	if err != nil {
		return b.get(name), err
	}
	now := time.Now()
	b.expire(now) // what is due comes before what is asked
	if err := c.valid(name, now); err != nil {
		return b.get(name), err
	}
	if c.Action == Toggle {
		c.Action = On
		if allOn(members) {
			c.Action = Off
		}
	}
	var errs []error
	for _, o := range members {
		if err := b.command(o, c, now); err != nil {
			errs = append(errs, err)
		}
	}
	b.signal()
	if len(errs) == 1 {
		return b.get(name), errs[0]
	}
	return b.get(name), errors.Join(errs...)
}

// allOn is what Toggle goes by: whether all are on that are known.
func allOn(members []*output) bool {
	on := false
	for _, o := range members {
		if o.pin != nil && !o.on {
			return false
		}
		on = on || o.pin != nil
	}
	return on
}

// find returns the outputs that a name stands for.
func (b *Bank) find(name string) ([]*output, error) {
	if b.closed {
		return nil, ErrClosed
	}
	if o := b.byName[name]; o != nil {
		return []*output{o}, nil
	}
	if g := b.group(name); g != nil {
		return g.members, nil
	}
	return nil, ErrUnknown
}

// Renew makes the lease of an output, or of the members of a group, start again. Every command does so by itself.
func (b *Bank) Renew(name string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	members, err := b.find(name)
	if err != nil {
		return err
	}
	now := time.Now()
	b.expire(now)
	for _, o := range members {
		if o.away() && o.Lease > 0 {
			o.due[byLease] = now.Add(o.Lease)
		}
	}
	b.signal()
	return nil
}

// Release brings to their safe states the outputs that are away from them by a command of by, and of nobody since. The error
// names those for which that failed.
func (b *Bank) Release(by string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return ErrClosed
	}
	now := time.Now()
	b.expire(now)
	var errs []error
	for _, o := range b.outs {
		if o.by == by && by != "" {
			errs = append(errs, b.toSafe(o, ByRelease, now))
		}
	}
	b.signal()
	return errors.Join(errs...)
}

// Link tells whether the link that commands come over is up; until the first call it counts as up. While it is down, an
// output with GoSafe stays away from its safe state for LinkDelay at most, counted from the loss or from the last command
// that still came (from the LAN, say); with no delay such commands are refused.
func (b *Bank) Link(up bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || b.linkDown == !up {
		return
	}
	now := time.Now()
	b.expire(now)
	b.linkDown = !up
	for _, o := range b.outs {
		o.due[byLink] = time.Time{}
		if b.linkDown && o.OnLinkLoss == GoSafe && o.away() {
			o.due[byLink] = now.Add(o.LinkDelay)
		}
	}
	b.expire(now)
	b.signal()
}

// Get returns the last reading of an output, or of a group: on when all members are, known when all are.
func (b *Bank) Get(name string) Reading {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.get(name)
}

func (b *Bank) get(name string) Reading {
	if o := b.byName[name]; o != nil {
		return o.reading()
	}
	if g := b.group(name); g != nil {
		return g.reading()
	}
	return Reading{Name: name, Err: ErrUnknown}
}

// All returns the last reading of every output and group, in the order in which they were given.
func (b *Bank) All() []Reading {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := make([]Reading, 0, len(b.names))
	for _, name := range b.names {
		all = append(all, b.get(name))
	}
	return all
}

// Refresh reads every pin again, so that one that has gone is found out without a command. A pin that somebody else has
// switched is set right.
func (b *Bank) Refresh() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return
	}
	now := time.Now()
	b.expire(now)
	for _, o := range b.outs {
		b.refresh(o, now)
	}
	b.signal()
}

// Close brings every output to its safe state and gives the pins back. The error names the outputs for which that failed.
// It is for the end of the program, after all that could still send commands; those get ErrClosed.
func (b *Bank) Close() error {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		<-b.done
		return b.closeErr
	}
	b.closed = true
	b.closeErr = b.closePins(time.Now())
	b.mu.Unlock()
	close(b.quit)
	<-b.done
	b.box.close(patience)
	return b.closeErr
}
