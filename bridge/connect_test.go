package bridge

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/meshgate/meshgate/bridge/brokertest"
)

// failed connects, which must fail at the step, with the words in the error.
func failed(t *testing.T, cfg Config, step Step, words ...string) *ConnectError {
	t.Helper()
	s, err := Connect(t.Context(), cfg, nil)
	if err == nil {
		s.Close(t.Context())
		t.Fatalf("connected, want an error at %s", step)
	}
	var e *ConnectError
	if !errors.As(err, &e) {
		t.Fatalf("error %v is no ConnectError", err)
	}
	if e.Step != step {
		t.Errorf("failed at %s, want %s: %v", e.Step, step, err)
	}
	if n := strings.Count(err.Error(), "bridge:"); n != 1 {
		t.Errorf("error %q names the package %d times", err, n)
	}
	contains(t, err, words...)
	return e
}

func TestConnectConfig(t *testing.T) {
	good := func() Config { return Config{URL: "mqtt://127.0.0.1:1", ClientID: "gw"} }
	for word, spoil := range map[string]func(*Config){
		"no client id":        func(c *Config) { c.ClientID = "" },
		"username":            func(c *Config) { c.PasswordFile = "x" },
		"keepalive":           func(c *Config) { c.Keepalive = 20 * time.Hour },
		"mqtt://, mqtts://":   func(c *Config) { c.URL = "broker" },
		"is written mqtts://": func(c *Config) { c.URL = "ssl://broker" },
		"will: topic":         func(c *Config) { c.Will.Topic = "a/#" },
		"will: qos 3":         func(c *Config) { c.Will = Message{Topic: "a", QoS: 3} },
		"65535 bytes":         func(c *Config) { c.Will = Message{Topic: "a", Payload: make([]byte, 65536)} },
		"subscribe: filter":   func(c *Config) { c.Subscribe = []Subscription{{"a#", 0}} },
		`qos 3 of "a"`:        func(c *Config) { c.Subscribe = []Subscription{{"a", 3}} },
		"goes to username":    func(c *Config) { c.URL = "mqtt://user:secret@host" },
		"65536":               func(c *Config) { c.URL = "mqtt://host:65536" },
	} {
		cfg := good()
		spoil(&cfg)
		e := failed(t, cfg, StepConfig, word)
		if strings.Contains(e.Error(), "secret") {
			t.Error("error tells the password")
		}
	}
	cfg := good()
	cfg.Username, cfg.PasswordFile = "u", filepath.Join(t.TempDir(), "none")
	failed(t, cfg, StepPassword, "none", "no such file")
	cfg.PasswordFile = filepath.Join(t.TempDir(), "long")
	if err := os.WriteFile(cfg.PasswordFile, make([]byte, 70000), 0o600); err != nil {
		t.Fatal(err)
	}
	failed(t, cfg, StepPassword, "70000 bytes")
}

func TestConnectCertificateFiles(t *testing.T) {
	ca := brokertest.NewCA(t)
	gw := ca.Issue("gw", time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	other := ca.Issue("other", time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	bad := filepath.Join(t.TempDir(), "bad.pem")
	if err := os.WriteFile(bad, []byte("-----BEGIN CERTIFICATE-----\nnonsense\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for word, files := range map[string]TLS{
		"no such file":             {CA: bad + "x"},
		"no certificate in it":     {CA: bad},
		"one is missing":           {CA: ca.File(), Cert: gw.CertFile},
		"tls.cert " + bad:          {CA: ca.File(), Cert: bad, Key: gw.KeyFile},
		"does not match":           {CA: ca.File(), Cert: gw.CertFile, Key: other.KeyFile},
		"tls.key " + bad + ": tls": {CA: ca.File(), Cert: gw.CertFile, Key: bad},
	} {
		failed(t, Config{URL: "mqtts://127.0.0.1:1", ClientID: "gw", TLS: files}, StepCertificate, word)
	}
}

func TestConnectNetwork(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	failed(t, Config{URL: "mqtt://" + address, ClientID: "gw"}, StepTCP, "refused", "is the broker running", address)

	dialer := func(err error) func(context.Context, string, string) (net.Conn, error) {
		return func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: err}
		}
	}
	cfg := Config{URL: "mqtt://broker.example", ClientID: "gw"}
	cfg.Dial = dialer(&net.DNSError{Err: "no such host", Name: "broker.example", IsNotFound: true})
	failed(t, cfg, StepDNS, `no host "broker.example"`)
	cfg.Dial = dialer(&net.DNSError{Err: "server misbehaving", Name: "broker.example", IsTemporary: true})
	failed(t, cfg, StepDNS, "cannot look up", "network")
	cfg.Dial = dialer(syscall.ENETUNREACH)
	failed(t, cfg, StepTCP, "unreachable", "is the network up")

	synctest.Test(t, func(t *testing.T) {
		cfg.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }
		start := time.Now()
		failed(t, cfg, StepTCP, "broker.example:1883", "took too long")
		if d := time.Since(start); d != connectTimeout {
			t.Errorf("gave up after %v", d)
		}
	})
}

