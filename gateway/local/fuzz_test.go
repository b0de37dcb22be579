package local

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"
)

// pipeClient writes bytes to the broker as a client of this machine would, and reads what comes until the broker or the
// client has closed.
func pipeClient(b *Broker, stream []byte) (answer []byte) {
	ours, theirs := net.Pipe()
	served := make(chan struct{})
	go func() {
		defer close(served)
		b.serve(theirs, remoteAddr("127.0.0.1:1"))
	}()
	var got bytes.Buffer
	read := make(chan struct{})
	go func() {
		defer close(read)
		_, _ = io.Copy(&got, ours)
	}()
	_ = ours.SetWriteDeadline(time.Now().Add(patience))
	_, _ = ours.Write(stream)
	_ = ours.Close()
	select {
	case <-served:
	case <-time.After(patience / 2):
		stacks := make([]byte, 1<<20)
		panic(fmt.Sprintf("% x hangs:\n%s", stream, stacks[:runtime.Stack(stacks, true)]))
	}
	<-read
	return got.Bytes()
}

// alive reports whether the broker still answers a CONNECT.
func alive(b *Broker) error {
	ours, theirs := net.Pipe()
	served := make(chan struct{})
	go func() {
		defer close(served)
		b.serve(theirs, remoteAddr("127.0.0.1:1"))
	}()
	_ = ours.SetDeadline(time.Now().Add(patience))
	_, err := ours.Write(connectPacket("after", true))
	answer := make([]byte, 4)
	if err == nil {
		_, err = io.ReadFull(ours, answer)
	}
	if err == nil && !bytes.Equal(answer, []byte{0x20, 2, 0, 0}) {
		err = fmt.Errorf("answers % x", answer)
	}
	ours.Close()
	<-served
	return err
}

var mqtt5 = []byte{0x10, 25, 0, 4, 'M', 'Q', 'T', 'T', 5, 2, 0, 60, 8, 0x21, 0, 5, 0x22, 0, 9, 0x19, 1, 0, 1, 'f', 0x26}

// streams are what clients may send: good, bad and nearly good.
var streams = map[string][]byte{
	"connect":            connectPacket("f", true),
	"connect twice":      append(connectPacket("f", true), connectPacket("f", true)...),
	"subscribe":          append(connectPacket("f", true), 0x82, 6, 0, 1, 0, 1, '#', 1),
	"subscribe nothing":  append(connectPacket("f", true), 0x82, 2, 0, 1),
	"subscribe badly":    append(connectPacket("f", false), 0x82, 8, 0, 1, 0, 3, 'a', '#', 'b', 1),
	"subscribe shared":   append(connectPacket("f", true), 0x82, 15, 0, 1, 0, 10, '$', 's', 'h', 'a', 'r', 'e', '/', 'g', '/', '#', 2),
	"publish":            append(connectPacket("f", true), 0x32, 6, 0, 1, 'a', 0, 7, 'x'),
	"publish QoS 2":      append(connectPacket("f", false), 0x34, 6, 0, 1, 'a', 0, 7, 'x', 0x62, 2, 0, 7),
	"publish QoS 3":      append(connectPacket("f", true), 0x36, 6, 0, 1, 'a', 0, 7, 'x'),
	"publish to a#":      append(connectPacket("f", true), 0x30, 4, 0, 2, 'a', '#'),
	"publish to $SYS":    append(connectPacket("f", true), 0x32, 9, 0, 5, '$', 'S', 'Y', 'S', '/', 0, 1),
	"publish cut off":    append(connectPacket("f", true), 0x32, 60, 0, 1, 'a'),
	"publish no UTF-8":   append(connectPacket("f", true), 0x30, 4, 0, 2, 0xff, 0xfe),
	"id 0":               append(connectPacket("f", true), 0x32, 5, 0, 1, 'a', 0, 0),
	"too long":           append(connectPacket("f", true), 0x30, 0xff, 0xff, 0xff, 0x7f),
	"length of 5 bytes":  append(connectPacket("f", true), 0x30, 0xff, 0xff, 0xff, 0xff, 1),
	"long CONNECT":       {0x10, 0xff, 0xff, 0xff, 0x7f, 0, 4},
	"no CONNECT":         {0x30, 3, 0, 1, 'a'},
	"HTTP":               []byte("GET / HTTP/1.1\r\n\r\n"),
	"acks of nothing":    append(connectPacket("f", true), 0x40, 2, 0, 1, 0x50, 2, 0, 1, 0x62, 2, 0, 1, 0x70, 2, 0, 1),
	"server's packets":   append(connectPacket("f", true), 0x20, 2, 0, 0),
	"ping, disconnect":   append(connectPacket("f", true), 0xc0, 0, 0xe0, 0),
	"will":               {0x10, 20, 0, 4, 'M', 'Q', 'T', 'T', 4, 0x26, 0, 0, 0, 1, 'f', 0, 1, 'w', 0, 2, 'h', 'i'},
	"MQTT 5":             append(bytes.Clone(mqtt5), 0x82, 7, 0, 1, 0, 0, 1, '#', 0x2e),
	"MQTT 5 alias":       append(bytes.Clone(mqtt5), 0x30, 6, 0, 0, 3, 0x23, 0, 1),
	"MQTT 5 auth":        append(bytes.Clone(mqtt5), 0xf0, 2, 0x19, 0),
	"MQTT 5 user name":   append(bytes.Clone(mqtt5), 0x32, 14, 0, 1, 'a', 0, 9, 7, 0x26, 0, 1, 'k', 0, 1, 'v', 'x'),
	"MQTT 5 unsubscribe": append(bytes.Clone(mqtt5), 0xa2, 6, 0, 1, 0, 0, 1, '#'),
}

