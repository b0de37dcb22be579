package sim

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestParseURL(t *testing.T) {
	for _, c := range []struct {
		url  string
		want Config
	}{
		{"sim:", Config{Motes: 5}},
		{"sim:?motes=7&period=2s&seed=-3", Config{Motes: 7, Period: 2 * time.Second, Seed: -3}},
		{"sim:?count=10&numbered=true&health=1m&latency=300ms", Config{Motes: 5, Count: 10, Numbered: true,
			HealthPeriod: time.Minute, Latency: 300 * time.Millisecond}},
		{"sim:?noise=0.01&corrupt=0.02&lostrequest=0.03&lostresponse=0.04&lostack=0.05&duplicate=0.06&gap=0.07&delay=1ms",
			Config{Motes: 5, Faults: Faults{Noise: 0.01, Corrupt: 0.02, LostRequest: 0.03, LostResponse: 0.04, LostAck: 0.05,
				Duplicate: 0.06, Gap: 0.07, Delay: time.Millisecond}}},
		{"sim:?oaplost=0.1&oapwrong=0.2&oapdelay=3s&samplelost=0.4&nack=0.5&drift=-20&clockjump=-5s&silence=4s&reboot=1m",
			Config{Motes: 5, Faults: Faults{OAPLost: 0.1, OAPWrong: 0.2, OAPDelay: 3 * time.Second, SampleLost: 0.4, Nack: 0.5,
				Drift: -20, ClockJump: -5 * time.Second, Silence: 4 * time.Second, Reboot: time.Minute}}},
	} {
		got, err := ParseURL(c.url)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %+v, %v, want %+v", c.url, got, err, c.want)
		}
	}
	for url, want := range map[string]string{
		"tcp://x":                `begin with "sim:"`,
		"sim:motes=5":            "want sim:?NAME=VALUE",
		"sim:?mote=5":            `unknown parameter "mote"; known are motes, period, seed`,
		"sim:?motes=5&motes=6":   "given 2 times",
		"sim:?motes=-1":          "from 0 to 1000",
		"sim:?motes=1001":        "from 0 to 1000",
		"sim:?period=5":          "want a duration",
		"sim:?period=1ms":        "at least 10ms",
		"sim:?reboot=1s":         "at least 10s",
		"sim:?noise=1.5":         "from 0 to 1",
		"sim:?noise=NaN":         "from 0 to 1",
		"sim:?seed=x":            "seed=x",
		"sim:?numbered=perhaps":  "numbered=perhaps",
		"sim:?%zz":               "invalid URL escape",
		"sim:?motes=1;period=2s": "semicolon",
	} {
		if _, err := ParseURL(url); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", url, err, want)
		}
	}
}

// The line's faults: with all of them and a client that keeps the rules, nothing that was acknowledged is missing.
func TestNothingAcknowledgedIsLost(t *testing.T) {
	cfg := Config{Motes: 5, Period: time.Second, Count: 200, Numbered: true, HealthPeriod: -1, KeepAcked: 1 << 20,
		Faults: Faults{Noise: 0.1, Corrupt: 0.1, LostAck: 0.1, Duplicate: 0.1, Gap: 0.1}}
	in(t, cfg, func(t *testing.T, m *Manager, p *peer) {
		session := func() {
			for m.mu.Lock(); m.session == nil || m.session.filter == 0; m.mu.Lock() {
				m.mu.Unlock()
				p.send([]byte{0, 1, 0, 3, 4, 0, 0})
				synctest.Wait()
				p.send([]byte{2, 22, 1, 8, 0, 0, 0, 0x10, 0, 0, 0, 0})
				synctest.Wait()
			}
			m.mu.Unlock()
		}
		for range 1000 {
			session()
			time.Sleep(time.Second)
		}
		got, last := map[[10]byte]bool{}, -1
		for _, q := range p.takeNotes() {
			if last == int(q.seq) {
				continue // a repeat
			}
			last = int(q.seq)
			got[[10]byte(append(q.payload[13:21:21], q.payload[len(q.payload)-2:]...))] = true
		}
		acked := m.Acked()
		for _, payload := range acked {
			if !got[[10]byte(append(payload[13:21:21], payload[len(payload)-2:]...))] {
				t.Fatalf("acknowledged and not seen: %x", payload)
			}
		}
		s := m.Stats()
		if len(acked) != s.Acked || s.Samples != 1000 || s.Acked < 900 || s.Corrupted == 0 || s.Resent == 0 {
			t.Errorf("%d kept, %+v", len(acked), s)
		}
		if p.bad == 0 {
			t.Error("no bad frames")
		}
		clean(t, m)
	})
}

