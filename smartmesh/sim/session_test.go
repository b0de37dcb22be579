package sim

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"
)

func TestMgrHelloWhileNoSession(t *testing.T) {
	in(t, Config{}, func(t *testing.T, m *Manager, p *peer) {
		time.Sleep(10 * time.Second)
		got := p.take()
		if len(got) < 6 || len(got) > 11 {
			t.Fatalf("%d packets in 10 s without a session, want one each 1 to 2 s", len(got))
		}
		for _, q := range got {
			if want := unhex(t, "0003000204"+"00"); !bytes.Equal(q.raw, want) {
				t.Errorf("got %x, want %x", q.raw, want)
			}
		}
		p.hello(7)
		time.Sleep(10 * time.Second)
		if got := p.take(); len(got) != 0 {
			t.Errorf("%d packets in a session without a request", len(got))
		}
		clean(t, m)
	})
}

func TestHelloAnswers(t *testing.T) {
	for _, c := range []struct{ hello, want string }{
		{"04ff00", "000400ff00"},
		{"042a00", "0004002a00"},
		{"032a00", "0104002a00"}, // a version the manager does not speak
		{"042a01", "0204002a01"}, // a mode it does not know
	} {
		in(t, Config{}, func(t *testing.T, m *Manager, p *peer) {
			p.take()
			p.send(append([]byte{0, 1, 0, 3}, unhex(t, c.hello)...))
			got := p.take()
			if len(got) != 1 || !bytes.Equal(got[0].payload, unhex(t, c.want)) || got[0].control != 0 || got[0].kind != 2 {
				t.Errorf("hello %s: got %v, want %s", c.hello, got, c.want)
			}
			time.Sleep(4 * time.Second)
			if open := len(p.take()) == 0; open != (c.want[:2] == "00") {
				t.Errorf("hello %s: session open is %v", c.hello, open)
			}
		})
	}
}

// A hello in a session starts anew: nothing is subscribed, and requests count from its own number.
func TestHelloInSession(t *testing.T) {
	in(t, Config{Motes: 1, Period: time.Second}, func(t *testing.T, m *Manager, p *peer) {
		p.hello(0)
		p.subscribe(0)
		time.Sleep(3 * time.Second)
		if len(p.takeNotes()) == 0 {
			t.Fatal("no notifications")
		}
		before := m.relSeq
		if got := p.hello(200); got[2] != before {
			t.Errorf("mgrSeqNo %d, want that of the last reliable packet, %d", got[2], before)
		}
		p.want(rcOK, 46)
		time.Sleep(3 * time.Second)
		if n := len(p.takeNotes()); n != 0 {
			t.Errorf("%d notifications without a subscription", n)
		}
		p.subscribe(0)
		time.Sleep(time.Second)
		if got := p.takeNotes(); len(got) == 0 || got[0].seq != before+1 {
			t.Errorf("numbers of reliable packets do not go on: %v", got)
		}
		clean(t, m)
	})
}

func TestRepeatIsExecutedOnce(t *testing.T) {
	in(t, Config{Motes: 1}, func(t *testing.T, m *Manager, p *peer) {
		p.hello(0)
		p.subscribe(0)
		time.Sleep(time.Second)
		p.takeNotes()
		mac := m.Motes()[0]
		req := append(mac[:], 0, 0xf0, 0xb9, 0xf0, 0xb9, 0, 1, 2, 3)
		first := p.want(rcOK, 44, req...)
		for range 3 {
			p.seq--
			if again := p.want(rcOK, 44, req...); !bytes.Equal(first, again) {
				t.Errorf("repeat answered with %x, first with %x", again, first)
			}
		}
		time.Sleep(time.Second)
		if n := len(events(p.takeNotes(), eventPacketSent)); n != 1 {
			t.Errorf("%d packets sent, want 1", n)
		}
		if s := m.Stats(); s.Repeats != 3 {
			t.Errorf("%d repeats counted, want 3", s.Repeats)
		}
		clean(t, m)
	})
}

func TestViolations(t *testing.T) {
	in(t, Config{}, func(t *testing.T, m *Manager, p *peer) {
		p.send([]byte{2, 46, 1, 0}) // no session yet
		violated(t, m, 1)
		p.hello(0)
		p.want(rcOK, 46)
		p.seq += 2 // two numbers left out: answered all the same
		p.want(rcOK, 46)
		violated(t, m, 1)
		p.want(rcOK, 46) // and counted on from there
		violated(t, m, 0)
		p.seq-- // another request under a used number
		p.want(rcOK, 23)
		violated(t, m, 1)
		p.take()
		p.send([]byte{0, 46, 9, 0}) // without the acknowledged service: no answer
		if got := p.take(); len(got) != 0 {
			t.Errorf("answered: %v", got)
		}
		violated(t, m, 1)
		p.send([]byte{3, 20, 9, 1, 0}) // acknowledgement of nothing
		p.send([]byte{3, 46, 9, 1, 0}) // of something that is never acknowledged
		violated(t, m, 2)
		p.send([]byte{2, 46, 9, 1}) // wrong length
		p.send([]byte{2, 46})       // no header
		violated(t, m, 2)
		p.want(rcInvalidArgument, 46, 0) // one byte too many
		p.want(rcInvalidArgument, 42, 1) // too few
		violated(t, m, 2)
		p.want(rcInvalidCommand, 52)
		p.want(rcInvalidCommand, 255)
		violated(t, m, 0)
	})
}