func fuzzBroker(t testing.TB, log *logBuffer) *Broker {
	b, err := Listen(Options{Log: log.logger(), MaxSessions: 10})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// Whatever bytes come, the broker serves the next client, keeps no goroutine, and no packet brings it down.
func TestAnyBytes(t *testing.T) {
	log := &logBuffer{}
	b := fuzzBroker(t, log)
	before := runtime.NumGoroutine()
	for name, stream := range streams {
		for n := range len(stream) + 1 { // every prefix
			pipeClient(b, stream[:n])
		}
		for i := range stream { // every byte different
			for _, bit := range []byte{1, 0x10, 0x80} {
				bad := bytes.Clone(stream)
				bad[i] ^= bit
				pipeClient(b, bad)
			}
		}
		if strings.Contains(log.String(), "panic") {
			t.Fatalf("%s: %s", name, log)
		}
	}
	if err := alive(b); err != nil {
		t.Fatal(err)
	}
	eventually(t, "no goroutine more than before", func() bool { return runtime.NumGoroutine() <= before })
	if s := b.Stats(); s.Clients != 0 || s.Sessions > 10 {
		t.Errorf("%+v", s)
	}
}

func FuzzListener(f *testing.F) {
	for _, stream := range streams {
		f.Add(stream)
	}
	log := &logBuffer{}
	b := fuzzBroker(f, log)
	f.Fuzz(func(t *testing.T, stream []byte) {
		start := time.Now()
		pipeClient(b, stream)
		if d := time.Since(start); d > 2*time.Second {
			t.Fatalf("took %v", d)
		}
		if strings.Contains(log.String(), "panic") {
			t.Fatal(log)
		}
		if err := alive(b); err != nil {
			t.Fatal(err)
		}
	})
}

// What a first packet announces is not allocated.
func TestBeforeConnect(t *testing.T) {
	log := &logBuffer{}
	b := startBroker(t, Options{Log: log.logger()})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 20 {
		c := raw(t, b)
		c.Write([]byte{0x10, 0xa0, 0x8d, 0x06, 0, 4, 'M', 'Q'}) // 100,000 bytes
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Fatal("an answer")
		}
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
		t.Errorf("%d bytes allocated", n)
	}
	if n := strings.Count(log.String(), "no MQTT connection"); n != 1 {
		t.Errorf("%d lines:\n%s", n, log)
	}
}

