package bridge

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/meshgate/meshgate/bridge/brokertest"
)

// mosquitto starts the real one on a free port of this host, with lines added to its configuration, and returns the
// address and what kills it. Where CI is set it must be there.
func mosquitto(t testing.TB, lines ...string) (address string, kill func()) {
	t.Helper()
	program, err := exec.LookPath("mosquitto")
	if err != nil {
		program = "/usr/sbin/mosquitto"
	}
	if _, err := os.Stat(program); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("mosquitto is not installed: apt-get install mosquitto")
		}
		t.Skip("mosquitto is not installed; where CI is set, that is an error")
	}
	ports := freePorts(t)
	for i, line := range lines {
		lines[i] = strings.ReplaceAll(line, "SECOND", ports[1])
	}
	return startMosquitto(t, program, ports[0], lines...)
}

// freePorts returns two; the second stands for SECOND in the lines for mosquitto.
func freePorts(t testing.TB) (ports [2]string) {
	t.Helper()
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		_, ports[i], _ = net.SplitHostPort(l.Addr().String())
	}
	return ports
}

func startMosquitto(t testing.TB, program, port string, lines ...string) (string, func()) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "mosquitto.conf")
	conf := fmt.Sprintf("listener %s 127.0.0.1\nuser root\nallow_anonymous true\nlog_type all\n%s\n", port, strings.Join(lines, "\n"))
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	cmd := exec.Command(program, "-c", file)
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	kill := func() {
		once.Do(func() {
			cmd.Process.Kill()
			cmd.Wait()
			if t.Failed() {
				t.Logf("mosquitto said:\n%s", log.Bytes())
			}
		})
	}
	t.Cleanup(kill)
	address := "127.0.0.1:" + port
	for range 500 {
		if c, err := net.Dial("tcp", address); err == nil {
			c.Close()
			return address, kill
		}
		<-time.After(10 * time.Millisecond)
	}
	kill()
	t.Fatalf("mosquitto does not listen: %s", log.Bytes())
	return "", nil
}

// next returns the next message of a session.
func next(t *testing.T, s *Session) Message {
	t.Helper()
	select {
	case m, ok := <-s.Messages():
		if ok {
			return m
		}
		t.Fatal(s.Wait())
	case <-time.After(10 * time.Second):
		t.Fatal("no message within 10 s")
	}
	return Message{}
}

func TestMosquitto(t *testing.T) {
	address, _ := mosquitto(t)
	url := "mqtt://" + address
	watch := connect(t, Config{URL: url, ClientID: "watch", Subscribe: []Subscription{{"p/#", 1}}})
	cfg := Config{URL: url, ClientID: "gw", Subscribe: []Subscription{{"p/cmd/#", 1}},
		Will: Message{Topic: "p/gateway/status", Payload: []byte("lost"), QoS: 1, Retain: true}}
	s := connect(t, cfg)
	for qos := range byte(3) {
		r, err := s.Publish(t.Context(), Message{Topic: "p/x", Payload: []byte{qos}, QoS: qos})
		if err != nil {
			t.Fatal(err)
		}
		<-r.Done()
		if m := next(t, watch); r.Err() != nil || m.Topic != "p/x" || m.Payload[0] != qos || m.QoS != min(qos, 1) {
			t.Errorf("%v, %+v", r.Err(), m)
		}
	}
	<-publish(t, watch, "p/cmd/led", "on", 1).Done()
	if m := next(t, s); m.Topic != "p/cmd/led" || string(m.Payload) != "on" {
		t.Errorf("%+v", m)
	}
	next(t, watch) // its own

	// Another client with the same id takes over; the will of the first comes, and it is told what happened.
	second := connect(t, cfg)
	var lost *LostError
	if err := ended(t, s); !errors.As(err, &lost) || !lost.Takeover() {
		t.Error(err)
	}
	if m := next(t, watch); m.Topic != "p/gateway/status" || string(m.Payload) != "lost" {
		t.Errorf("%+v", m)
	}
	if err := second.Close(within(t, 5*time.Second)); err != nil {
		t.Error(err)
	}
	<-publish(t, watch, "p/after", "", 1).Done()
	if m := next(t, watch); m.Topic != "p/after" {
		t.Errorf("a will after Close: %+v", m)
	}
	watch.Close(t.Context())
}

