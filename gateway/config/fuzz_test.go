package config

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"

	"github.com/meshgate/meshgate/bridge"
	"github.com/meshgate/meshgate/gpio"
)

// render writes a Config as a file that says everything and leaves nothing to defaults.
func render(t *testing.T, c *Config) string {
	t.Helper()
	doc := map[string]any{
		"version": 1, "id": c.ID, "state_dir": c.StateDir, "log": map[string]any{"level": c.Log.Level},
		"spool": map[string]any{"max_size": fmt.Sprint(c.Spool.MaxSize, "B"), "max_age": c.Spool.MaxAge.String(),
			"when_full": c.Spool.WhenFull, "sync": c.Spool.Sync.String()},
	}
	if c.HTTP.Listen != "" {
		doc["http"] = filled("listen", c.HTTP.Listen, "users", c.HTTP.Users)
	}
	var managers []any
	for _, m := range c.Managers {
		managers = append(managers, renderManager(m))
	}
	doc["managers"] = managers
	doc["actuators"], doc["inputs"] = renderPins(c)
	doc["automations"] = renderAutomations(c.Automations)
	if l := c.Local; l != nil {
		doc["local"] = filled("listen", l.Listen, "broker", l.Broker, "username", l.Username, "password_file", l.PasswordFile,
			"client_id", l.ClientID, "users", l.Users, "acl", l.ACL, "tls", renderTLS(l.TLS))
	}
	var bridges []any
	for _, b := range c.Bridges {
		bridges = append(bridges, renderBridge(b))
	}
	doc["bridges"] = bridges
	out, err := yaml.Dump(doc)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// filled returns the pairs that have a value.
func filled(pairs ...any) map[string]any {
	m := map[string]any{}
	for i := 0; i < len(pairs); i += 2 {
		if v := reflect.ValueOf(pairs[i+1]); v.IsValid() && !v.IsZero() && (v.Kind() != reflect.Map || v.Len() > 0) {
			m[pairs[i].(string)] = pairs[i+1]
		}
	}
	return m
}

func renderManager(m Manager) map[string]any {
	doc := filled("name", m.Name, "port", m.Port, "data", m.Data, "record", m.Record, "allow", m.Allow)
	if m.Temperature != 0 {
		doc["temperature"] = map[string]any{"every": m.Temperature.String()}
	}
	if m.Share != nil {
		doc["share"] = filled("listen", m.Share.Listen, "users", m.Share.Users, "write", m.Share.Write)
	}
	return doc
}

// renderPins keeps the order, which a Go map would not.
func renderPins(c *Config) (outs, ins *yaml.Node) {
	outs, ins = &yaml.Node{Kind: yaml.MappingNode}, &yaml.Node{Kind: yaml.MappingNode}
	add := func(to *yaml.Node, name string, doc any) {
		var v yaml.Node
		if err := v.Encode(doc); err != nil {
			panic(err)
		}
		to.Content = append(to.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: name}, &v)
	}
	for _, o := range c.Outputs {
		loss := ""
		if o.OnLinkLoss == gpio.GoSafe {
			loss = "safe"
		}
		doc := filled("pin", o.Pin, "kind", o.Kind, "active_low", o.ActiveLow, "safe", o.Safe, "rate", o.Rate,
			"interlock", o.Interlock, "on_link_loss", loss, "group", o.Group)
		for key, d := range map[string]fmt.Stringer{"max_on": o.MaxOn, "min_off": o.MinOff, "lease": o.Lease, "link_loss_delay": o.LinkDelay} {
			if d.String() != "0s" {
				doc[key] = d.String()
			}
		}
		add(outs, o.Name, doc)
	}
	for _, i := range c.Inputs {
		doc := filled("pin", i.Pin, "pull", i.Pull, "active_low", i.ActiveLow, "debounce", i.Debounce.String(), "rate", i.Rate)
		if i.Count > 0 {
			doc["count"] = i.Count.String()
		}
		add(ins, i.Name, doc)
	}
	return outs, ins
}

