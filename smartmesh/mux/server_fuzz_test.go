package mux

import (
	"context"
	"errors"
	"net"
	"testing"
)

// FuzzServer: whatever a client sends, it gets messages or the door, and the manager is asked only for what is allowed.
func FuzzServer(f *testing.F) {
	for _, v := range vectors(f, "testdata/mux.json") {
		f.Add(unhex(f, v.Hex))
	}
	f.Add(unhex(f, "a740a0f5 000b 0000 16 000000f6 00000010 a740a0f5 0003 0000 2e 73746f70"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s := NewServer(ServerOptions{Allow: func(command byte) bool { return command != 0x2c },
			Do: func(_ context.Context, command byte, payload []byte) ([]byte, error) {
				if command <= maxReserved || command == 0x2c || len(payload) > MaxCommand {
					t.Errorf("the manager is asked for %d with %d bytes", command, len(payload))
				}
				return []byte{RCOK}, nil
			}})
		ours, theirs := net.Pipe()
		served := make(chan struct{})
		go func() { defer close(served); s.Serve(theirs) }()
		heard := make(chan struct{})
		go func() {
			defer close(heard)
			for r := NewReader(ours); ; {
				if _, err := r.Next(); errors.Is(err, BadLength) {
					t.Error("the server sends what is no message")
				} else if err != nil {
					return
				}
			}
		}()
		ours.Write(AppendHello(nil, Hello{Version: Version, Secret: [8]byte([]byte(DefaultSecret))}))
		ours.Write(data)
		ours.Close()
		<-served
		<-heard
		s.Close()
	})
}
