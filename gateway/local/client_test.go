package local

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// mosquitto starts a Mosquitto on a port that is free, and returns how to kill it and start it again.
type mosquitto struct {
	t       *testing.T
	addr    string
	config  string
	process *exec.Cmd
}

func newMosquitto(t *testing.T) *mosquitto {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	ln.Close()
	_, port, _ := net.SplitHostPort(addr)
	dir := t.TempDir()
	config := filepath.Join(dir, "mosquitto.conf")
	text := fmt.Sprintf("listener %s 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location %s/\nuser root\n", port, dir)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	m := &mosquitto{t: t, addr: addr, config: config}
	m.start()
	t.Cleanup(m.stop)
	return m
}

func (m *mosquitto) start() {
	m.t.Helper()
	m.process = exec.Command(program(m.t, "mosquitto"), "-c", m.config)
	if err := m.process.Start(); err != nil {
		m.t.Fatal(err)
	}
	eventually(m.t, "mosquitto's port", func() bool {
		c, err := net.Dial("tcp", m.addr)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

// stop ends it as systemd would, so that it keeps its sessions.
func (m *mosquitto) stop() {
	if m.process != nil {
		_ = m.process.Process.Signal(os.Interrupt)
		_ = m.process.Wait()
		m.process = nil
	}
}

func (m *mosquitto) url() string { return "tcp://" + m.addr }

func dial(t *testing.T, opt DialOptions) *Client {
	t.Helper()
	c := Dial(opt)
	t.Cleanup(func() { c.Close() })
	return c
}

func up(t *testing.T, c *Client) {
	t.Helper()
	eventually(t, "a connection", func() bool { return c.Status().Up })
}

func TestDialComesBack(t *testing.T) {
	t.Parallel()
	m := newMosquitto(t)
	in := newBox()
	var c *Client
	var mu sync.Mutex
	connects := 0
	ready := make(chan struct{})
	c = dial(t, DialOptions{URL: m.url(), ClientID: "gw", Keep: true, Subscribe: []string{"#"}, Intake: in.intake, OnConnect: func() {
		<-ready
		mu.Lock()
		connects++
		mu.Unlock()
		c.Publish("gateway/status", []byte("online"), true)
	}})
	close(ready)
	up(t, c)
	dev := connect(t, pahoOptions(m.url(), "dev"))
	dev.subscribe(t, "gateway/#", 1)
	want(t, strings.TrimSuffix(dev.next(t), " r"), "gateway/status=online")
	dev.publish(t, "a", 1, false, "1")
	in.wait(t, 1)

	m.stop()
	eventually(t, "the loss", func() bool { return !c.Status().Up })
	if err := c.Publish("x", nil, false); !errors.Is(err, ErrAway) {
		t.Fatalf("Publish while away: %v", err)
	}
	m.start()
	up(t, c)
	dev = connect(t, pahoOptions(m.url(), "dev"))
	dev.publish(t, "a", 1, false, "2")
	got := in.wait(t, 2)
	for n := 3; string(got[len(got)-1].Payload) != "2" && n < 10; n++ {
		got = in.wait(t, n) // the first came again: its acknowledgement was lost with the broker
	}
	for _, m := range got {
		if m.Topic != "a" {
			t.Fatalf("%+v: its own messages must not come back", got)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if connects != 2 || c.Stats().Reconnects != 1 {
		t.Fatalf("%d calls of OnConnect, %+v", connects, c.Stats())
	}
}

// What is published while the gateway is away comes when it is back, and what it could not store comes again.
func TestDialKeep(t *testing.T) {
	t.Parallel()
	m := newMosquitto(t)
	in := newBox()
	var once sync.Once
	opt := DialOptions{URL: m.url(), ClientID: "gw", Keep: true, Subscribe: []string{"d/#"}, Intake: func(m Message) (err error) {
		if string(m.Payload) == "10" {
			once.Do(func() { err = errors.New("disk full") })
		}
		if err == nil {
			err = in.intake(m)
		}
		return err
	}}
	c := dial(t, opt)
	up(t, c)
	c.Close()
	dev := connect(t, pahoOptions(m.url(), "dev"))
	for i := range 50 {
		dev.publish(t, "d/x", 1, false, fmt.Sprint(i))
	}
	c = dial(t, opt)
	eventually(t, "a failure", func() bool { return c.Stats().NotStored > 0 })
	got := in.wait(t, 50)
	last := -1
	for _, m := range got {
		n := 0
		fmt.Sscan(string(m.Payload), &n)
		if n > last+1 {
			t.Fatalf("%d after %d", n, last)
		}
		last = max(last, n)
	}
	if last != 49 {
		t.Fatalf("last is %d", last)
	}
}

// What can never be stored is taken from the broker all the same, and what follows it comes.
func TestDialNever(t *testing.T) {
	t.Parallel()
	m := newMosquitto(t)
	in := newBox()
	c := dial(t, DialOptions{URL: m.url(), ClientID: "gw", Keep: true, Subscribe: []string{"d/#"}, Intake: func(m Message) error {
		if string(m.Payload) == "huge" {
			return fmt.Errorf("%w: too large", ErrNever)
		}
		return in.intake(m)
	}})
	up(t, c)
	dev := connect(t, pahoOptions(m.url(), "dev"))
	for i := range 100 { // more than Mosquitto has in flight
		dev.publish(t, "d/x", 1, false, "huge")
		dev.publish(t, "d/y", 1, false, fmt.Sprint(i))
	}
	in.wait(t, 100)
	if s := c.Stats(); s.NotStored != 100 || s.Reconnects != 0 {
		t.Errorf("%+v", s)
	}
}

func TestDialRefused(t *testing.T) {
	t.Parallel()
	b := startBroker(t, Options{Users: hashed(t, "gw:secret"), ACL: writeFile(t, "acl", "user gw\ntopic write #\ntopic read ok/#\n")})
	log := &logBuffer{}
	opt := DialOptions{URL: b.tcp(), ClientID: "gw", Username: "gw", PasswordFile: writeFile(t, "pw", "wrong\n"), Log: log.logger(),
		Subscribe: []string{"ok/x", "secret/x"}}
	c := dial(t, opt)
	eventually(t, "two attempts", func() bool { return b.Stats().Refused >= 3 })
	if s := c.Status(); s.Up || !strings.Contains(s.Error, "not authorised") {
		t.Fatalf("%+v", s)
	}
	if n := strings.Count(log.String(), "no connection"); n != 1 {
		t.Fatalf("%d lines:\n%s", n, log)
	}
	c.Close()
	opt.PasswordFile = writeFile(t, "pw", "secret\n")
	c = dial(t, opt)
	up(t, c)
	if s := c.Status(); s.Error != "the broker refuses secret/x" {
		t.Fatalf("%+v", s)
	}
	opt.PasswordFile = "/does/not/exist"
	c = dial(t, opt)
	eventually(t, "the error", func() bool { return strings.HasPrefix(c.Status().Error, "password: open /does/not/exist") })
}

// A bridge is told the retain flag of what comes in live, and not its own; a broker that takes none is a broker all the
// same.
func TestDialAsBridge(t *testing.T) {
	t.Parallel()
	m, b := newMosquitto(t), startBroker(t, Options{})
	for url, flag := range map[string]bool{m.url(): true, b.tcp(): false} {
		in := newBox()
		c := dial(t, DialOptions{URL: url, ClientID: "gw", Keep: true, Subscribe: []string{"#"}, Intake: in.intake})
		up(t, c)
		dev := connect(t, pahoOptions(url, "dev"))
		dev.subscribe(t, "mine", 1)
		c.Publish("mine", []byte("1"), true)
		want(t, dev.next(t), "mine=1")
		dev.publish(t, "a", 1, true, "1")
		if got := in.wait(t, 1); got[0].Topic != "a" || got[0].Retain != flag || len(got) > 1 {
			t.Errorf("%s: %+v", url, got)
		}
	}
}

func TestEchoes(t *testing.T) {
	e := &echoes{filters: []string{"a/#"}}
	e.said(Message{Topic: "a/x", Payload: []byte("1")})
	e.said(Message{Topic: "a/x", Payload: []byte("1")})
	e.said(Message{Topic: "b", Payload: []byte("1")})
	e.said(Message{Topic: "a/r", Payload: []byte("2"), Retain: true})
	for i, step := range []struct {
		topic, payload string
		retained, own  bool
	}{
		{"a/x", "1", false, true},
		{"a/x", "2", false, false},
		{"a/x", "1", false, true},
		{"a/x", "1", false, false}, // somebody else's
		{"b", "1", false, false},   // not subscribed to: cannot come back
		{"a/r", "2", true, true},
		{"a/r", "2", true, true},
		{"a/r", "2", false, true},
		{"a/r", "3", true, false},
	} {
		if own := e.heard(step.topic, []byte(step.payload), step.retained); own != step.own {
			t.Errorf("step %d: %+v: own %v", i, step, own)
		}
	}
	for i := range 3 * maxEchoes {
		e.said(Message{Topic: fmt.Sprint("a/", i)})
	}
	if len(e.open) > maxEchoes {
		t.Errorf("%d remembered", len(e.open))
	}
}