func TestSilentClient(t *testing.T) {
	t.Parallel()
	b := startBroker(t, Options{})
	silent := raw(t, b)
	start := time.Now()
	if _, err := silent.Read(make([]byte, 1)); err == nil {
		t.Fatal("an answer")
	}
	if d := time.Since(start); d < connectTimeout-time.Second || d > connectTimeout+2*time.Second {
		t.Errorf("cut off after %v", d)
	}
}

func TestBounds(t *testing.T) {
	t.Parallel()
	log := &logBuffer{}
	b := startBroker(t, Options{Log: log.logger(), MaxClients: 3, MaxPacket: 1000, MaxSubscriptions: 2, MaxSessions: 4, MaxRate: 100})
	p := connect(t, pahoOptions(b.tcp(), "p"))
	c := raw(t, b)
	c.Write(connectPacket("raw", true))
	readPacket(t, c)
	for _, filter := range []string{"a#", "a/#/b", "a+", "+a/b", strings.Repeat("/", maxLevels), "$share/#", "$share/g", ""} {
		packet := append([]byte{0, 9, byte(len(filter) >> 8), byte(len(filter))}, filter+"\x01"...)
		c.Write(append([]byte{0x82, byte(len(packet)&0x7f | 0x80), byte(len(packet) >> 7)}, packet...))
		if typ, body := readPacket(t, c); typ != 9 || body[2] != 0x80 {
			t.Errorf("%s: %x % x", short(filter), typ, body)
		}
	}
	c.Write(connectPacket("raw", true)) // once more
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("a second CONNECT")
	}
	gone := func(n int) {
		t.Helper()
		eventually(t, "room", func() bool { return b.Stats().Clients == n })
	}
	gone(1)
	for i, filter := range []string{"a", "b", "c", "a"} {
		if got := p.subscribe(t, filter, 1); (got == 0x80) != (i == 2) {
			t.Errorf("subscription %d: %x", i, got)
		}
	}
	p.Publish("big", 1, false, make([]byte, 1000))
	<-p.lost
	gone(0)
	p = connect(t, pahoOptions(b.tcp(), "p"))
	p.Publish(strings.Repeat("x/", maxLevels), 1, false, "x")
	<-p.lost
	gone(0)
	p = connect(t, pahoOptions(b.tcp(), "p"))
	p.publish(t, "$SYS/x", 1, false, "x") // nobody gets it
	for _, id := range []string{"q", "r"} {
		connect(t, pahoOptions(b.tcp(), id))
	}
	if _, err := tryConnect(pahoOptions(b.tcp(), "s")); err == nil || !strings.Contains(err.Error(), "navailable") {
		t.Errorf("one more than may: %v", err)
	}
	p.Disconnect(0)
	gone(2)
	for i := range 2 {
		s := connect(t, pahoOptions(b.tcp(), "s"+string(rune('0'+i))).SetCleanSession(false))
		s.Disconnect(50)
		gone(2)
	}
	if _, err := tryConnect(pahoOptions(b.tcp(), "s2").SetCleanSession(false)); err == nil {
		t.Error("a session more than may")
	}
	if _, err := tryConnect(pahoOptions(b.tcp(), strings.Repeat("x", 257))); err == nil {
		t.Error("a long client id")
	}
	fast := connect(t, pahoOptions(b.tcp(), "fast"))
	start := time.Now()
	for range 150 { // 100 at once, 50 at 100 a second
		fast.publish(t, "a", 1, false, "x")
	}
	if d := time.Since(start); d < 400*time.Millisecond {
		t.Errorf("150 messages in %v", d)
	}
	for _, line := range []string{"a packet is too large", "not a topic to publish to", "$SYS is not for clients", "too many clients",
		"too many persistent sessions", "a client id that is too long", "not valid\" client=raw", "not valid\" client=p", "it sends too fast",
		"not what MQTT allows"} {
		if n := strings.Count(log.String(), line); n != 1 {
			t.Errorf("%q is in the log %d times", line, n)
		}
	}
}