// As a bridge, the real one sends what is retained with its flag also when it comes live, and our own not at all, except by a
// shared subscription.
func TestMosquittoAsBridge(t *testing.T) {
	address, _ := mosquitto(t)
	url := "mqtt://" + address
	for bridge, flag := range map[bool]bool{true: true, false: false} {
		s := connect(t, Config{URL: url, ClientID: "gw", AsBridge: bridge, Subscribe: []Subscription{{"p/#", 1}, {"$share/x/q/canary", 1}}})
		other := connect(t, Config{URL: url, ClientID: "other"})
		<-publish(t, s, "p/own", "1", 1).Done()
		<-publish(t, s, "q/canary", "2", 1).Done()
		var got []string
		for range map[bool]int{true: 1, false: 2}[bridge] {
			got = append(got, next(t, s).Topic)
		}
		<-publishRetained(t, other, "p/a", "3").Done()
		if m := next(t, s); m.Topic != "p/a" || m.Retain != flag || strings.Contains(strings.Join(got, " "), "p/own") == bridge {
			t.Errorf("as a bridge %v: %+v after %v", bridge, m, got)
		}
		<-publishRetained(t, other, "p/a", "").Done()
		s.Close(t.Context())
		other.Close(t.Context())
	}
}

func publishRetained(t *testing.T, s *Session, topic, payload string) Receipt {
	t.Helper()
	r, err := s.Publish(t.Context(), Message{Topic: topic, Payload: []byte(payload), QoS: 1, Retain: true})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestMosquittoLogin(t *testing.T) {
	dir := t.TempDir()
	users, password := filepath.Join(dir, "users"), filepath.Join(dir, "password")
	if err := os.WriteFile(users, []byte("gw:secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mosquitto_passwd", "-U", users).CombinedOutput(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("mosquitto_passwd: %v %s", err, out)
		}
		t.Skip("mosquitto_passwd is not installed; where CI is set, that is an error")
	}
	address, _ := mosquitto(t, "allow_anonymous false", "password_file "+users)
	cfg := Config{URL: "mqtt://" + address, ClientID: "gw", Username: "gw", PasswordFile: password}
	for secret, ok := range map[string]bool{"wrong\n": false, "secret\n": true, "secret": true, "secret\n\n": false} {
		if err := os.WriteFile(password, []byte(secret), 0o600); err != nil {
			t.Fatal(err)
		}
		if ok {
			connect(t, cfg).Close(t.Context())
		} else {
			failed(t, cfg, StepMQTT, "refused by the broker", "password")
		}
	}
}

func TestMosquittoTLS(t *testing.T) {
	ca := brokertest.NewCA(t)
	from, to := time.Now().Add(-time.Hour), time.Now().AddDate(1, 0, 0)
	server, client := ca.Issue("127.0.0.1", from, to), ca.Issue("gw", from, to)
	lines := []string{"cafile " + ca.File(), "certfile " + server.CertFile, "keyfile " + server.KeyFile, "require_certificate true",
		"listener SECOND 127.0.0.1", "protocol websockets"}
	address, _ := mosquitto(t, lines...)
	ws := strings.Fields(lines[4])[1]
	cfg := Config{URL: "mqtts://" + address, ClientID: "gw", TLS: TLS{CA: ca.File(), Cert: client.CertFile, Key: client.KeyFile}}
	s := connect(t, cfg)
	<-publish(t, s, "t", "x", 1).Done()
	if err := s.Close(within(t, 5*time.Second)); err != nil {
		t.Error(err)
	}
	cfg.TLS.Cert, cfg.TLS.Key = "", ""
	noCertificate(t, cfg)
	cfg.URL = "mqtt://" + address
	failed(t, cfg, StepMQTT, "mqtts://")
	cfg.URL = "mqtts://127.0.0.1:" + ws
	failed(t, cfg, StepTLS)

	s = connect(t, Config{URL: "ws://127.0.0.1:" + ws, ClientID: "gw", Subscribe: []Subscription{{"back", 1}}})
	<-publish(t, s, "back", "through a WebSocket", 1).Done()
	if m := next(t, s); string(m.Payload) != "through a WebSocket" {
		t.Errorf("%+v", m)
	}
	if err := s.Close(within(t, 5*time.Second)); err != nil {
		t.Error(err)
	}
}

// A retained command of 1 MB neither locks us out nor comes in.
func TestMosquittoLongMessage(t *testing.T) {
	address, _ := mosquitto(t)
	cfg := Config{URL: "mqtt://" + address, ClientID: "gw", Subscribe: []Subscription{{"cmd", 1}}}
	s := connect(t, cfg)
	r, err := s.Publish(t.Context(), Message{Topic: "cmd", Payload: make([]byte, 1<<20), QoS: 1, Retain: true})
	if err != nil {
		t.Fatal(err)
	}
	<-r.Done()
	for range 3 {
		if m := next(t, s); m.Topic != "cmd" || !m.Truncated || len(m.Payload) != 0 {
			t.Errorf("%s, %d bytes", m.Topic, len(m.Payload))
		}
		<-publish(t, s, "x", "", 1).Done()
		s.Close(t.Context())
		s = connect(t, cfg)
	}
	s.Close(t.Context())
}

// The topics that ValidTopic refuses beyond MQTT's own rules are those that Mosquitto ends the connection for.
func TestMosquittoTopics(t *testing.T) {
	address, _ := mosquitto(t)
	for topic, lives := range map[string]bool{
		"a": true, strings.Repeat("/", 200): true, strings.Repeat("/", 201): false, "a\x01b": false, "a\x7fb": false, "a\u0085b": false,
		"a\ufffeb": false, "a\U0001ffffb": false, "a\ufdd0b": false, "a\ufffdb": true, "größe": true, "a//b": true, "/": true, " ": true,
		strings.Repeat("a", 65535): true,
	} {
		s := connect(t, Config{URL: "mqtt://" + address, ClientID: "gw"})
		r, err := s.send(Message{Topic: topic, QoS: 1, Payload: []byte("x")}) // past the check
		if err != nil {
			t.Fatal(err)
		}
		<-r.Done()
		if (r.Err() == nil) != lives {
			t.Errorf("%.20q: %v", topic, r.Err())
		}
		if (ValidTopic(topic) == nil) != lives {
			t.Errorf("ValidTopic(%.20q) = %v", topic, ValidTopic(topic))
		}
		s.Close(t.Context())
	}
}

// Killed and started again while messages flow: each session ends at once and says so, and the next one works.
func TestMosquittoKilled(t *testing.T) {
	program, err := exec.LookPath("mosquitto")
	if err != nil {
		program = "/usr/sbin/mosquitto"
	}
	address, kill := mosquitto(t)
	_, port, _ := net.SplitHostPort(address)
	cfg := Config{URL: "mqtt://" + address, ClientID: "gw"}
	acked := 0
	for range 3 {
		s := connect(t, cfg)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				r, err := s.Publish(context.Background(), Message{Topic: "t", QoS: 1})
				if err != nil {
					return
				}
				if <-r.Done(); r.Err() == nil {
					acked++
				}
			}
		}()
		<-time.After(50 * time.Millisecond)
		kill()
		if err := ended(t, s); !errors.Is(err, ErrHungUp) {
			t.Error(err)
		}
		<-done
		failed(t, cfg, StepTCP, "is the broker running")
		_, kill = startMosquitto(t, program, port)
	}
	if acked == 0 {
		t.Error("nothing was acknowledged")
	}
}

