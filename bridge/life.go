package bridge

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"
)

var (
	disconnect = []byte{14 << 4, 0}
	pingreq    = []byte{typePingreq << 4, 0}
)

// open gives the client its connection.
func (s *Session) open(*url.URL, mqtt.ClientOptions) (net.Conn, error) { return s.wire, nil }

// fail ends the session, for the reason that comes first.
func (s *Session) fail(err error) {
	s.mu.Lock()
	if s.err == nil {
		if s.err = err; s.clean {
			s.err = ErrClosed
		}
		close(s.dead)
	}
	s.mu.Unlock()
	s.outbox.end()
	s.wire.Close()
}

// settle returns when nobody publishes or subscribes any more, after fail. The client is told of the end only then: one that
// has ended leaves who subscribes waiting until a timeout.
func (s *Session) settle() {
	s.turn <- struct{}{}
	<-s.turn
}

// lost is called by the client when it has ended, once: its goroutines are gone, all its tokens done.
func (s *Session) lost(_ mqtt.Client, err error) {
	s.fail(err)
	close(s.gone)
}

// run waits for the end, keeps the connection alive, and looks for messages that are not acknowledged.
func (s *Session) run() {
	defer close(s.done)
	period := max(min(s.cfg.AckTimeout, pingTimeout, s.cfg.Keepalive)/4, time.Millisecond)
	tick := time.NewTicker(period)
	defer tick.Stop()
	for alive := true; alive; {
		select {
		case <-tick.C:
			if n := s.overdue(); n > 0 {
				s.fail(fmt.Errorf("%w: %d, the oldest sent %v ago", ErrNoAck, n, s.cfg.AckTimeout))
			}
			s.wire.ping(s.cfg.Keepalive - period) // the next look would be too late
			if s.wire.silent() >= pingTimeout {
				s.fail(fmt.Errorf("%w: a ping, %v ago", ErrSilent, pingTimeout))
			}
		case <-s.dead:
			alive = false
		}
	}
	<-s.gone
	<-s.wire.writer
	close(s.messages)
}

// overdue returns how many messages wait for an acknowledgement, when the first has waited too long. The time that a
// payload took to be skipped, behind which acknowledgements queue, does not count.
func (s *Session) overdue() int {
	waiting := s.outbox.waiting()
	if len(waiting) == 0 || min(time.Since(s.started)-waiting[0].at, s.wire.in.sinceSkip()) < s.cfg.AckTimeout {
		return 0
	}
	return len(waiting)
}

// reason returns why the session ended; err when that is not known.
func (s *Session) reason(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		err = s.err
	}
	if err == ErrClosed {
		return err
	}
	return lineError(err)
}

// lostError is how the session ended, for others.
func (s *Session) lostError() error {
	err := s.reason(errWireClosed)
	if err == ErrClosed {
		return err
	}
	return &LostError{Err: err, After: time.Since(s.started), ClientID: s.cfg.ClientID}
}

// Wait returns when the session and all that belongs to it has ended: nil after Close, else a *LostError with its first
// error.
func (s *Session) Wait() error {
	<-s.done
	if err := s.lostError(); err != ErrClosed {
		return err
	}
	return nil
}

// Close takes no more messages, waits until those on their way are acknowledged or ctx ends, and sends DISCONNECT, so that
// the broker drops the will. It returns when everything has ended, at most a second and a half after ctx; the error tells
// of messages that were not acknowledged, or how the session had ended before.
func (s *Session) Close(ctx context.Context) error {
	s.mu.Lock()
	first := !closed(s.closing)
	if first {
		close(s.closing)
	}
	s.mu.Unlock()
	if !first {
		return s.Wait()
	}
	s.settle() // no Publish runs now, and none will
	unacked := s.flush(ctx)
	s.mu.Lock()
	s.clean = s.err == nil
	s.mu.Unlock()
	s.wire.finish(disconnect, linger)
	s.fail(ErrClosed)
	if err := s.Wait(); err != nil || unacked == 0 {
		return err
	}
	return fmt.Errorf("bridge: closed with %d messages not acknowledged: %w", unacked, context.Cause(ctx))
}

// flush waits for acknowledgements, and returns how many are missing.
func (s *Session) flush(ctx context.Context) int {
	for _, r := range s.outbox.waiting() {
		select {
		case <-r.Done():
		case <-ctx.Done():
		}
	}
	return len(s.outbox.waiting())
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// handshakeError is the error of a connection that ended between CONNECT and the last SUBACK.
func (s *Session) handshakeError(ctx context.Context, err error) error {
	var alert net.Error
	e := &ConnectError{Step: StepMQTT, Err: took(ctx, err)}
	switch {
	case e.Err != err || errors.Is(err, errTookTooLong):
		e.Err, e.Hint = fmt.Errorf("no answer to CONNECT or SUBSCRIBE: %w", e.Err), "is it a broker that listens there?"
	case strings.Contains(err.Error(), "remote error: tls:") || errors.As(err, &alert) && strings.Contains(alert.Error(), "tls:"):
		return tlsError(ctx, err, s.cfg.Time())
	case errors.Is(err, ErrHungUp) && len(s.certs) > 0: // a broker that resets the connection takes its TLS alert back
		e.Hint = "before it accepted us: does it want a certificate of ours, tls.cert and tls.key, or another one?"
	case errors.Is(err, ErrHungUp):
		e.Hint = "before it accepted us: does this port want TLS, mqtts:// or wss://?"
	case errors.Is(err, ErrProtocol):
		e.Hint = "is it a broker that listens there?"
	}
	return e
}

// noStore keeps nothing of what the client receives: it was handed on when it came.
type noStore struct{}

func (noStore) Open()                             {}
func (noStore) Put(string, packets.ControlPacket) {}
func (noStore) Get(string) packets.ControlPacket  { return nil }
func (noStore) All() []string                     { return nil }
func (noStore) Del(string)                        {}
func (noStore) Close()                            {}
func (noStore) Reset()                            {}
