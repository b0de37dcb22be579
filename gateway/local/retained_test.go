package local

import (
	"fmt"
	"strings"
	"testing"
)

func TestRetained(t *testing.T) {
	b := startBroker(t, Options{MaxRetained: 302})
	p := connect(t, pahoOptions(b.tcp(), "p"))
	for i := range 300 { // more than may wait for a client
		p.publish(t, fmt.Sprintf("r/%03d", i), 1, true, fmt.Sprint(i))
	}
	p.subscribe(t, "nothing", 0) // the last one has been sent to all
	s := connect(t, pahoOptions(b.tcp(), "s"))
	s.subscribe(t, "r/#", 1)
	for i := range 300 {
		want(t, s.next(t), fmt.Sprintf("r/%03d=%d r", i, i))
	}
	p.publish(t, "r/000", 1, true, "new")
	want(t, s.next(t), "r/000=new") // live: without the flag
	p.publish(t, "r/001", 1, true, "")
	want(t, s.next(t), "r/001=")
	s.subscribe(t, "+/000", 0)
	want(t, s.next(t), "r/000=new r")
	if n := b.Stats().Retained; n != 299 {
		t.Errorf("%d retained", n)
	}
	for i := range 5 {
		p.publish(t, fmt.Sprint("more/", i), 1, true, "x")
	}
	b.Publish("own", []byte("x"), true)
	eventually(t, "the gateway's message", func() bool { return b.Stats().Published == 1 })
	if st := b.Stats(); st.Retained != 303 || st.NotRetained != 2 {
		t.Errorf("%+v", st)
	}
}

// While messages are retained and others subscribe with wildcards: for the race detector, and what a client gets last
// is what holds.
func TestRetainedWhileSubscribing(t *testing.T) {
	t.Parallel()
	b := startBroker(t, Options{})
	bursts, done := make(chan struct{}, 1), make(chan struct{})
	go func() {
		defer close(done)
		for range bursts {
			for i := range 200 {
				b.Publish(fmt.Sprint("k/", i%3), []byte(fmt.Sprint(i)), i%7 != 0)
			}
		}
		b.Publish("k/1", []byte("end"), true)
	}()
	p := connect(t, pahoOptions(b.tcp(), "p"))
	var subs []*peer
	for i := range 5 {
		s := connect(t, pahoOptions(b.tcp(), fmt.Sprint("s", i)))
		bursts <- struct{}{}
		s.subscribe(t, "k/+", 0)
		subs = append(subs, s)
		p.publish(t, "other/x", 1, true, fmt.Sprint(i))
	}
	close(bursts)
	<-done
	for _, s := range subs {
		for !strings.HasPrefix(s.next(t), "k/1=end") {
		}
	}
}

// What is published after the SUBACK comes once, as a live message.
func TestRetainedAfterSubscribing(t *testing.T) {
	b := startBroker(t, Options{})
	p := connect(t, pahoOptions(b.tcp(), "p"))
	for i := range 200 {
		topic := fmt.Sprint("t/", i)
		p.subscribe(t, topic, 0)
		b.Publish(topic, []byte("x"), true)
		want(t, p.next(t), topic+"=x")
	}
}