func TestConnectRefused(t *testing.T) {
	for code, words := range map[byte]string{1: "3.1.1", 2: "client id", 3: "not available", 4: "wrong user name or password", 5: "not authorised", 9: "code 9", 254: "code 254", 255: "code 255"} {
		bubble(t, func(t *testing.T, b *brokertest.Broker, cfg Config) {
			b.Set(func(h *brokertest.Behaviour) { h.Refuse = code })
			e := failed(t, cfg, StepMQTT, words)
			var r Refusal
			if !errors.As(e, &r) || byte(r) != code {
				t.Errorf("no refusal %d in %v", code, e)
			}
			if n := len(b.Connects()); n != 1 {
				t.Errorf("%d attempts to log in for one Connect: each may count against a limit", n)
			}
		})
	}
}

func TestConnectMute(t *testing.T) {
	bubble(t, func(t *testing.T, b *brokertest.Broker, cfg Config) {
		b.Set(func(h *brokertest.Behaviour) { h.Mute = true })
		start := time.Now()
		failed(t, cfg, StepMQTT, "took too long", "is it a broker")
		if d := time.Since(start); d != connectTimeout {
			t.Errorf("gave up after %v", d)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(errors.New("shutting down")) })
		start = time.Now()
		_, err := Connect(ctx, cfg, nil)
		contains(t, err, "shutting down")
		if d := time.Since(start); d != time.Second {
			t.Errorf("ended %v after the context", d-time.Second)
		}
	})
	bubble(t, func(t *testing.T, b *brokertest.Broker, cfg Config) {
		b.Stall(true) // half-open: connected, and takes not a byte
		failed(t, cfg, StepMQTT, "takes no more data")
	})
	bubble(t, func(t *testing.T, b *brokertest.Broker, cfg Config) {
		b.Set(func(h *brokertest.Behaviour) {
			h.Cut = func(_ string, p brokertest.Packet) bool { return p.Type == brokertest.CONNECT }
		})
		failed(t, cfg, StepMQTT, "closed the connection", "mqtts://")
	})
	bubble(t, func(t *testing.T, b *brokertest.Broker, cfg Config) {
		cfg.Subscribe = []Subscription{{"a", 1}, {"b", 1}}
		b.Set(func(h *brokertest.Behaviour) {
			h.Cut = func(_ string, p brokertest.Packet) bool { return p.Type == brokertest.SUBSCRIBE && p.Nth == 2 }
		})
		failed(t, cfg, StepMQTT, "closed the connection")
	})
}

// answer is a server that sends what it is told, whatever it gets.
func answer(raw string) func(context.Context, string, string) (net.Conn, error) {
	return func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		go func() {
			defer far.Close()
			far.Read(make([]byte, 1024))
			far.Write([]byte(raw))
		}()
		return near, nil
	}
}

func TestConnectNoBroker(t *testing.T) {
	for raw, words := range map[string]string{
		"SSH-2.0-OpenSSH_9.2\r\n":          "does not speak MQTT",
		"HTTP/1.1 400 Bad Request\r\n\r\n": "does not speak MQTT",
		"\x20\x03\x00\x00\x00":             "CONNACK with 3 bytes",
		"\x20\xff\xff\xff\xff\x01":         "more than four bytes",
		"\x20\x02\x00":                     "closed the connection",
		"\x90\x03\x00\x01\x00":             "where CONNACK is due",
	} {
		synctest.Test(t, func(t *testing.T) {
			failed(t, Config{URL: "mqtt://x", ClientID: "gw", Dial: answer(raw)}, StepMQTT, words)
		})
	}
}

