package local

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// stall subscribes to everything with QoS 0 and 1 and never reads again.
func stall(t *testing.T, b *Broker) net.Conn {
	c := raw(t, b)
	_ = c.(*net.TCPConn).SetReadBuffer(128 << 10)
	sub := []byte{0x82, 6, 0, 1, 0, 1, '#', 1}
	if _, err := c.Write(append(connectPacket("stalled", true), sub...)); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 9)
	if _, err := c.Read(answer); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the subscription", func() bool { return b.Stats().Subscriptions > 0 })
	return c
}

func TestStalledSubscriber(t *testing.T) {
	b := startBroker(t, Options{})
	stalled := stall(t, b)
	p := connect(t, pahoOptions(b.tcp(), "p"))
	s := connect(t, pahoOptions(b.tcp(), "s"))
	s.subscribe(t, "last", 1)
	start := time.Now()
	payload := strings.Repeat("x", 20000)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range 500 { // 20 MB for the one that does not read, of both kinds
		p.publish(t, "big", byte(i%2), false, payload)
		if err := b.Publish("own", []byte(payload), i%2 == 0); err != nil && !errors.Is(err, ErrFull) {
			t.Fatal(err)
		}
	}
	p.publish(t, "last", 1, false, "x")
	want(t, s.next(t), "last=x")
	if d := time.Since(start); d > 4*time.Second {
		t.Errorf("others waited %v for one that does not read", d)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 6<<20 {
		t.Errorf("%d bytes are kept for it", grown)
	}
	if b.Stats().Slow == 0 {
		t.Error("nothing counted")
	}
	stalled.Write([]byte{0xc0, 0}) // it still has its connection, and reads again
	for typ := byte(0); typ != 13; {
		typ, _ = readPacket(t, stalled)
	}
	start = time.Now()
	c := raw(t, b) // it comes back
	c.Write(connectPacket("stalled", true))
	answer := make([]byte, 4)
	if _, err := c.Read(answer); err != nil || answer[0] != 0x20 || answer[3] != 0 {
		t.Fatal(answer, err)
	}
	if d := time.Since(start); d > 3*time.Second {
		t.Errorf("its return took %v", d)
	}
}

func TestCloseWithStalledSubscriber(t *testing.T) {
	b := startBroker(t, Options{})
	stall(t, b)
	for range 200 {
		_ = b.Publish("own", make([]byte, 20000), false)
	}
	start := time.Now()
	b.Close()
	b.Close()
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("Close took %v", d)
	}
	if err := b.Publish("a", nil, false); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if s := b.Status(); s.Up {
		t.Errorf("%+v", s)
	}
}

// A stalled Intake must not keep the broker from closing.
func TestCloseIsBounded(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	entered := make(chan struct{}, 1)
	b := startBroker(t, Options{Intake: func(Message) error { entered <- struct{}{}; <-release; return nil }})
	p := connect(t, pahoOptions(b.tcp(), "p"))
	p.Publish("a", 1, false, "x")
	<-entered
	start := time.Now()
	b.Close()
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("Close took %v", d)
	}
	close(release)
}

// What the gateway says last, before it closes the broker, arrives.
func TestLastWords(t *testing.T) {
	t.Parallel()
	for range 20 {
		b := startBroker(t, Options{})
		c := raw(t, b)
		defer c.Close()
		if _, err := c.Write(append(connectPacket("p", true), 0x82, 6, 0, 1, 0, 1, '#', 0)); err != nil {
			t.Fatal(err)
		}
		for _, kind := range []string{"CONNACK", "SUBACK"} {
			if p, err := packets.ReadPacket(c); err != nil {
				t.Fatalf("%s: %v, %v", kind, p, err)
			}
		}
		for i := range 100 {
			if err := b.Publish("a", fmt.Append(nil, i), false); err != nil {
				t.Fatal(err)
			}
		}
		b.Close()
		for i := range 100 {
			p, err := packets.ReadPacket(c)
			if m, ok := p.(*packets.PublishPacket); !ok || string(m.Payload) != fmt.Sprint(i) {
				t.Fatalf("in the place of %d: %v, %v", i, p, err)
			}
		}
	}
}

