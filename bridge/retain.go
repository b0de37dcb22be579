package bridge

import (
	"fmt"
	"strings"
)

// Retain is what a rule does with the retain flag of the messages it carries, in either direction.
type Retain uint8

const (
	Keep  Retain = iota // as it came; what a rule without a word means
	Strip               // the other side keeps nothing
	Force               // the other side keeps the latest
)

var retainWords = [...]string{Keep: "keep", Strip: "strip", Force: "force"}

// String returns the word that ParseRetain reads.
func (r Retain) String() string {
	if int(r) < len(retainWords) {
		return retainWords[r]
	}
	return fmt.Sprintf("retain policy %d", uint8(r))
}

// ParseRetain reads keep, strip or force, in any case.
func ParseRetain(s string) (Retain, error) {
	for r, word := range retainWords {
		if strings.EqualFold(s, word) {
			return Retain(r), nil
		}
	}
	return Keep, fmt.Errorf("retain %q is none of keep, strip, force", s)
}

// Flag gives the flag that a message goes on with.
func (r Retain) Flag(came bool) bool { return r == Force || came && r == Keep }

// OutBy is Out with the rule that carries the topic.
func (rs Rules) OutBy(local string) (remote string, r Rule, ok bool) {
	if ValidTopic(local) != nil {
		return "", Rule{}, false
	}
	i, remote := rs.out(local)
	if i < 0 || ValidTopic(remote) != nil {
		return "", Rule{}, false
	}
	return remote, rs[i], true
}

// Unfit tells why a topic that a rule matches cannot be carried out all the same: its remote topic would not be valid. It is
// nil where a rule carries it, and where none matches.
func (rs Rules) Unfit(local string) error {
	i, remote := rs.out(local)
	if i < 0 {
		return nil
	}
	return ValidTopic(remote)
}

// InBy is In with the rule that carries the topic.
func (rs Rules) InBy(remote string) (local string, r Rule, ok bool) {
	if ValidTopic(remote) != nil {
		return "", Rule{}, false
	}
	i, local := rs.in(remote)
	if i < 0 || ValidTopic(local) != nil {
		return "", Rule{}, false
	}
	return local, rs[i], true
}
