package local

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"runtime"
	"testing"
)

// An acknowledgement has gone when Write returns; what the system does not take at once follows, in order.
func TestAcknowledgementGoesAtOnce(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("goes by way of the goroutine that writes")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	_ = client.(*net.TCPConn).SetReadBuffer(4 << 10)
	inner, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_ = inner.(*net.TCPConn).SetWriteBuffer(4 << 10)
	c := newConn(inner, inner.RemoteAddr(), 1<<20, &waiters{most: 1 << 30})
	defer c.Close()
	flushing := func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.flushing
	}
	n := uint16(0)
	send := func() {
		n++
		if k, err := c.Write([]byte{0x40, 2, byte(n >> 8), byte(n)}); k != 4 || err != nil {
			t.Fatal(k, err)
		}
	}
	send()
	if flushing() {
		t.Error("another goroutine writes the acknowledgement")
	}
	for !flushing() && n < 1<<16-200 { // until the client, which does not read, has no more room
		send()
	}
	if !flushing() {
		t.Fatal("the system takes all")
	}
	for range 100 {
		send()
	}
	for want := uint16(1); want <= n; want++ {
		var p [4]byte
		if _, err := io.ReadFull(client, p[:]); err != nil || p[0] != 0x40 || binary.BigEndian.Uint16(p[2:]) != want {
			t.Fatal(p, want, err)
		}
	}
}

// A broker that ends lets its clients read to the end, and answer it: a client whose connection is reset while it sends an
// acknowledgement throws away what it has not read.
func TestGoodbye(t *testing.T) {
	t.Parallel()
	b := startBroker(t, Options{})
	c := raw(t, b)
	in := bufio.NewReader(c)
	exchange := func(packet []byte, answer int) {
		t.Helper()
		if _, err := c.Write(packet); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(in, make([]byte, answer)); err != nil {
			t.Fatal(err)
		}
	}
	exchange(connectPacket("here", true), 4)
	exchange([]byte("\x82\x06\x00\x01\x00\x01#\x01"), 5)
	b.Publish("gateway/status", []byte("offline"), false)
	closed := make(chan struct{})
	go func() { defer close(closed); b.Close() }()
	last, err := io.ReadAll(in)
	if err != nil || !bytes.Contains(last, []byte("offline")) {
		t.Fatalf("%q, %v", last, err)
	}
	for range 3 {
		if _, err := c.Write([]byte("\x40\x02\x00\x01")); err != nil {
			t.Fatalf("it cannot acknowledge: %v", err)
		}
	}
	c.Close()
	<-closed
}
