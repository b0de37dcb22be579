package local

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/meshgate/meshgate/bridge"
)

// inFlight is how many messages wait for their PUBACK at most; Mosquitto's own figure.
const inFlight = 20

// asBridge is MQTT 3.1.1 with the bit by which a bridge tells what it is, which Mosquitto and others understand: they
// send messages with the retain flag they were published with, and the bridge's own not at all. A broker that refuses it
// is asked again without.
const (
	asClient = 4
	asBridge = 0x80 | asClient
)

// session is one connection, from CONNECT to its first error.
func (c *Client) session(ctx context.Context) error {
	lost := make(chan error, 4)
	fail := func(err error) {
		select {
		case lost <- err:
		default:
		}
	}
	wire := &boundConn{fail: fail}
	wire.in = bridge.NewInbound(unbound{wire})
	opt, err := c.pahoOptions(wire)
	if err != nil {
		return err
	}
	in := newIntake(c, wire.in, fail)
	opt.SetDefaultPublishHandler(func(_ mqtt.Client, m mqtt.Message) { in.take(m) })
	opt.SetConnectionLostHandler(func(_ mqtt.Client, err error) { fail(err) })
	client := mqtt.NewClient(opt)
	defer hangUp(client, in)
	c.echo.refresh()
	if err := c.connect(ctx, client, lost); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	refused, err := c.subscribe(ctx, client, lost)
	if err != nil {
		return err
	}
	c.stand(refused)
	if c.opt.OnConnect != nil {
		c.opt.OnConnect()
	}
	return c.pump(ctx, client, lost)
}

// connect waits for the CONNACK. After a refusal that may be of asBridge, the next attempt is made the other way.
func (c *Client) connect(ctx context.Context, client mqtt.Client, lost <-chan error) error {
	err := await(ctx, client.Connect(), lost)
	var code bridge.Refusal
	refused := errors.As(err, &code)
	if refused {
		err = code
	}
	version := refused && (code == bridge.RefusedProtocol || code > bridge.RefusedAccess)
	if version || errors.Is(err, io.EOF) {
		if was := c.plain.Swap(!c.plain.Load()); !was && version {
			return errNoBridges
		}
	}
	return err
}

// errNoBridges: the broker takes no bridges; the next attempt, at once, is made as a client.
var errNoBridges = errors.New("the broker takes no bridges")

// hangUp lets what was taken be acknowledged, as far as two seconds go, and disconnects.
func hangUp(client mqtt.Client, in *intake) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		in.end()
	}()
	patience := time.NewTimer(2 * time.Second)
	defer patience.Stop()
	select {
	case <-ended:
	case <-patience.C:
	}
	client.Disconnect(250)
	<-ended
}

func (c *Client) pahoOptions(wire *boundConn) (*mqtt.ClientOptions, error) {
	u, err := url.Parse(c.opt.URL)
	if err != nil || u.Hostname() == "" {
		return nil, fmt.Errorf("%q is not SCHEME://HOST:PORT", c.opt.URL)
	}
	secure, port := false, "1883"
	switch u.Scheme {
	case "tcp", "mqtt":
	case "tls", "mqtts", "ssl":
		secure, port = true, "8883"
	default:
		return nil, fmt.Errorf("%q is none of tcp, tls", u.Scheme)
	}
	if u.Port() != "" {
		port = u.Port()
	}
	address := net.JoinHostPort(u.Hostname(), port)
	version := uint(asBridge)
	if c.plain.Load() {
		version = asClient
	}
	opt := mqtt.NewClientOptions().AddBroker("tcp://" + address).
		SetClientID(c.opt.ClientID).SetProtocolVersion(version).SetCleanSession(!c.opt.Keep).
		SetAutoReconnect(false).SetConnectRetry(false).SetOrderMatters(true).SetAutoAckDisabled(true).
		SetKeepAlive(15 * time.Second).SetPingTimeout(10 * time.Second).
		SetConnectTimeout(10 * time.Second).SetWriteTimeout(writeTimeout).
		SetCustomOpenConnectionFn(func(*url.URL, mqtt.ClientOptions) (net.Conn, error) {
			inner, err := c.open(address, u.Hostname(), secure)
			if err != nil {
				return nil, err
			}
			wire.Conn = inner
			return wire, nil
		})
	if c.opt.Username != "" {
		password, err := c.password()
		if err != nil {
			return nil, err
		}
		opt.SetUsername(c.opt.Username).SetPassword(password)
	}
	if w := c.opt.Will; w != nil {
		opt.SetBinaryWill(w.Topic, w.Payload, w.QoS, w.Retain)
	}
	return opt, nil
}

