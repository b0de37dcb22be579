package bridge

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Direction is which way a rule carries messages.
type Direction uint8

const (
	Out  Direction = iota // local to remote; what a rule without a direction means
	In                    // remote to local
	Both                  // out and in
)

// String returns the word that ParseRule reads.
func (d Direction) String() string {
	switch d {
	case Out:
		return "out"
	case In:
		return "in"
	case Both:
		return "both"
	}
	return "direction " + strconv.Itoa(int(d))
}

// ParseDirection reads out, in or both, in any case.
func ParseDirection(s string) (Direction, error) {
	for d := Out; d <= Both; d++ {
		if strings.EqualFold(s, d.String()) {
			return d, nil
		}
	}
	return Out, fmt.Errorf("direction %q is none of out, in, both", s)
}

// Rule carries some topics across a bridge. The local topic is LocalPrefix and then what Pattern matches, the remote topic
// RemotePrefix and the same rest:
//
//	           LocalPrefix  Pattern      RemotePrefix
//	rule       home/        lamp/+/set   devices/
//	local      home/        lamp/7/set
//	remote                  lamp/7/set   devices/lamp/7/set
//
// Prefixes are text: no slash is added between them and the pattern. With an empty Pattern, a rule maps exactly one local
// topic, LocalPrefix, to one remote topic, RemotePrefix; both are needed then.
type Rule struct {
	Pattern      string // a filter, may have wildcards
	Direction    Direction
	QoS          byte // 0 to 2: of what is published to the remote broker, and of the subscription there
	LocalPrefix  string
	RemotePrefix string
	OwnPrefix    bool   // prefixes were given, though both may be empty: the bridge's prefix is not for this rule
	Retain       Retain // what becomes of the retain flag; mosquitto.conf has no word for it
}

// ParseRule reads a rule in the form of mosquitto.conf:
//
//	pattern [out|in|both [qos [local-prefix [remote-prefix]]]]
//
// The words are separated by white space, `""` is an empty one. Direction is out and QoS 0 when not given, as there.
// Errors say what is wrong with which word.
func ParseRule(s string) (Rule, error) {
	words := strings.Fields(s)
	for i, w := range words {
		if w == `""` {
			words[i] = ""
		}
	}
	if len(words) == 0 {
		return Rule{}, errors.New("empty rule; want: pattern [out|in|both [qos [local-prefix [remote-prefix]]]]")
	}
	if len(words) > 5 {
		return Rule{}, fmt.Errorf("rule %q has %d words; want at most 5: pattern, direction, qos, local prefix, remote prefix", s, len(words))
	}
	r := Rule{Pattern: words[0]}
	var err error
	if len(words) > 1 {
		if r.Direction, err = ParseDirection(words[1]); err != nil {
			if strings.EqualFold(words[0], "topic") {
				err = fmt.Errorf("%w; leave out the word topic", err)
			}
			return Rule{}, fmt.Errorf("rule %q: %w", s, err)
		}
	}
	if len(words) > 2 {
		if len(words[2]) != 1 || words[2] < "0" || words[2] > "2" {
			return Rule{}, fmt.Errorf("rule %q: qos %q is none of 0, 1, 2", s, words[2])
		}
		r.QoS = words[2][0] - '0'
	}
	if len(words) > 3 {
		r.LocalPrefix, r.OwnPrefix = words[3], true
	}
	if len(words) > 4 {
		r.RemotePrefix = words[4]
	}
	return r, r.Check()
}

// String returns the rule as ParseRule reads it.
func (r Rule) String() string {
	word := func(s string) string {
		if s == "" {
			return `""`
		}
		return s
	}
	s := fmt.Sprintf("%s %s %d", word(r.Pattern), r.Direction, r.QoS)
	if r.ownPrefix() {
		s += " " + word(r.LocalPrefix) + " " + word(r.RemotePrefix)
	}
	return s
}

func (r Rule) ownPrefix() bool { return r.OwnPrefix || r.LocalPrefix != "" || r.RemotePrefix != "" }

// Check says what is wrong with a rule: nil when it can be used. Whether a rule with an empty pattern has both prefixes
// counts the prefixes it has now, so give it the bridge's first (WithDefaultPrefix).
func (r Rule) Check() error {
	if r.Direction > Both {
		return fmt.Errorf("rule %q: %v is none of out, in, both", r.Pattern, r.Direction)
	}
	if r.Retain > Force {
		return fmt.Errorf("rule %q: %v is none of keep, strip, force", r.Pattern, r.Retain)
	}
	if r.QoS > 2 {
		return fmt.Errorf("rule %q: qos %d is none of 0, 1, 2", r.Pattern, r.QoS)
	}
	for _, p := range []struct{ kind, text string }{{"local", r.LocalPrefix}, {"remote", r.RemotePrefix}} {
		if p.text == "" {
			continue
		}
		if err := ValidTopic(p.text); err != nil {
			return fmt.Errorf("rule %q: %s prefix: %w", r, p.kind, err)
		}
	}
	if r.Pattern == "" && (r.LocalPrefix == "" || r.RemotePrefix == "") {
		return fmt.Errorf("rule %q: an empty pattern needs a local and a remote prefix: the two topics", r)
	}
	if r.Pattern != "" {
		if err := ValidFilter(r.Pattern); err != nil {
			return fmt.Errorf("rule %q: pattern: %w", r, err)
		}
	}
	if err := ValidFilter(r.Local()); err != nil {
		return fmt.Errorf("rule %q: local prefix and pattern together: %w", r, err)
	}
	if err := ValidFilter(r.Remote()); err != nil {
		return fmt.Errorf("rule %q: remote prefix and pattern together: %w", r, err)
	}
	return nil
}

