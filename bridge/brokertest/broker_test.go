package brokertest

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// talk sends raw to a new connection of b and returns what it answers until it has sent want bytes, or hangs up.
func talk(t *testing.T, b *Broker, raw string, want int) (net.Conn, string) {
	t.Helper()
	c, err := b.Dial(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	go c.Write([]byte(raw))
	got := make([]byte, want)
	n, _ := io.ReadFull(c, got)
	return c, string(got[:n])
}

const connectGW = "\x10\x0e\x00\x04MQTT\x04\x02\x00\x0a\x00\x02gw"

func TestBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New()
		defer b.Close()
		c, got := talk(t, b, connectGW+"\x82\x06\x00\x09\x00\x01#\x01"+"\x32\x06\x00\x01a\x00\x07x"+"\xc0\x00", 4+5+8+4+2)
		if want := "\x20\x02\x00\x00\x90\x03\x00\x09\x01\x32\x06\x00\x01a\x00\x01x\x40\x02\x00\x07\xd0\x00"; got != want {
			t.Errorf("answered\n%x, want\n%x", got, want)
		}
		if p := b.Published(); len(p) != 1 || p[0].Client != "gw" || p[0].Topic != "a" || string(p[0].Payload) != "x" || p[0].ID != 7 {
			t.Errorf("%+v", p)
		}
		c.Close()
	})
}

func TestBrokerRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New()
		defer b.Close()
		for raw, want := range map[string]string{
			"\xc0\x00":                              "", // not CONNECT
			connectGW + connectGW:                   "\x20\x02\x00\x00",
			"\x10\x02\x00\x04":                      "",
			connectGW + "\x36\x03\x00\x01a":         "\x20\x02\x00\x00", // qos 3
			connectGW + "\x30\x03\x00\x01#":         "\x20\x02\x00\x00",
			connectGW + "\x80\x05\x00\x09\x00\x01#": "\x20\x02\x00\x00", // wrong flags
			connectGW + "\xe0\x00":                  "\x20\x02\x00\x00",
		} {
			if _, got := talk(t, b, raw, 100); got != want {
				t.Errorf("%x: answered %x and hung up, want %x", raw, got, want)
			}
		}
	})
}

func TestMatch(t *testing.T) {
	for _, m := range []struct {
		filter, topic string
		want          bool
	}{{"#", "a/b", true}, {"a/#", "a", true}, {"+", "a/b", false}, {"+/b", "a/b", true}, {"#", "$SYS", false}, {"a", "b", false}} {
		if Match(m.filter, m.topic) != m.want {
			t.Errorf("%+v", m)
		}
	}
}

// echo is a server that returns what it gets.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				io.Copy(c, onlyReader{c})
				c.Close()
			}()
		}
	}()
	return l.Addr().String()
}

func TestProxy(t *testing.T) {
	target := echo(t)
	text := bytes.Repeat([]byte("0123456789"), 100)
	for name, c := range map[string]struct {
		f    Fault
		want int // bytes that come back within 100 ms
	}{
		"nothing":    {Fault{After: 1 << 40}, 1000},
		"cut up":     {Fault{After: 500, Do: Cut}, 500},
		"cut down":   {Fault{After: 7, Do: Cut, Down: true}, 7},
		"stall":      {Fault{After: 123, Do: Stall}, 123},
		"stall down": {Fault{After: 0, Do: Stall, Down: true}, 0},
		"hiccup":     {Fault{After: 123, Do: Stall, For: time.Millisecond}, 1000},
		"delay":      {Fault{After: 990, Do: Delay, For: time.Millisecond}, 1000},
	} {
		p, err := NewProxy(target, c.f)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := net.Dial("tcp", p.Addr())
		if err != nil {
			t.Fatal(err)
		}
		go conn.Write(text)
		deadline := 10 * time.Second
		if c.f.Do == Stall {
			deadline = 100 * time.Millisecond
		}
		conn.SetReadDeadline(time.Now().Add(deadline))
		got := make([]byte, len(text))
		n, _ := io.ReadFull(conn, got)
		// What was on its way back when the connection was cut may be lost with it.
		if n > c.want || n < c.want && c.f.Do != Cut || !bytes.Equal(got[:n], text[:n]) {
			t.Errorf("%s: %d bytes came back, want %d", name, n, c.want)
		}
		conn.Close()
		p.Close()
	}
}

// FuzzPackets: no bytes make the parsers panic, and a PUBLISH that is read is written so that it is read again.
func FuzzPackets(f *testing.F) {
	f.Add([]byte(connectGW))
	f.Add([]byte("\x32\x06\x00\x01a\x00\x07x"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) > 1 && raw[1] >= 0x80 {
			return // a length beyond what a test should allocate
		}
		p, err := readPacket(bufio.NewReader(bytes.NewReader(raw)))
		if err != nil {
			return
		}
		parseConnect(p)
		parseSubscribe(p)
		m, err := parsePublish(p)
		if err != nil {
			return
		}
		again, err := readPacket(bufio.NewReader(bytes.NewReader(AppendPublish(nil, m))))
		if err != nil || !bytes.Equal(again.Body, p.Body) {
			t.Errorf("%x became %x, %v", p.Body, again.Body, err)
		}
	})
}
