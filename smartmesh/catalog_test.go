package smartmesh

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/manager-api.md anew")

const apiFile = "../docs/manager-api.md"

// TestManagerAPIPage compares docs/manager-api.md with the tables of this package.
func TestManagerAPIPage(t *testing.T) {
	var want bytes.Buffer
	writeAPI(&want)
	if *update {
		if err := os.WriteFile(apiFile, want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(apiFile)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(got, want.Bytes()) {
		return
	}
	g, w := strings.Split(string(got), "\n"), strings.Split(want.String(), "\n")
	for i := range w {
		if i >= len(g) || g[i] != w[i] {
			t.Fatalf("%s:%d is not what the tables say, %q: write it anew with\n\tgo test ./smartmesh -run ManagerAPIPage -update", apiFile, i+1, w[i])
		}
	}
	t.Fatalf("%s goes on after line %d", apiFile, len(w))
}

// TestCatalog: nothing is missing from the lists.
func TestCatalog(t *testing.T) {
	for what, n := range map[string][2]int{
		"commands": {len(Commands()), 43}, "notifications": {len(Notifications()), 6}, "events": {len(Events()), 15},
		"enums": {len(Enums()), 18}, "codes": {len(ResponseCodes()), 12},
	} {
		if n[0] != n[1] {
			t.Errorf("%d %s, want %d", n[0], what, n[1])
		}
	}
}

const apiHead = `# The manager's API

Made from the tables of package smartmesh by ` + "`go test ./smartmesh -run ManagerAPIPage -update`" + `; a test compares.

Every command can be sent with ` + "`meshgate call COMMAND field=value ...`" + ` and on ` + "`manager/NAME/request`" + `, with the names below.
Numbers are big-endian on the wire. A request may give an enumeration by name, a MAC with or without dashes, bytes in hex.
Responses give numbers, and leave out what an older manager does not send.

- *dangerous*: can strand, stop or reconfigure the network. Needs ` + "`--yes`" + ` on the command line; refused over MQTT unless the
  manager's entry in the configuration lists it under ` + "`allow`" + `.
- *secret*: carries a key or password. Refused over MQTT unless allowed, and shown as "(secret)" in results even then.
- *changes*: has an effect beyond reading. When its response is lost it may or may not have been carried out.

` + "`subscribe`" + ` takes nothing from the gateway, whose session it is: the types that it wants stay, and stay acknowledged. A program
that wants a subscription of its own comes by the shared port.

`

// writeAPI writes the page.
func writeAPI(w io.Writer) {
	fmt.Fprint(w, apiHead, "## Commands\n\n| command | id | what it does | |\n|---|---|---|---|\n")
	for _, c := range Commands() {
		fmt.Fprintf(w, "| [%s](#%s) | %d, 0x%02x | %s | %s |\n", c.Name, strings.ToLower(c.Name), c.ID, c.ID, c.Meaning, traits(c))
	}
	for _, c := range Commands() {
		fmt.Fprintf(w, "\n### %s\n\n%s\n", c.Name, c.Meaning)
		if t := traits(c); t != "" {
			fmt.Fprintf(w, "*%s*\n", t)
		}
		writeFields(w, "request", c.Request)
		writeFields(w, "response", c.Response)
	}
	fmt.Fprint(w, "\n## Notifications\n\nPacket type 20; the payload begins with the type. "+
		"A session receives those it has subscribed to: bit n of the filter is type n.\n")
	for _, n := range Notifications() {
		fmt.Fprintf(w, "\n### %s, type %d\n", n.Name, n.ID)
		writeFields(w, "body", n.Fields)
	}
	fmt.Fprint(w, "\n## Events\n\nWhat follows the head of notifEvent. Published on `manager/NAME/event`, without the leading \"event\".\n")
	for _, n := range Events() {
		fmt.Fprintf(w, "\n### %s, type %d\n", n.Name, n.ID)
		writeFields(w, "body", n.Fields)
	}
	fmt.Fprint(w, "\n## Enumerations\n\nA value that is not listed keeps its number.\n\n| name | values |\n|---|---|\n")
	for _, e := range Enums() {
		fmt.Fprintf(w, "| %s | %s |\n", e.Name, values(e.Values))
	}
	fmt.Fprint(w, "\n## Response codes\n\n| code | name | meaning |\n|---|---|---|\n")
	for _, c := range ResponseCodes() {
		fmt.Fprintf(w, "| %d | %s | %s |\n", c.Code, c.Name, c.Meaning)
	}
}

func traits(c CommandInfo) string {
	var words []string
	for _, t := range []struct {
		is   bool
		word string
	}{{c.Dangerous, "dangerous"}, {c.Secret, "secret"}, {c.Changes && !c.Dangerous, "changes"}} {
		if t.is {
			words = append(words, t.word)
		}
	}
	return strings.Join(words, ", ")
}

func writeFields(w io.Writer, what string, fields []FieldInfo) {
	if len(fields) == 0 {
		fmt.Fprintf(w, "\nThe %s is empty.\n", what)
		return
	}
	fmt.Fprintf(w, "\n| %s | type | bytes | meaning |\n|---|---|---|---|\n", what)
	for _, f := range fields {
		writeField(w, f, "")
	}
}

func writeField(w io.Writer, f FieldInfo, within string) {
	size, meaning := fmt.Sprint(f.Size), f.Meaning
	switch {
	case f.Type == "rest":
		size = "rest"
	case f.Element != nil:
		size += " each"
	}
	if f.Enum != nil {
		meaning += ": " + values(f.Enum)
	} else if f.EnumName == "RC" {
		meaning += ", see below"
	}
	if f.Optional {
		meaning += " (optional)"
	}
	if f.Secret {
		meaning += " (secret)"
	}
	fmt.Fprintf(w, "| %s%s | %s | %s | %s |\n", within, f.Name, f.Type, size, meaning)
	for _, e := range f.Element {
		writeField(w, e, within+f.Name+"[].")
	}
}

func values(list []EnumValue) string {
	var words []string
	for _, v := range list {
		words = append(words, fmt.Sprintf("%d %s", v.Value, v.Name))
	}
	return strings.Join(words, ", ")
}
