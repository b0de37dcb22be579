package bridge

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"time"
)

// secret reads a password file.
func secret(file string) (string, error) {
	if file == "" {
		return "", nil
	}
	b, err := os.ReadFile(file)
	if err == nil && len(b) > maxTopic {
		err = fmt.Errorf("%s: %d bytes is longer than the 65535 that MQTT allows", file, len(b))
	}
	if err != nil {
		return "", &ConnectError{Step: StepPassword, Err: err}
	}
	if line, ok := bytes.CutSuffix(b, []byte("\n")); ok {
		b = bytes.TrimSuffix(line, []byte("\r"))
	}
	return string(b), nil
}

// Config reads the files and returns what a connection to host needs. Certificates are checked against the time of now.
func (t TLS) Config(host string, now func() time.Time) (*tls.Config, error) {
	c := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12, Time: now}
	if t.ServerName != "" {
		c.ServerName = t.ServerName
	}
	if t.CA != "" {
		b, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, fmt.Errorf("tls.ca: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(b) {
			return nil, fmt.Errorf("tls.ca: %s has no certificate in it that parses; want PEM, -----BEGIN CERTIFICATE-----", t.CA)
		}
	}
	if (t.Cert == "") != (t.Key == "") {
		return nil, errors.New("tls.cert and tls.key go together, one is missing")
	}
	if t.Cert == "" {
		return c, nil
	}
	cert, err := tls.LoadX509KeyPair(t.Cert, t.Key)
	if err != nil {
		return nil, fmt.Errorf("tls.cert %s with tls.key %s: %w", t.Cert, t.Key, err)
	}
	c.Certificates = []tls.Certificate{cert}
	return c, nil
}

// line is an open connection, before MQTT.
type line struct {
	net.Conn
	raw   net.Conn // the TCP connection under it
	certs []*x509.Certificate
}

// dial opens the TCP connection, the TLS and the WebSocket that u asks for. Proxies of the environment are not used.
func dial(ctx context.Context, cfg Config, u URL) (*line, error) {
	var tc *tls.Config
	if u.Secure() {
		var err error
		if tc, err = cfg.TLS.Config(u.Host, cfg.Time); err != nil {
			return nil, &ConnectError{Step: StepCertificate, Err: err}
		}
	}
	raw, err := cfg.Dial(ctx, "tcp", u.Address())
	if err != nil {
		return nil, dialError(ctx, u, err)
	}
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	defer stop()
	l := &line{Conn: raw, raw: raw}
	if tc != nil {
		if err = l.secure(ctx, tc, cfg.Time); err != nil {
			raw.Close()
			return nil, err
		}
	}
	if u.WebSocket() {
		if l.Conn, err = upgrade(ctx, l.Conn, u); err != nil {
			raw.Close()
			return nil, err
		}
	}
	return l, nil
}

// secure does the TLS handshake.
func (l *line) secure(ctx context.Context, tc *tls.Config, now func() time.Time) error {
	c := tls.Client(l.raw, tc)
	if err := c.HandshakeContext(ctx); err != nil {
		return tlsError(ctx, err, now())
	}
	l.Conn = c
	l.certs = c.ConnectionState().PeerCertificates
	if len(l.certs) > 1 {
		l.certs = l.certs[:1]
	}
	for _, own := range tc.Certificates {
		l.certs = append(l.certs, own.Leaf)
	}
	return nil
}

// dialTCP is the dialer of a Config without one.
func dialTCP(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{Control: userTimeout}
	return d.DialContext(ctx, network, address)
}
