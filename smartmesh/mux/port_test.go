package mux

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meshgate/meshgate/hdlc"
)

// plugged runs a test with a port at a Server. frames is what has come from the port since it was asked last.
func plugged(t *testing.T, test func(t *testing.T, m *manager, s *Server, p *Port, frames func() string)) {
	hall(t, ServerOptions{}, func(t *testing.T, m *manager, s *Server) {
		ours, theirs := net.Pipe()
		go s.Serve(theirs)
		p, err := Open(t.Context(), ours, DefaultSecret)
		if err != nil {
			t.Fatal(err)
		}
		read := make(chan string, 100)
		go func() {
			defer close(read)
			for r := hdlc.NewReader(p); ; {
				packet, err := r.Next()
				if err != nil {
					return
				}
				read <- fmt.Sprintf("%x", packet)
			}
		}()
		test(t, m, s, p, func() string {
			synctest.Wait()
			var all []string
			for len(read) > 0 {
				all = append(all, <-read)
			}
			return strings.Join(all, " ")
		})
		p.Close()
		if packet, ok := <-read; ok {
			t.Errorf("after Close: %s", packet)
		}
	})
}

func TestPort(t *testing.T) {
	plugged(t, func(t *testing.T, m *manager, s *Server, p *Port, frames func() string) {
		write := func(packet string) {
			t.Helper()
			if _, err := p.Write(hdlc.AppendFrame(nil, unhex(t, packet))); err != nil {
				t.Error(err)
			}
		}
		expect := func(what, want string) {
			t.Helper()
			if got := frames(); got != want {
				t.Errorf("%s: got %s, want %s", what, got, want)
			}
		}
		write("00 01 00 03 04 63 00")
		expect("hello", "00020005"+"0004006300")
		write("02 16 64 08 00000010 00000000")
		expect("subscribe", "03166401"+"00")
		s.Notify([]byte{4, 0xAA, 0x7E})
		expect("notification", "00140003"+"04aa7e")
		write("03 14 00 01 00")
		write("02 2e 65 01 00 00") // no packet
		expect("an acknowledgement and what is no packet", "")
		release := make(chan bool)
		m.answer = func(byte, []byte) ([]byte, error) { <-release; return []byte{0, 7}, nil }
		write("02 2e 65 00")
		write("02 2e 65 00")
		expect("no answer yet", "")
		close(release)
		expect("its answer", "032e6502"+"0007")
		if got := m.was(); got != "16 0000001000000000, 2e " {
			t.Errorf("the manager was asked for %q", got)
		}
		s.Close()
		synctest.Wait()
		if _, err := p.Write(hdlc.AppendFrame(nil, unhex(t, "02 2e 66 00"))); err == nil {
			t.Error("the mux has closed the connection, and the port takes bytes")
		}
	})
}

func TestOpenRefused(t *testing.T) {
	for _, tt := range []struct{ answer, want string }{
		{"a740a0f5 0005 0000 01 03 04", "the secret is refused"},
		{"a740a0f5 0005 0000 01 04 05", "version 4 of the protocol is refused, it speaks 5"},
		{"a740a0f5 0004 0000 01 01", "refused with code 1"},
		{"a740a0f5 0003 0000 01", "bad_data"},
		{"close", "may have no session with its manager"},
		{"", "no answer to the hello"},
	} {
		synctest.Test(t, func(t *testing.T) {
			ours, theirs := net.Pipe()
			go func() {
				b := make([]byte, 100)
				n, _ := theirs.Read(b)
				if want := unhex(t, "a740a0f5 000c 0000 01 04 3031323334353637"); !bytes.Equal(b[:n], want) {
					t.Errorf("the hello is %x", b[:n])
				}
				if tt.answer == "close" {
					theirs.Close()
				} else {
					theirs.Write(unhex(t, tt.answer))
				}
			}()
			_, err := Open(t.Context(), ours, DefaultSecret)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%q: %v", tt.answer, err)
			}
			if _, err := ours.Write(nil); err == nil {
				t.Error("the connection is open")
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer theirs.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		if _, err := Open(ctx, ours, DefaultSecret); err == nil || time.Since(began) != time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
	})
}

// FuzzPort: whatever a mux sends after the hello, the session gets whole packets.
func FuzzPort(f *testing.F) {
	for _, v := range vectors(f, "testdata/mux.json") {
		f.Add(unhex(f, v.Hex))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		ours, theirs := net.Pipe()
		go func() {
			b := make([]byte, 100)
			theirs.Read(b)
			theirs.Write(AppendHelloResponse(nil, HelloResponse{Version: Version}))
			theirs.Write(data)
			theirs.Close()
		}()
		p, err := Open(t.Context(), ours, DefaultSecret)
		if err != nil {
			t.Fatal(err)
		}
		for r := hdlc.NewReader(p); ; {
			b, err := r.Next()
			if err != nil {
				break
			}
			if len(b) < serialHeader || int(b[3]) != len(b)-serialHeader {
				t.Errorf("packet %x", b)
			}
		}
		p.Close()
	})
}
