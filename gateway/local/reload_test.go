package local

import (
	"errors"
	"os"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// Who connects while the users file is read again is judged by the new one.
func TestReloadWhileConnecting(t *testing.T) {
	t.Parallel()
	entered, release := make(chan struct{}, 1), make(chan struct{})
	users := hashed(t, "anna:a")
	b := startBroker(t, Options{Users: users, Intake: func(Message) error { entered <- struct{}{}; <-release; return nil }})
	opt := func() *mqtt.ClientOptions { return pahoOptions(b.tcp(), "x").SetUsername("anna").SetPassword("a") }
	first := connect(t, opt())
	first.Publish("a", 1, false, "x")
	<-entered // its connection does not end until it is released
	b.mu.Lock()
	old := b.live["x"]
	b.mu.Unlock()
	second := make(chan *peer, 1)
	go func() {
		p, _ := tryConnect(opt())
		second <- p
	}()
	eventually(t, "the second one has proved its password", func() bool { return old.why() == errTakenOver })
	text, err := os.ReadFile(hashed(t, "anna:b"))
	if err == nil {
		err = os.WriteFile(users, text, 0o600)
	}
	if err := errors.Join(err, b.Reload()); err != nil {
		t.Fatal(err)
	}
	close(release)
	if p := <-second; p != nil {
		select {
		case <-p.lost:
		case <-time.After(patience):
			t.Error("it is still connected")
		}
	}
}
