package local

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

func TestTopics(t *testing.T) {
	for _, c := range []struct {
		a, b                      string
		matches, overlaps, covers bool
	}{
		{"a/b", "a/b", true, true, true},
		{"a/b", "a/c", false, false, false},
		{"a/+", "a/b", true, true, true},
		{"+", "a/b", false, false, false},
		{"#", "a/b", true, true, true},
		{"a/#", "a", true, true, true},
		{"a/#", "ab", false, false, false},
		{"a/+/c", "a//c", true, true, true},
		{"#", "$SYS/x", false, false, false},
		{"+/x", "$SYS/x", false, false, false},
		{"$SYS/#", "$SYS/x", true, true, true},
		{"a", "a/b", false, false, false},
		{"a/b", "a", false, false, false},
	} {
		if got := [3]bool{matches(c.a, c.b), overlaps(c.a, c.b), covers(c.a, c.b)}; got != [3]bool{c.matches, c.overlaps, c.covers} {
			t.Errorf("%s %s: %v", c.a, c.b, got)
		}
	}
	for _, c := range []struct {
		a, b                      string
		overlaps, aCovers, bCover bool
	}{
		{"a/#", "#", true, false, true},
		{"a/+", "+/b", true, false, false},
		{"a/+", "a/#", true, false, true},
		{"a", "a/#", true, false, true},
		{"a/b/#", "a/c/#", false, false, false},
		{"a/+/c", "a/b/+", true, false, false},
		{"a/+/c", "+/+/+", true, false, true},
		{"+", "#", true, false, true},
		{"a/b", "+", false, false, false},
		{"$SYS/#", "#", false, false, false},
		{"a/#", "a/+/c", true, true, false},
	} {
		if got := [3]bool{overlaps(c.a, c.b), covers(c.a, c.b), covers(c.b, c.a)}; got != [3]bool{c.overlaps, c.aCovers, c.bCover} {
			t.Errorf("%s %s: %v", c.a, c.b, got)
		}
		if overlaps(c.a, c.b) != overlaps(c.b, c.a) {
			t.Errorf("%s %s: the order matters", c.a, c.b)
		}
	}
	for filter, ok := range map[string]bool{"a": true, "a/#": true, "#": true, "+/+": true, "/": true, "": false, "a#": false, "#/a": false,
		"a+": false, "$share/g/a": true, "$share/g": false, "$share//a": false, "$share/+/a": false, "$SHARE/g/#": true, "a\x00": false} {
		if validFilter(filter) != ok {
			t.Errorf("validFilter(%q) = %v", filter, !ok)
		}
	}
}

// A filter covers what its topics match, and overlaps whatever it covers.
func FuzzTopics(f *testing.F) {
	f.Add("a/+/#", "a/b/c", "a/b/c")
	f.Add("#", "$SYS/+", "$SYS/x")
	f.Fuzz(func(t *testing.T, a, b, topic string) {
		if !validFilter(a) || !validFilter(b) || isShared(a) || isShared(b) || !validTopic(topic) {
			return
		}
		if covers(a, b) && !overlaps(a, b) {
			t.Errorf("%q covers %q and does not overlap it", a, b)
		}
		if covers(a, b) && matches(b, topic) && !matches(a, topic) {
			t.Errorf("%q covers %q, but %q", a, b, topic)
		}
		if matches(a, topic) && matches(b, topic) && !overlaps(a, b) {
			t.Errorf("%q and %q have %q in common", a, b, topic)
		}
	})
}

const someRules = `# who has no name
topic read public/#

user anna
topic anna/#
topic read shared/x
topic deny anna/secret/#
user bob
topic write in/bob
	topic	readwrite	with space/a b

pattern readwrite dev/%u/%c/#
pattern deny dev/+/+/never
`

