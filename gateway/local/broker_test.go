package local

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestPublishAndSubscribe(t *testing.T) {
	in := newBox()
	b := startBroker(t, Options{Intake: in.intake})
	b.Publish("gateway/status", []byte("online"), true)
	eventually(t, "its publication", func() bool { return b.Stats().Published == 1 })
	one := connect(t, pahoOptions(b.tcp(), "one"))
	if q := one.subscribe(t, "#", 1); q != 1 {
		t.Fatalf("granted %d", q)
	}
	want(t, one.next(t), "gateway/status=online r")
	two := connect(t, pahoOptions(b.tcp(), "two"))
	two.publish(t, "a/b", 1, false, "x")
	want(t, one.next(t), "a/b=x")
	b.Publish("c", []byte("y"), false)
	want(t, one.next(t), "c=y")
	two.publish(t, "d", 2, false, "z")
	want(t, one.next(t), "d=z")
	got := in.wait(t, 2)
	if len(got) != 2 || got[0].Topic != "a/b" || got[0].Client != "two" || got[0].QoS != 1 || string(got[0].Payload) != "x" {
		t.Fatalf("%+v", got)
	}
	for _, topic := range []string{"", "a/#", "+", "a\x00", "\xff", strings.Repeat("a", maxTopic+1), strings.Repeat("/", maxLevels)} {
		if err := b.Publish(topic, nil, false); !errors.Is(err, ErrTopic) {
			t.Errorf("Publish(%q): %v", short(topic), err)
		}
	}
	eventually(t, "its count", func() bool { return b.Stats().Published == 2 })
	if s := b.Stats(); s.Clients != 2 || s.Retained != 1 || s.Received != 2 || s.Published != 2 || s.Dropped != 7 {
		t.Errorf("%+v", s)
	}
	if s := b.Status(); !s.Up || s.Detail != b.tcp()+", 2 clients" {
		t.Errorf("%+v", s)
	}
}

// PUBACK comes after Intake, and not at all where Intake fails.
func TestCustody(t *testing.T) {
	var fail atomic.Bool
	entered, release := make(chan Message, 10), make(chan struct{})
	b := startBroker(t, Options{Intake: func(m Message) error {
		entered <- m
		<-release
		if fail.Load() {
			return errors.New("disk full")
		}
		return nil
	}})
	watch := connect(t, pahoOptions(b.tcp(), "watch"))
	watch.subscribe(t, "#", 1)
	dev := connect(t, pahoOptions(b.tcp(), "dev").SetWill("dev/will", "gone", 1, false))
	tok := dev.Publish("a", 1, false, "1")
	<-entered
	select {
	case <-tok.Done():
		t.Fatal("acknowledged before it is stored")
	case m := <-watch.got:
		t.Fatalf("%s sent on before it is stored", m.Topic())
	case <-time.After(50 * time.Millisecond):
	}
	release <- struct{}{}
	if !tok.WaitTimeout(patience) || tok.Error() != nil {
		t.Fatal("not acknowledged", tok.Error())
	}
	want(t, watch.next(t), "a=1")

	fail.Store(true)
	close(release)
	tok = dev.Publish("a", 1, false, "2")
	if m := <-entered; string(m.Payload) != "2" {
		t.Fatalf("%+v", m)
	}
	if !tok.WaitTimeout(patience) || tok.Error() == nil {
		t.Fatal("acknowledged though it is not stored")
	}
	want(t, watch.next(t), "dev/will=gone") // and the will counts as a message
	if m := <-entered; m.Topic != "dev/will" || m.Client != "dev" {
		t.Fatalf("%+v", m)
	}
	if s := b.Stats(); s.NotStored != 2 {
		t.Fatalf("%+v", s)
	}
}

// Messages of different clients are in Intake at the same time, so that they can share a disk sync.
func TestIntakeOfManyAtOnce(t *testing.T) {
	const n = 32
	var together sync.WaitGroup
	together.Add(n)
	b := startBroker(t, Options{Intake: func(Message) error {
		together.Done()
		together.Wait() // all of them
		return nil
	}})
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			p, err := tryConnect(pahoOptions(b.tcp(), fmt.Sprint("c", i)))
			if err != nil {
				t.Error(err)
				return
			}
			defer p.Disconnect(0)
			if tok := p.Publish("t", 1, false, "x"); !tok.WaitTimeout(patience) || tok.Error() != nil {
				t.Error("no PUBACK", tok.Error())
			}
		})
	}
	all.Wait()
}

