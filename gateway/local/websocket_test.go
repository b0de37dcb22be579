package local

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
)

func TestWebSocket(t *testing.T) {
	t.Parallel()
	in := newBox()
	b := startBroker(t, Options{Listen: "ws://127.0.0.1:0", Intake: in.intake})
	web := httptest.NewServer(b.Handler()) // as the gateway's HTTP server has it, too
	defer web.Close()
	for _, url := range []string{"ws://" + b.Addr().String() + "/mqtt", strings.Replace(web.URL, "http", "ws", 1)} {
		p := connect(t, pahoOptions(url, "page"))
		p.subscribe(t, "#", 1)
		big := strings.Repeat("x", 100_000)
		p.publish(t, "a", 1, false, big)
		want(t, p.next(t), "a="+big)
		p.Disconnect(50)
	}
	if got := in.wait(t, 2); got[0].Client != "page" {
		t.Errorf("%+v", got[0].Client)
	}
}

func TestWebSocketOrigin(t *testing.T) {
	t.Parallel()
	b := startBroker(t, Options{Listen: "ws://127.0.0.1:0"})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for origin, status := range map[string]int{
		"":                            http.StatusSwitchingProtocols,
		"http://127.0.0.1:8080":       http.StatusSwitchingProtocols, // another port of ours
		"https://evil.example":        http.StatusForbidden,
		"null":                        http.StatusForbidden,
		"http://127.0.0.1.evil.test/": http.StatusForbidden,
	} {
		header := http.Header{}
		if origin != "" {
			header.Set("Origin", origin)
		}
		c, answer, err := websocket.Dial(ctx, "ws://"+b.Addr().String(), &websocket.DialOptions{HTTPHeader: header, Subprotocols: []string{"mqtt"}})
		if answer == nil || answer.StatusCode != status {
			t.Errorf("%q: %v %v", origin, answer, err)
		}
		if c != nil {
			c.CloseNow()
		}
	}
}

// A page whose host's name was made to point here is of another host all the same, unless everybody needs a password.
func TestWebSocketRebound(t *testing.T) {
	t.Parallel()
	for _, opt := range []Options{{}, {Users: hashed(t, "anna:a")}} {
		opt.Listen = "ws://127.0.0.1:0"
		b := startBroker(t, opt)
		for host, taken := range map[string]bool{"localhost": true, "[::1]": true, "evil.example": opt.Users != "", "10.0.0.1": opt.Users != ""} {
			r := httptest.NewRequest("GET", "http://"+host+":1883/", nil)
			r.Header.Set("Origin", "http://"+host)
			w := httptest.NewRecorder()
			if b.Handler().ServeHTTP(w, r); (w.Code != http.StatusForbidden) != taken {
				t.Errorf("%s: %d", host, w.Code)
			}
		}
	}
}

// Pages that go away without a word leave nothing behind, and Close does not wait for them.
func TestVanishingPages(t *testing.T) {
	b := startBroker(t, Options{Listen: "ws://127.0.0.1:0"})
	before := runtime.NumGoroutine()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for i := range 40 {
		c, _, err := websocket.Dial(ctx, "ws://"+b.Addr().String(), &websocket.DialOptions{Subprotocols: []string{"mqtt"}})
		if err != nil {
			t.Fatal(err)
		}
		switch i % 3 {
		case 0:
			_ = c.Write(ctx, websocket.MessageText, []byte("hello"))
		case 1:
			_ = c.Write(ctx, websocket.MessageBinary, connectPacket("p", true))
			_, _, _ = c.Read(ctx)
		}
		c.CloseNow()
	}
	eventually(t, "no goroutine more than before", func() bool { return runtime.NumGoroutine() <= before })
	c, _, err := websocket.Dial(ctx, "ws://"+b.Addr().String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	start := time.Now()
	b.Close()
	if d := time.Since(start); d > 2*time.Second {
		t.Errorf("Close took %v", d)
	}
}

// certificate makes one for 127.0.0.1 that is its own authority.
func certificate(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Unix(0, 0),
		NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, &tls.Config{RootCAs: pool}
}

// Who is in a handshake, or in front of HTTP, takes a place too: there are no more of them than of clients.
func TestCrowd(t *testing.T) {
	t.Parallel()
	server, client := certificate(t)
	for _, scheme := range []string{"tcp", "tls", "ws", "wss"} {
		log := &logBuffer{}
		b := startBroker(t, Options{Listen: scheme + "://127.0.0.1:0", TLS: server, Log: log.logger(), MaxClients: 1})
		var all []net.Conn
		var closed atomic.Int64
		for range 70 {
			c := raw(t, b)
			all = append(all, c)
			go func() {
				if _, err := c.Read(make([]byte, 1)); err != nil {
					closed.Add(1)
				}
			}()
		}
		eventually(t, "those beyond 65 are turned away", func() bool { return closed.Load() >= 5 })
		if n := closed.Load(); n != 5 {
			t.Errorf("%s: %d are turned away", scheme, n)
		}
		if n := strings.Count(log.String(), "too many connections"); n != 1 {
			t.Errorf("%s: told %d times:\n%s", scheme, n, log)
		}
		for _, c := range all {
			c.Close()
		}
		eventually(t, "room", func() bool {
			p, err := tryConnect(pahoOptions(scheme+"://"+b.Addr().String(), "p").SetTLSConfig(client))
			if err == nil {
				p.Disconnect(0)
			}
			return err == nil
		})
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	server, client := certificate(t)
	in := newBox()
	for _, scheme := range []string{"tls", "wss"} {
		log := &logBuffer{}
		b := startBroker(t, Options{Listen: scheme + "://127.0.0.1:0", TLS: server, Log: log.logger()})
		url := scheme + "://" + b.Addr().String()
		p := connect(t, pahoOptions(url, "p").SetTLSConfig(client))
		p.subscribe(t, "a", 1)
		p.publish(t, "a", 1, false, "x")
		want(t, p.next(t), "a=x")
		if _, err := tryConnect(pahoOptions("tcp://"+b.Addr().String(), "plain")); err == nil {
			t.Error("without TLS")
		}
		if scheme != "tls" {
			continue
		}
		if !strings.Contains(log.String(), "TLS handshake failed") {
			t.Errorf("%s", log)
		}
		c := dial(t, DialOptions{URL: url, ClientID: "gw", TLS: func() (*tls.Config, error) { return client, nil }, Subscribe: []string{"#"}, Intake: in.intake})
		up(t, c)
		p.publish(t, "b", 1, false, "x")
		in.wait(t, 1)
		c = dial(t, DialOptions{URL: url, ClientID: "gw2"})
		eventually(t, "the error", func() bool { return strings.Contains(c.Status().Error, "TLS: tls: failed to verify certificate") })
	}
}