func TestSubscriptionRefused(t *testing.T) {
	bubble(t, func(t *testing.T, b *brokertest.Broker, cfg Config) {
		b.Set(func(h *brokertest.Behaviour) {
			h.RefuseSub = func(f string) bool { return f == "secret/#" || f == "x" }
		})
		cfg.Subscribe = []Subscription{{"secret/#", 1}, {"lamp/+/set", 1}, {"x", 0}}
		s := connect(t, cfg)
		if got := strings.Join(s.Refused(), " "); got != "secret/# x" {
			t.Errorf("refused: %s", got)
		}
		b.Send("lamp/1/set", []byte("on"), 1, false)
		if m := <-s.Messages(); m.Topic != "lamp/1/set" || string(m.Payload) != "on" || m.QoS != 1 || m.Retain {
			t.Errorf("got %+v", m)
		}
		s.Close(t.Context())
	})
}

// withTLS gives f a config for broker.example, which is a port of this host that presents a certificate for that name. A pipe
// will not do: where both ends want to write an alert, it blocks.
func withTLS(t *testing.T, clients bool, f func(t *testing.T, ca *brokertest.CA, cfg Config)) {
	t.Helper()
	b := brokertest.New()
	defer b.Close()
	ca := brokertest.NewCA(t)
	address, err := b.Listen(ca.Server("broker.example", clients))
	if err != nil {
		t.Fatal(err)
	}
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) { return dialTCP(ctx, network, address) }
	f(t, ca, Config{URL: "mqtts://broker.example", ClientID: "gw", Dial: dial, TLS: TLS{CA: ca.File()}})
}

func TestTLS(t *testing.T) {
	withTLS(t, false, func(t *testing.T, ca *brokertest.CA, cfg Config) {
		s := connect(t, cfg)
		<-publish(t, s, "t", "x", 1).Done()
		if certs := s.Certificates(); len(certs) != 1 || certs[0].Subject.CommonName != "broker.example" {
			t.Errorf("certificates %v", certs)
		}
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
		cfg.URL = "mqtts://10.0.0.1"
		failed(t, cfg, StepTLS, "10.0.0.1", "tls.server_name")
		cfg.TLS.ServerName = "broker.example"
		connect(t, cfg).Close(t.Context())

		cfg.TLS.CA = brokertest.NewCA(t).File()
		failed(t, cfg, StepTLS, "unknown authority", "tls.ca")
		cfg.TLS.CA = ""
		failed(t, cfg, StepTLS, "unknown authority", "tls.ca")
	})
}

// A clock that lost its time is named as what it is, and a floor under it lets the gateway in.
func TestTLSClock(t *testing.T) {
	withTLS(t, false, func(t *testing.T, ca *brokertest.CA, cfg Config) {
		epoch := time.Unix(0, 0)
		floor := time.Now()
		cfg.Time = func() time.Time { return epoch }
		failed(t, cfg, StepTLS, "not valid before", "1970-01-01", "is the clock right?")
		cfg.Time = func() time.Time { return floor }
		connect(t, cfg).Close(t.Context())
		cfg.Time = func() time.Time { return floor.AddDate(20, 0, 0) }
		failed(t, cfg, StepTLS, "valid until", "needs a new certificate")
	})
}

// noCertificate connects to a broker that wants another certificate. Its alert may get lost when it resets the connection.
func noCertificate(t *testing.T, cfg Config) {
	t.Helper()
	_, err := Connect(t.Context(), cfg, nil)
	contains(t, err, "does it want a certificate of ours, tls.cert and tls.key, or another one?")
	var e *ConnectError
	if errors.As(err, &e) && e.Step != StepTLS && e.Step != StepMQTT {
		t.Errorf("failed at %s: %v", e.Step, err)
	}
}

