package sim

import (
	"bytes"
	"testing"
	"time"
)

// Every row of the table agrees with the published layouts, and the other way round.
func TestEveryCommandIsThere(t *testing.T) {
	n := 0
	for _, c := range readLayouts(t).Commands {
		if c.Channel != "serial and mux" {
			continue
		}
		n++
		row := commands[c.ID]
		size := c.Size
		if c.Name == "radiotestTx" {
			size = 8 // the fixed part without any pair
		}
		if row.run == nil || row.name != c.Name || row.size != size || row.more != c.More {
			t.Errorf("%s (%d): size %d, more %v; have %+v", c.Name, c.ID, size, c.More, row.name)
		}
	}
	have := 0
	for _, row := range commands {
		if row.run != nil {
			have++
		}
	}
	if n != 43 || have != n {
		t.Errorf("%d commands published, %d here, want 43", n, have)
	}
}

// script is a request and the answer it must get; answers of more than the code are decoded by the layouts too.
type script struct {
	kind    byte
	request string
	rc      byte
	wait    time.Duration // before the next
}

func (p *peer) run(l layouts, scripts []script) {
	p.t.Helper()
	for i, s := range scripts {
		got := p.call(s.kind, unhex(p.t, s.request)...)
		if _, err := l.response(s.kind, got); err != nil {
			p.t.Errorf("step %d: %v", i, err)
		}
		if got[0] != s.rc {
			p.t.Errorf("step %d: command %d %s gave RC %d, want %d", i, s.kind, s.request, got[0], s.rc)
		}
		time.Sleep(s.wait)
	}
}

func TestNetworkCommands(t *testing.T) {
	config := "04d2 03 01 0020 0bb8 01 02 00 7fff 01 00 01 00 00 012c ff"
	config = string(bytes.ReplaceAll([]byte(config), []byte(" "), nil))
	in(t, Config{Motes: 1}, func(t *testing.T, m *Manager, p *peer) {
		l := readLayouts(t)
		time.Sleep(time.Second)
		p.hello(0)
		p.subscribe(0)
		p.takeNotes()
		p.run(l, []script{
			{kind: 46}, {kind: 63}, {kind: 64}, {kind: 67}, {kind: 53}, {kind: 55}, {kind: 31}, {kind: 23},
			{kind: 45, rc: rcInProgress},
			{kind: 54, request: "00000000003d226bc600000000", rc: rcValidationError},
			{kind: 50, request: "01"},
			{kind: 50, request: "00", rc: rcInProgress, wait: time.Second},
			{kind: 51, request: "01", wait: time.Second},
			{kind: 51, request: "02", rc: rcInvalidArgument},
			{kind: 34, request: "1234", wait: time.Second},
			{kind: 58, request: "01" + "00000000000000000000000000000000"},
			{kind: 58, request: "02" + "00000000000000000000000000000000", rc: rcInvalidArgument},
			{kind: 66, request: "00000000000000000000000000000000"},
			{kind: 56, request: "0102030405060708090a0b0c0d"},
			{kind: 68, request: "fd00000000000001ffffffffffffffffffffffffffffffff0000000000000000"},
		})
		if got := events(p.takeNotes(), eventCommandFinished); len(got) != 3 {
			t.Errorf("%d operations finished, want 3", len(got))
		}
		if got := p.want(rcOK, 64); got[5] != 1 || got[6] != 1 || !bytes.Equal(got[14:22], unhex(t, "fd00000000000001")) {
			t.Errorf("getNetworkInfo %x", got)
		}
		if got := p.want(rcOK, 55); !bytes.Equal(got[1:], unhex(t, "0102030405060708090a0b0c0d")) {
			t.Errorf("getLicense %x", got)
		}
		if got := p.want(rcOK, 63); got[1] != 0x12 || got[2] != 0x34 {
			t.Errorf("network id %x", got[1:3])
		}
		p.want(rcOK, 26, unhex(t, config)...)
		if got := p.want(rcOK, 63); !bytes.Equal(got[1:], unhex(t, config)) {
			t.Errorf("getNetworkConfig %x", got)
		}
		p.want(rcOK, 51, 0) // downFrameMultVal 1 counts from the next boot
		m.Reboot()
		time.Sleep(time.Second)
		p.hello(0)
		p.want(rcInvalidArgument, 51, 0)
		p.want(rcOK, 61)
		if got := p.want(rcOK, 63); got[1] != 0x04 || got[2] != 0xcd {
			t.Errorf("after restoreFactoryDefaults %x", got)
		}
		bad := unhex(t, config)
		bad[3] = 2 // frame profile
		p.want(rcInvalidArgument, 26, bad...)
		clean(t, m)
	})
}

func TestNetworkNotStarted(t *testing.T) {
	in(t, Config{Motes: 1, HealthPeriod: -1}, func(t *testing.T, m *Manager, p *peer) {
		l := readLayouts(t)
		m.mu.Lock()
		m.stored[13] = 0
		m.mu.Unlock()
		m.Reboot()
		time.Sleep(2 * time.Second)
		p.hello(0)
		p.subscribe(0)
		if got := p.want(rcOK, 64); got[13] != 2 {
			t.Errorf("netState %d, want 2, not started", got[13])
		}
		p.run(l, []script{
			{kind: 54, request: "01000000006553f1000000000a", rc: rcInvalidArgument}, // no strobe yet
			{kind: 54, request: "00000000006553f1000000000a"},
		})
		if got := p.want(rcOK, 23); be.Uint64(got[5:]) != 0x6553f100 || be.Uint32(got[13:]) != 10 {
			t.Errorf("time after setTime: %x", got)
		}
		m.Strobe()
		p.want(rcOK, 54, unhex(t, "01000000003d226bc600000000")...)
		wantEvents(t, m, p, "6")
		p.want(rcOK, 45)
		time.Sleep(time.Second)
		wantEvents(t, m, p, "1", "13/0", "3/0", "4/0")
	})
}

