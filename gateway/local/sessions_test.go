package local

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// A device that sleeps gets what came while the gateway was restarted, in order and once.
func TestSessionsOverRestart(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "sessions.json")
	users := hashed(t, "anna:a")
	opt := Options{Sessions: file, Users: users, ACL: writeFile(t, "acl", "user anna\ntopic cmd/#\n")}
	sleeper := func(b *Broker) *mqtt.ClientOptions {
		return pahoOptions(b.tcp(), "sleeper").SetUsername("anna").SetPassword("a").SetCleanSession(false)
	}
	b := startBroker(t, opt)
	s := connect(t, sleeper(b))
	s.subscribe(t, "cmd/#", 1)
	s.Disconnect(50)
	connect(t, pahoOptions(b.tcp(), "clean").SetUsername("anna").SetPassword("a")).subscribe(t, "cmd/#", 1)
	eventually(t, "it sleeps", func() bool { return b.Stats().Clients == 1 })
	for i := range 30 {
		b.Publish("cmd/x", []byte(fmt.Sprint(i)), false)
	}
	eventually(t, "they wait", func() bool { return b.Stats().Published == 30 })
	b.Close()

	b = startBroker(t, opt)
	if st := b.Stats(); st.Sessions != 1 || st.Clients != 0 {
		t.Fatalf("%+v", st)
	}
	b.Publish("cmd/x", []byte("30"), false)
	b.Publish("other", []byte("30"), false)
	eventually(t, "they wait", func() bool { return b.Stats().Published == 2 })
	s = connect(t, sleeper(b))
	for i := range 31 {
		want(t, s.next(t), fmt.Sprint("cmd/x=", i))
	}
	s.Disconnect(50)
	eventually(t, "it sleeps", func() bool { return b.Stats().Clients == 0 })
	b.Publish("cmd/x", []byte("crash"), false)
	eventually(t, "the file", func() bool { // without Close
		text, _ := os.ReadFile(file)
		return strings.Contains(string(text), `"payload":"Y3Jhc2g="`)
	})
	saved, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(t.TempDir(), "sessions.json")
	if err := os.WriteFile(other, saved, 0o600); err != nil {
		t.Fatal(err)
	}
	opt.Sessions = other
	b = startBroker(t, opt)
	s = connect(t, sleeper(b))
	for s.next(t) != "cmd/x=crash" { // what it had not acknowledged before comes again
	}
	connect(t, sleeper(b).SetCleanSession(true)).Disconnect(50) // it wants no session any more
	b.Close()
	b = startBroker(t, opt)
	if n := b.Stats().Sessions; n != 0 {
		t.Errorf("%d sessions", n)
	}
}

// What MQTT 5 says of a message is kept as well, and when it is over.
func TestPropertiesOverRestart(t *testing.T) {
	t.Parallel()
	opt := Options{Sessions: filepath.Join(t.TempDir(), "sessions.json")}
	b := startBroker(t, opt)
	s := five(t, b, "s", 60, 1000, 0)
	s.Write([]byte("\x82\x09\x00\x01\x00\x00\x03cmd\x01"))
	readPacket(t, s)
	s.Close()
	eventually(t, "it sleeps", func() bool { return b.Stats().Clients == 0 })
	p := five(t, b, "p", 60, 0, 0)
	for _, payload := range "123" {
		p.Write([]byte("\x32\x14\x00\x03cmd\x00\x01\x0b\x02\x00\x00\x03\xe8\x03\x00\x03txt" + string(payload)))
		readPacket(t, p)
	}
	b.Close()
	text, err := os.ReadFile(opt.Sessions)
	if err != nil {
		t.Fatal(err)
	}
	var saved savedSessions
	if err := json.Unmarshal(text, &saved); err != nil || len(saved.Sessions) != 1 || len(saved.Sessions[0].Messages) != 3 {
		t.Fatalf("%s, %v", text, err)
	}
	m := saved.Sessions[0].Messages
	m[0].Expires -= 2000 // while the gateway was away
	m[2].Expires += 5000 // its clock was set back
	if text, err = json.Marshal(saved); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(opt.Sessions, text, 0o600); err != nil {
		t.Fatal(err)
	}
	b = startBroker(t, opt)
	s = five(t, b, "s", 60, 1000, 0)
	for _, payload := range "23" {
		_, body := readPacket(t, s)
		left := binary.BigEndian.Uint32(body[9:])
		if string(body[2:5]) != "cmd" || string(body[13:]) != "\x03\x00\x03txt"+string(payload) || left > 1000 || left < 900 {
			t.Errorf("%q", body)
		}
	}
	cl, _ := b.srv.Clients.Get("s")
	if n := len(cl.ClearExpiredInflights(time.Now().Unix()+1100, 0)); n != 2 {
		t.Errorf("%d would be over then", n)
	}
}

// A client that is half open has its messages kept as well, and no longer when it acknowledges again.
func TestSessionOfHalfOpenClient(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "sessions.json")
	b := startBroker(t, Options{Sessions: file})
	s := raw(t, b)
	s.Write(connectPacket("s", false))
	readPacket(t, s)
	codes(t, s, "cmd")
	kept := func(n int) {
		t.Helper()
		b.noteBehind()
		b.noteBehind()
		b.sessions.write(b.snapshot)
		text, err := os.ReadFile(file)
		var saved savedSessions
		if err := errors.Join(err, json.Unmarshal(text, &saved)); err != nil || len(saved.Sessions[0].Messages) != n {
			t.Errorf("%v, want %d messages: %s", err, n, text)
		}
	}
	for n := range 2 {
		b.Publish("cmd", []byte("x"), false)
		readPacket(t, s)
		kept(n + 1)
		if b.noteBehind(); b.sessions.dirty.Load() {
			t.Error("it is written again without need")
		}
	}
	s.Write([]byte{0x40, 2, 0, 1, 0x40, 2, 0, 2, 0xc0, 0})
	readPacket(t, s)
	kept(0)
}

func TestDamagedSessions(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "{", "[]", `{"version":2}`, `{"version":1,"sessions":[{"id":7}]}`} {
		file := writeFile(t, "sessions", text)
		log := &logBuffer{}
		b := startBroker(t, Options{Sessions: file, Log: log.logger()})
		if _, err := os.Stat(file + ".bad"); err != nil || !strings.Contains(log.String(), "set aside") {
			t.Errorf("%q: %v\n%s", text, err, log)
		}
		connect(t, pahoOptions(b.tcp(), "p"))
	}
	file := writeFile(t, "sessions", `{"version":1,"sessions":[{"id":"s","protocol":4,"subscriptions":[{"filter":"a#","qos":9},{"filter":"b","qos":1}],
		"messages":[{"id":0,"topic":"b"},{"id":1,"topic":""},{"id":2,"topic":"b","payload":"eA==","qos":1}]}]}`)
	b := startBroker(t, Options{Sessions: file})
	s := connect(t, pahoOptions(b.tcp(), "s").SetCleanSession(false))
	want(t, s.next(t), "b=x")
	b.Publish("b", []byte("y"), false)
	want(t, s.next(t), "b=y")
	b.Close()
	b, err := Listen(Options{Listen: "tcp://127.0.0.1:0", Sessions: "/does/not/exist/sessions"})
	if err != nil {
		t.Fatal(err)
	}
	b.Close()
}