// 200 clients that connect and vanish leave nothing behind.
func TestVanishingClients(t *testing.T) {
	b := startBroker(t, Options{})
	settle := func() int { runtime.GC(); return runtime.NumGoroutine() }
	before := settle()
	var all sync.WaitGroup
	for i := range 200 {
		all.Go(func() {
			c, err := net.Dial("tcp", b.Addr().String())
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(patience))
			switch i % 4 {
			case 0: // no CONNECT
				return
			case 1: // half of it
				c.Write(connectPacket("half", true)[:9])
				return
			}
			c.Write(connectPacket(fmt.Sprint("v", i), true))
			c.Write([]byte{0x82, 6, 0, 1, 0, 1, '#', 1})
			answer := make([]byte, 9)
			for n := 0; n < 9; {
				k, err := c.Read(answer[n:])
				if err != nil {
					t.Error(err)
					return
				}
				n += k
			}
			if i%4 == 3 {
				_ = c.(*net.TCPConn).SetLinger(0) // RST
			}
		})
	}
	all.Wait()
	eventually(t, "no goroutine more than before", func() bool { return settle() <= before })
	if s := b.Stats(); s.Clients != 0 || s.Sessions != 0 || s.Subscriptions != 0 {
		t.Errorf("%+v", s)
	}
}

// A client that asks and does not read the answers is not read any more, until it does.
func TestAnswersWait(t *testing.T) {
	const pings = 300_000 // 600 kB of answers; 512 KiB and little more may wait
	b := startBroker(t, Options{MaxPacket: 1000})
	ours, theirs := net.Pipe()
	served := make(chan struct{})
	go func() {
		defer close(served)
		b.serve(theirs, remoteAddr("127.0.0.1:1"))
	}()
	written := make(chan error, 1)
	go func() {
		_, err := ours.Write(append(connectPacket("p", true), bytes.Repeat([]byte{0xc0, 0}, pings)...))
		written <- err
	}()
	eventually(t, "a full buffer", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		for c := range b.conns {
			return c.congested()
		}
		return false
	})
	_ = ours.SetReadDeadline(time.Now().Add(patience))
	if n, err := io.ReadFull(ours, make([]byte, 4+2*pings)); err != nil {
		t.Fatalf("%d bytes of answers: %v", n, err)
	}
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	ours.Close()
	<-served
}

// Many who do not read, each within his own bound, share one for all.
func TestWaiters(t *testing.T) {
	all := &waiters{most: 300 << 10}
	var conns []*conn
	for _, n := range []int{100 << 10, 100 << 10, 10 << 10, 0} {
		inner, _ := net.Pipe()
		c := newConn(inner, nil, 1<<20, all)
		all.conns.Add(1)
		c.Write(make([]byte, n))
		c.Write(make([]byte, n)) // behind what is being written
		conns = append(conns, c)
		if i := len(conns); c.congested() != (i == 2) || c.waiting.Load() != int64(2*n) {
			t.Errorf("%d: %d bytes wait", i, c.waiting.Load())
		}
	}
	for i, c := range conns {
		if c.congested() != (i < 2) {
			t.Errorf("%d: with %d bytes of %d", i+1, c.waiting.Load(), all.bytes.Load())
		}
	}
	for _, c := range conns {
		c.inner.Close()
		c.waitFlushed()
	}
	if n := all.bytes.Load(); n != 0 || conns[0].congested() {
		t.Errorf("%d bytes wait for nobody", n)
	}
}

// Who publishes much at once does not keep the goroutines that write from running, on one processor neither: what waits for
// them is bounded in messages, and beyond that is left out.
func TestBurst(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	b := startBroker(t, Options{})
	sub := sleeper(t, b, "sub")
	if got := codes(t, sub, "a"); got[0] != 1 {
		t.Fatalf("% x", got)
	}
	const n = 5000
	pub := sleeper(t, b, "pub")
	go pub.Write(bytes.Repeat([]byte{0x30, 4, 0, 1, 'a', 'x'}, n))
	for range n {
		if typ, _ := readPacket(t, sub); typ != 3 {
			t.Fatalf("packet of type %d", typ)
		}
	}
	if s := b.Stats(); s.Slow != 0 {
		t.Errorf("%+v", s)
	}
}
