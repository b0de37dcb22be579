package gateway

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meshgate/meshgate/bridge/brokertest"
	"github.com/meshgate/meshgate/gateway/control"
	"github.com/meshgate/meshgate/gpio"
)

// startWith runs the gateway on hardware that differs from the world's, with a control door.
func (w *world) startWith(door *pipes, change func(*Hardware)) {
	ctx, cancel := context.WithCancel(context.Background())
	w.stop, w.end = cancel, make(chan error, 1)
	hw := Hardware{Version: "test", GPIO: gpio.Host(), Dial: w.broker.Dial, ClockRight: func() bool { return true },
		OpenPort: func(context.Context, string) (io.ReadWriteCloser, error) { return w.port() }}
	if door != nil {
		hw.Door = func() (net.Listener, error) { return door, nil }
	}
	if change != nil {
		change(&hw)
	}
	go func() { w.end <- Run(ctx, w.cfg, hw, slog.New(slog.NewTextHandler(&w.log, nil))) }()
}

// status asks the gateway behind the door.
func (p *pipes) status(t *testing.T) control.Status {
	t.Helper()
	r, err := p.client().Get("http://gateway/api/v1/status")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	var s control.Status
	if err := json.NewDecoder(r.Body).Decode(&s); err != nil {
		t.Fatal(err)
	}
	return s
}

// client speaks through the door.
func (p *pipes) client() *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		select {
		case p.conns <- theirs:
			return ours, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}}}
}

func (p *pipes) post(t *testing.T, what, body string) {
	t.Helper()
	r, err := p.client().Post("http://gateway/api/v1/"+what, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", what, r.Status)
	}
}

// bridgeLink is the state of the bridge.
func (p *pipes) bridgeLink(t *testing.T) control.Link {
	t.Helper()
	all := p.status(t).Links
	return all[slices.IndexFunc(all, func(l control.Link) bool { return l.Kind == "bridge" })]
}

// TestSerialLinkOfAPortThatGoes: a port that breaks is down from then on, not only from the next attempt to open it.
func TestSerialLinkOfAPortThatGoes(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		door, open := newPipes(), w.port
		var broken io.Closer
		later := make(chan struct{})
		w.port = func() (io.ReadWriteCloser, error) {
			if broken != nil {
				<-later
				return nil, io.ErrClosedPipe
			}
			port, err := open()
			broken = port
			return port, err
		}
		w.startWith(door, nil)
		w.until("readings", w.has("mote/+/temperature"))
		synctest.Wait() // nothing is being written: a write that fails does not tell that the port has gone
		broken.Close()
		w.until("the loss", w.has("manager/main/status", `"disconnected"`, "read"))
		synctest.Wait()
		if l := door.status(t).Links[0]; l.Kind != "serial" || l.Up || !strings.Contains(l.Error, "read") {
			t.Errorf("the port has gone: %+v", l)
		}
		close(later)
	})
}

// cutOn makes the broker end the connection of who publishes what the pattern matches; with an
// empty one it takes everything again.
func (w *world) cutOn(pattern string) {
	match := regexp.MustCompile(pattern)
	w.broker.Set(func(b *brokertest.Behaviour) {
		b.Cut = func(_ string, p brokertest.Packet) bool {
			return p.Type == brokertest.PUBLISH && pattern != "" && match.Match(p.Body)
		}
	})
}

// TestPoisonRecord: a record that makes the broker end the connection stops no other, stays on the
// disk, is told once, and is delivered when the broker takes it at last.
func TestPoisonRecord(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		door := newPipes()
		w.cutOn(`"seq":7[,}]`)
		w.startWith(door, nil)
		w.until("many readings", func() bool { return len(w.published("mote/+/temperature")) >= 40 })
		if n := strings.Count(w.log.String(), "held back on the disk"); n != 1 {
			t.Errorf("told %d times:\n%s", n, &w.log)
		}
		if l := door.bridgeLink(t); !l.Up || !strings.Contains(l.Error, "record 7 (") {
			t.Errorf("status shows %+v", l)
		}
		if s := door.status(t); s.Bridges[0].Waiting == 0 {
			t.Error("it does not wait on the disk")
		}
		w.cutOn("")
		w.until("the end of it", func() bool { return strings.Contains(w.log.String(), "takes what was held back") })
		if l := door.bridgeLink(t); l.Error != "" {
			t.Errorf("status shows %+v", l)
		}
		have := seqs(t, w.broker.Published())
		for seq := 1; seq < 50; seq++ {
			if !slices.Contains(have, seq) {
				t.Errorf("record %d has not come", seq)
			}
		}
	})
}

// TestForbiddenTopic: a topic that the broker does not allow costs a few connections, not one a
// record, and nothing of it is lost.
func TestForbiddenTopic(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		w.cutOn("/temperature")
		w.start()
		time.Sleep(time.Hour)
		if n := len(w.broker.Connects()); n > 80 {
			t.Errorf("%d connections in an hour", n)
		}
		if n := strings.Count(w.log.String(), "held back on the disk"); n < 3 || n > 8 {
			t.Errorf("told %d times:\n%s", n, &w.log)
		}
		w.until("audits", func() bool { return len(w.published("gateway/audit")) >= 30 })
		w.cutOn("")
		time.Sleep(time.Hour)
		w.until("all readings", func() bool { return len(w.published("mote/+/temperature")) >= 720 })
	})
}

