package gateway

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/meshgate/meshgate/gateway/control"
)

// links is the state of every link of the chain, as `meshgate status` shows it.
type links struct {
	mu  sync.Mutex
	all []*link
}

// link is one of them; it starts down.
type link struct {
	owner *links
	state control.Link
}

func (ls *links) add(kind, name, detail string) *link {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	l := &link{ls, control.Link{Kind: kind, Name: name, Detail: detail, Since: time.Now()}}
	ls.all = append(ls.all, l)
	return l
}

// up says that the link works; an empty detail leaves the one there is.
func (l *link) up(detail string) { l.set(true, detail, "") }

// down says that it does not, and why.
func (l *link) down(err error) { l.set(false, "", err.Error()) }

// complain leaves the link as it is and tells what is wrong with it all the same.
func (l *link) complain(text string) {
	l.owner.mu.Lock()
	defer l.owner.mu.Unlock()
	l.state.Error = text
}

// complaint is what is wrong with it.
func (l *link) complaint() string {
	l.owner.mu.Lock()
	defer l.owner.mu.Unlock()
	return l.state.Error
}

func (l *link) set(up bool, detail, text string) {
	l.owner.mu.Lock()
	defer l.owner.mu.Unlock()
	if l.state.Up != up {
		l.state.Since = time.Now()
	}
	l.state.Up, l.state.Error = up, text
	if detail != "" {
		l.state.Detail = detail
	}
}

// remove takes links away.
func (ls *links) remove(gone ...*link) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.all = slices.DeleteFunc(ls.all, func(l *link) bool { return slices.Contains(gone, l) })
}

// kinds has them in the order of the chain, from the serial line to the cloud and the pins.
const kinds = "serial session mesh spool local bridge http output input"

// list gives all links and whether all is well with every one.
func (ls *links) list() ([]control.Link, bool) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ok := true
	out := make([]control.Link, 0, len(ls.all))
	for _, l := range ls.all {
		out = append(out, l.state)
		ok = ok && l.state.Up && l.state.Error == ""
	}
	slices.SortStableFunc(out, func(a, b control.Link) int { return strings.Index(kinds, a.Kind) - strings.Index(kinds, b.Kind) })
	return out, ok
}
