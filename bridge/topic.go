package bridge

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

const (
	maxTopic  = 65535 // bytes; MQTT 3.1.1 section 1.5.3, a string has a 16-bit length
	maxLevels = 200   // Mosquitto ends the connection on a topic with more slashes (TOPIC_HIERARCHY_LIMIT)
)

// ValidTopic says why a message cannot be published to topic, nil when it can. It is stricter than MQTT 3.1.1 section 4.7.3
// where brokers are: control and non-characters, which section 1.5.3 only advises against, and more than 200 slashes
// make Mosquitto end the connection, so that one such record would be sent, refused and sent again for ever.
func ValidTopic(topic string) error {
	if err := validName("topic", topic); err != nil {
		return err
	}
	if i := strings.IndexAny(topic, "+#"); i >= 0 {
		return fmt.Errorf("topic %q has the wildcard %q, which only a filter may have", topic, topic[i])
	}
	return nil
}

// ValidFilter says why filter cannot be subscribed to, nil when it can: `+` stands alone in its level, `#` alone in the last
// one (MQTT 3.1.1 section 4.7.1).
func ValidFilter(filter string) error {
	if err := validName("filter", filter); err != nil {
		return err
	}
	for rest, more := filter, true; more; {
		var level string
		level, rest, more = strings.Cut(rest, "/")
		switch {
		case level == "#" && more:
			return fmt.Errorf("filter %q has a level after #; # is the last one", filter)
		case len(level) > 1 && strings.ContainsAny(level, "+#"):
			return fmt.Errorf("filter %q has a wildcard beside other characters in the level %q", filter, level)
		}
	}
	return nil
}

// validName is what topics and filters have in common.
func validName(kind, name string) error {
	switch {
	case name == "":
		return fmt.Errorf("empty %s", kind)
	case len(name) > maxTopic:
		return fmt.Errorf("%s of %d bytes is longer than the %d that MQTT allows", kind, len(name), maxTopic)
	case strings.Count(name, "/") > maxLevels:
		return fmt.Errorf("%s has %d slashes; brokers take no more than %d", kind, strings.Count(name, "/"), maxLevels)
	case !utf8.ValidString(name):
		return fmt.Errorf("%s %q is not valid UTF-8", kind, name)
	}
	for _, r := range name {
		if err := validRune(r); err != nil {
			return fmt.Errorf("%s %q has %w", kind, name, err)
		}
	}
	return nil
}

var (
	errControl      = errors.New("a control character")
	errNonCharacter = errors.New("a Unicode non-character")
)

func validRune(r rune) error {
	switch {
	case r < 0x20, r >= 0x7f && r <= 0x9f:
		return errControl
	case r >= 0xfdd0 && r <= 0xfdef, r&0xfffe == 0xfffe:
		return errNonCharacter
	}
	return nil
}

// Match reports whether a message to topic is for a subscription to filter. `#` takes its parent level too (a/# matches a),
// and neither `#` nor `+` in the first level matches a topic that begins with `$` (MQTT 3.1.1 section 4.7.2).
// It allocates nothing. Both are taken as valid.
func Match(filter, topic string) bool {
	if topic == "" || filter == "" {
		return false
	}
	if topic[0] == '$' && (filter[0] == '#' || filter[0] == '+') {
		return false
	}
	return matchLevels(filter, topic)
}

// matchLevels is Match without the rule about `$`, for what follows a prefix; there, both may be empty.
func matchLevels(filter, topic string) bool {
	for filter != "#" {
		fl, frest, fmore := strings.Cut(filter, "/")
		tl, trest, tmore := strings.Cut(topic, "/")
		if fl != "+" && fl != tl {
			return false
		}
		if !tmore {
			return !fmore || frest == "#"
		}
		if !fmore {
			return false
		}
		filter, topic = frest, trest
	}
	return true
}