func (c *Client) password() (string, error) {
	if c.opt.PasswordFile == "" {
		return "", nil
	}
	data, err := os.ReadFile(c.opt.PasswordFile)
	if err != nil {
		return "", fmt.Errorf("password: %w", err)
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r"), nil
}

// open dials.
func (c *Client) open(address, host string, secure bool) (net.Conn, error) {
	dialer := net.Dialer{Timeout: 10 * time.Second}
	inner, err := dialer.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	if secure {
		config, err := c.tls(host)
		if err != nil {
			inner.Close()
			return nil, err
		}
		t := tls.Client(inner, config)
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := t.HandshakeContext(ctx); err != nil {
			inner.Close()
			return nil, fmt.Errorf("TLS: %w", err)
		}
		inner = t
	}
	return inner, nil
}

func (c *Client) tls(host string) (*tls.Config, error) {
	config := &tls.Config{}
	if c.opt.TLS != nil {
		given, err := c.opt.TLS()
		if err != nil {
			return nil, err
		}
		if given != nil {
			config = given.Clone()
		}
	}
	if config.ServerName == "" {
		config.ServerName = host
	}
	return config, nil
}

// boundConn hands paho only what it can bear, bounds each write, for which paho has a limit with PUBLISH only, and tells at
// once when the connection is broken; paho tells when all its work is done.
type boundConn struct {
	net.Conn
	in   *bridge.Inbound
	fail func(error)
}

// unbound reads the connection as it is.
type unbound struct{ c *boundConn }

func (u unbound) Read(p []byte) (int, error) { return u.c.Conn.Read(p) }

func (c *boundConn) Read(p []byte) (int, error) {
	n, err := c.in.Read(p)
	if err != nil {
		c.fail(err)
	}
	return n, err
}

func (c *boundConn) Write(p []byte) (int, error) {
	_ = c.Conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	n, err := c.Conn.Write(p)
	if err != nil {
		c.fail(err)
	}
	return n, err
}

// await waits for a token. Its own error is better than the one of the connection, which may come first, unless that says
// what the broker does wrong.
func await(ctx context.Context, tok mqtt.Token, lost <-chan error) error {
	limit := time.NewTimer(15 * time.Second)
	defer limit.Stop()
	select {
	case <-tok.Done():
		if tok.Error() != nil && len(lost) > 0 { // that came first
			if err := <-lost; errors.Is(err, bridge.ErrProtocol) {
				return err
			}
		}
		return tok.Error()
	case err := <-lost:
		if !errors.Is(err, bridge.ErrProtocol) && tok.WaitTimeout(100*time.Millisecond) && tok.Error() != nil {
			return tok.Error()
		}
		return err
	case <-limit.C:
		return errors.New("no answer")
	case <-ctx.Done():
		return ctx.Err()
	}
}

// subscribe asks for all filters and returns what the broker refused.
func (c *Client) subscribe(ctx context.Context, client mqtt.Client, lost <-chan error) (refused string, err error) {
	asked := make([]mqtt.Token, len(c.echo.filters)) // one SUBSCRIBE each, as Inbound expects
	for i, f := range c.echo.filters {
		asked[i] = client.Subscribe(f, 1, nil)
	}
	var no []string
	for i, tok := range asked {
		if err := await(ctx, tok, lost); err != nil {
			return "", fmt.Errorf("subscribe: %w", err)
		}
		filter := c.echo.filters[i]
		if tok.(*mqtt.SubscribeToken).Result()[filter] == 0x80 && slices.Contains(c.opt.Subscribe, filter) {
			no = append(no, filter)
		}
	}
	if len(no) == 0 {
		return "", nil
	}
	slices.Sort(no)
	return "the broker refuses " + strings.Join(no, ", "), nil
}

// pump publishes what the gateway says until the connection is lost or ctx ends; then it gives what waits a second.
func (c *Client) pump(ctx context.Context, client mqtt.Client, lost <-chan error) error {
	var sent []mqtt.Token
	done := ctx.Done()
	var limit <-chan time.Time
	for {
		queue := c.out.queue
		if len(sent) >= inFlight {
			queue = nil
		}
		var oldest <-chan struct{}
		if len(sent) > 0 {
			oldest = sent[0].Done()
		} else if done == nil && len(queue) == 0 {
			return ctx.Err()
		}
		select {
		case m := <-queue:
			if m.Retain || c.plain.Load() { // others do not come back; a retained one does, at each subscription
				c.echo.said(m)
			}
			sent = append(sent, client.Publish(m.Topic, m.QoS, m.Retain, m.Payload))
			c.out.took(m)
		case <-oldest:
			if err := sent[0].Error(); err != nil {
				return c.lose(fmt.Errorf("publish: %w", err))
			}
			sent = sent[1:]
		case err := <-lost:
			return c.lose(err)
		case <-done:
			c.up.Store(false)
			done, limit = nil, time.After(time.Second)
		case <-limit:
			return c.lose(ctx.Err())
		}
	}
}

// lose drops what waits: when the broker is back it would be old.
func (c *Client) lose(err error) error {
	c.up.Store(false)
	for {
		select {
		case m := <-c.out.queue:
			c.out.took(m)
			c.out.dropped.Add(1)
		default:
			return err
		}
	}
}
