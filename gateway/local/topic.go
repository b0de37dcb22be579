package local

import (
	"strings"
	"unicode/utf8"
)

// Bounds of a topic name or filter. MQTT allows 65,535 bytes and as many levels; nobody needs them, and each level
// costs memory and time in the broker's tree. Mosquitto's bound is 200 levels, too.
const (
	maxTopic  = 4096
	maxLevels = 200
)

// validTopic reports whether t can be published to: UTF-8 without NUL, without wildcards, inside the bounds.
func validTopic(t string) bool {
	return validText(t) && !strings.ContainsAny(t, "+#")
}

// validFilter reports whether f can be subscribed to: as a topic, but with + as a whole level and # as a whole last
// one. "$share/GROUP/FILTER" is a filter, too.
func validFilter(f string) bool {
	if !validText(f) {
		return false
	}
	f, ok := unshared(f)
	if !ok {
		return false
	}
	for level, rest, more := cut(f); ; level, rest, more = cut(rest) {
		if strings.ContainsAny(level, "+#") && len(level) > 1 {
			return false
		}
		if level == "#" && more {
			return false
		}
		if !more {
			return true
		}
	}
}

func validText(s string) bool {
	return s != "" && len(s) <= maxTopic && strings.Count(s, "/") < maxLevels && utf8.ValidString(s) &&
		strings.IndexByte(s, 0) < 0
}

// isShared reports whether f begins with $share/.
func isShared(f string) bool {
	const share = "$share"
	return len(f) >= len(share) && strings.EqualFold(f[:len(share)], share) && (len(f) == len(share) || f[len(share)] == '/')
}

// unshared takes "$share/GROUP/" off a filter; false when it has no group or nothing behind it.
func unshared(f string) (string, bool) {
	if !isShared(f) {
		return f, true
	}
	_, rest, _ := cut(f)
	group, rest, more := cut(rest)
	return rest, more && group != "" && rest != "" && !strings.ContainsAny(group, "+#")
}

func cut(s string) (level, rest string, more bool) { return strings.Cut(s, "/") }

// matches reports whether topic is one of filter's. A filter that begins with a wildcard has no topic that begins
// with $ [MQTT-4.7.2-1].
func matches(filter, topic string) bool {
	return compare(filter, topic, false) && !hidden(filter, topic)
}

// overlaps reports whether there is a topic that both filters match.
func overlaps(a, b string) bool { return compare(a, b, true) && !hidden(a, b) && !hidden(b, a) }

// Covers reports whether all topics of filter b are topics of filter a, too.
func Covers(a, b string) bool { return covers(a, b) }

// covers reports whether all topics of filter b are topics of filter a, too.
func covers(a, b string) bool { return compare(a, b, false) && !hidden(a, b) }

// hidden: a begins with a wildcard and b with a $.
func hidden(a, b string) bool {
	return strings.HasPrefix(b, "$") && (strings.HasPrefix(a, "+") || strings.HasPrefix(a, "#"))
}

// compare walks through the levels of two filters. A wildcard of a stands for whatever b has at that level; those of b
// stand for something of a only where both is set.
func compare(a, b string, both bool) bool {
	for {
		la, ra, ma := cut(a)
		lb, rb, mb := cut(b)
		switch {
		case la == "#" || both && lb == "#":
			return true
		case lb == "#":
			return false
		case la == "+" || both && lb == "+":
		case la != lb:
			return false
		}
		if !ma || !mb { // "a/#" is "a", too [MQTT-4.7.1-2]
			return ma == mb || ma && ra == "#" || both && mb && rb == "#"
		}
		a, b = ra, rb
	}
}
