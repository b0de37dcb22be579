package bridge

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/meshgate/meshgate/bridge/brokertest"
)

func TestParseRule(t *testing.T) {
	for text, want := range map[string]Rule{
		"mote/#":                         {Pattern: "mote/#"},
		"mote/# out":                     {Pattern: "mote/#"},
		"mote/# OUT 1":                   {Pattern: "mote/#", QoS: 1},
		"mote/#\tin   2":                 {Pattern: "mote/#", Direction: In, QoS: 2},
		"# both 0 home/":                 {Pattern: "#", Direction: Both, LocalPrefix: "home/", OwnPrefix: true},
		"lamp/+/set in 1 home/ devices/": {Pattern: "lamp/+/set", Direction: In, QoS: 1, LocalPrefix: "home/", RemotePrefix: "devices/", OwnPrefix: true},
		`a out 1 "" r/`:                  {Pattern: "a", QoS: 1, RemotePrefix: "r/", OwnPrefix: true},
		`a out 1 l/ ""`:                  {Pattern: "a", QoS: 1, LocalPrefix: "l/", OwnPrefix: true},
		`a out 1 "" ""`:                  {Pattern: "a", QoS: 1, OwnPrefix: true},
		`"" out 1 local/a remote/b`:      {QoS: 1, LocalPrefix: "local/a", RemotePrefix: "remote/b", OwnPrefix: true},
		"total in 0 x/ $SYS/broker/":     {Pattern: "total", Direction: In, LocalPrefix: "x/", RemotePrefix: "$SYS/broker/", OwnPrefix: true},
		"topic":                          {Pattern: "topic"},
		"größe/+ out 1":                  {Pattern: "größe/+", QoS: 1},
	} {
		got, err := ParseRule(text)
		if err != nil || got != want {
			t.Errorf("%s\n got %+v, %v\nwant %+v", text, got, err, want)
		}
		if again, err := ParseRule(got.String()); err != nil || again != got {
			t.Errorf("%s: written as %s, which reads as %+v, %v", text, got, again, err)
		}
	}
}

func TestParseRuleBad(t *testing.T) {
	for text, words := range map[string]string{
		"":                   "empty rule",
		"  ":                 "empty rule",
		"a up":               `direction "up" is none of out, in, both`,
		"topic a/# out 1":    "leave out the word topic",
		"a out 3":            `qos "3"`,
		"a out -1":           `qos "-1"`,
		"a out 01":           `qos "01"`,
		"a out 1 b c d":      "6 words",
		"a#":                 "pattern",
		"a/#/b":              "after #",
		"a+ in":              "pattern",
		"a out 1 +/ b/":      "local prefix",
		"a out 1 b/ #":       "remote prefix",
		"# out 1 home r/":    "local prefix and pattern together",
		"+/x in 1 home/ r":   "remote prefix and pattern together",
		`""`:                 "empty pattern",
		`"" out 1 local`:     "empty pattern",
		`"" out 1 local ""`:  "empty pattern",
		`"" out 1 "" remote`: "empty pattern",
		`"" out 1 "" ""`:     "empty pattern",
		"a\x00b out":         "control character",
		"a out 1 l\x01/ r/":  "control character",
		"a\xffb":             "UTF-8",
	} {
		if _, err := ParseRule(text); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%q: error %v, want one with %q", text, err, words)
		}
	}
}

func rules(t testing.TB, texts ...string) Rules {
	t.Helper()
	var rs Rules
	for _, text := range texts {
		r, err := ParseRule(text)
		if err != nil {
			t.Fatal(err)
		}
		rs = append(rs, r)
	}
	return rs
}