// Local returns the filter of the rule's local topics, Remote that of its remote ones.
func (r Rule) Local() string  { return r.LocalPrefix + r.Pattern }
func (r Rule) Remote() string { return r.RemotePrefix + r.Pattern }

// remap takes the prefix from off a topic that the filter from+pattern matches, and puts to before the rest. A topic
// without the prefix is not carried: a/# matches a, which the rule `# out 1 a/ b/` has no remote topic for. (Mosquitto
// forwards that one as b/a, which would be the remote topic of a/a.)
func (r Rule) remap(topic, from, to string) (string, bool) {
	rest, ok := strings.CutPrefix(topic, from)
	if !ok {
		return "", false
	}
	if from == "" {
		ok = Match(r.Pattern, rest)
	} else {
		ok = matchLevels(r.Pattern, rest)
	}
	if !ok {
		return "", false
	}
	return to + rest, true
}

// Rules of one bridge. For every message and direction, the first rule that matches is used, and no other.
type Rules []Rule

// Out returns the remote topic of a local one, and the QoS to publish it with; not ok when no rule carries it, or when it
// would have no valid remote topic.
func (rs Rules) Out(local string) (remote string, qos byte, ok bool) {
	remote, r, ok := rs.OutBy(local)
	return remote, r.QoS, ok
}

// In returns the local topic of a remote one, and the QoS of the rule.
func (rs Rules) In(remote string) (local string, qos byte, ok bool) {
	local, r, ok := rs.InBy(remote)
	return local, r.QoS, ok
}

// out returns the index of the rule that carries local out, and the remote topic, which may not be valid; -1
// for none.
func (rs Rules) out(local string) (int, string) {
	for i, r := range rs {
		if r.Direction == In {
			continue
		}
		if remote, ok := r.remap(local, r.LocalPrefix, r.RemotePrefix); ok {
			return i, remote
		}
	}
	return -1, ""
}

func (rs Rules) in(remote string) (int, string) {
	for i, r := range rs {
		if r.Direction == Out {
			continue
		}
		if local, ok := r.remap(remote, r.RemotePrefix, r.LocalPrefix); ok {
			return i, local
		}
	}
	return -1, ""
}

// Subscription is a filter at the remote broker, and the QoS asked for.
type Subscription struct {
	Filter string
	QoS    byte
}

// Subscriptions returns what the rules that carry in need of the remote broker, each filter once with its highest QoS, in
// the order of the rules.
func (rs Rules) Subscriptions() []Subscription {
	var subs []Subscription
	for _, r := range rs {
		if r.Direction == Out {
			continue
		}
		i := slices.IndexFunc(subs, func(s Subscription) bool { return s.Filter == r.Remote() })
		if i < 0 {
			subs = append(subs, Subscription{r.Remote(), r.QoS})
			continue
		}
		subs[i].QoS = max(subs[i].QoS, r.QoS)
	}
	return subs
}

// Check returns what is wrong with any of the rules.
func (rs Rules) Check() error {
	var errs []error
	for _, r := range rs {
		errs = append(errs, r.Check())
	}
	return errors.Join(errs...)
}

// WithDefaultPrefix returns the rules with prefix as the remote prefix of those that have no prefix of their own. A rule
// that was given any prefix, were it an empty one, keeps what it has.
func (rs Rules) WithDefaultPrefix(prefix string) Rules {
	rs = slices.Clone(rs)
	for i, r := range rs {
		if !r.ownPrefix() {
			rs[i].RemotePrefix, rs[i].OwnPrefix = prefix, true
		}
	}
	return rs
}

// defaultOut and defaultIn are the topics that cross when a bridge names none: the column "crosses by default" of the
// public contract.
var (
	defaultOut = []string{
		"gateway/status", "gateway/info", "gateway/audit", "gateway/health",
		"manager/+/status", "manager/+/event",
		"mote/+/status", "mote/+/temperature", "mote/+/analog/+", "mote/+/digital/+",
		"mote/+/health", "mote/+/neighbors", "mote/+/discovered", "mote/+/data/+",
		"actuator/+/state", "mote/+/led/state", "actuator/+/result", "mote/+/led/result",
		"input/+/state", "input/+/edge", "input/+/count",
	}
	defaultIn = []string{"actuator/+/set", "mote/+/led/set"}
)

// DefaultRules returns the rules of a bridge that names none: readings, states, results and events out, commands for
// actuators and for the motes' LEDs in, all with QoS 1 and with prefix before the remote topic.
func DefaultRules(prefix string) Rules {
	var rs Rules
	for _, p := range defaultOut {
		rs = append(rs, Rule{Pattern: p, Direction: Out, QoS: 1})
	}
	for _, p := range defaultIn {
		rs = append(rs, Rule{Pattern: p, Direction: In, QoS: 1})
	}
	return rs.WithDefaultPrefix(prefix)
}