func TestOverlappingRequests(t *testing.T) {
	in(t, Config{Faults: Faults{Delay: 300 * time.Millisecond}}, func(t *testing.T, m *Manager, p *peer) {
		p.send([]byte{0, 1, 0, 3, 4, 0, 0})
		time.Sleep(time.Second)
		p.send([]byte{2, 46, 1, 0})
		p.send([]byte{2, 46, 1, 0}) // a repeat is in order
		time.Sleep(time.Second)
		violated(t, m, 0)
		p.send([]byte{2, 46, 2, 0})
		p.send([]byte{2, 23, 3, 0}) // another request is not
		violated(t, m, 1)
	})
}

func TestReliableUntilAcknowledged(t *testing.T) {
	in(t, Config{}, func(t *testing.T, m *Manager, p *peer) {
		p.set(func() { p.ack = false })
		p.hello(0)
		p.subscribe(0)
		m.Inject([]byte{2, 1})
		m.Inject([]byte{2, 2})
		time.Sleep(1200 * time.Millisecond)
		got := p.takeNotes()
		if len(got) != 3 {
			t.Fatalf("sent %d times in 1.2 s, want 3", len(got))
		}
		for _, q := range got {
			if !bytes.Equal(q.raw, []byte{2, 20, got[0].seq, 2, 2, 1}) {
				t.Errorf("got %x", q.raw)
			}
		}
		p.send([]byte{0x01, 20, got[0].seq, 1, 0}) // the C library's form
		next := p.takeNotes()
		if len(next) != 1 || next[0].seq != got[0].seq+1 || next[0].payload[1] != 2 {
			t.Fatalf("after the acknowledgement: %v", next)
		}
		p.send([]byte{0x03, 20, got[0].seq, 1, 0}) // every repeat may be acknowledged
		p.send([]byte{0x03, 20, got[0].seq, 1, 0})
		violated(t, m, 2) // they were late, no more
		p.send([]byte{0x03, 20, got[0].seq, 1, 0})
		violated(t, m, 1) // more often than it was sent
		p.take()
		time.Sleep(5 * time.Second)
		if n := len(p.takeNotes()); n != maxSends-1 {
			t.Errorf("repeated %d times, want %d", n, maxSends-1)
		}
		if others := p.take(); len(others) == 0 || others[0].kind != kindMgrHello {
			t.Errorf("the session was not dropped: %v", others)
		}
		if s := m.Stats(); s.Dropped != 1 || s.Acked != 1 {
			t.Errorf("%+v", s)
		}
	})
}

func TestLateAcknowledgement(t *testing.T) {
	in(t, Config{}, func(t *testing.T, m *Manager, p *peer) {
		p.hello(0)
		p.subscribe(0)
		p.set(func() { p.ackWait = 190 * time.Millisecond })
		m.Inject([]byte{2})
		time.Sleep(time.Second)
		violated(t, m, 0)
		p.set(func() { p.ackWait = 210 * time.Millisecond })
		m.Inject([]byte{2})
		time.Sleep(time.Second)
		violated(t, m, 1)
	})
}

func TestSubscription(t *testing.T) {
	in(t, Config{KeepAcked: 2}, func(t *testing.T, m *Manager, p *peer) {
		p.hello(0)
		p.want(rcOK, 22, 0, 0, 0, 0x14, 0, 0, 0, 0x30)
		for kind, want := range map[byte]bool{1: false, 2: true, 4: true, 5: false, 6: false, 40: false} {
			if got := m.Inject([]byte{kind}); got != want {
				t.Errorf("type %d sent: %v", kind, got)
			}
		}
		for _, q := range p.takeNotes() {
			if want := map[byte]byte{2: 2, 4: 0}[q.payload[0]]; q.control != want {
				t.Errorf("type %d came with control %d, want %d", q.payload[0], q.control, want)
			}
		}
		for i := range byte(4) {
			m.Inject([]byte{2, i})
		}
		synctest.Wait()
		if got := m.Acked(); len(got) != 2 || got[0][1] != 2 || got[1][1] != 3 {
			t.Errorf("acknowledged: %v", got)
		}
		p.want(rcOK, 22, 0, 0, 0, 0, 0, 0, 0, 0xff)
		if m.Inject([]byte{4}) || m.Subscribed(4) {
			t.Error("filter 0 and still subscribed")
		}
	})
}

func TestQueueDropsOldest(t *testing.T) {
	in(t, Config{Queue: 3}, func(t *testing.T, m *Manager, p *peer) {
		p.set(func() { p.ack = false })
		p.hello(0)
		p.subscribe(0)
		for i := range byte(10) {
			m.Inject([]byte{2, i})
		}
		synctest.Wait()
		p.set(func() { p.ack = true })
		time.Sleep(600 * time.Millisecond)
		var got []byte
		for _, q := range p.takeNotes()[1:] {
			got = append(got, q.payload[1])
		}
		if !bytes.Equal(got, []byte{0, 7, 8, 9}) {
			t.Errorf("delivered %v, want 0 7 8 9", got)
		}
		if s := m.Stats(); s.Overflow != 6 {
			t.Errorf("overflow %d, want 6", s.Overflow)
		}
	})
}

// A client that looks for repeats as the vendor's C library does, by the number of whatever came before, loses nothing.
func TestNumbersSideBySide(t *testing.T) {
	in(t, Config{Motes: 5, Period: time.Second}, func(t *testing.T, m *Manager, p *peer) {
		last := p.hello(0)[2]
		p.subscribe(1 << notifData)
		lost, unacknowledged := 0, 0
		for range 400 {
			time.Sleep(time.Second)
			for _, q := range p.takeNotes() {
				if q.control&ackService == 0 {
					unacknowledged++
				}
				if q.seq == last {
					lost++
				}
				last = q.seq
			}
		}
		if lost > 0 || unacknowledged < 1500 {
			t.Errorf("%d of the packets have the number of the one before, %d are unacknowledged", lost, unacknowledged)
		}
	})
}