// prefixes is the table of mosquitto.conf(5), section "topic", with each combination of prefixes, and what follows from its
// text: a message to local goes out as remote, one to remote comes in as local; "" is not carried.
var prefixes = []struct{ rule, local, remote string }{
	{"pattern both 1 L/ R/", "L/pattern", "R/pattern"},
	{`pattern both 1 L/ ""`, "L/pattern", "pattern"},
	{"pattern both 1 L/", "L/pattern", "pattern"},
	{`pattern both 1 "" R/`, "pattern", "R/pattern"},
	{`pattern both 1 "" ""`, "pattern", "pattern"},
	{"pattern both 1", "pattern", "pattern"},
	{`"" both 1 local remote`, "local", "remote"},
	{"# both 1 local/topic/ remote/topic/", "local/topic/a/b", "remote/topic/a/b"},
	{"# both 1 local/topic/ remote/topic/", "local/topic/", "remote/topic/"},
	{"+/set both 1 L/ R/", "L/x/set", "R/x/set"},
	{"+ both 1 a/b/ R/", "a/b/c", "R/c"},
	{"b/# both 1 a R", "ab/c", "Rb/c"}, // prefixes are text
	{"a/# both 1 L/ R/", "L/a", "R/a"}, // # takes its parent
	{"# both 1", "a", "a"},
	{`# both 1 L/ ""`, "L/a/b", "a/b"},
	{"$x/# both 1 L/ R/", "L/$x/a", "R/$x/a"},
	{"# both 1 L/ R/", "L/$x", "R/$x"}, // $ is special at the begin of a topic only
}

func TestPrefixes(t *testing.T) {
	for _, p := range prefixes {
		for _, d := range []Direction{Out, In, Both} {
			rs := rules(t, p.rule)
			rs[0].Direction = d
			remote, _, ok := rs.Out(p.local)
			if ok != (d != In) || ok && remote != p.remote {
				t.Errorf("%s: out %s gives %q %v, want %q", rs[0], p.local, remote, ok, p.remote)
			}
			local, _, ok := rs.In(p.remote)
			if ok != (d != Out) || ok && local != p.local {
				t.Errorf("%s: in %s gives %q %v, want %q", rs[0], p.remote, local, ok, p.local)
			}
		}
	}
}

func TestNotCarried(t *testing.T) {
	for _, p := range []struct{ rule, topic string }{
		{"# out 1", "$SYS/x"},
		{"+/x out 1", "$SYS/x"},
		{"# in 1", "$SYS/x"},
		{"# out 1 L/ R/", "L"},     // the parent level has no rest
		{`# out 1 L/ ""`, "L/"},    // would be empty
		{"a/+ out 1", "a"},         // a level more
		{"a/+ out 1", "a/b/c"},     // a level less
		{"a out 1 L/ R/", "a"},     // without the prefix
		{"a out 1 L/ R/", "R/a"},   // the remote one
		{"a out 1", "a/"},          // an empty level is a level
		{"# out 1", "a/+"},         // no topic
		{"# out 1", ""},            // no topic
		{"# out 1", "a\nb"},        // a topic that ends Mosquitto's connections
		{"b/# out 1 a R", "a/b/c"}, // no slash in the prefix, none in the topic
		{`"" out 1 local remote`, "local/a"},
	} {
		rs := rules(t, p.rule)
		if remote, _, ok := rs.Out(p.topic); ok {
			t.Errorf("%s carries %q out to %q", p.rule, p.topic, remote)
		}
		if local, _, ok := rs.In(p.topic); ok && rs[0].Direction != Out {
			t.Errorf("%s carries %q in to %q", p.rule, p.topic, local)
		}
	}
	long := strings.Repeat("x", 65530)
	if r, _, ok := rules(t, "+ out 1 \"\" long-prefix/").Out(long); ok {
		t.Errorf("made a topic of %d bytes", len(r))
	}
}

func TestFirstRuleWins(t *testing.T) {
	rs := rules(t, "a/b out 2 \"\" first/", "a/+ out 0 \"\" second/", "# both 1 \"\" third/", "# in 0 other/ third/")
	for topic, want := range map[string]string{"a/b": "first/a/b", "a/c": "second/a/c", "x": "third/x"} {
		if got, _, _ := rs.Out(topic); got != want {
			t.Errorf("%s goes to %s, want %s", topic, got, want)
		}
	}
	if _, qos, _ := rs.Out("a/b"); qos != 2 {
		t.Errorf("qos %d", qos)
	}
	if local, qos, ok := rs.In("third/x"); local != "x" || qos != 1 || !ok {
		t.Errorf("in: %s %d %v", local, qos, ok)
	}
	if got, want := rs.Subscriptions(), []Subscription{{"third/#", 1}}; !slices.Equal(got, want) {
		t.Errorf("subscriptions %v", got)
	}
}

