package local

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strings"
)

// What a client wants to do with a topic, or a rule allows.
type right byte

const (
	read  right = 1 << iota // be sent messages of the topic
	write                   // publish to it
	deny                    // neither; only in rules
)

// acl is an access control list as Mosquitto's acl_file: one rule a line,
//
//	topic [read|write|readwrite|deny] FILTER     of the user named above; before the first one of clients without a name
//	user NAME
//	pattern [read|write|readwrite|deny] FILTER   of everybody; %u is the client's user, %c its id
//
// Empty lines and those that begin with # say nothing. What no rule allows is refused. A deny wins over everything
// else, also over the rules of a pattern. A filter may be subscribed to when some of its topics may be read; only
// those are sent. Patterns hold for nobody whose name or id, where the pattern has it, contains +, # or /.
type acl struct {
	users    map[string][]rule // "" is who has no name
	patterns []rule
}

type rule struct {
	right  right
	filter string
}

// loadACL reads an access list from a file; its errors name file and line.
func loadACL(file string) (*acl, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("local: access list: %w", err)
	}
	a, err := parseACL(data)
	if err != nil {
		return nil, fmt.Errorf("local: %s:%w", file, err)
	}
	return a, nil
}

// parseACL reads an access list; an error begins with its line.
func parseACL(data []byte) (*acl, error) {
	a := &acl{users: map[string][]rule{}}
	user := ""
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, 1<<17)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		word, rest := firstWord(line)
		switch {
		case rest == "":
			return nil, fmt.Errorf("%d: %q says nothing", n, word)
		case word == "user":
			user = rest
		case word == "topic" || word == "pattern":
			r, err := parseRule(rest)
			if err != nil {
				return nil, fmt.Errorf("%d: %w", n, err)
			}
			if word == "pattern" {
				a.patterns = append(a.patterns, r)
			} else {
				a.users[user] = append(a.users[user], r)
			}
		default:
			return nil, fmt.Errorf("%d: %q is none of user, topic, pattern", n, word)
		}
	}
	return a, lines.Err()
}

func parseRule(s string) (rule, error) {
	r := rule{right: read | write, filter: s}
	if word, rest := firstWord(s); rest != "" {
		known := map[string]right{"read": read, "write": write, "readwrite": read | write, "deny": deny}
		if right, ok := known[word]; ok {
			r.right, r.filter = right, rest
		}
	}
	if !validFilter(r.filter) {
		return rule{}, fmt.Errorf("%q is no topic filter", r.filter)
	}
	return r, nil
}

func firstWord(s string) (word, rest string) {
	if i := strings.IndexAny(s, " \t"); i >= 0 {
		return s[:i], strings.TrimSpace(s[i:])
	}
	return s, ""
}

// allows reports whether a client may write to a topic, or read a topic or some topic of a filter. A nil list allows
// everything.
func (a *acl) allows(user, client, topic string, want right) bool {
	if a == nil {
		return true
	}
	topic, _ = unshared(topic)
	allowed := false
	for _, r := range a.users[user] {
		if r.forbids(r.filter, topic) {
			return false
		}
		allowed = allowed || r.grants(r.filter, topic, want)
	}
	for _, r := range a.patterns {
		filter, ok := fill(r.filter, user, client)
		if !ok {
			continue
		}
		if r.forbids(filter, topic) {
			return false
		}
		allowed = allowed || r.grants(filter, topic, want)
	}
	return allowed
}

func (r rule) forbids(filter, topic string) bool { return r.right == deny && covers(filter, topic) }

func (r rule) grants(filter, topic string, want right) bool {
	return r.right&want != 0 && overlaps(filter, topic)
}

// fill puts user and client id in the place of %u and %c; false if there is none or it would change the levels.
func fill(pattern, user, client string) (string, bool) {
	if !strings.Contains(pattern, "%") {
		return pattern, true
	}
	for mark, value := range map[string]string{"%u": user, "%c": client} {
		if strings.Contains(pattern, mark) && (value == "" || strings.ContainsAny(value, "+#/")) {
			return "", false
		}
	}
	return strings.NewReplacer("%u", user, "%c", client).Replace(pattern), true
}
