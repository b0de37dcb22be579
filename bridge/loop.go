package bridge

import (
	"fmt"
	"slices"
	"strings"
)

// Link is a bridge as Loop sees it. Those that have the same Broker (HOST:PORT, or any word) share its topics; one without
// is taken as the only one at its broker.
type Link struct {
	Name   string
	Broker string
	Rules  Rules
	Deaf   bool // does not hear what it has published itself
}

// Circle is the error of Loop: a message that would never come to rest.
type Circle struct {
	Topic string   // a local topic that goes round
	Steps []string // the way, one rule a step: `cloud: "a/# both 1" carries a/x out to b/x`
}

func (c *Circle) Error() string {
	return fmt.Sprintf("a message to %q would go round for ever between bridges: %s", c.Topic, strings.Join(c.Steps, "; "))
}

const (
	maxHops  = 64    // a message that crossed this many bridges does not come to rest
	maxSets  = 20000 // sets of topics looked at; beyond, it is left to the breaker at run time
	anyLevel = "x"   // stands for a level that a wildcard takes
)

// Loop proves that no message can be sent round in a circle by the rules of all bridges together: out over one, back in from
// its broker (over the same bridge, as a broker returns what a client has published to a topic that it has subscribed to,
// or over another bridge to the same broker), out over the next, and so on. A message that came in over a bridge does not
// go out over the same one; that is the gateway's part, and taken for granted here, so that one bridge alone never makes a
// circle. It returns a *Circle for the first circle found. Circles through brokers that others have joined are not seen.
//
// Sets of topics are followed as filters: the topics that came in over a bridge, those of them that go out by a rule of
// another, and so on, until a set comes again. Then one topic of it goes the way with the real rules, where the first that
// matches wins, and only what still runs after 64 bridges is called a circle.
func Loop(links []Link) error {
	w := &walk{links: links, seen: map[set]bool{}}
	for i, l := range links {
		for _, r := range l.Rules {
			if r.Direction == Out {
				continue
			}
			if err := w.follow(set{r.Local(), i}, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// set is the topics of filter that came in over the link with that index.
type set struct {
	filter string
	from   int
}

type walk struct {
	links []Link
	seen  map[set]bool
}

// follow looks where the topics of s can go, path being the sets they come from.
func (w *walk) follow(s set, path []set) error {
	if slices.Contains(path, s) || len(path) >= maxHops {
		return w.try(s)
	}
	if w.seen[s] || len(w.seen) >= maxSets {
		return nil
	}
	w.seen[s] = true
	path = append(path, s)
	for out := range w.links {
		if out == s.from {
			continue
		}
		for _, r := range w.links[out].Rules {
			remote, ok := r.carry(s.filter, r.Direction != In, r.LocalPrefix, r.RemotePrefix)
			if !ok {
				continue
			}
			if err := w.comeBack(remote, out, path); err != nil {
				return err
			}
		}
	}
	return nil
}

// comeBack follows the topics of remote, at the broker of link out, back in over every link to it.
func (w *walk) comeBack(remote string, out int, path []set) error {
	for in := range w.links {
		if !w.sameBroker(in, out) {
			continue
		}
		for _, r := range w.links[in].Rules {
			local, ok := r.carry(remote, r.Direction != Out, r.RemotePrefix, r.LocalPrefix)
			if !ok {
				continue
			}
			if err := w.follow(set{local, in}, path); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *walk) sameBroker(a, b int) bool {
	if a == b {
		return !w.links[a].Deaf
	}
	return w.links[a].Broker != "" && w.links[a].Broker == w.links[b].Broker
}

// try sends single topics of s the way that messages go.
func (w *walk) try(s set) error {
	for _, levels := range []string{anyLevel, anyLevel + "/" + anyLevel, ""} {
		topic := strings.ReplaceAll(s.filter, "+", anyLevel)
		if rest, ok := strings.CutSuffix(topic, "#"); ok {
			topic = rest + levels
		}
		if ValidTopic(topic) != nil {
			continue
		}
		if steps := w.send(topic, s.from, 0); steps != nil {
			return &Circle{Topic: topic, Steps: firstRound(steps)}
		}
	}
	return nil
}

// send returns the steps of a message to topic that came in over link from, when it does not come to rest.
func (w *walk) send(topic string, from, hops int) []string {
	if hops == maxHops {
		return []string{}
	}
	for out, o := range w.links {
		i, remote := o.Rules.out(topic)
		if out == from || i < 0 {
			continue
		}
		for in, l := range w.links {
			if !w.sameBroker(in, out) {
				continue
			}
			j, local := l.Rules.in(remote)
			if j < 0 {
				continue
			}
			if rest := w.send(local, in, hops+1); rest != nil {
				return append([]string{
					fmt.Sprintf("%s: %q carries %s out to %s", o.Name, o.Rules[i], topic, remote),
					fmt.Sprintf("%s: %q carries %s in to %s", l.Name, l.Rules[j], remote, local),
				}, rest...)
			}
		}
	}
	return nil
}

// firstRound cuts steps where they begin to come again; a topic that grows never does, and gets its first four.
func firstRound(steps []string) []string {
	for i := 1; i < len(steps); i++ {
		if steps[i] == steps[0] {
			return steps[:i]
		}
	}
	return steps[:min(4, len(steps))]
}

// carry returns the topics that a rule makes of those of filter that it matches, with prefix from replaced by to; not ok
// when there are none, or when carries (the rule's direction) is false.
func (r Rule) carry(filter string, carries bool, from, to string) (string, bool) {
	if !carries {
		return "", false
	}
	both, ok := Intersect(filter, from+r.Pattern)
	if !ok {
		return "", false
	}
	rest, ok := strings.CutPrefix(both, from)
	return to + rest, ok && ValidFilter(to+rest) == nil
}

// Intersect returns the filter of the topics that both a and b match; not ok when there are none.
func Intersect(a, b string) (string, bool) {
	if a == "" || b == "" || hidden(a, b) || hidden(b, a) {
		return "", false
	}
	var levels []string
	for {
		if a == "#" {
			return strings.Join(append(levels, b), "/"), true
		}
		if b == "#" {
			return strings.Join(append(levels, a), "/"), true
		}
		al, arest, amore := strings.Cut(a, "/")
		bl, brest, bmore := strings.Cut(b, "/")
		switch {
		case al == "+":
			levels = append(levels, bl)
		case bl == "+" || al == bl:
			levels = append(levels, al)
		default:
			return "", false
		}
		switch {
		case !amore && !bmore, !amore && brest == "#", !bmore && arest == "#":
			return strings.Join(levels, "/"), true // x/# matches x
		case !amore || !bmore:
			return "", false
		}
		a, b = arest, brest
	}
}

// hidden reports whether the wildcard that filter begins with does not match what other begins with.
func hidden(filter, other string) bool {
	return (filter[0] == '#' || filter[0] == '+') && other[0] == '$'
}