// The one that connects again with the same id is not the one that loses.
func TestTakeOver(t *testing.T) {
	b := startBroker(t, Options{})
	watch := connect(t, pahoOptions(b.tcp(), "watch"))
	watch.subscribe(t, "state", 1)
	for i := range 20 {
		p := connect(t, pahoOptions(b.tcp(), "same").SetWill("state", "offline", 1, true))
		p.subscribe(t, "to/same", 1)
		p.publish(t, "state", 1, true, fmt.Sprint("online", i))
		if i > 0 {
			want(t, watch.next(t), "state=offline") // of the former one
		}
		want(t, watch.next(t), fmt.Sprint("state=online", i))
		b.Publish("to/same", []byte("x"), false)
		want(t, p.next(t), "to/same=x")
	}
	if s := b.Stats(); s.Clients != 2 || s.Sessions != 2 || s.Subscriptions != 2 {
		t.Errorf("%+v", s)
	}
}

func TestMosquittoClients(t *testing.T) {
	t.Parallel()
	in := newBox()
	b := startBroker(t, Options{Intake: in.intake})
	_, port, _ := net.SplitHostPort(b.Addr().String())
	for _, version := range []string{"mqttv31", "mqttv311", "mqttv5"} {
		for qos := range 3 {
			t.Run(fmt.Sprint(version, " QoS ", qos), func(t *testing.T) {
				topic := fmt.Sprint(version, "/", qos)
				sub := exec.Command(program(t, "mosquitto_sub"), "-p", port, "-V", version, "-q", fmt.Sprint(qos), "-t", topic+"/#", "-C", "2", "-W", "10", "-v")
				var out strings.Builder
				sub.Stdout = &out
				eventually(t, "nobody", func() bool { return b.Stats().Subscriptions == 0 })
				if err := sub.Start(); err != nil {
					t.Fatal(err)
				}
				eventually(t, "its subscription", func() bool { return b.Stats().Subscriptions > 0 })
				for i := range 2 {
					pub := exec.Command(program(t, "mosquitto_pub"), "-p", port, "-V", version, "-q", fmt.Sprint(qos), "-t", fmt.Sprint(topic, "/", i), "-m", "hello", "-r")
					if text, err := pub.CombinedOutput(); err != nil {
						t.Fatalf("%v: %s", err, text)
					}
				}
				if err := sub.Wait(); err != nil {
					t.Fatal(err)
				}
				want(t, out.String(), topic+"/0 hello\n"+topic+"/1 hello\n")
				sub = exec.Command(program(t, "mosquitto_sub"), "-p", port, "-V", version, "-q", fmt.Sprint(qos), "-t", topic+"/+", "-C", "2", "-W", "10", "-F", "%t %r")
				text, err := sub.Output()
				if err != nil {
					t.Fatal(err)
				}
				want(t, string(text), topic+"/0 1\n"+topic+"/1 1\n")
			})
		}
	}
	in.wait(t, 18)
}

// One client and 32 that wait for each PUBACK before they publish again; and what goes on to a subscriber.
func BenchmarkPuback(b *testing.B) {
	for _, clients := range []int{1, 32} {
		b.Run(fmt.Sprint(clients, " clients"), func(b *testing.B) {
			broker, err := Listen(Options{Listen: "tcp://127.0.0.1:0", MaxRate: 1e6})
			if err != nil {
				b.Fatal(err)
			}
			defer broker.Close()
			var left atomic.Int64
			left.Store(int64(b.N))
			var all sync.WaitGroup
			for i := range clients {
				c, err := net.Dial("tcp", broker.Addr().String())
				if err != nil {
					b.Fatal(err)
				}
				defer c.Close()
				answer := make([]byte, 4)
				c.Write(connectPacket(fmt.Sprint("c", i), true))
				c.Read(answer)
				all.Go(func() {
					for left.Add(-1) >= 0 {
						c.Write([]byte{0x32, 10, 0, 3, 'a', '/', 'b', 0, 7, '2', '2', '.'})
						c.Read(answer)
					}
				})
			}
			all.Wait()
		})
	}
}

// An acknowledgement has no properties that its message had, and success for its reason.
func TestBareAcks(t *testing.T) {
	t.Parallel()
	b := startBroker(t, Options{})
	c, err := net.Dial("tcp", b.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	c.Write([]byte{0x10, 14, 0, 4, 'M', 'Q', 'T', 'T', 5, 2, 0, 60, 0, 0, 1, 'k'})
	read := func() []byte {
		t.Helper()
		head := make([]byte, 2)
		if _, err := io.ReadFull(c, head); err != nil {
			t.Fatal(err)
		}
		body := make([]byte, head[1])
		if _, err := io.ReadFull(c, body); err != nil {
			t.Fatal(err)
		}
		return append(head, body...)
	}
	if ack := read(); ack[0] != 0x20 {
		t.Fatalf("% x is no CONNACK", ack)
	}
	c.Write([]byte{0x32, 14, 0, 1, 'a', 0, 9, 7, 0x26, 0, 1, 'k', 0, 1, 'v', 'x'})
	if ack := read(); !bytes.HasPrefix([]byte{0x40, ack[1], 0, 9, 0, 0}, ack) {
		t.Errorf("% x", ack)
	}
}
