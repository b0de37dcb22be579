package sim

import (
	"bytes"
	"encoding/hex"
	"testing"
	"time"
)

// ask sends an OAP message to a mote and returns the answers that came within two seconds.
func (p *peer) ask(mac [8]byte, message string) (answers []string) {
	p.t.Helper()
	p.takeNotes()
	p.want(rcOK, 44, append(append(mac[:], 0, 0xf0, 0xb9, 0xf0, 0xb9, 0), unhex(p.t, message)...)...)
	time.Sleep(2 * time.Second)
	for _, q := range p.takeNotes() {
		if q.payload[0] == notifData && q.payload[25]&oapResponse != 0 {
			if from := [8]byte(q.payload[13:21]); from != mac && mac != broadcast {
				p.t.Errorf("answer from %x, asked %x", from, mac)
			}
			answers = append(answers, hex.EncodeToString(q.payload[25:]))
		}
	}
	return answers
}

func (p *peer) answered(mac [8]byte, message, want string) {
	p.t.Helper()
	got := p.ask(mac, message)
	if want == "" && len(got) != 0 || want != "" && (len(got) != 1 || got[0] != want) {
		p.t.Errorf("%s: got %v, want %q", message, got, want)
	}
}

func TestOAPResults(t *testing.T) {
	in(t, Config{Motes: 2, HealthPeriod: -1, Period: time.Hour}, func(t *testing.T, m *Manager, p *peer) {
		time.Sleep(3 * time.Second)
		p.hello(0)
		p.subscribe(0)
		mac := m.Motes()[0]
		for _, c := range []struct{ message, want string }{
			{"050002ff020302000101", "03000200ff020302"},   // LED on
			{"053102ff020302000101", "03310200ff020302"},   // the id comes back
			{"040002ff020302000101", ""},                   // wants no answer
			{"050001ff020302", "03000108ff020302"},         // write-only
			{"050002ff020303000101", "03000201ff020303"},   // no such output
			{"050002ff020302000102", "03000204ff020302"},   // neither 0 nor 1
			{"050002ff0203020000", "03000209ff020302"},     // no value
			{"050002ff02030200020001", "0300020aff020302"}, // too long a value
			{"050002ff020302010101", "03000203ff020302"},   // no such field
			{"050002ff0100000101", "03000207ff0100"},       // read-only
			{"050002000101", "03000205"},                   // no address
			{"050003ff0105000101", "03000306ff0105"},       // POST
			{"050004ff0105", "03000406ff0105"},             // DELETE
			{"050002ff01050001", "03000209ff0105"},         // cut
			{"050001ff02fe00", "03000100ff01fe000400000000"},
			{"050002ff01fe000400000007", "03000200ff01fe"},
			{"050001ff01fe", "03000100ff01fe000400000007"},
			{"050002ff0105010400000005", "03000204ff0105"}, // faster than a mote can
			{"050002ff020200020101", "03000209ff020200"},   // sampleCount of a digital input has two bytes
			{"050001ff0101", "03000100ff01010010ff0200000000000000000000000000020102f0b9"},
			{"0500", ""},
			{"03000200ff0105", ""},
		} {
			p.answered(mac, c.message, c.want)
		}
		if !m.LED(mac) || m.LED(m.Motes()[1]) || m.LED([8]byte{}) {
			t.Error("LED")
		}
		p.answered(mac, "050002ff020302000100", "03000200ff020302")
		if m.LED(mac) {
			t.Error("LED still on")
		}
		if got := p.ask(broadcast, "050002ff020302000101"); len(got) != 2 || !m.LED(mac) || !m.LED(m.Motes()[1]) {
			t.Errorf("broadcast: %v", got)
		}
		m.RestartMote(mac)
		time.Sleep(time.Second)
		if m.LED(mac) {
			t.Error("LED on after a restart")
		}
		clean(t, m)
	})
}

// Without sync, the same id again is a repeat: it is answered from store and not executed.
func TestOAPRepeatWithoutSync(t *testing.T) {
	in(t, Config{Motes: 1, HealthPeriod: -1, Period: time.Hour}, func(t *testing.T, m *Manager, p *peer) {
		time.Sleep(3 * time.Second)
		p.hello(0)
		p.subscribe(0)
		mac := m.Motes()[0]
		p.answered(mac, "010302ff020302000101", "03030200ff020302")
		p.answered(mac, "010302ff020302000100", "03030200ff020302")
		if !m.LED(mac) {
			t.Error("the repeat was executed")
		}
		p.answered(mac, "010402ff020302000100", "03040200ff020302")
		if m.LED(mac) {
			t.Error("a new id was not executed")
		}
	})
}

func TestTemperatureRate(t *testing.T) {
	in(t, Config{Motes: 1, HealthPeriod: -1, Period: time.Second}, func(t *testing.T, m *Manager, p *peer) {
		p.hello(0)
		p.subscribe(0x30)
		time.Sleep(2 * time.Second)
		mac := m.Motes()[0]
		count := func(d time.Duration) int {
			p.takeNotes()
			time.Sleep(d)
			return len(data(p.takeNotes()))
		}
		if n := count(60 * time.Second); n != 60 {
			t.Errorf("%d samples a minute at 1 s", n)
		}
		p.answered(mac, "050002ff0105000101010400001388", "03000200ff0105")
		if n := count(60 * time.Second); n != 12 {
			t.Errorf("%d samples a minute at 5 s", n)
		}
		p.answered(mac, "050002ff0105020103", "03000200ff0105") // three samples in a report
		if n := count(60 * time.Second); n != 4 {
			t.Errorf("%d reports a minute at 3 times 5 s", n)
		}
		p.answered(mac, "050002ff0105000100", "03000200ff0105")
		if n := count(60 * time.Second); n != 0 {
			t.Errorf("%d samples a minute, disabled", n)
		}
		m.RestartMote(mac)
		time.Sleep(2 * time.Second)
		if n := count(60 * time.Second); n != 60 {
			t.Errorf("%d samples a minute after a restart", n)
		}
		clean(t, m)
	})
}