// TestForbiddenState: a retained topic that the broker does not allow stops nothing.
func TestForbiddenState(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		w.cutOn("gateway/info")
		w.start()
		w.until("readings", func() bool { return len(w.published("mote/+/temperature")) >= 20 })
		w.until("states after it", w.has("gateway/health", "spool"))
		w.cutOn("")
		w.until("the state", w.has("gateway/info", "actuators"))
	})
}

// TestCanary: a broker that takes everything and delivers nothing is found within the canary time.
func TestCanary(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		door := newPipes()
		w.cfg.Bridges[0].Canary = time.Minute
		w.startWith(door, nil)
		w.until("online", w.has("gateway/status", "online"))
		time.Sleep(time.Second)
		if l := door.bridgeLink(t); !l.Up || l.Error != "" || !strings.HasSuffix(l.Detail, "tcp up, mqtt up, route up") {
			t.Errorf("status shows %+v", l)
		}
		time.Sleep(10 * time.Minute)
		w.broker.Set(func(b *brokertest.Behaviour) { b.NoRoute = true })
		time.Sleep(time.Minute)
		if l := door.bridgeLink(t); !l.Up || !strings.Contains(l.Error, "route down: no echo of "+prefix+"gateway/canary for") {
			t.Errorf("status shows %+v", l)
		}
		time.Sleep(10 * time.Minute)
		w.broker.Set(func(b *brokertest.Behaviour) { b.NoRoute = false })
		time.Sleep(time.Minute)
		if l := door.bridgeLink(t); l.Error != "" {
			t.Errorf("status shows %+v", l)
		}
		if n := strings.Count(w.log.String(), "does not route"); n != 1 || !strings.Contains(w.log.String(), "routes again") {
			t.Errorf("told %d times:\n%s", n, &w.log)
		}
		if n := len(w.published("gateway/canary")); n < 40 || n > 50 {
			t.Errorf("%d canaries in 22 minutes", n)
		}
	})
}

// TestCanaryRefused: the broker's rules refuse the canary's subscription, or end the connection.
func TestCanaryRefused(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		door := newPipes()
		w.cfg.Bridges[0].Canary = time.Minute
		w.broker.Set(func(b *brokertest.Behaviour) {
			b.RefuseSub = func(f string) bool { return strings.HasSuffix(f, "/canary") }
		})
		w.startWith(door, nil)
		w.until("readings", func() bool { return len(w.published("mote/+/temperature")) >= 4 })
		if l := door.bridgeLink(t); !strings.Contains(l.Error, "refuses the subscription to "+prefix+"gateway/canary: whether it routes is not known") {
			t.Errorf("status shows %+v", l)
		}
		w.end1()
		w.broker.Set(func(b *brokertest.Behaviour) { b.RefuseSub = nil })
		w.cutOn("gateway/canary")
		w.startWith(newPipes(), nil)
		n := len(w.published("mote/+/temperature"))
		w.until("readings all the same", func() bool { return len(w.published("mote/+/temperature")) >= n+20 })
	})
}

// TestURLsInTurn: the second broker is used while the first is away, and left for the first.
func TestURLsInTurn(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		second := brokertest.New()
		defer second.Close()
		var mu sync.Mutex
		away := true
		w.cfg.Bridges[0].URLs = []string{"mqtt://first:1883", "mqtt://second:1883"}
		w.startWith(nil, func(hw *Hardware) {
			hw.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
				mu.Lock()
				defer mu.Unlock()
				switch {
				case addr == "second:1883":
					return second.Dial(ctx, network, addr)
				case away:
					return nil, &net.OpError{Op: "dial", Err: net.ErrClosed}
				}
				return w.broker.Dial(ctx, network, addr)
			}
		})
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := second.Wait(ctx, func() bool { return len(second.Clients()) == 1 }); err != nil {
			t.Fatalf("the second broker is not used:\n%s", &w.log)
		}
		time.Sleep(25 * time.Minute)
		mu.Lock()
		away = false
		mu.Unlock()
		w.until("the first", w.has("gateway/status", "online"))
		synctest.Wait() // until the second has seen the end
		if n := len(second.Connects()); n != 1 || len(second.Wills()) != 0 || len(second.Clients()) != 0 {
			t.Errorf("the second broker saw %d connections and %d wills", n, len(second.Wills()))
		}
		first := seqs(t, second.Published())
		w.until("what came after", func() bool { return len(w.published("mote/+/temperature")) >= 20 })
		for _, seq := range seqs(t, w.broker.Published()) {
			if slices.Contains(first, seq) {
				t.Errorf("record %d was delivered to both", seq)
			}
		}
	})
}

var seqOf = regexp.MustCompile(`"seq":(\d+)`)

// seqs are the numbers of the records among what was published, in order.
func seqs(t *testing.T, all []brokertest.Publish) (out []int) {
	t.Helper()
	for _, p := range all {
		if m := seqOf.FindSubmatch(p.Payload); m != nil {
			n, err := strconv.Atoi(string(m[1]))
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, n)
		}
	}
	return out
}
