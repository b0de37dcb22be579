package config

import (
	"fmt"
	"math"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"go.yaml.in/yaml/v4"
)

// text reads the value of a key as text, as it is written: 0123 and 1e3 keep their digits.
func (o object) text(key, def string) string {
	v, ok := o.get(key)
	if !ok {
		return def
	}
	if s, ok := v.text("text"); ok {
		return s
	}
	return def
}

// text reads a value as text; want says what kind of text in the message for anything else.
func (v value) text(want string) (string, bool) {
	v, ok := v.deref()
	if !ok {
		return "", false
	}
	if v.node.Kind == yaml.ScalarNode {
		switch v.node.ShortTag() {
		case "!!str", "!!int", "!!float", "!!bool", "!!timestamp":
			if strings.ContainsFunc(v.node.Value, unicode.IsControl) {
				v.fail("line breaks and control characters have no place here")
				return "", false
			}
			return v.node.Value, true
		}
	}
	v.wrongType(want)
	return "", false
}

// texts reads the value of a key as a list of different texts.
func (o object) texts(key, want string) (all []string, at []value) {
	v, ok := o.get(key)
	if !ok {
		return nil, nil
	}
	for _, e := range v.list("a list of " + want) {
		s, ok := e.text(want)
		switch {
		case !ok:
		case slices.Contains(all, s):
			e.fail("%q is here twice", clip(s))
		default:
			all, at = append(all, s), append(at, e)
		}
	}
	return all, at
}

var word = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// isName notes what keeps a text from being a name: it is a level of topics, a file name of
// the state folder, and a word on the command line.
func (v value) isName(fail func(string, ...any), s string) bool {
	switch {
	case s == "":
		fail("a name is to have at least one character of A-Z a-z 0-9 . _ -")
	case len(s) > 64 && word.MatchString(s[:64]):
		fail("name %q has more than 64 characters", clip(s))
	case !word.MatchString(s):
		fail("name %q: only A-Z a-z 0-9 . _ - are allowed, because it becomes part of a topic", clip(s))
	case strings.Trim(s, ".") == "":
		fail("name %q: dots alone are no name", s)
	default:
		return true
	}
	return false
}

// name reads the value of a key as a name, "" when it is none.
func (o object) name(key string) string {
	v, ok := o.get(key)
	if !ok {
		return ""
	}
	s, ok := v.text("a name")
	if !ok || !v.isName(v.fail, s) {
		return ""
	}
	return s
}

// oneOf reads the value of a key as one of the words.
func (o object) oneOf(key, def string, words ...string) string {
	v, ok := o.get(key)
	if !ok {
		return def
	}
	s, ok := v.text(list(words))
	if !ok {
		return def
	}
	if !slices.Contains(words, s) {
		v.fail("expected %s, found %q%s", list(words), clip(s), near(s, words))
		return def
	}
	return s
}

// near is didYouMean without the list of all words.
func near(word string, words []string) string {
	if s := didYouMean(word, words); strings.HasPrefix(s, ", did") {
		return s
	}
	return ""
}

var switches = map[string]bool{"true": true, "false": false, "yes": true, "no": false, "on": true, "off": false}

// flag reads the value of a key as true or false. Both pairs of words of older YAML, yes and
// no, on and off, do as well.
func (o object) flag(key string, def bool) bool { return o.toggle(key, def, "true or false") }

// onOff reads the value of a key as the state of an output.
func (o object) onOff(key string, def bool) bool { return o.toggle(key, def, "on or off") }

func (o object) toggle(key string, def bool, want string) bool {
	v, ok := o.get(key)
	if !ok {
		return def
	}
	b, known := switches[strings.ToLower(v.node.Value)]
	if tag := v.node.ShortTag(); v.node.Kind != yaml.ScalarNode || !known || tag != "!!str" && tag != "!!bool" {
		v.wrongType(want)
		return def
	}
	return b
}

var decimal = regexp.MustCompile(`^[-+]?[0-9]+$`)

// number reads the value of a key as a whole number of decimal digits.
func (o object) number(key string, def, lo, hi int) int {
	v, ok := o.get(key)
	if !ok {
		return def
	}
	s := v.node.Value
	if v.node.Kind != yaml.ScalarNode || v.node.ShortTag() != "!!int" || !decimal.MatchString(s) {
		v.wrongType("a whole number")
		return def
	}
	if digits := strings.TrimLeft(s, "+-"); len(digits) > 1 && digits[0] == '0' {
		v.fail("number %s begins with a 0, which YAML readers take for octal; write it without", clip(s))
		return def
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < int64(lo) || n > int64(hi) {
		v.fail("%s is out of range, %d to %d", clip(s), lo, hi)
		return def
	}
	return int(n)
}

// duration reads the value of a key as a Go duration.
func (o object) duration(key string, def, lo, hi time.Duration) time.Duration {
	v, ok := o.get(key)
	if !ok {
		return def
	}
	d, ok := v.duration()
	if !ok {
		return def
	}
	if d < lo || d > hi {
		v.fail("%s is out of range, %s to %s", short(d), short(lo), short(hi))
		return def
	}
	return d
}

func (v value) duration() (time.Duration, bool) {
	const want = "a duration such as 30s, 10m or 1h30m"
	s, ok := v.text(want)
	if !ok {
		return 0, false
	}
	d, err := time.ParseDuration(s)
	switch _, nan := strconv.ParseFloat(s, 64); {
	case err == nil:
		return d, true
	case nan == nil:
		v.fail("expected %s, found %s without a unit", want, clip(s))
	case strings.HasSuffix(s, "d"):
		v.fail("expected %s, found %q; a day is 24h", want, clip(s))
	default:
		v.wrongType(want)
	}
	return 0, false
}

// short writes a duration without the zero parts that Duration.String ends in: 10m, not 10m0s.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

var (
	sizes = regexp.MustCompile(`^([0-9]+) ?([A-Za-z]*)$`)
	units = map[string]int64{
		"": 1, "B": 1, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
		"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
	}
)

// size reads the value of a key as a number of bytes.
func (o object) size(key string, def, lo, hi int64) int64 {
	const want = "a size such as 256MiB"
	v, ok := o.get(key)
	if !ok {
		return def
	}
	s, ok := v.text(want)
	if !ok {
		return def
	}
	m := sizes.FindStringSubmatch(s)
	if m == nil {
		v.wrongType(want)
		return def
	}
	unit, ok := units[m[2]]
	if !ok {
		v.fail("expected %s, found %q; units are B, kB, MB, GB, TB, KiB, MiB, GiB and TiB%s", want, clip(s), near(m[2], keys(units)))
		return def
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil || n > math.MaxInt64/unit || n*unit < lo || n*unit > hi {
		v.fail("%s is out of range, %s to %s", clip(s), bytesText(lo), bytesText(hi))
		return def
	}
	return n * unit
}

func bytesText(n int64) string {
	for _, u := range []string{"TiB", "GiB", "MiB", "KiB"} {
		if n != 0 && n%units[u] == 0 {
			return fmt.Sprintf("%d%s", n/units[u], u)
		}
	}
	return fmt.Sprintf("%dB", n)
}

// path reads the value of a key as the path of a file, absolute afterwards; "" when it is
// not there or empty.
func (o object) file(key string) string {
	s := o.text(key, "")
	switch {
	case s == "" || filepath.IsAbs(s):
		return s
	case strings.HasPrefix(s, "~"), strings.HasPrefix(s, "$"):
		o.at[key].fail("%q: neither ~ nor $ is expanded here; write the path out", clip(s))
		return ""
	}
	return filepath.Join(o.d.dir, s)
}