// Reports are of the published form, dated by the manager's clock, and the temperatures are plausible.
func TestSamples(t *testing.T) {
	in(t, Config{Motes: 2, HealthPeriod: -1, Period: 5 * time.Second}, func(t *testing.T, m *Manager, p *peer) {
		p.hello(0)
		p.subscribe(0)
		time.Sleep(10 * time.Minute)
		notes := p.takeNotes()
		seen, last := 0, map[[8]byte]uint64{}
		for _, q := range notes {
			if q.payload[0] != notifData {
				continue
			}
			seen++
			b := q.payload[1:]
			oap := b[24:]
			if !bytes.Equal(b[20:24], []byte{0xf0, 0xb9, 0xf0, 0xb9}) || !bytes.Equal(oap[:7], unhex(t, "00000500ff0105")) ||
				!bytes.Equal(oap[7:19], b[:12]) || !bytes.Equal(oap[19:25], unhex(t, "000013880110")) || len(oap) != 27 {
				t.Fatalf("report %x", b)
			}
			if c := int16(be.Uint16(oap[25:])); c < 1000 || c > 3500 {
				t.Errorf("temperature %d", c)
			}
			mac, us := [8]byte(b[12:20]), (be.Uint64(b)-epoch)*1e6+uint64(be.Uint32(b[8:]))
			if before := last[mac]; before != 0 && us-before != 5e6 {
				t.Errorf("%d us after the sample before", us-before)
			}
			last[mac] = us
		}
		if seen != 2*120 {
			t.Errorf("%d reports", seen)
		}
		clean(t, m)
	})
}

func TestOtherInputs(t *testing.T) {
	in(t, Config{Motes: 1, HealthPeriod: -1, Period: time.Hour}, func(t *testing.T, m *Manager, p *peer) {
		time.Sleep(3 * time.Second)
		p.hello(0)
		p.subscribe(0)
		mac := m.Motes()[0]
		m.SetDigital(mac, 2, true)
		if got := p.takeNotes(); len(got) != 0 {
			t.Errorf("a disabled input reports: %v", got)
		}
		p.answered(mac, "050002ff020401000101010400001388", "03000200ff020401")
		time.Sleep(time.Minute)
		for _, oap := range data(p.takeNotes()) {
			if mv := be.Uint16(oap[26:]); !bytes.Equal(oap[:8], unhex(t, "00000500ff020401")) || mv < 1000 || mv > 2000 {
				t.Errorf("analog report %x", oap)
			}
		}
		p.answered(mac, "050002ff020401000100", "03000200ff020401")
		p.answered(mac, "050002ff0202020001010104000003e8", "03000200ff020202")
		time.Sleep(200 * time.Second)
		samples, changes := 0, 0
		for _, oap := range data(p.takeNotes()) {
			switch {
			case oap[3] == 0 && bytes.Equal(oap[:8], unhex(t, "00000500ff020202")) && len(oap) == 27 && oap[25] == 8 && oap[26] <= 1:
				samples++
			case oap[3] == 2 && bytes.Equal(oap[:8], unhex(t, "00000502ff020202")) && len(oap) == 21 && oap[20] <= 1:
				changes++
			default:
				t.Errorf("digital report %x", oap)
			}
		}
		if samples < 199 || samples > 201 || changes < 5 || changes > 50 {
			t.Errorf("%d samples and %d changes in 200 s", samples, changes)
		}
		before := m.field[0].levels[2]
		m.SetDigital(mac, 2, before == 0)
		m.SetDigital(mac, 2, before == 0)
		if got := data(p.takeNotes()); len(got) != 1 || got[0][20] == before {
			t.Errorf("change: %x", got)
		}
		clean(t, m)
	})
}

func TestPacketGenerator(t *testing.T) {
	in(t, Config{Motes: 1, HealthPeriod: -1, Period: time.Hour}, func(t *testing.T, m *Manager, p *peer) {
		time.Sleep(3 * time.Second)
		p.hello(0)
		p.subscribe(0)
		mac := m.Motes()[0]
		p.want(rcOK, 44, append(append(mac[:], 0, 0xf0, 0xb9, 0xf0, 0xb9, 0),
			unhex(t, "050002ff01fe000400000001010400000064020400000064030102040400000007")...)...)
		time.Sleep(time.Minute)
		n := uint32(0)
		for _, oap := range data(p.takeNotes()) {
			if oap[0]&oapResponse != 0 {
				continue
			}
			if len(oap) != 21 || !bytes.Equal(oap[:7], unhex(t, "00000504ff01fe")) || be.Uint32(oap[7:]) != 7+n {
				t.Errorf("packet %x", oap)
			}
			n++
		}
		if n != 100 {
			t.Errorf("%d packets, want 100", n)
		}
		p.answered(mac, "050002ff01010102f0ba", "03000200ff0101") // notifications go to another port
		p.ask(mac, "050002ff01fe010400000001")
		m.SetDigital(mac, 0, true)
		p.answered(mac, "050002ff0101001000000000000000000000000000000000", "03000200ff0101") // and to nobody
		clean(t, m)
	})
}