func TestLineFaults(t *testing.T) {
	in(t, Config{}, func(t *testing.T, m *Manager, p *peer) {
		p.hello(0)
		p.subscribe(0)
		m.SetFaults(Faults{Duplicate: 1})
		m.Inject([]byte{2})
		if got := p.takeNotes(); len(got) != 2 || got[0].seq != got[1].seq {
			t.Errorf("duplicate: %v", got)
		}
		before := m.relSeq
		m.SetFaults(Faults{Gap: 1})
		m.Inject([]byte{2})
		if got := p.takeNotes(); len(got) != 1 || got[0].seq-before < 2 || got[0].seq-before > 4 {
			t.Errorf("gap: %v after %d", got, before)
		}
		m.SetFaults(Faults{LostAck: 1})
		m.Inject([]byte{2})
		time.Sleep(700 * time.Millisecond)
		if got := p.takeNotes(); len(got) != 2 {
			t.Errorf("lost acknowledgement: %v", got)
		}
		m.SetFaults(Faults{})
		time.Sleep(time.Second)
		p.takeNotes()
		for name, f := range map[string]Faults{"response": {LostResponse: 1}, "request": {LostRequest: 1}} {
			m.SetFaults(f)
			executed := m.Stats().Requests
			p.seq++
			p.take()
			p.send([]byte{2, 46, p.seq, 0})
			if got := p.take(); len(got) != 0 {
				t.Errorf("lost %s: %v", name, got)
			}
			if n := m.Stats().Requests - executed; n != map[string]int{"response": 1, "request": 0}[name] {
				t.Errorf("lost %s: %d executed", name, n)
			}
			m.SetFaults(Faults{})
			p.seq--
			p.want(rcOK, 46)
		}
		m.SetFaults(Faults{Delay: time.Second})
		p.seq++
		p.send([]byte{2, 46, p.seq, 0})
		time.Sleep(900 * time.Millisecond)
		if got := p.take(); len(got) != 0 {
			t.Errorf("not delayed: %v", got)
		}
		time.Sleep(200 * time.Millisecond)
		if got := p.take(); len(got) != 1 {
			t.Errorf("delayed: %v", got)
		}
		m.SetFaults(Faults{Corrupt: 1})
		if m.Faults().Corrupt != 1 {
			t.Error("Faults")
		}
		for range 200 {
			p.seq++
			p.send([]byte{2, 46, p.seq, 0})
		}
		if got := p.take(); len(got) != 0 || p.bad < 100 {
			t.Errorf("corrupted: %v, %d bad frames", got, p.bad)
		}
	})
}

