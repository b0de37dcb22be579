package sim

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"
)

// eventNames of a list of notifications, with the number of the mote (its order in m.Motes) for those that carry one.
func eventNames(m *Manager, notes []packet) (names []string) {
	for _, q := range notes {
		if q.payload[0] != notifEvent {
			continue
		}
		kind, name := q.payload[5], fmt.Sprint(q.payload[5])
		switch kind {
		case eventMoteCreate, eventMoteJoin, eventMoteOperational, eventMoteLost, eventMoteDelete, eventMoteReset, eventJoinFailed:
			name += fmt.Sprintf("/%d", slices.Index(m.Motes(), [8]byte(q.payload[6:14])))
		case eventPathCreate, eventPathDelete:
			continue
		}
		names = append(names, name)
	}
	return names
}

func wantEvents(t *testing.T, m *Manager, p *peer, want ...string) {
	t.Helper()
	if got := eventNames(m, p.takeNotes()); !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
}

// list reads the list of motes the way clients do.
func list(p *peer) (macs [][8]byte, states []byte) {
	p.t.Helper()
	var at [8]byte
	for {
		got := p.call(47, append(at[:], 1)...)
		if got[0] != rcOK {
			if got[0] != rcEndOfList {
				p.t.Fatalf("the list ends with RC %d", got[0])
			}
			return macs, states
		}
		at = [8]byte(got[1:9])
		macs, states = append(macs, at), append(states, got[12])
	}
}

func TestMotesJoin(t *testing.T) {
	in(t, Config{Motes: 2, HealthPeriod: -1}, func(t *testing.T, m *Manager, p *peer) {
		p.hello(0)
		p.subscribe(0)
		time.Sleep(time.Second)
		notes := p.takeNotes()
		if got, want := eventNames(m, notes), []string{"13/0", "3/0", "13/1", "3/1", "4/0", "4/1"}; !slices.Equal(got, want) {
			t.Errorf("events %v, want %v", got, want)
		}
		if id := notes[0].payload[1:5]; !bytes.Equal(id, []byte{0, 0, 0, 2}) { // 1 was eventNetworkReset, at boot
			t.Errorf("first eventId %x", id)
		}
		macs, states := list(p)
		if want := append([][8]byte{m.MAC()}, m.Motes()...); !slices.Equal(macs, want) || !bytes.Equal(states, []byte{4, 4, 4}) {
			t.Errorf("list %x %v, want %x", macs, states, want)
		}
		if got := p.want(rcOK, 65, 0, 3); !bytes.Equal(got[1:9], macs[2][:]) {
			t.Errorf("mote 3 is %x", got[1:9])
		}
		p.want(rcNotFound, 65, 0, 4)
		p.want(rcNotFound, 47, 1, 2, 3, 4, 5, 6, 7, 8, 1)
		p.want(rcNotFound, 47, 0, 0, 0, 0, 0, 0, 0, 0, 0)
		clean(t, m)
	})
}

func TestMoteLostDeletedAndBack(t *testing.T) {
	in(t, Config{Motes: 2, HealthPeriod: -1}, func(t *testing.T, m *Manager, p *peer) {
		time.Sleep(2 * time.Second)
		p.hello(0)
		p.subscribe(0)
		mac := m.Motes()[0]
		p.want(rcInvState, 69, mac[:]...)
		if !m.LoseMote(mac) || m.LoseMote(mac) || m.LoseMote([8]byte{}) {
			t.Error("LoseMote")
		}
		wantEvents(t, m, p, "5/0")
		p.want(rcInvState, 44, append(mac[:], 0, 0xf0, 0xb9, 0xf0, 0xb9, 0)...)
		p.want(rcInvState, 42, mac[:]...)
		p.want(rcInvState, 70, append(mac[:], 0, 0)...)
		p.want(rcOK, 62, mac[:]...)
		p.want(rcOK, 69, mac[:]...)
		wantEvents(t, m, p, "14/0")
		p.want(rcNotFound, 69, mac[:]...)
		if macs, _ := list(p); len(macs) != 2 {
			t.Errorf("list %x", macs)
		}
		if m.AddMote(mac) != mac {
			t.Error("AddMote gave another address")
		}
		time.Sleep(time.Second)
		wantEvents(t, m, p, "13/0", "3/0", "4/0")
		if got := p.want(rcOK, 47, append(mac[:], 0)...); got[10] != 4 {
			t.Errorf("id %d after it came back, want the next one, 4", got[10])
		}
		added := m.AddMote([8]byte{})
		m.RestartMote(mac)
		time.Sleep(time.Second)
		wantEvents(t, m, p, "13/2", "3/2", "3/0", "4/2", "4/0") // rejoined without having been lost
		if m.Motes()[2] != added {
			t.Error("the new mote is not the last")
		}
		ap := m.MAC()
		p.want(rcInvState, 69, ap[:]...)
		clean(t, m)
	})
}

