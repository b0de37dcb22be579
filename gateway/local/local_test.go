package local

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// patience is how long a test waits for what must come.
const patience = 10 * time.Second

// logBuffer is a log that a test can read.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *logBuffer) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelInfo}))
}

// box collects what Intake got.
type box struct {
	mu   sync.Mutex
	list []Message
	fail error
	more chan struct{}
}

func newBox() *box { return &box{more: make(chan struct{}, 1)} }

func (b *box) intake(m Message) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fail != nil {
		return b.fail
	}
	b.list = append(b.list, m)
	select {
	case b.more <- struct{}{}:
	default:
	}
	return nil
}

func (b *box) all() []Message {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]Message(nil), b.list...)
}

// wait waits for n messages.
func (b *box) wait(t *testing.T, n int) []Message {
	t.Helper()
	eventually(t, fmt.Sprintf("%d messages at Intake", n), func() bool { return len(b.all()) >= n })
	return b.all()
}

// eventually waits for a condition, looking every few milliseconds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("waited in vain for: %s", what)
		}
	}
}

// startBroker starts a broker on a free port of this machine, and closes it with the test.
func startBroker(t *testing.T, opt Options) *Broker {
	t.Helper()
	if opt.Listen == "" {
		opt.Listen = "tcp://127.0.0.1:0"
	}
	b, err := Listen(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// peer is a paho client that remembers what it is sent.
type peer struct {
	mqtt.Client
	got  chan mqtt.Message
	lost chan error
}

func pahoOptions(url, id string) *mqtt.ClientOptions {
	return mqtt.NewClientOptions().AddBroker(url).SetClientID(id).SetProtocolVersion(4).
		SetAutoReconnect(false).SetCleanSession(true).SetOrderMatters(true)
}

// tryConnect connects a paho client.
func tryConnect(opt *mqtt.ClientOptions) (*peer, error) {
	p := &peer{got: make(chan mqtt.Message, 20000), lost: make(chan error, 1)}
	opt.SetDefaultPublishHandler(func(_ mqtt.Client, m mqtt.Message) { p.got <- m })
	opt.SetConnectionLostHandler(func(_ mqtt.Client, err error) { p.lost <- err })
	p.Client = mqtt.NewClient(opt)
	tok := p.Connect()
	if !tok.WaitTimeout(patience) {
		p.Disconnect(0)
		return nil, context.DeadlineExceeded
	}
	return p, tok.Error()
}

func connect(t *testing.T, opt *mqtt.ClientOptions) *peer {
	t.Helper()
	p, err := tryConnect(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Disconnect(0) })
	return p
}

func (b *Broker) tcp() string { return "tcp://" + b.Addr().String() }

func (p *peer) subscribe(t *testing.T, filter string, qos byte) byte {
	t.Helper()
	tok := p.Subscribe(filter, qos, nil)
	if !tok.WaitTimeout(patience) {
		t.Fatalf("no SUBACK for %s", filter)
	}
	for _, granted := range tok.(*mqtt.SubscribeToken).Result() {
		return granted
	}
	t.Fatalf("subscribe %s: %v", filter, tok.Error())
	return 0
}

func (p *peer) publish(t *testing.T, topic string, qos byte, retain bool, payload string) {
	t.Helper()
	tok := p.Publish(topic, qos, retain, payload)
	if !tok.WaitTimeout(patience) {
		t.Fatalf("no PUBACK for %s", topic)
	}
	if tok.Error() != nil {
		t.Fatal(tok.Error())
	}
}

// next is the next message a client is sent, as "topic=payload", with " r" behind it if it is a retained one.
func (p *peer) next(t *testing.T) string {
	t.Helper()
	select {
	case m := <-p.got:
		s := m.Topic() + "=" + string(m.Payload())
		if m.Retained() {
			s += " r"
		}
		return s
	case err := <-p.lost:
		t.Fatalf("connection lost: %v", err)
	case <-time.After(patience):
		t.Fatal("no message")
	}
	return ""
}

func want(t *testing.T, got, want string) {
	t.Helper()
	if got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
}

// raw is a TCP connection on which a test writes bytes itself.
func raw(t *testing.T, b *Broker) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", b.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c
}

// connectPacket is CONNECT of MQTT 3.1.1.
func connectPacket(id string, clean bool) []byte {
	flags := byte(0)
	if clean {
		flags = 2
	}
	p := append([]byte{0, 4, 'M', 'Q', 'T', 'T', 4, flags, 0, 60, byte(len(id) >> 8), byte(len(id))}, id...)
	return append([]byte{0x10, byte(len(p))}, p...)
}

// program finds a program the tests need.
func program(t *testing.T, name string) string {
	t.Helper()
	for _, dir := range []string{"", "/usr/sbin/", "/usr/local/sbin/"} {
		if path, err := exec.LookPath(dir + name); err == nil {
			return path
		}
	}
	t.Fatalf("%s is needed for the tests: apt-get install mosquitto mosquitto-clients", name)
	return ""
}

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func hashed(t *testing.T, users ...string) string {
	t.Helper()
	u, err := ParseUsers(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, user := range users {
		name, password, _ := strings.Cut(user, ":")
		if err := u.Set(name, password); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "users")
	if err := u.Save(path); err != nil {
		t.Fatal(err)
	}
	return path
}
