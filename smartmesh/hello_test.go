package smartmesh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// connect runs Connect against a peer in a bubble.
func connect(t *testing.T, test func(t *testing.T, p *peer, done <-chan error, cancel func())) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		port, p := newPeer(t)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		done := make(chan error, 1)
		go func() {
			s, err := Connect(ctx, port, Options{})
			done <- err
			if err == nil {
				_ = s.Close()
			}
		}()
		test(t, p, done, cancel)
		_ = p.conn.Close()
	})
}

// closed expects that the client has closed the port.
func (p *peer) closed() {
	p.t.Helper()
	select {
	case a, ok := <-p.in:
		if ok {
			p.t.Fatalf("unexpected: %+v", a)
		}
	case <-time.After(time.Minute):
		p.t.Fatal("the port is still open")
	}
}

func TestHelloComesFirst(t *testing.T) {
	connect(t, func(t *testing.T, p *peer, done <-chan error, _ func()) {
		start := time.Now()
		p.welcome(7)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if time.Since(start) != 0 {
			t.Errorf("it waited %v before it spoke", time.Since(start))
		}
	})
}

func TestHelloIsRepeatedWithNewNumbers(t *testing.T) {
	connect(t, func(t *testing.T, p *peer, done <-chan error, _ func()) {
		seen := map[byte]bool{}
		var at time.Time
		for i := range 8 {
			a := p.next()
			if gap := a.at.Sub(at); i > 0 && (gap < 500*time.Millisecond || gap > 5*time.Second || i == 1 && gap > time.Second) {
				t.Errorf("hello %d after %v", i, gap)
			}
			at = a.at
			if seen[a.Payload[1]] {
				t.Errorf("hello %d repeats number %d", i, a.Payload[1])
			}
			seen[a.Payload[1]] = true
		}
		p.welcome(0)
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestHelloWhatIsIgnored sends everything that is not the answer to the latest hello.
func TestHelloWhatIsIgnored(t *testing.T) {
	connect(t, func(t *testing.T, p *peer, done <-chan error, _ func()) {
		first := p.next()
		second := p.next()
		old, now := first.Payload[1], second.Payload[1]
		answer := func(code, version, cli byte) string { return fmt.Sprintf("%02x%02x09%02x00", code, version, cli) }
		p.send(0, typeManagerHello, 0, "0400")                 // queued before the answer
		p.send(0, typeHelloResponse, 0, answer(0, 4, old))     // to the first hello
		p.send(0, typeHelloResponse, 0, answer(1, 3, old))     // the same, a refusal
		p.send(3, typeHelloResponse, 0, answer(0, 4, now))     // no data
		p.send(0, typeHelloResponse, 0, "00040900")            // too short: without echo it is nobody's
		p.send(2, typeNotification, 1, "01000000090100")       // of an older session: not acknowledged
		p.send(3, getTime.id, 1, "00")                         // a late response
		p.write([]byte{0x7E, 1, 2, 3, 4, 0x7E, 0, 2, 0, 9, 1}) // noise, unfinished
		synctest.Wait()
		select {
		case err := <-done:
			t.Fatalf("Connect: %v", err)
		default:
		}
		p.send(0, typeHelloResponse, 0, answer(0, 4, now)+"ffff") // the answer, longer than known
		if err := <-done; err != nil {
			t.Error(err)
		}
		p.want(2, subscribe.id, now+1, "0000000000000000")
	})
}

func TestHelloRefused(t *testing.T) {
	tests := []struct {
		name          string
		code, version byte
		want          string
	}{
		{"unsupported version", 1, 3, "smartmesh: the manager speaks version 3 of the protocol, not 4"},
		{"invalid mode", 2, 4, "smartmesh: the manager refused the session: invalid_mode"},
		{"unknown code", 9, 4, "smartmesh: the manager refused the session: successCode(9)"},
		{"other version without a refusal", 0, 5, "smartmesh: the manager speaks version 5 of the protocol, not 4"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			connect(t, func(t *testing.T, p *peer, done <-chan error, _ func()) {
				a := p.next()
				p.write(helloFrame(tt.code, tt.version, 0, a.Payload[1]))
				err := <-done
				var refused *HelloError
				if !errors.As(err, &refused) || err.Error() != tt.want || refused.Version != tt.version {
					t.Errorf("Connect: %v, want %s", err, tt.want)
				}
				p.closed()
			})
		})
	}
}

func TestHelloWithoutAnswer(t *testing.T) {
	connect(t, func(t *testing.T, p *peer, done <-chan error, _ func()) {
		start := time.Now()
		p.write([]byte{0x7E, 1, 2, 3, 4, 5, 6, 0x7E})
		err := <-done
		if !errors.Is(err, ErrNoHello) || !strings.Contains(err.Error(), "0 frames came, and 1 damaged ones") {
			t.Errorf("Connect: %v", err)
		}
		if d := time.Since(start); d < 29*time.Second || d > 33*time.Second {
			t.Errorf("after %v", d)
		}
	})
}

func TestHelloCancelled(t *testing.T) {
	connect(t, func(t *testing.T, p *peer, done <-chan error, cancel func()) {
		p.next()
		cancel()
		if err := <-done; !errors.Is(err, ErrNoHello) || !errors.Is(err, context.Canceled) {
			t.Errorf("Connect: %v", err)
		}
		p.closed()
	})
}

func TestHelloPortGoes(t *testing.T) {
	connect(t, func(t *testing.T, p *peer, done <-chan error, _ func()) {
		p.next()
		_ = p.conn.Close()
		if err := <-done; !errors.Is(err, io.EOF) || err.Error() != "smartmesh: hello: read: EOF" {
			t.Errorf("Connect: %v", err)
		}
	})
}
