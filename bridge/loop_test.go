package bridge

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

func TestLoop(t *testing.T) {
	type bridges map[string][]string // name, or name@broker, to rules
	for _, c := range []struct {
		name  string
		links bridges
		words []string // of the error; none: no circle
	}{
		{"one bridge, both ways", bridges{"a": {"# both 1"}}, nil},
		{"the default rules, twice", bridges{"a": nil, "b": nil}, nil},
		{"both ways over two", bridges{"a": {"x/# both 1"}, "b": {"x/# both 1"}}, []string{`"x/`, "a: ", "b: ", "x/# both 1"}},
		{"out and in by two rules each", bridges{"a": {"x/# out 1", "x/# in 1"}, "b": {"x/+ out 1", "x/y in 1"}}, []string{`"x/y"`, "x/y in 1", "x/+ out 1"}},
		{"both over one, out over the other", bridges{"a": {"x/# both 1"}, "b": {"x/# out 1"}}, nil},
		{"both over one, in over the other", bridges{"a": {"x/# both 1"}, "b": {"x/# in 1"}}, nil},
		{"in over one, out over the other", bridges{"a": {"x/# in 1"}, "b": {"x/# out 1"}}, nil},
		{"other topics", bridges{"a": {"x/# both 1"}, "b": {"y/# both 1"}}, nil},
		{"other remote topics each way", bridges{"a": {"x out 1 \"\" up/", "x in 1 \"\" down/"}, "b": {"x out 1 \"\" up/", "x in 1 \"\" down/"}}, nil},
		{"one broker, there and back", bridges{"a@s": {"x/# out 1"}, "b@s": {"x/# in 1"}}, []string{"a: ", "b: "}},
		{"one broker, out over each, in over each", bridges{"a@s": {"x out 1", "y in 1"}, "b@s": {"x in 1", "x out 1 \"\" z/"}}, []string{`"x"`}},
		{"one broker, crossed", bridges{"a@s": {`x out 1 "" up/`, "x in 1 \"\" down/"}, "b@s": {`x out 1 "" down/`, "x in 1 \"\" up/"}}, []string{"down/x"}},
		{"one broker, each its own", bridges{"a@s": {`x both 1 "" a/`}, "b@s": {`y both 1 "" b/`}}, nil},
		{"one broker, out over one, in over it", bridges{"a@s": {`x both 1`}, "b@s": {`y both 1`}}, nil},
		{"one broker for three", bridges{"a@s": {"x both 1"}, "b@s": {"x out 1"}}, []string{`"x"`}},
		{"a topic that grows", bridges{"a": {"# out 1 \"\" R/", "# in 1 g/ R/"}, "b": {"# out 1 \"\" R/", "# in 1 g/ R/"}}, []string{"g/"}},
		{"by way of another name", bridges{"a": {`"" out 1 one r`, `"" in 1 two r`}, "b": {`"" out 1 two r`, `"" in 1 one r`}}, []string{`a: "\"\" out 1 one r" carries one out to r`}},
		{"an earlier rule leads away", bridges{"a": {"x/y out 1 \"\" away/", "x/y in 1", "x/# out 1"}, "b": {"x/y both 1"}}, nil},
		{"an earlier rule leads some away", bridges{"a": {"x/y out 1 \"\" away/", "x/# both 1"}, "b": {"x/# both 1"}}, []string{"x/"}},
		{"system topics", bridges{"a": {"# both 1 \"\" $SYS/"}, "b": {"$SYS/# both 1"}}, nil},
		{"wildcards that do not meet", bridges{"a": {"+/a both 1"}, "b": {"+/b both 1"}}, nil},
		{"wildcards that meet", bridges{"a": {"+/b both 1"}, "b": {"a/+ both 1"}}, []string{`"a/b"`}},
		{"three in a ring", bridges{"a": {"x out 1", "x in 1"}, "b": {"x out 1", "x in 1"}, "c": {"x both 1"}}, []string{`"x"`}},
	} {
		var links []Link
		for i := 'a'; i <= 'c'; i++ {
			for _, name := range []string{string(i), string(i) + "@s"} {
				texts, ok := c.links[name]
				if !ok {
					continue
				}
				l := Link{Name: string(i), Rules: DefaultRules("meshgate/gw/")}
				if texts != nil {
					l.Rules = rules(t, texts...)
				}
				_, l.Broker, _ = strings.Cut(name, "@")
				links = append(links, l)
			}
		}
		err := Loop(links)
		if len(c.words) == 0 {
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		var circle *Circle
		if !errors.As(err, &circle) {
			t.Errorf("%s: not found", c.name)
			continue
		}
		for _, w := range c.words {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %q not in %v", c.name, w, err)
			}
		}
	}
}

// What Loop lets pass, no message that is tried goes round in.
func TestLoopAgainstMessages(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 7))
	pick := func(words ...string) string { return words[rnd.IntN(len(words))] }
	found, clear := 0, 0
	for range 800 {
		links := make([]Link, 2+rnd.IntN(2))
		for i := range links {
			links[i].Name, links[i].Broker = fmt.Sprint("b", i), pick("", "", "s")
			for range 1 + rnd.IntN(3) {
				text := fmt.Sprintf("%s %s 1 %s %s", pick("a", "b", "a/b", "+", "#", "+/b", "a/#"), pick("in", "out", "both"), pick(`""`, "a/", "b/"), pick(`""`, "a/", "b/"))
				links[i].Rules = append(links[i].Rules, rules(t, text)...)
			}
		}
		err := Loop(links)
		w := &walk{links: links}
		round := ""
		for _, topic := range []string{"a", "b", "a/a", "a/b", "b/a", "b/b", "x", "a/x", "x/b", "a/b/x", "a/a/b", "b/x", "b/a/b", "a/b/a/b", "b/b/b"} {
			for i := range links {
				if w.send(topic, i, 0) != nil {
					round = topic
				}
			}
		}
		switch {
		case err == nil && round != "":
			t.Fatalf("%s goes round in %v and was not found", round, links)
		case err != nil:
			found++
		default:
			clear++
		}
	}
	if found < 50 || clear < 50 {
		t.Errorf("%d circles, %d without: no test", found, clear)
	}
}

func TestLoopManyRules(t *testing.T) {
	var links []Link
	for i := range 8 {
		l := Link{Name: fmt.Sprint("b", i)}
		for j := range 60 {
			l.Rules = append(l.Rules, Rule{Pattern: fmt.Sprintf("+/%d/%d/#", i, j), Direction: Both, QoS: 1}, Rule{Pattern: fmt.Sprintf("x/+/%d", j), Direction: Out})
		}
		links = append(links, l)
	}
	start := time.Now()
	if err := Loop(links); err != nil {
		t.Error(err)
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("took %v", d)
	}
}