func TestTLSClientCertificate(t *testing.T) {
	withTLS(t, true, func(t *testing.T, ca *brokertest.CA, cfg Config) {
		noCertificate(t, cfg)
		p := ca.Issue("gw", time.Now().Add(-time.Hour), time.Now().AddDate(1, 0, 0))
		cfg.TLS.Cert, cfg.TLS.Key = p.CertFile, p.KeyFile
		s := connect(t, cfg)
		if certs := s.Certificates(); len(certs) != 2 || certs[1].Subject.CommonName != "gw" {
			t.Errorf("certificates %v", certs)
		}
		s.Close(t.Context())
		p = brokertest.NewCA(t).Issue("gw", time.Now().Add(-time.Hour), time.Now().AddDate(1, 0, 0))
		cfg.TLS.Cert, cfg.TLS.Key = p.CertFile, p.KeyFile // replaced on disk: taken up at once
		noCertificate(t, cfg)
	})
}

func TestTLSVersionAndPlain(t *testing.T) {
	ca := brokertest.NewCA(t)
	b := brokertest.New()
	defer b.Close()
	old := ca.Server("127.0.0.1", false)
	old.MaxVersion = tls.VersionTLS11
	address, err := b.Listen(old)
	if err != nil {
		t.Fatal(err)
	}
	failed(t, Config{URL: "mqtts://" + address, ClientID: "gw", TLS: TLS{CA: ca.File()}}, StepTLS, "version")
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	go func() {
		if c, err := plain.Accept(); err == nil {
			c.Write([]byte("\x20\x02\x00\x00 and so on"))
			io.Copy(io.Discard, c)
			c.Close()
		}
	}()
	failed(t, Config{URL: "mqtts://" + plain.Addr().String(), ClientID: "gw"}, StepTLS, "no TLS on this port")
	bubble(t, func(t *testing.T, b *brokertest.Broker, cfg Config) {
		cfg.URL = "mqtts://x"
		b.Stall(true)
		failed(t, cfg, StepTLS, "took too long")
	})
}

// wsServer passes WebSockets at /mqtt on to b.
func wsServer(b *brokertest.Broker) http.Handler {
	up := websocket.Upgrader{Subprotocols: []string{"mqtt"}}
	mux := http.NewServeMux()
	mux.HandleFunc("/mqtt", func(w http.ResponseWriter, r *http.Request) {
		if c, err := up.Upgrade(w, r, nil); err == nil {
			b.Serve(&socket{Conn: c})
		}
	})
	return mux
}

func TestWebSocket(t *testing.T) {
	b := brokertest.New()
	defer b.Close()
	srv := httptest.NewServer(wsServer(b))
	defer srv.Close()
	u := "ws" + strings.TrimPrefix(srv.URL, "http")
	cfg := Config{URL: u, ClientID: "gw", Subscribe: []Subscription{{"back", 1}}}
	s := connect(t, cfg)
	big := bytes.Repeat([]byte("x"), 100_000) // more than a frame, less than MaxPacket
	r, err := s.Publish(t.Context(), Message{Topic: "back", Payload: big, QoS: 1})
	if err != nil {
		t.Fatal(err)
	}
	<-r.Done()
	if m := <-s.Messages(); r.Err() != nil || !bytes.Equal(m.Payload, big) {
		t.Errorf("%v, %d bytes", r.Err(), len(m.Payload))
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
	failed(t, Config{URL: u + "/elsewhere", ClientID: "gw"}, StepWebSocket, "404", "/mqtt")
	address, err := b.Listen(nil)
	if err != nil {
		t.Fatal(err)
	}
	failed(t, Config{URL: "ws://" + address, ClientID: "gw"}, StepWebSocket, "WebSocket port")
}

func TestWebSocketTLS(t *testing.T) {
	b := brokertest.New()
	defer b.Close()
	ca := brokertest.NewCA(t)
	srv := httptest.NewUnstartedServer(wsServer(b))
	srv.TLS = ca.Server("127.0.0.1", false)
	srv.StartTLS()
	defer srv.Close()
	s := connect(t, Config{URL: "wss" + strings.TrimPrefix(srv.URL, "https"), ClientID: "gw", TLS: TLS{CA: ca.File()}})
	<-publish(t, s, "t", "x", 1).Done()
	b.Cut("gw")
	if err := s.Wait(); !errors.Is(err, ErrHungUp) {
		t.Error(err)
	}
}