func TestRadioTest(t *testing.T) {
	in(t, Config{Motes: 1}, func(t *testing.T, m *Manager, p *peer) {
		l := readLayouts(t)
		p.hello(0)
		tests := []script{
			{kind: 35, request: "0000010001080000", rc: rcInvalidCommand},
			{kind: 37, request: "0001000200", rc: rcInvalidCommand},
			{kind: 38, rc: rcInvalidCommand},
			{kind: 74, rc: rcInProgress},
			{kind: 75, request: "08000100010001", rc: rcInProgress},
			{kind: 76, request: "000001000101", rc: rcInvalidCommand},
			{kind: 77, request: "0000", rc: rcInvState},
		}
		p.run(l, tests)
		config := factoryConfig()
		config[17] = 1
		p.want(rcOK, 26, config[:]...)
		m.Reboot()
		time.Sleep(time.Second)
		p.hello(0)
		p.subscribe(0)
		if got := p.want(rcOK, 64); got[13] != 1 {
			t.Errorf("netState %d, want 1, radiotest", got[13])
		}
		p.run(l, []script{
			{kind: 38, rc: rcInvalidCommand},
			{kind: 35, request: "0000000001080000", rc: rcInvalidArgument}, // no channel
			{kind: 35, request: "0000010001080100", rc: rcInvalidArgument}, // a pair is missing
			{kind: 35, request: "0000010001080120000a00", wait: 100 * time.Millisecond},
			{kind: 35, request: "0000010001080000", rc: rcInProgress, wait: 2 * time.Second},
			{kind: 37, request: "0001000200"},
			{kind: 38, rc: rcInProgress, wait: 2 * time.Second},
			{kind: 38},
			{kind: 75, request: "08000100010001", wait: 2 * time.Second},
			{kind: 76, request: "000001000101"},
			{kind: 77, request: "0000"},
			{kind: 45, rc: rcInvalidCommand},
			{kind: 74, wait: 3 * time.Second},
		})
		notes := p.takeNotes()
		if len(notes) != 1 || notes[0].payload[0] != notifRadioTest {
			t.Errorf("notifications %v", notes)
		}
		clean(t, m)
	})
}

func TestSendDataAndPing(t *testing.T) {
	in(t, Config{Motes: 3, HealthPeriod: -1}, func(t *testing.T, m *Manager, p *peer) {
		time.Sleep(time.Second)
		p.hello(0)
		p.subscribe(0)
		mac := m.Motes()[1]
		head := []byte{0, 0xf0, 0xb9, 0xf0, 0xb9, 0}
		p.want(rcNotFound, 44, append(make([]byte, 8), head...)...)
		p.want(rcInvalidArgument, 44, append(append(mac[:], head...), make([]byte, maxData+1)...)...)
		var ids [][]byte
		for range downQueue {
			ids = append(ids, p.want(rcOK, 44, append(mac[:], head...)...)[1:])
		}
		p.want(rcNack, 44, append(mac[:], head...)...)
		time.Sleep(time.Second)
		sent := events(p.takeNotes(), eventPacketSent)
		if len(sent) != len(ids) {
			t.Fatalf("%d packets sent, want %d", len(sent), len(ids))
		}
		for i := range sent {
			if !bytes.Equal(sent[i], append(ids[i], 0)) {
				t.Errorf("packet sent %x, want callback %x", sent[i], ids[i])
			}
		}
		p.want(rcOK, 44, append(mac[:], head...)...) // room again

		id := p.want(rcOK, 42, mac[:]...)[1:]
		p.want(rcInProgress, 42, mac[:]...)
		time.Sleep(time.Second)
		pong := events(p.takeNotes(), eventPingResponse)
		if len(pong) != 1 || !bytes.Equal(pong[0][:12], append(id, mac[:]...)) || be.Uint32(pong[0][12:]) > 1000 {
			t.Errorf("ping response %x", pong)
		}
		m.SetFaults(Faults{OAPLost: 1})
		p.want(rcOK, 42, mac[:]...)
		time.Sleep(6 * time.Second)
		if pong := events(p.takeNotes(), eventPingResponse); len(pong) != 1 || be.Uint32(pong[0][12:]) != 0xffffffff {
			t.Errorf("lost ping: %x", pong)
		}
		p.want(rcOK, 59, append(mac[:], 0, 0, 0xff, 0x61, 0x62)...)
		p.want(rcInvalidArgument, 59, append(mac[:], 0, 0, 0xff)...)
		p.want(rcOK, 43, mac[:]...)
		ap := m.MAC()
		p.want(rcOK, 43, ap[:]...)
		p.want(rcOK, 33, append(mac[:], make([]byte, 16)...)...)
		time.Sleep(time.Second)
		count := map[byte]int{}
		for _, q := range p.takeNotes() {
			count[q.payload[0]]++
		}
		if count[notifIPData] != 1 || count[notifLog] != 6 || count[notifEvent] != 2 {
			t.Errorf("notifications by type: %v", count)
		}
		p.want(rcOK, 40, make([]byte, 8)...)
		clean(t, m)
	})
}