// TestMosquittoBridge lets Mosquitto's own bridge carry what TestPrefixes says, with the same rule in its configuration.
func TestMosquittoBridge(t *testing.T) {
	remote, _ := mosquitto(t)
	rows := prefixes
	if testing.Short() {
		rows = rows[:4]
	}
	there := connect(t, Config{URL: "mqtt://" + remote, ClientID: "there", Subscribe: []Subscription{{"#", 1}}})
	defer there.Close(t.Context())
	for _, p := range rows {
		local, kill := mosquitto(t, "connection test", "address "+remote, "topic "+p.rule, "notifications false", "cleansession true")
		here := connect(t, Config{URL: "mqtt://" + local, ClientID: "here", Subscribe: []Subscription{{"#", 1}}})
		if got := carried(t, here, there, p.local, "out "+p.rule); got != p.remote {
			t.Errorf("%s: Mosquitto carries %s out to %q, the table says %q", p.rule, p.local, got, p.remote)
		}
		if got := carried(t, there, here, p.remote, "in "+p.rule); got != p.local {
			t.Errorf("%s: Mosquitto carries %s in to %q, the table says %q", p.rule, p.remote, got, p.local)
		}
		here.Close(t.Context())
		kill()
	}
}

// Of two rules that match, Mosquitto takes the first, as Rules does.
func TestMosquittoFirstRule(t *testing.T) {
	remote, _ := mosquitto(t)
	local, _ := mosquitto(t, "connection test", "address "+remote, `topic a/b out 1 "" first/`, `topic a/# out 1 "" second/`)
	there := connect(t, Config{URL: "mqtt://" + remote, ClientID: "there", Subscribe: []Subscription{{"#", 1}}})
	here := connect(t, Config{URL: "mqtt://" + local, ClientID: "here"})
	rs := rules(t, `a/b out 1 "" first/`, `a/# out 1 "" second/`)
	for _, topic := range []string{"a/b", "a/c", "a"} {
		want, _, _ := rs.Out(topic)
		if got := carried(t, here, there, topic, "to "+topic); got != want {
			t.Errorf("Mosquitto carries %s out to %s, we to %s", topic, got, want)
		}
	}
	here.Close(t.Context())
	there.Close(t.Context())
}

