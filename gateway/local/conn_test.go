package local

import (
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