func TestDefaultPrefix(t *testing.T) {
	rs := rules(t, "mote/# out 1", `door out 1 "" ""`, "lamp in 1 home/", "x out 1 l/ r/").WithDefaultPrefix("meshgate/gw/")
	if err := rs.Check(); err != nil {
		t.Fatal(err)
	}
	for local, want := range map[string]string{"mote/1": "meshgate/gw/mote/1", "door": "door", "l/x": "r/x"} {
		if got, _, _ := rs.Out(local); got != want {
			t.Errorf("%s goes to %s, want %s", local, got, want)
		}
	}
	if local, _, _ := rs.In("lamp"); local != "home/lamp" {
		t.Errorf("lamp comes in as %q", local)
	}
	if again := rs.WithDefaultPrefix("other/"); !slices.Equal(again, rs) {
		t.Errorf("a second prefix changed %v", again)
	}
	if err := rules(t, "a").WithDefaultPrefix("bad#/").Check(); err == nil {
		t.Error("a wildcard in the prefix was taken")
	}
}

func TestDefaultRules(t *testing.T) {
	rs := DefaultRules("p/")
	if err := rs.Check(); err != nil {
		t.Fatal(err)
	}
	const mac = "00-17-0d-00-00-38-05-e9"
	for _, topic := range []string{"gateway/status", "gateway/info", "gateway/audit", "gateway/health", "manager/m/status", "manager/m/event",
		"mote/" + mac + "/status", "mote/" + mac + "/temperature", "mote/" + mac + "/analog/3", "mote/" + mac + "/digital/0",
		"mote/" + mac + "/health", "mote/" + mac + "/neighbors", "mote/" + mac + "/discovered", "mote/" + mac + "/data/61625",
		"actuator/led/state", "actuator/led/result", "mote/" + mac + "/led/state", "mote/" + mac + "/led/result", "input/door/state"} {
		if r, qos, ok := rs.Out(topic); r != "p/"+topic || qos != 1 || !ok {
			t.Errorf("%s goes to %q %d %v", topic, r, qos, ok)
		}
		if _, _, ok := rs.In("p/" + topic); ok {
			t.Errorf("%s comes in", topic)
		}
	}
	for _, topic := range []string{"actuator/led/set", "mote/" + mac + "/led/set"} {
		if l, qos, ok := rs.In("p/" + topic); l != topic || qos != 1 || !ok {
			t.Errorf("%s comes in as %q %d %v", topic, l, qos, ok)
		}
		if _, _, ok := rs.Out(topic); ok {
			t.Errorf("%s goes out", topic)
		}
	}
	for _, topic := range []string{"manager/m/request", "manager/m/result", "mote/" + mac + "/oap/request", "mote/" + mac + "/oap/result", "x", "$SYS/x"} {
		if _, _, ok := rs.Out(topic); ok {
			t.Errorf("%s goes out", topic)
		}
		if _, _, ok := rs.In("p/" + topic); ok {
			t.Errorf("%s comes in", topic)
		}
	}
	if got, want := rs.Subscriptions(), []Subscription{{"p/actuator/+/set", 1}, {"p/mote/+/led/set", 1}}; !slices.Equal(got, want) {
		t.Errorf("subscriptions %v", got)
	}
}

func TestValid(t *testing.T) {
	for topic, ok := range map[string]bool{
		"a": true, "/": true, "a//b": true, "$SYS/x": true, " ": true, "größe": true, strings.Repeat("a", 65535): true,
		strings.Repeat("/", 200): true, "": false, "a/+": false, "#": false, "a+": false, strings.Repeat("a", 65536): false,
		strings.Repeat("/", 201): false, "a\x00": false, "a\tb": false, "a\x7f": false, "a\u0085": false, "\ufffe": false,
		"\U0001ffff": false, "\ufdd0": false, "\xed\xa0\x80": false, "\ufffd": true,
	} {
		if err := ValidTopic(topic); (err == nil) != ok {
			t.Errorf("ValidTopic(%.20q) = %v", topic, err)
		}
	}
	for filter, ok := range map[string]bool{
		"#": true, "+": true, "a/+/b/#": true, "+/+": true, "/#": true, "/+": true, "": false, "a#": false, "#/a": false, "a/+b": false, "++": false, "##": false,
	} {
		if err := ValidFilter(filter); (err == nil) != ok {
			t.Errorf("ValidFilter(%q) = %v", filter, err)
		}
	}
}