func TestMeshFaults(t *testing.T) {
	in(t, Config{Motes: 3, Period: time.Second, HealthPeriod: -1}, func(t *testing.T, m *Manager, p *peer) {
		time.Sleep(time.Second)
		p.hello(0)
		p.subscribe(0)
		mac := m.Motes()[0]
		m.SetFaults(Faults{OAPLost: 1})
		p.answered(mac, "050002ff020302000101", "")
		if !m.LED(mac) {
			t.Error("with the answer lost, the request was executed nevertheless")
		}
		m.SetFaults(Faults{Nack: 1})
		p.want(rcNack, 44, append(mac[:], 0, 0xf0, 0xb9, 0xf0, 0xb9, 0)...)
		m.SetFaults(Faults{SampleLost: 1})
		p.takeNotes()
		time.Sleep(10 * time.Second)
		if got := p.takeNotes(); len(got) != 0 {
			t.Errorf("samples not lost: %v", got)
		}
		if got := p.want(rcOK, 64); got[7] == 100 {
			t.Errorf("reliability %d %%", got[7])
		}
		m.SetFaults(Faults{OAPWrong: 1, SampleLost: 1})
		p.want(rcOK, 44, append(append(mac[:], 0, 0xf0, 0xb9, 0xf0, 0xb9, 0), unhex(t, "050001ff0100")...)...)
		time.Sleep(2 * time.Second)
		n := 0
		for _, q := range p.takeNotes() {
			if q.payload[0] == notifData {
				n++
				if bytes.Equal(q.payload[13:21], mac[:]) {
					t.Error("answer from the right mote")
				}
			}
		}
		if n != 1 {
			t.Errorf("%d answers", n)
		}
		m.SetFaults(Faults{OAPDelay: 5 * time.Second, SampleLost: 1})
		p.answered(mac, "050001ff0100", "")
		time.Sleep(5 * time.Second)
		if got := data(p.takeNotes()); len(got) != 1 {
			t.Errorf("late answer: %x", got)
		}
		clean(t, m)
	})
}

func TestClock(t *testing.T) {
	cfg := Config{Faults: Faults{ClockJump: -3 * time.Second, Drift: 100}}
	in(t, cfg, func(t *testing.T, m *Manager, p *peer) {
		p.hello(0)
		check := func(uptime uint32, network time.Duration) {
			t.Helper()
			got := p.want(rcOK, 23)[1:]
			if up := be.Uint32(got); up != uptime {
				t.Errorf("uptime %d, want %d", up, uptime)
			}
			utc := time.Duration(be.Uint64(got[4:])-epoch)*time.Second + time.Duration(be.Uint32(got[12:]))*time.Microsecond
			asn := time.Duration(got[16])<<32 | time.Duration(be.Uint32(got[17:]))
			bySlot := asn*slot + time.Duration(be.Uint16(got[21:]))*time.Microsecond
			if utc != network || bySlot != network {
				t.Errorf("UTC %v, by slot %v, want %v after the start", utc, bySlot, network)
			}
		}
		check(0, 0)
		time.Sleep(9 * time.Second)
		check(9, 9*time.Second+900*time.Microsecond)
		time.Sleep(91 * time.Second)
		check(100, 97*time.Second+10*time.Millisecond)
		m.SetFaults(Faults{})
		m.JumpClock(time.Hour)
		check(100, time.Hour+97*time.Second+10*time.Millisecond)
		m.JumpClock(-24 * time.Hour)
		check(100, 0)
	})
}

// Faults that have their time: silence once, reboots again and again; the motes join anew after each.
func TestTimedFaults(t *testing.T) {
	in(t, Config{Motes: 2, Faults: Faults{Silence: 5 * time.Second, Reboot: time.Minute}}, func(t *testing.T, m *Manager, p *peer) {
		quiet := func() bool {
			m.mu.Lock()
			defer m.mu.Unlock()
			return m.silent(time.Now())
		}
		for _, at := range []struct {
			after time.Duration
			quiet bool
		}{{9 * time.Second, false}, {3 * time.Second, true}, {4 * time.Second, false}} {
			time.Sleep(at.after)
			if quiet() != at.quiet {
				t.Errorf("%v later: quiet is %v", at.after, quiet())
			}
		}
		for range 3 {
			p.hello(0)
			if up := be.Uint32(p.want(rcOK, 23)[1:]); up > 60 {
				t.Errorf("it has run for %d s", up)
			}
			time.Sleep(time.Minute)
		}
	})
}
