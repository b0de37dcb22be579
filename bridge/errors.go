package bridge

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// Step is the part of Connect that failed. Up to StepTLS the broker has not been spoken to.
type Step string

const (
	StepConfig      Step = "configuration"
	StepPassword    Step = "password file"
	StepCertificate Step = "certificate"
	StepDNS         Step = "DNS"
	StepTCP         Step = "TCP"
	StepTLS         Step = "TLS"
	StepWebSocket   Step = "WebSocket"
	StepMQTT        Step = "MQTT"
)

// ConnectError is the error of Connect, in words for whoever runs the gateway.
type ConnectError struct {
	Step Step
	Err  error
	Hint string // what to look at; may be empty
}

func (e *ConnectError) Error() string {
	s := fmt.Sprintf("bridge: %s: %v", e.Step, e.Err)
	if e.Hint != "" {
		s += " (" + e.Hint + ")"
	}
	return s
}

func (e *ConnectError) Unwrap() error { return e.Err }

// Refusal is the broker's answer to CONNECT when it is not 0 (MQTT 3.1.1 section 3.2.2.3).
type Refusal byte

const (
	RefusedProtocol    Refusal = 1
	RefusedClientID    Refusal = 2
	RefusedUnavailable Refusal = 3
	RefusedPassword    Refusal = 4
	RefusedAccess      Refusal = 5
)

func (r Refusal) Error() string {
	switch r {
	case RefusedProtocol:
		return "refused by the broker: it does not take MQTT 3.1.1"
	case RefusedClientID:
		return "refused by the broker: it does not take this client id"
	case RefusedUnavailable:
		return "refused by the broker: not available at the moment"
	case RefusedPassword:
		return "refused by the broker: wrong user name or password"
	case RefusedAccess:
		return "refused by the broker: not authorised; user name, password or client id are not the ones it expects"
	}
	return fmt.Sprintf("refused by the broker: code %d, which MQTT 3.1.1 does not have", byte(r))
}

// RefusesBridges reports whether an error of Connect may be a broker's answer to Config.AsBridge: it does not know the
// protocol, or hung up.
func RefusesBridges(err error) bool {
	var c *ConnectError
	var code Refusal
	if !errors.As(err, &c) || c.Step != StepMQTT {
		return false
	}
	if errors.As(err, &code) {
		return code == RefusedProtocol || code > RefusedAccess
	}
	return errors.Is(err, ErrHungUp)
}

// ErrClosed is what Publish returns after Close.
var ErrClosed = errors.New("bridge: session closed")

// ErrNoAck is the cause of a session's end when a publish was not acknowledged within Config.AckTimeout.
var ErrNoAck = errors.New("the broker takes messages and does not acknowledge them")

// ErrSilent is the cause of a session's end when the broker did not answer a PINGREQ.
var ErrSilent = errors.New("the broker no longer answers")

// ErrHungUp is the cause of a session's end when the broker closed the connection.
var ErrHungUp = errors.New("the broker closed the connection")

// LostError is how a session ended.
type LostError struct {
	Err      error
	After    time.Duration // since Connect returned
	ClientID string
}

// Takeover reports whether the session ended as one does that another client with the same id has taken over: the broker
// closed it, for no reason that MQTT 3.1.1 could transport. It closes those too whose publish or will it does not allow.
func (e *LostError) Takeover() bool { return errors.Is(e.Err, ErrHungUp) && e.After < 10*time.Second }

func (e *LostError) Error() string {
	s := fmt.Sprintf("bridge: connection lost after %v: %v", e.After.Round(100*time.Millisecond), e.Err)
	if e.Takeover() {
		s += fmt.Sprintf(" (when this comes again and again: another client with the id %q, or a message that the broker does not allow)", e.ClientID)
	}
	return s
}

func (e *LostError) Unwrap() error { return e.Err }

// lineError gives the errors of a connection words.
func lineError(err error) error {
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.ErrClosedPipe), errors.Is(err, syscall.EPIPE):
		return ErrHungUp
	case errors.Is(err, syscall.ECONNRESET):
		return fmt.Errorf("%w: %w", ErrHungUp, syscall.ECONNRESET)
	case errors.Is(err, syscall.ETIMEDOUT):
		return fmt.Errorf("the broker's host no longer answers: %w", err)
	}
	return err
}

// took is the error of a step that ran into the limit of Connect or into the caller's.
func took(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) {
		return errTookTooLong
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

var errTookTooLong = fmt.Errorf("took too long: %w", os.ErrDeadlineExceeded)

// dialError sorts what a dialer returns.
func dialError(ctx context.Context, u URL, err error) error {
	var dns *net.DNSError
	e := &ConnectError{Step: StepTCP, Err: err}
	switch late := took(ctx, err); {
	case errors.As(err, &dns):
		e.Step = StepDNS
		if dns.IsNotFound {
			e.Err, e.Hint = fmt.Errorf("there is no host %q: %w", u.Host, err), "is its name right in url?"
		} else {
			e.Err, e.Hint = fmt.Errorf("cannot look up %q: %w", u.Host, err), "is the network up?"
		}
	case late != err:
		e.Err, e.Hint = fmt.Errorf("%s: %w", u.Address(), late), "the host is down, or a firewall drops the connection"
	case errors.Is(err, syscall.ECONNREFUSED):
		e.Hint = "the host is there and nothing listens on that port: is the broker running, is the port right?"
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		e.Hint = "is the network up?"
	}
	return e
}

// tlsError sorts what a TLS handshake returns, or the first read after it: TLS 1.3 tells only then what it thinks of the
// client's certificate.
func tlsError(ctx context.Context, err error, now time.Time) error {
	var (
		invalid x509.CertificateInvalidError
		unknown x509.UnknownAuthorityError
		host    x509.HostnameError
		record  tls.RecordHeaderError
		alert   tls.AlertError
		op      *net.OpError
	)
	e := &ConnectError{Step: StepTLS, Err: err}
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		e.Hint = validity(invalid.Cert, now)
	case errors.As(err, &unknown):
		e.Hint = "does tls.ca name the file of the authority that signed the broker's certificate?"
	case errors.As(err, &host):
		e.Hint = "does url have the broker's name as its certificate has it? tls.server_name sets another"
	case errors.As(err, &record):
		e.Hint = "no TLS on this port: is it the plain one, to go with mqtt:// or ws://?"
	case errors.As(err, &alert), errors.As(err, &op) && op.Op == "remote error":
		e.Hint = "the broker ended it: does it want a certificate of ours, tls.cert and tls.key, or another one?"
	default:
		e.Err = lineError(took(ctx, err))
	}
	return e
}

// validity says in which way a certificate is not valid now, and whether it is the clock that looks wrong.
func validity(cert *x509.Certificate, now time.Time) string {
	day := func(t time.Time) string { return t.UTC().Format(time.DateTime) }
	if now.Before(cert.NotBefore) {
		return fmt.Sprintf("not valid before %s and this host's clock says %s UTC: is the clock right?", day(cert.NotBefore), day(now))
	}
	return fmt.Sprintf("valid until %s and this host's clock says %s UTC: the broker needs a new certificate, unless the clock is wrong",
		day(cert.NotAfter), day(now))
}