func renderTLS(t bridge.TLS) map[string]any {
	return filled("ca", t.CA, "cert", t.Cert, "key", t.Key, "server_name", t.ServerName)
}

func renderBridge(b Bridge) map[string]any {
	doc := filled("name", b.Name, "urls", b.URLs, "client_id", b.ClientID, "username", b.Username, "password_file", b.PasswordFile,
		"tls", renderTLS(b.TLS), "keepalive", b.Keepalive.String(), "backlog_rate", b.BacklogRate, "plaintext", b.Plaintext)
	doc["prefix"], doc["canary"] = b.Prefix, b.Canary.String()
	rules := []any{}
	for _, r := range b.Rules {
		rules = append(rules, map[string]any{"topic": r.Pattern, "direction": r.Direction.String(), "qos": int(r.QoS), "retain": r.Retain.String(),
			"local_prefix": r.LocalPrefix, "remote_prefix": r.RemotePrefix})
	}
	doc["topics"] = rules
	return doc
}

// Whatever the text, Parse either names mistakes that are in it, or returns a Config that,
// written out in full, is valid again and the same.
func FuzzParse(f *testing.F) {
	f.Add(Example)
	f.Add(minimal)
	for _, name := range []string{"testdata/every.yaml", "testdata/contract.yaml"} {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(data))
	}
	for _, tt := range mistakes {
		f.Add(tt.text)
	}
	dir := f.TempDir()
	writePair(f, dir, "gw")
	for _, name := range []string{"users", "acl", "pw", "cloud.password"} {
		write(f, dir, name, "x\n")
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := read(dir, text)
		if err != nil {
			checkPlaces(t, text, err)
			return
		}
		out := render(t, c)
		again, err := read("/nowhere", out)
		if err != nil {
			t.Fatalf("valid, but written out it is not:\n%v\n%s\nwas\n%s", err, out, text)
		}
		if !reflect.DeepEqual(c, again) {
			t.Fatalf("written out it is another:\n%s\n%s\n%s", dump(c), dump(again), out)
		}
	})
}

func checkPlaces(t *testing.T, text string, err error) {
	t.Helper()
	var errs Errors
	if !errors.As(err, &errs) || len(errs) == 0 {
		t.Fatalf("%T %v is not Errors", err, err)
	}
	lines := strings.Split(strings.TrimPrefix(text, "\ufeff"), "\n")
	for _, e := range errs {
		if e.Line < 1 || e.Line > len(lines) {
			t.Fatalf("line of %v is not in the file", e)
		}
		if width := utf8.RuneCountInString(lines[e.Line-1]); e.Col < 1 || e.Col > width+1 {
			t.Fatalf("column of %v is not in the line %q", e, lines[e.Line-1])
		}
		if e.Msg == "" || strings.ContainsAny(e.Error(), "\n\x1b") || !utf8.ValidString(e.Error()) {
			t.Fatalf("%q is no message for one line", e.Error())
		}
	}
	_ = errs.Detail()
}

func TestDistance(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"port", "prot", 1}, {"kitten", "sitting", 3}, {"qos", "qos", 0}, {"ü", "u", 1}, {"ca", "abc", 3}} {
		if got := distance(tt.a, tt.b); got != tt.want {
			t.Errorf("distance(%q, %q) = %d, want %d", tt.a, tt.b, got, tt.want)
		}
		if got := distance(tt.b, tt.a); got != tt.want {
			t.Errorf("distance(%q, %q) = %d, want %d", tt.b, tt.a, got, tt.want)
		}
	}
	for word, want := range map[string]string{
		"prot": "port", "manger": "manager", "BRIDGE": "bridge", "x": "", "keep_alive": "keepalive", "": "",
	} {
		got := near(word, []string{"port", "manager", "bridge", "keepalive"})
		if want != "" {
			want = fmt.Sprintf(", did you mean %q?", want)
		}
		if got != want {
			t.Errorf("near %q is %q, want %q", word, got, want)
		}
	}
}