func TestACL(t *testing.T) {
	a, err := parseACL([]byte(someRules))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		user, id, topic string
		read, write     bool
	}{
		{"", "x", "public/a", true, false},
		{"", "x", "dev//x/a", false, false},
		{"anna", "x", "public/a", false, false},
		{"anna", "x", "anna/1", true, true},
		{"anna", "x", "anna", true, true},
		{"anna", "x", "anna/secret/1", false, false},
		{"anna", "x", "shared/x", true, false},
		{"anna", "x", "#", true, true}, // only of what may be read is sent
		{"anna", "x", "anna/secret/#", false, false},
		{"anna", "x", "bob/#", false, false},
		{"anna", "x", "$share/g/anna/#", true, true},
		{"bob", "x", "in/bob", false, true},
		{"bob", "x", "with space/a b", true, true},
		{"bob", "7", "dev/bob/7/a", true, true},
		{"bob", "7", "dev/bob/8/a", false, false},
		{"bob", "7", "dev/anna/7/a", false, false},
		{"bob", "7", "dev/bob/7/never", false, false},
		{"bob", "+", "dev/bob/8/a", false, false},
		{"bo/b", "7", "dev/bo/b/7", false, false},
		{"eve", "x", "public/a", false, false},
	} {
		if r, w := a.allows(c.user, c.id, c.topic, read), a.allows(c.user, c.id, c.topic, write); r != c.read || w != c.write {
			t.Errorf("%s %s %s: read %v, write %v", c.user, c.id, c.topic, r, w)
		}
	}
	for text, message := range map[string]string{
		"topic":                         `1: "topic" says nothing`,
		"\n\ntopc read a":               `3: "topc" is none of user, topic, pattern`,
		"topic read a#":                 `1: "a#" is no topic filter`,
		"topic a/#/b":                   `1: "a/#/b" is no topic filter`,
		"user\t":                        `1: "user" says nothing`,
		"topic " + "a\xff":              `1: "a\xff" is no topic filter`,
		"topic read\n" + "topic reed a": "",
	} {
		_, err := parseACL([]byte(text))
		if (err == nil) != (message == "") || err != nil && err.Error() != message {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestUsers(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(file, []byte("# people\n\nanna:$pbkdf2-sha256$i=1$c2FsdA$Eg+2z/z4syxD5yJSVsT4N6hlSMkszDVICAWYfLcL4Xs\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	// anna's hash is the vector of RFC 6070 (password, salt, 1) with SHA-256.
	u, err := LoadUsers(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := u.Set("bob", "geheim"); err != nil {
		t.Fatal(err)
	}
	if err := u.Save(file); err != nil {
		t.Fatal(err)
	}
	if u, err = LoadUsers(file); err != nil {
		t.Fatal(err)
	}
	for range 2 { // worked out, then known
		for _, c := range []struct {
			name, password string
			right          bool
		}{{"anna", "password", true}, {"anna", "Password", false}, {"bob", "geheim", true}, {"bob", "geheim ", false}, {"bob", "", false}, {"eve", "geheim", false}, {"", "", false}} {
			if u.Verify(c.name, c.password) != c.right {
				t.Errorf("%s %q: %v", c.name, c.password, !c.right)
			}
		}
	}
	if got := fmt.Sprint(u.Names()); got != "[anna bob]" {
		t.Error(got)
	}
	if !u.Delete("anna") || u.Delete("anna") {
		t.Error("Delete")
	}
	if err := u.Save(file); err != nil {
		t.Fatal(err)
	}
	text, _ := os.ReadFile(file)
	if s := string(text); !strings.HasPrefix(s, "# people\n\nbob:$pbkdf2-sha256$i=25000$") || strings.Count(s, "\n") != 3 {
		t.Errorf("%q", s)
	}
	if info, _ := os.Stat(file); info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v", info.Mode())
	}
	for text, message := range map[string]string{
		"anna":                             "1: anna: no password hash; make one with `meshgate passwd`",
		"#\nanna:geheim":                   "2: anna: no password hash; make one with `meshgate passwd`",
		"a:$pbkdf2-sha256$i=0$c2FsdA$AAAA": "1: a: a password hash with an impossible count",
		"a:$pbkdf2-sha256$i=1$c2Fsd$AAAA":  "1: a: a password hash with a damaged salt",
		"a:$pbkdf2-sha256$i=1$c2FsdA$AAAA": "1: a: a password hash with a damaged key",
		"a:$6$c2FsdA==$x$y":                `1: a: a password hash of an unknown kind "6"`,
		":$pbkdf2-sha256$i=1$c2FsdA$AAAA":  `1: "" is no user name`,
	} {
		if _, err := ParseUsers([]byte(text)); err == nil || err.Error() != message {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, name := range []string{"", "a:b", "a\nb", "#x", strings.Repeat("x", 257)} {
		if err := u.Set(name, "x"); err == nil {
			t.Errorf("Set(%q)", name)
		}
	}
	if err := u.Set("x", ""); err == nil {
		t.Error("an empty password")
	}
}

// Files of mosquitto_passwd can be used as they are.
func TestUsersOfMosquitto(t *testing.T) {
	file := filepath.Join(t.TempDir(), "passwd")
	if out, err := exec.Command(program(t, "mosquitto_passwd"), "-b", "-c", file, "anna", "s3cret").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	u, err := LoadUsers(file)
	if err != nil {
		t.Fatal(err)
	}
	if !u.Verify("anna", "s3cret") || u.Verify("anna", "secret") {
		t.Error("mosquitto_passwd's hash is misread")
	}
}

func FuzzUsers(f *testing.F) {
	f.Add([]byte("# people\n\nanna:$pbkdf2-sha256$i=1$c2FsdA$Eg+2z/z4syxD5yJSVsT4N6hlSMkszDVICAWYfLcL4Xs\n"))
	f.Add([]byte("a:$7$101$AAAA$AAAAAAAAAAAAAAAAAAAAAAAA\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		u, err := ParseUsers(data)
		if err != nil {
			return
		}
		file := filepath.Join(t.TempDir(), "users")
		if err := u.Save(file); err != nil {
			t.Fatal(err)
		}
		again, err := LoadUsers(file)
		if err != nil || fmt.Sprint(again.hashes) != fmt.Sprint(u.hashes) {
			t.Fatalf("%v: %q, %q", err, again.hashes, u.hashes)
		}
	})
}

func TestAccess(t *testing.T) {
	t.Parallel()
	log := &logBuffer{}
	in := newBox()
	users, rules := hashed(t, "anna:a", "bob:b"), writeFile(t, "acl", someRules)
	b := startBroker(t, Options{Users: users, ACL: rules, Log: log.logger(), Intake: in.intake})
	login := func(id, user, password string) *peer {
		t.Helper()
		p, err := tryConnect(pahoOptions(b.tcp(), id).SetUsername(user).SetPassword(password).SetWill("in/bob", "will", 1, false))
		if err != nil {
			return nil
		}
		t.Cleanup(func() { p.Disconnect(0) })
		return p
	}
	for range 3 {
		if login("x", "", "") != nil || login("x", "anna", "b") != nil || login("x", "eve", "a") != nil {
			t.Fatal("let in")
		}
	}
	if n := strings.Count(log.String(), "wrong user name or password"); n != 1 {
		t.Errorf("%d lines:\n%s", n, log)
	}
	anna, bob := login("x", "anna", "a"), login("7", "bob", "b")
	if anna.subscribe(t, "bob/#", 1) != 0x80 || anna.subscribe(t, "#", 1) != 1 || bob.subscribe(t, "dev/bob/7/#", 1) != 1 {
		t.Error("subscriptions")
	}
	b.Publish("anna/secret/1", []byte("x"), true)
	b.Publish("anna/1", []byte("x"), true)
	want(t, anna.next(t), "anna/1=x")
	if q := anna.subscribe(t, "anna/#", 1); q != 1 {
		t.Error(q)
	}
	want(t, anna.next(t), "anna/1=x r")
	bob.publish(t, "anna/1", 1, true, "evil") // acknowledged, as MQTT 3.1.1 has no other way, and dropped
	bob.publish(t, "dev/bob/7/a", 1, false, "ok")
	want(t, bob.next(t), "dev/bob/7/a=ok")
	if got := in.all(); len(got) != 1 || got[0].Topic != "dev/bob/7/a" {
		t.Errorf("%+v", got)
	}
	if n := strings.Count(log.String(), "its last will is not allowed"); n != 1 { // anna's
		t.Errorf("%d lines:\n%s", n, log)
	}

	if err := os.WriteFile(rules, []byte("topc x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := b.Reload(); err == nil || !strings.HasSuffix(err.Error(), `acl:1: "topc" is none of user, topic, pattern`) {
		t.Errorf("%v", err)
	}
	os.WriteFile(rules, []byte("user bob\ntopic #\n"), 0o600)
	u, _ := LoadUsers(users)
	u.Delete("anna")
	if err := u.Save(users); err != nil {
		t.Fatal(err)
	}
	if err := b.Reload(); err != nil {
		t.Fatal(err)
	}
	<-anna.lost
	bob.publish(t, "anna/1", 1, false, "now he may")
	in.wait(t, 2)
}

// Who connects with the client id of somebody else does not get what waits for it.
func TestSessionIsOfOneUser(t *testing.T) {
	b := startBroker(t, Options{Users: hashed(t, "anna:a", "bob:b")})
	opt := func(user, password string) *mqtt.ClientOptions {
		return pahoOptions(b.tcp(), "same").SetUsername(user).SetPassword(password).SetCleanSession(false)
	}
	anna := connect(t, opt("anna", "a"))
	anna.subscribe(t, "secret", 1)
	anna.Disconnect(50)
	eventually(t, "it sleeps", func() bool { return b.Stats().Clients == 0 })
	b.Publish("secret", []byte("1"), false)
	eventually(t, "it waits", func() bool { return b.Stats().Published == 1 })
	bob := connect(t, opt("bob", "b"))
	bob.subscribe(t, "open", 1)
	b.Publish("secret", []byte("2"), false)
	b.Publish("open", []byte("3"), false)
	want(t, bob.next(t), "open=3")
}

// A client of MQTT 3.1.1 is refused with the codes of MQTT 3.1.1; who needs no password may have an empty one, as with
// Mosquitto.
func TestOldCodes(t *testing.T) {
	t.Parallel()
	nobody := "\x10\x10\x00\x04MQTT\x04\xc2\x00\x00\x00\x00\x00\x00\x00\x00"
	anna := "\x10\x14\x00\x04MQTT\x04\xc2\x00\x00\x00\x00\x00\x04anna\x00\x00"
	open, closed := startBroker(t, Options{}), startBroker(t, Options{Users: hashed(t, "anna:geheim")})
	for _, step := range []struct {
		b      *Broker
		packet string
		code   byte
	}{
		{open, string(connectPacket("", false)), 2}, {open, string(connectPacket("", true)), 0}, {open, nobody, 0}, {open, anna, 0},
		{open, strings.Replace(string(connectPacket("", true)), "T\x04", "T\x84", 1), 1}, {open, strings.Replace(string(connectPacket("", true)), "T\x04", "T\x06", 1), 1},
		{closed, string(connectPacket("", true)), 5}, {closed, nobody, 5}, {closed, anna, 5},
	} {
		c, answer := raw(t, step.b), make([]byte, 4)
		c.Write([]byte(step.packet))
		if _, err := io.ReadFull(c, answer); err != nil || answer[0] != 0x20 || answer[3] != step.code {
			t.Errorf("%q: %x, %v; want %d", step.packet, answer, err, step.code)
		}
	}
}

// A will may be empty, and then takes away what is retained.
func TestEmptyWill(t *testing.T) {
	t.Parallel()
	b := startBroker(t, Options{})
	watch := connect(t, pahoOptions(b.tcp(), "watch"))
	watch.publish(t, "w", 1, true, "here")
	watch.subscribe(t, "w", 1)
	want(t, watch.next(t), "w=here r")
	c := raw(t, b)
	c.Write([]byte("\x10\x12\x00\x04MQTT\x04\x26\x00\x00\x00\x01e\x00\x01w\x00\x00"))
	if _, err := io.ReadFull(c, make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	c.Close()
	want(t, watch.next(t), "w=")
	if n, _ := b.retained.size(); n != 0 {
		t.Errorf("%d retained", n)
	}
}

func TestListenErrors(t *testing.T) {
	t.Parallel()
	for listen, message := range map[string]string{
		"udp://127.0.0.1:0":  `local: listen: "udp" is none of tcp, tls, ws, wss`,
		"127.0.0.1:1883":     `local: listen: "127.0.0.1:1883" is not SCHEME://HOST:PORT`,
		"tcp://127.0.0.1":    `local: listen: "tcp://127.0.0.1" is not SCHEME://HOST:PORT`,
		"tls://127.0.0.1:0":  "local: listen: tls://127.0.0.1:0 needs a certificate",
		"tcp://0.0.0.0:0":    "local: listen: tcp://0.0.0.0:0 is open to other machines and needs users",
		"ws://[::]:0":        "local: listen: ws://[::]:0 is open to other machines and needs users",
		"tcp://127.0.0.1:-1": `local: listen: "tcp://127.0.0.1:-1" is not SCHEME://HOST:PORT`,
	} {
		if _, err := Listen(Options{Listen: listen}); err == nil || err.Error() != message {
			t.Errorf("%s: %v", listen, err)
		}
	}
	if _, err := Listen(Options{Users: "/does/not/exist"}); err == nil {
		t.Error("no users file")
	}
	b := startBroker(t, Options{})
	if _, err := Listen(Options{Listen: b.tcp()}); err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Error(err)
	}
	c := startBroker(t, Options{Listen: "tcp://0.0.0.0:0", Users: hashed(t, "a:b")})
	c.Close()
}
