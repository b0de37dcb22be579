package bridge

import (
	"strings"
	"testing"
)

func TestRetain(t *testing.T) {
	for _, c := range []struct {
		word    string
		on, off bool // what becomes of a message with the flag, and of one without
	}{{"keep", true, false}, {"strip", false, false}, {"Force", true, true}} {
		r, err := ParseRetain(c.word)
		if err != nil || r.Flag(true) != c.on || r.Flag(false) != c.off {
			t.Errorf("%s: %v, %v and %v, %v", c.word, r, r.Flag(true), r.Flag(false), err)
		}
	}
	if _, err := ParseRetain("maybe"); err == nil || err.Error() != `retain "maybe" is none of keep, strip, force` {
		t.Errorf("maybe: %v", err)
	}
	if s := Retain(9).String(); s != "retain policy 9" {
		t.Error(s)
	}
	if err := (Rule{Pattern: "a", Retain: 9}).Check(); err == nil {
		t.Error("a policy that is none passes")
	}
}

func TestByRule(t *testing.T) {
	rs := Rules{{Pattern: "a/#", Direction: Both, QoS: 2, RemotePrefix: "x/", Retain: Strip}}
	if remote, r, ok := rs.OutBy("a/b"); !ok || remote != "x/a/b" || r != rs[0] {
		t.Error(remote, r, ok)
	}
	if local, r, ok := rs.InBy("x/a/b"); !ok || local != "a/b" || r != rs[0] {
		t.Error(local, r, ok)
	}
	for _, topic := range []string{"b", "a/+", ""} {
		if _, _, ok := rs.OutBy(topic); ok {
			t.Errorf("%q goes out", topic)
		}
		if _, _, ok := rs.InBy(topic); ok {
			t.Errorf("%q comes in", topic)
		}
	}
}

func TestUnfit(t *testing.T) {
	rs := Rules{{Pattern: "a/#", RemotePrefix: "x/y/"}, {Pattern: "in/#", Direction: In}}
	for _, topic := range []string{"a/b", "b/\x01", "in/\x01"} {
		if err := rs.Unfit(topic); err != nil {
			t.Errorf("%q: %v", topic, err)
		}
	}
	for _, topic := range []string{"a/\x01", "a/\ufffe", "a" + strings.Repeat("/b", maxLevels-1)} {
		if _, _, ok := rs.Out(topic); ok || rs.Unfit(topic) == nil {
			t.Errorf("%.20q is carried: %v, and is fit", topic, ok)
		}
	}
}
