package local

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Many sleepers, each within its own bounds, do not fill the memory together: what is above an even share is left out, the
// newest of it; who has little waiting goes on, and so do all when the others are gone.
func TestManySleepers(t *testing.T) {
	t.Parallel()
	const sleepers, all = 20, 1600 << 10 // some 60 of these messages for each; who is awake acknowledges sooner than that
	file := filepath.Join(t.TempDir(), "sessions")
	b := startBroker(t, Options{MaxQueuesBytes: all, Sessions: file})
	for i := range sleepers {
		p := connect(t, pahoOptions(b.tcp(), fmt.Sprint("sleeper", i)).SetCleanSession(false))
		p.subscribe(t, "fill", 1)
		p.Disconnect(0)
	}
	light := connect(t, pahoOptions(b.tcp(), "light").SetCleanSession(false))
	light.subscribe(t, "light", 1)
	light.Disconnect(0)
	awake := connect(t, pahoOptions(b.tcp(), "awake"))
	awake.subscribe(t, "#", 1)
	w := connect(t, pahoOptions(b.tcp(), "writer"))
	for i := range 200 {
		w.publish(t, "fill", 1, false, fmt.Sprintf("%0100d", i))
		if awake.next(t) != fmt.Sprintf("fill=%0100d", i) {
			t.Fatal("who is awake misses something")
		}
	}
	w.publish(t, "light", 1, false, "on")
	sum := int64(0)
	for _, cl := range b.srv.Clients.GetAll() {
		sum += queued(cl)
	}
	if sum < all/2 || sum > 2*all {
		t.Errorf("%d bytes wait", sum)
	}
	again := connect(t, pahoOptions(b.tcp(), "light").SetCleanSession(false))
	want(t, again.next(t), "light=on")
	first := connect(t, pahoOptions(b.tcp(), "sleeper0").SetCleanSession(false))
	for i := range 8 { // the oldest are kept
		want(t, first.next(t), fmt.Sprintf("fill=%0100d", i))
	}
	b.Close()
	var saved savedSessions
	if data, err := os.ReadFile(file); err != nil || json.Unmarshal(data, &saved) != nil || len(saved.Sessions) != sleepers+1 {
		t.Errorf("%d sessions in the file, %v", len(saved.Sessions), err)
	}
}

// A long file is not written as often as a short one, but always at the end.
func TestLongSessionFile(t *testing.T) {
	t.Parallel()
	s := sessionFile{file: filepath.Join(t.TempDir(), "sessions"), log: (&logBuffer{}).logger()}
	one := savedSession{ID: "a", Messages: []savedMessage{{ID: 1, Topic: "t", Payload: make([]byte, 3<<20)}}}
	put := func(save func(func() savedSessions)) time.Time {
		s.touch()
		save(func() savedSessions { return savedSessions{Version: 1, Sessions: []savedSession{one, {ID: "b"}}} })
		st, err := os.Stat(s.file)
		if err != nil {
			t.Fatal(err)
		}
		return st.ModTime()
	}
	first := put(s.save)
	if again := put(s.save); again != first || time.Until(s.next) < 2*time.Second || time.Until(s.next) > 5*time.Second {
		t.Errorf("written again at once, next %v", time.Until(s.next))
	}
	if put(s.write) == first {
		t.Error("not written at the end")
	}
	if got := s.load(); len(got) != 2 || len(got[0].Messages[0].Payload) != 3<<20 || got[1].ID != "b" {
		t.Errorf("%d sessions read", len(got))
	}
}

// Who does not acknowledge is told of, once.
func TestNotAcknowledged(t *testing.T) {
	log := &logBuffer{}
	b := startBroker(t, Options{MaxQueue: 2, Log: log.logger()})
	codes(t, sleeper(t, b, "c"), "a")
	for range 5 {
		if err := b.Publish("a", []byte("x"), false); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "three are left out", func() bool { return b.Stats().Slow == 3 })
	if n := strings.Count(log.String(), "it does not acknowledge"); n != 1 {
		t.Errorf("told %d times: %s", n, log)
	}
}