func TestMatch(t *testing.T) {
	for _, m := range []struct {
		filter, topic string
		want          bool
	}{
		{"sport/tennis/player1/#", "sport/tennis/player1", true}, // the examples of MQTT 3.1.1 section 4.7.1
		{"sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true},
		{"sport/#", "sport", true},
		{"sport/tennis/+", "sport/tennis/player1/ranking", false},
		{"sport/+", "sport", false},
		{"sport/+", "sport/", true},
		{"+/+", "/finance", true},
		{"/+", "/finance", true},
		{"+", "/finance", false},
		{"#", "$SYS/a", false},
		{"+/monitor/Clients", "$SYS/monitor/Clients", false},
		{"$SYS/#", "$SYS/", true},
		{"a/#", "ab", false},
		{"", "", false},
	} {
		if got := Match(m.filter, m.topic); got != m.want {
			t.Errorf("Match(%q, %q) = %v", m.filter, m.topic, got)
		}
	}
	if n := testing.AllocsPerRun(100, func() { Match("a/+/c/#", "a/b/c/d/e") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzMatch(f *testing.F) {
	f.Add("a/+/#", "a/b/c")
	f.Add("#", "$SYS")
	f.Add("a/#", "a")
	f.Add("+/a/#", "a/b")
	f.Fuzz(func(t *testing.T, filter, topic string) {
		if ValidFilter(filter) != nil || ValidTopic(topic) != nil {
			return
		}
		if got, want := Match(filter, topic), brokertest.Match(filter, topic); got != want {
			t.Errorf("Match(%q, %q) = %v", filter, topic, got)
		}
	})
}

// FuzzParseRule: a rule that is read is written so that it is read again, and what it carries is what its two filters and
// prefixes say, in a plain reading.
func FuzzParseRule(f *testing.F) {
	for _, p := range prefixes {
		f.Add(p.rule, p.local)
	}
	f.Add("topic a out", "a")
	f.Fuzz(func(t *testing.T, text, topic string) {
		r, err := ParseRule(text)
		if err != nil {
			return
		}
		if again, err := ParseRule(r.String()); err != nil || again != r {
			t.Fatalf("%+v is written as %s, which reads as %+v, %v", r, r, again, err)
		}
		remote, _, ok := Rules{r}.Out(topic)
		want := ValidTopic(topic) == nil && r.Direction != In && brokertest.Match(r.Local(), topic) && strings.HasPrefix(topic, r.LocalPrefix)
		if want {
			mapped := r.RemotePrefix + topic[len(r.LocalPrefix):]
			if want = ValidTopic(mapped) == nil; want && remote != mapped {
				t.Errorf("%s: %q goes to %q, want %q", r, topic, remote, mapped)
			}
		}
		if ok != want {
			t.Errorf("%s: %q carried %v, want %v", r, topic, ok, want)
		}
	})
}

// Of two filters, the intersection matches what both match, and nothing else.
func FuzzIntersect(f *testing.F) {
	f.Add("a/+/#", "+/b", uint64(1))
	f.Add("#", "$SYS/+", uint64(2))
	f.Add("a/#", "a", uint64(3))
	f.Fuzz(func(t *testing.T, a, b string, seed uint64) {
		if ValidFilter(a) != nil || ValidFilter(b) != nil {
			return
		}
		both, ok := Intersect(a, b)
		if ok && ValidFilter(both) != nil {
			t.Fatalf("%q and %q give %q", a, b, both)
		}
		words := append(strings.FieldsFunc(a+"/"+b, func(r rune) bool { return r == '/' || r == '+' || r == '#' }), "", "x", "$")
		rnd := rand.New(rand.NewPCG(seed, 0))
		for range 30 {
			levels := make([]string, 1+rnd.IntN(6))
			for i := range levels {
				levels[i] = words[rnd.IntN(len(words))]
			}
			topic := strings.Join(levels, "/")
			if ValidTopic(topic) != nil {
				continue
			}
			if got, want := ok && Match(both, topic), Match(a, topic) && Match(b, topic); got != want {
				t.Errorf("%q: in %q %v, in %q and %q %v", topic, both, got, a, b, want)
			}
		}
	})
}