func TestPathsAndLinks(t *testing.T) {
	in(t, Config{Motes: 12, HealthPeriod: -1}, func(t *testing.T, m *Manager, p *peer) {
		l := readLayouts(t)
		time.Sleep(3 * time.Second)
		p.hello(0)
		paths, links := 0, 0
		for _, mac := range append(m.Motes(), m.MAC()) {
			up := 0
			for id := []byte{0, 0}; ; {
				got := p.call(49, append(append(mac[:], 0), id...)...)
				v, err := l.response(49, got)
				if err != nil {
					t.Fatal(err)
				}
				if v["RC"] == rcEndOfList {
					break
				}
				id = got[1:3]
				paths++
				if v["direction"] == upstream {
					up++
				}
				one := p.want(rcOK, 48, got[3:19]...)
				if !bytes.Equal(one[1:], got[3:]) {
					t.Errorf("getPathInfo %x, getNextPathInfo %x", one, got)
				}
			}
			if (up == 0) != (mac == m.MAC()) || up > 2 {
				t.Errorf("%x has %d parents", mac, up)
			}
			for idx := byte(0); ; {
				got := p.call(70, append(mac[:], 0, idx)...)
				v, err := l.response(70, got)
				if err != nil {
					t.Fatal(err)
				}
				if v["RC"] == rcEndOfList {
					break
				}
				links += v["numLinks"].(int)
				idx += byte(v["numLinks"].(int))
			}
		}
		if paths != 46 || links != 13+2*46 { // each path is seen from both ends: 11 motes have two parents
			t.Errorf("%d paths and %d links", paths, links)
		}
		ap := m.MAC()
		p.want(rcNotFound, 49, append(ap[:], 0, 0xff, 0xff)...)
		p.want(rcNotFound, 49, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0)
		p.want(rcNotFound, 48, append(ap[:], ap[:]...)...)
		clean(t, m)
	})
}

// A mote whose parents go away is left with the access point.
func TestOrphans(t *testing.T) {
	in(t, Config{Motes: 30, HealthPeriod: -1}, func(t *testing.T, m *Manager, p *peer) {
		time.Sleep(3 * time.Second)
		macs := m.Motes()
		for _, mac := range macs[:25] {
			m.LoseMote(mac)
		}
		p.hello(0)
		for _, mac := range macs[25:] {
			p.want(rcOK, 49, append(mac[:], 1, 0, 0)...)
		}
		if got := p.want(rcOK, 64); got[2] != 5 {
			t.Errorf("%d motes, want 5", got[2])
		}
	})
}

func TestAccessList(t *testing.T) {
	in(t, Config{Motes: 2, HealthPeriod: -1}, func(t *testing.T, m *Manager, p *peer) {
		time.Sleep(time.Second)
		p.hello(0)
		p.subscribe(0)
		first, second := m.Motes()[0], m.Motes()[1]
		key := make([]byte, 16)
		p.want(rcEndOfList, 40, make([]byte, 8)...)
		p.want(rcNotFound, 40, first[:]...)
		p.want(rcOK, 39, append(first[:], key...)...)
		if got := p.want(rcOK, 40, make([]byte, 8)...); !bytes.Equal(got[1:9], first[:]) {
			t.Errorf("got %x", got)
		}
		p.want(rcEndOfList, 40, first[:]...)
		p.want(rcNotFound, 41, second[:]...)
		m.RestartMote(second)
		time.Sleep(time.Second)
		wantEvents(t, m, p, "15/1") // refused
		p.want(rcOK, 41, bytes.Repeat([]byte{0xff}, 8)...)
		time.Sleep(joinRetry)
		wantEvents(t, m, p, "3/1", "4/1")
		for i := range maxACL {
			m.acl[[8]byte{1, byte(i >> 8), byte(i)}] = [16]byte{}
		}
		p.want(rcNoResources, 39, append(first[:], key...)...)
	})
}

