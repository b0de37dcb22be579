package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/meshgate/meshgate/bridge"
	"github.com/meshgate/meshgate/gateway"
	"github.com/meshgate/meshgate/gateway/config"
	"github.com/meshgate/meshgate/gpio"
	"github.com/meshgate/meshgate/smartmesh/sim"
)

// The figures of pins: from a command at the broker to the pin, from an edge to the broker's
// PUBACK with the disk in between, and what it costs to watch over pins on which nothing happens.

// handsRig is a gateway in this process with 16 outputs and 16 inputs of memory, Mosquitto on
// loopback, and the spool on the disk of the temporary folder.
type handsRig struct {
	pins  *gpio.Sim
	cloud *bridge.Session
	set   chan time.Time // when a pin was switched on by a command
	acks  *ackTap
}

const handsEach = 16

func newHandsRig(b *testing.B) *handsRig {
	b.Helper()
	r := &handsRig{pins: gpio.NewSim(), set: make(chan time.Time, 64), acks: &ackTap{at: make(chan time.Time, 64), waits: map[[2]byte]bool{}}}
	broker := benchBroker(b)
	url := "mqtt://" + broker
	cfg := config.Demo(b.TempDir())
	cfg.ID, cfg.Outputs = "bench", nil
	cfg.Managers[0].Port = "sim:?motes=1&period=1h"
	for i := range handsEach {
		cfg.Outputs = append(cfg.Outputs, gpio.Output{Name: fmt.Sprintf("out%d", i), Pin: "sim"})
		cfg.Inputs = append(cfg.Inputs, gpio.Input{Name: fmt.Sprintf("in%d", i), Pin: "sim", Rate: 1000})
	}
	cfg.Bridges = []config.Bridge{{Name: "cloud", URLs: []string{url}, ClientID: "gw", Keepalive: 30 * time.Second,
		Prefix: "b/", Rules: bridge.DefaultRules("b/")}}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	m := sim.New(sim.Config{Motes: 1, Period: time.Hour}, nil)
	wg.Go(func() { m.Run(ctx) })
	hw := gateway.Hardware{Version: "bench", GPIO: timedPins{r.pins, r.set}, Dial: r.acks.dial, ClockRight: func() bool { return true },
		OpenPort: func(context.Context, string) (io.ReadWriteCloser, error) {
			ours, theirs := net.Pipe()
			wg.Go(func() { m.Serve(ctx, theirs) })
			return ours, nil
		}}
	wg.Go(func() {
		if err := gateway.Run(ctx, cfg, hw, slog.New(slog.DiscardHandler)); err != nil {
			b.Errorf("gateway: %v", err)
		}
	})
	b.Cleanup(func() { cancel(); wg.Wait() })
	r.connect(b, url)
	return r
}

// connect is the cloud's side; it returns when the gateway is online.
func (r *handsRig) connect(b *testing.B, url string) {
	b.Helper()
	var err error
	r.cloud, err = bridge.Connect(b.Context(), bridge.Config{Name: "cloud", URL: url, ClientID: "cloud",
		Subscribe: []bridge.Subscription{{Filter: "b/actuator/+/state", QoS: 1}}}, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { r.cloud.Close(context.Background()) })
	for range handsEach {
		select {
		case <-r.cloud.Messages():
		case <-time.After(patience):
			b.Fatal("the gateway does not come online")
		}
	}
	go func() {
		for range r.cloud.Messages() {
		}
	}()
}

// benchBroker starts Mosquitto and gives its address.
func benchBroker(b *testing.B) string {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	addr := l.Addr().(*net.TCPAddr)
	l.Close()
	conf := filepath.Join(b.TempDir(), "mosquitto.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, "listener %d 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\n", addr.Port), 0o600); err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command("mosquitto", "-c", conf)
	if err := cmd.Start(); err != nil {
		b.Skipf("%v (apt-get install mosquitto)", err)
	}
	b.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	for until := time.Now().Add(patience); time.Now().Before(until); {
		if c, err := net.Dial("tcp", addr.String()); err == nil {
			c.Close()
			return addr.String()
		}
	}
	b.Fatal("mosquitto does not listen")
	return ""
}

// timedPins tells when an output is switched on.
type timedPins struct {
	*gpio.Sim
	set chan<- time.Time
}

func (t timedPins) OpenOutput(o gpio.Output) (gpio.Pin, error) {
	p, err := t.Sim.OpenOutput(o)
	if err != nil {
		return nil, err
	}
	return timedPin{p, t.set}, nil
}

type timedPin struct {
	gpio.Pin
	set chan<- time.Time
}

func (p timedPin) Set(on bool) error {
	err := p.Pin.Set(on)
	if on {
		p.set <- time.Now()
	}
	return err
}

// ackTap looks at a connection to the broker: when the PUBACK of an edge comes, at tells the time.
type ackTap struct {
	at    chan time.Time
	mu    sync.Mutex
	waits map[[2]byte]bool // packet ids of edges
}

func (a *ackTap) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	return &tappedConn{Conn: c, tap: a}, err
}