// carried publishes at one broker until a message of that payload comes out at the other, and returns its topic.
func carried(t *testing.T, from, to *Session, topic, payload string) string {
	t.Helper()
	for range 100 {
		<-publish(t, from, topic, payload, 1).Done()
		for wait := time.After(100 * time.Millisecond); wait != nil; {
			select {
			case m := <-to.Messages():
				if string(m.Payload) == payload {
					return m.Topic
				}
			case <-wait:
				wait = nil
			}
		}
	}
	return ""
}

func BenchmarkPublishMosquitto(b *testing.B) {
	address, _ := mosquitto(b, "log_type error")
	benchmark(b, "mqtt://"+address)
}

// BenchmarkPahoMosquitto is the MQTT client alone, used with as many messages in flight, to compare with.
func BenchmarkPahoMosquitto(b *testing.B) {
	address, _ := mosquitto(b, "log_type error")
	c := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("mqtt://" + address).SetClientID("paho").SetAutoReconnect(false))
	if t := c.Connect(); t.WaitTimeout(10*time.Second) && t.Error() != nil {
		b.Fatal(t.Error())
	}
	window := make(chan mqtt.Token, 100)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		if len(window) == cap(window) {
			<-(<-window).Done()
		}
		window <- c.Publish("meshgate/gw/mote/00-17-0d-00-00-38-05-e9/temperature", 1, false, benchPayload)
	}
	for len(window) > 0 {
		<-(<-window).Done()
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
	c.Disconnect(250)
}
