package local

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// piped connects a client through a pipe, which holds nothing back for those who do not read.
func piped(t *testing.T, b *Broker, hello []byte, answer int) net.Conn {
	t.Helper()
	ours, theirs := net.Pipe()
	go b.serve(theirs, remoteAddr("127.0.0.1:1"))
	t.Cleanup(func() { ours.Close() })
	_ = ours.SetDeadline(time.Now().Add(patience))
	go ours.Write(hello)
	if _, err := io.ReadFull(ours, make([]byte, answer)); err != nil {
		t.Fatal(err)
	}
	return ours
}

// All who do not read have one payload of each message together.
func TestManyStalled(t *testing.T) {
	b := startBroker(t, Options{})
	var stalled []net.Conn
	for i := range 100 {
		hello := append(connectPacket(fmt.Sprint("stalled", i), true), 0x82, 6, 0, 1, 0, 1, '#', byte(i%2))
		stalled = append(stalled, piped(t, b, hello, 9))
	}
	s := connect(t, pahoOptions(b.tcp(), "s"))
	s.subscribe(t, "#", 1)
	p := connect(t, pahoOptions(b.tcp(), "p"))
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	payload := strings.Repeat("x", 100<<10)
	for i := range 30 {
		p.publish(t, "a", 1, false, payload)
		if got := s.next(t); got != "a="+payload {
			t.Fatalf("%d: %d bytes arrive", i, len(got))
		}
	}
	if grown := heap() - before; grown > 14<<20 {
		t.Errorf("%d bytes are kept", grown)
	}
	if n := b.waiters.bytes.Load(); n < 100<<10 || n > 4<<20 {
		t.Errorf("%d bytes are counted", n)
	}
	for _, c := range stalled {
		c.Close()
	}
	eventually(t, "nothing waits", func() bool { return b.waiters.bytes.Load() == 0 })
}

// A payload that is not copied arrives as it is, also where the server writes it: for a client that says how much it takes.
func TestSharedPayload(t *testing.T) {
	b := startBroker(t, Options{})
	v5 := func(id byte, most uint16) net.Conn {
		hello := []byte{0x10, 19, 0, 4, 'M', 'Q', 'T', 'T', 5, 2, 0, 60, 5, 0x27, 0, byte(most >> 8), byte(most), 0, 0, 1, id,
			0x82, 7, 0, 1, 0, 0, 1, 'a', 1}
		c := raw(t, b)
		c.Write(hello)
		for _, want := range []byte{2, 9} {
			if typ, _ := readPacket(t, c); typ != want {
				t.Fatalf("packet of type %d, not %d", typ, want)
			}
		}
		return c
	}
	large, small := v5('l', 1<<8), v5('s', 4)
	p := connect(t, pahoOptions(b.tcp(), "p"))
	p.subscribe(t, "a", 1)
	payload := bytes.Repeat([]byte("0123456789abcdef"), 2000)
	p.publish(t, "a", 1, true, string(payload))
	want(t, p.next(t), "a="+string(payload))
	typ, body := readPacket(t, large)
	if typ != 3 || !bytes.HasSuffix(body, payload) || len(body) != len(payload)+6 {
		t.Errorf("type %d, %d bytes", typ, len(body))
	}
	p.publish(t, "a", 1, false, "x")
	if typ, body := readPacket(t, small); typ != 3 || len(body) != 7 {
		t.Errorf("type %d, %d bytes", typ, len(body))
	}
	s := connect(t, pahoOptions(b.tcp(), "later"))
	s.subscribe(t, "a", 0)
	want(t, s.next(t), "a="+string(payload)+" r")
}

func TestRetainedTopicsInParts(t *testing.T) {
	r := retained{maxCount: 3000, maxBytes: 1 << 30}
	var all []string
	for i := range 2*topicsAtOnce + 100 {
		topic := fmt.Sprintf("k/%05d", i)
		all = append(all, topic)
		r.put(packets.Packet{TopicName: topic, Payload: []byte("x")}, false)
	}
	r.put(packets.Packet{TopicName: "other", Payload: []byte("x")}, false)
	var got []string
	for after, parts := "", 0; ; parts++ {
		part := r.topics("k/#", after)
		if len(part) == 0 {
			if parts != 3 {
				t.Errorf("%d parts", parts)
			}
			break
		}
		after, got = part[len(part)-1], append(got, part...)
	}
	if !slices.Equal(got, all) {
		t.Errorf("%d of %d topics", len(got), len(all))
	}
}

func begun(u *unfinished) int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.bytes
}

// Large packets that are begun wait for room; one that takes long makes room for others, not one that is being processed.
func TestUnfinished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := &unfinished{most: 100 << 10}
		begin := func() (*conn, net.Conn) {
			inner, ours := net.Pipe()
			c := newConn(inner, remoteAddr("127.0.0.1:1"), 1<<20, &waiters{most: 1 << 20})
			c.connected, c.frame.all = true, u
			go func() {
				for err := error(nil); err == nil; {
					_, err = c.Read(make([]byte, 4096))
				}
				c.frame.end()
			}()
			head := []byte{0x30, 0x80 | 40<<10&0x7f, 0x80 | 40<<10>>7&0x7f, 40 << 10 >> 14}
			for _, b := range head {
				ours.Write([]byte{b})
			}
			return c, ours
		}
		whole, first := begin()
		slow, second := begin()
		synctest.Wait()
		u.complete(whole.frame.large)
		third, ours := begin()
		go ours.Write(make([]byte, 1000))
		synctest.Wait()
		if n := begun(u); n != 80<<10 || slow.isClosed() {
			t.Fatalf("%d bytes", n)
		}
		time.Sleep(unfinishedFor * 3 / 2)
		synctest.Wait()
		if third.isClosed() || whole.isClosed() || slow.why() != errUnfinished {
			t.Errorf("%v, %v, %v", whole.why(), slow.why(), third.why())
		}
		for _, c := range []net.Conn{first, second, ours} {
			c.Close()
		}
		synctest.Wait()
		if n := begun(u); n != 0 {
			t.Errorf("%d bytes are left", n)
		}
	})
}

// Many who hold back the end of a large packet stop nobody who has one to send.
func TestManyUnfinished(t *testing.T) {
	t.Parallel()
	log := &logBuffer{}
	b := startBroker(t, Options{MaxUnfinished: 1 << 20, Log: log.logger()})
	for i := range 20 {
		c := sleeper(t, b, fmt.Sprint("half", i))
		whole := append([]byte{0x30, 0x80, 0x80, 6, 0, 1, 'a'}, make([]byte, 96<<10)...)
		c.Write(whole[:80<<10])
	}
	p := connect(t, pahoOptions(b.tcp(), "p"))
	p.subscribe(t, "b", 1)
	for range 5 {
		payload := strings.Repeat("x", 200<<10)
		p.publish(t, "b", 1, false, payload)
		want(t, p.next(t), "b="+payload)
	}
	if n := begun(&b.unfinished); n > 1<<20 || !strings.Contains(log.String(), "a large packet does not come to its end") {
		t.Errorf("%d bytes; %s", n, log)
	}
}
