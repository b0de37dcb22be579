package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestManPage(t *testing.T) {
	var page bytes.Buffer
	if err := manPage(&page, commands(), time.Unix(0, 0).UTC()); err != nil {
		t.Fatal(err)
	}
	text := page.String()
	for _, want := range []string{
		".TH MESHGATE 1 1970-01-01 ",
		".SS meshgate status",
		".SS meshgate bridge test TOPIC",
		`\-\-config string `,
		`(default`,
		"0 done, 1 failed, 2 wrong usage",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	for _, c := range commands().Commands() {
		if got := strings.Contains(text, ".SS meshgate "+c.Name()); got != c.IsAvailableCommand() && c.Runnable() {
			t.Errorf("command %s, hidden %v: in the page %v", c.Name(), c.Hidden, got)
		}
	}
}

func TestManConfig(t *testing.T) {
	var page bytes.Buffer
	if err := manConfig(&page, "# not this\n\nid: x  # a-b\nmanagers:\n  - name: m\n# end\n", time.Unix(0, 0).UTC()); err != nil {
		t.Fatal(err)
	}
	want := ".SS id\n.nf\nid: x  # a\\-b\n.fi\n.SS managers\n.nf\nmanagers:\n  \\- name: m\n# end\n.fi\n.SH FILES\n"
	if !strings.Contains(page.String(), want) || strings.Contains(page.String(), "not this") {
		t.Errorf("got %s\nwant in it %s", page.String(), want)
	}
}

func TestRoff(t *testing.T) {
	for in, want := range map[string]string{
		"a-b":       `a\-b`,
		`C:\x`:      `C:\ex`,
		".start":    `\&.start`,
		"one\n.two": "one\n\\&.two",
		"'quoted":   `\&'quoted`,
		"plain":     "plain",
	} {
		if got := roff(in); got != want {
			t.Errorf("roff(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestDocs(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "86400")
	dir := t.TempDir()
	cmd := docsCmd()
	root := commands()
	root.AddCommand(cmd)
	root.SetArgs([]string{"docs", dir})
	if err := root.Execute(); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"meshgate.1": ".TH MESHGATE 1 1970-01-02", "gateway.yaml.5": ".SS bridges\n",
		"meshgate.bash": "__start_meshgate", "_meshgate": "#compdef meshgate", "meshgate.fish": "complete -c meshgate",
		"gateway.schema.json": `"title": "meshgate: gateway.yaml"`,
	} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(data, []byte(want)) {
			t.Errorf("%s lacks %q", name, want)
		}
	}
}