type tappedConn struct {
	net.Conn
	tap     *ackTap
	in, out packets
}

func (c *tappedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	now := time.Now()
	c.in.add(p[:n], func(kind byte, body []byte) {
		if kind>>4 != 4 || len(body) < 2 {
			return
		}
		c.tap.mu.Lock()
		defer c.tap.mu.Unlock()
		if id := [2]byte(body); c.tap.waits[id] {
			delete(c.tap.waits, id)
			c.tap.at <- now
		}
	})
	return n, err
}

func (c *tappedConn) Write(p []byte) (int, error) {
	c.out.add(p, func(kind byte, body []byte) {
		if kind>>4 != 3 || kind&6 == 0 || len(body) < 2 {
			return
		}
		end := 2 + (int(body[0])<<8 | int(body[1]))
		if topic := string(body[2:end]); len(topic) > 5 && topic[len(topic)-5:] == "/edge" {
			c.tap.mu.Lock()
			defer c.tap.mu.Unlock()
			c.tap.waits[[2]byte(body[end:])] = true
		}
	})
	return c.Conn.Write(p)
}

// packets cuts a stream into MQTT packets (3.1.1, section 2.2).
type packets struct{ buf []byte }

func (s *packets) add(p []byte, each func(kind byte, body []byte)) {
	s.buf = append(s.buf, p...)
	for {
		size, at := 0, 1
		for shift := 0; ; shift, at = shift+7, at+1 {
			if at >= len(s.buf) {
				return
			}
			size |= int(s.buf[at]&0x7f) << shift
			if s.buf[at] < 0x80 {
				break
			}
		}
		end := at + 1 + size
		if end > len(s.buf) {
			return
		}
		each(s.buf[0], s.buf[at+1:end])
		s.buf = s.buf[end:]
	}
}

// report gives the middle, the 99th of a hundred and the worst.
func report(b *testing.B, took []time.Duration) {
	slices.Sort(took)
	ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	b.ReportMetric(ms(took[len(took)/2]), "p50-ms")
	b.ReportMetric(ms(took[(len(took)*99-1)/100]), "p99-ms")
	b.ReportMetric(ms(took[len(took)-1]), "max-ms")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkCommandToPin publishes commands, each with an id that has to be remembered, and waits
// for the pin; the figure includes the way to the broker.
func BenchmarkCommandToPin(b *testing.B) {
	r := newHandsRig(b)
	var took []time.Duration
	for b.Loop() {
		n := len(took)
		topic := fmt.Sprintf("b/actuator/out%d/set", n%handsEach)
		for _, state := range []string{"on", "off"} {
			start := time.Now()
			payload := fmt.Appendf(nil, `{"state":%q,"id":"%s%d"}`, state, state, n)
			if _, err := r.cloud.Publish(b.Context(), bridge.Message{Topic: topic, Payload: payload, QoS: 1}); err != nil {
				b.Fatal(err)
			}
			if state == "on" {
				select {
				case at := <-r.set:
					took = append(took, at.Sub(start))
				case <-time.After(patience):
					b.Fatal("the command does not arrive")
				}
			}
		}
	}
	report(b, took)
}

// BenchmarkEdgeToPUBACK drives inputs one after the other, each edge when the one before has its
// PUBACK: it is on the disk before it is sent.
func BenchmarkEdgeToPUBACK(b *testing.B) {
	r := newHandsRig(b)
	var took []time.Duration
	for b.Loop() {
		n := len(took)
		start := time.Now()
		r.pins.Drive(fmt.Sprintf("in%d", n%handsEach), n/handsEach%2 == 0)
		select {
		case at := <-r.acks.at:
			took = append(took, at.Sub(start))
		case <-time.After(patience):
			b.Fatal("the edge is not acknowledged")
		}
	}
	report(b, took)
}

// BenchmarkIdleHands is the share of one core that a gateway takes with nothing to do.
func BenchmarkIdleHands(b *testing.B) {
	newHandsRig(b)
	const long = 10 * time.Second
	var used time.Duration
	n := 0
	for b.Loop() {
		before := cpuTime(b)
		<-time.After(long)
		used += cpuTime(b) - before
		n++
	}
	b.ReportMetric(100*float64(used)/float64(time.Duration(n)*long), "%core")
	b.ReportMetric(0, "ns/op")
}

func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
