package gateway

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// patience is how long a part may go without a sign of progress. Every wait in the house is shorter
// (30 s at most: for a broker's or a manager's answer), or is announced by rest.
const patience = time.Minute

// progress is what the watchdog looks at: for each part, by when it has to have got on. It tells a
// part that hangs from one that has nothing to do, which no timer of its own could.
type progress struct {
	mu    sync.Mutex
	marks map[*mark]struct{}
}

// mark is the marker of one part.
type mark struct {
	owner *progress
	name  string
	idle  func() bool // whether the part has nothing to do and is right to stand still; may be nil
	due   time.Time
}

func (p *progress) add(name string, idle func() bool) *mark {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.marks == nil {
		p.marks = map[*mark]struct{}{}
	}
	m := &mark{owner: p, name: name, idle: idle, due: time.Now().Add(patience)}
	p.marks[m] = struct{}{}
	return m
}

// beat says that the part has got on.
func (m *mark) beat() { m.rest(0) }

// rest says that it has, and will now wait for up to d.
func (m *mark) rest(d time.Duration) {
	if m == nil {
		return
	}
	m.owner.mu.Lock()
	defer m.owner.mu.Unlock()
	m.due = time.Now().Add(d + patience)
}

// extend is a beat on behalf of a part that is idle; what it has announced stays.
func (m *mark) extend() {
	m.owner.mu.Lock()
	defer m.owner.mu.Unlock()
	if due := time.Now().Add(patience); due.After(m.due) {
		m.due = due
	}
}

// duty is the mark of a part that waits for something to do: while it waits, it is right to stand still.
type duty struct {
	*mark
	busy atomic.Bool
}

func (p *progress) duty(name string) *duty {
	d := &duty{}
	d.mark = p.add(name, func() bool { return !d.busy.Load() })
	return d
}

func (d *duty) begin() {
	d.beat()
	d.busy.Store(true)
}

func (d *duty) end() { d.busy.Store(false) }

// remove is for a part that has ended.
func (m *mark) remove() {
	m.owner.mu.Lock()
	defer m.owner.mu.Unlock()
	delete(m.owner.marks, m)
}

// stuck names the parts that are overdue and not idle. It may block where a part has blocked a lock
// that idle needs, and that is a finding too: see pulse.
func (p *progress) stuck() []string {
	p.mu.Lock()
	all := slices.Collect(maps.Keys(p.marks))
	p.mu.Unlock()
	var names []string
	for _, m := range all {
		if m.idle != nil && m.idle() {
			m.extend()
		}
		if m.late() {
			names = append(names, m.name)
		}
	}
	slices.Sort(names)
	return names
}

func (m *mark) late() bool {
	m.owner.mu.Lock()
	defer m.owner.mu.Unlock()
	return time.Now().After(m.due)
}

// pulse is the daemon's own view of whether it lives.
type pulse struct {
	mu    sync.Mutex
	at    time.Time // of the last look that came to an end
	stuck []string
}

const pulsePeriod = 5 * time.Second

func (hw Hardware) pulsePeriod() time.Duration {
	if hw.AlivePeriod <= 0 || hw.AlivePeriod > pulsePeriod {
		return pulsePeriod
	}
	return hw.AlivePeriod
}

// watchProgress looks at all parts until ctx ends, and calls the machine's watchdog after each look. A look
// that does not come back calls nobody, so a hang in the looking itself is found as well.
func (g *Gateway) watchProgress(ctx context.Context) {
	told := ""
	every(ctx, g.hw.pulsePeriod(), func() {
		g.lookAtSpool()
		stuck := g.progress.stuck()
		g.pulse.mu.Lock()
		g.pulse.at, g.pulse.stuck = time.Now(), stuck
		g.pulse.mu.Unlock()
		if text := strings.Join(stuck, ", "); text != told {
			if told = text; text != "" {
				g.log.Error("no progress for a minute: the watchdog is not fed any more", "parts", text)
			} else {
				g.log.Info("all parts make progress again")
			}
		}
		if len(stuck) == 0 && g.hw.Alive != nil {
			g.hw.Alive(g.line())
		}
	})
}

// alive is nil while the process makes progress; else it names what does not.
func (g *Gateway) alive() error {
	g.pulse.mu.Lock()
	defer g.pulse.mu.Unlock()
	switch age := time.Since(g.pulse.at); {
	case !g.pulse.at.IsZero() && age > patience/2:
		return fmt.Errorf("the look at the parts has not come back for %s", age.Round(time.Second))
	case len(g.pulse.stuck) > 0:
		return fmt.Errorf("no progress: %s", strings.Join(g.pulse.stuck, ", "))
	}
	return nil
}

// lookAtSpool marks the spool when everything that was appended is on the disk, when more of it is
// than at the last look, or when the disk has said why not: a full disk is a fault, not a hang. A change of that is told at once.
func (g *Gateway) lookAtSpool() {
	st := g.spool.Stats()
	if st.Err != nil || st.Next > g.spoolSeen || st.Next > g.intake.newest.Load() {
		g.spoolMark.beat()
	}
	g.spoolSeen = st.Next
	if bad := st.Err != nil; bad != g.spoolBad {
		g.spoolBad = bad
		g.intake.judge(st.Err)
	}
	if g.intake.news.Swap(false) {
		g.publishHealth()
	}
}

// line is the state of the gateway in one line, as systemctl shows it.
func (g *Gateway) line() string {
	list, ok := g.links.list()
	waiting := g.spool.Stats().Records
	if ok {
		return fmt.Sprintf("all well, %d records wait", waiting)
	}
	var bad []string
	for _, l := range list {
		if !l.Up || l.Error != "" {
			bad = append(bad, strings.TrimSpace(l.Kind+" "+l.Name)+": "+firstOf(l.Error, "not up yet"))
		}
	}
	return fmt.Sprintf("%d records wait; %s", waiting, strings.ReplaceAll(strings.Join(bad, "; "), "\n", " "))
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