func TestReboot(t *testing.T) {
	in(t, Config{Motes: 2, HealthPeriod: -1, Period: time.Second}, func(t *testing.T, m *Manager, p *peer) {
		p.hello(0)
		time.Sleep(time.Hour)
		up := be.Uint32(p.want(rcOK, 23)[1:])
		if up != 3600 {
			t.Errorf("uptime %d", up)
		}
		if got := p.want(rcOK, 21, make([]byte, 9)...); len(got) != 9 {
			t.Errorf("got %x", got)
		}
		time.Sleep(bootTime)
		p.send([]byte{0, 1, 0, 3, 4, 0, 0})
		if got := p.take(); len(got) != 0 {
			t.Errorf("answered while it boots: %v", got)
		}
		time.Sleep(200 * time.Millisecond)
		if got := p.take(); len(got) != 1 || got[0].kind != kindMgrHello {
			t.Errorf("after boot: %v", got)
		}
		p.hello(0)
		p.subscribe(0)
		time.Sleep(2 * time.Second)
		if up := be.Uint32(p.want(rcOK, 23)[1:]); up > 3 {
			t.Errorf("uptime %d after a reboot", up)
		}
		if notes := p.takeNotes(); len(data(notes)) == 0 {
			t.Error("no data after a reboot")
		}
		if macs, _ := list(p); len(macs) != 3 {
			t.Errorf("list %x", macs)
		}
		clean(t, m)
	})
}

func TestSilence(t *testing.T) {
	in(t, Config{}, func(t *testing.T, m *Manager, p *peer) {
		p.hello(0)
		p.subscribe(0)
		m.Silence(10 * time.Second)
		p.take()
		m.Inject([]byte{2})
		p.send([]byte{2, 46, 2, 0})
		time.Sleep(9900 * time.Millisecond)
		if got := append(p.take(), p.takeNotes()...); len(got) != 0 {
			t.Errorf("not silent: %v", got)
		}
		time.Sleep(2 * time.Second)
		if got := p.take(); len(got) == 0 || got[0].kind != kindMgrHello {
			t.Errorf("after the silence: %v", got)
		}
		p.hello(9)
		clean(t, m)
	})
}

func TestResetMote(t *testing.T) {
	in(t, Config{Motes: 1, HealthPeriod: -1}, func(t *testing.T, m *Manager, p *peer) {
		time.Sleep(time.Second)
		p.hello(0)
		p.subscribe(0)
		mac := m.Motes()[0]
		ap := m.MAC()
		p.want(rcInvalidArgument, 21, append([]byte{1}, mac[:]...)...)
		p.want(rcNotFound, 21, append([]byte{2}, make([]byte, 8)...)...)
		p.want(rcInvState, 21, append([]byte{2}, ap[:]...)...)
		if got := p.want(rcOK, 21, append([]byte{2}, mac[:]...)...); !bytes.Equal(got[1:], mac[:]) {
			t.Errorf("got %x", got)
		}
		time.Sleep(2 * time.Second)
		wantEvents(t, m, p, "0/0", "5/0", "3/0", "4/0")
		if got := p.want(rcOK, 62, mac[:]...); got[40] != 2 {
			t.Errorf("%d joins, want 2", got[40])
		}
		clean(t, m)
	})
}

// The same seed gives the same mesh, another seed another.
func TestSeed(t *testing.T) {
	motes := func(seed int64) [][8]byte { return New(Config{Motes: 300, Seed: seed}, nil).Motes() }
	if !slices.Equal(motes(7), motes(7)) || slices.Equal(motes(7), motes(8)) {
		t.Error("addresses do not follow from the seed")
	}
	seen := map[[8]byte]bool{}
	for _, mac := range motes(7) {
		if seen[mac] || !bytes.Equal(mac[:6], []byte{0, 0x17, 0x0d, 0, 0, 0x38}) {
			t.Errorf("address %x", mac)
		}
		seen[mac] = true
	}
}
