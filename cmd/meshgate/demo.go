package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/meshgate/meshgate/bridge"
	"github.com/meshgate/meshgate/gateway"
	"github.com/meshgate/meshgate/gateway/config"
	"github.com/meshgate/meshgate/gateway/local"
	"github.com/meshgate/meshgate/gpio"
)

// Where a person would look first; a port that is taken is replaced by a free one.
const (
	demoAddr = "127.0.0.1:1883"
	demoPage = "127.0.0.1:8080"
)

// demo is the first minute of every user: a simulated network on one side, a broker that plays the
// cloud on the other, the real gateway between them.
type demo struct {
	out    io.Writer
	colour bool
	bar    int    // how long the bars of temperatures are
	name   string // of this program, as it was called
	cloud  *local.Broker
	page   net.Listener // of the console
	prefix string
	start  time.Time

	mu       sync.Mutex
	readings int
	switched bool // the LED was seen on, in the cloud
}

// runDemo runs the demo until ctx ends or the terminal is closed. It is judged when it had all the time it was given.
func runDemo(ctx context.Context, out, errs io.Writer, socket, level string) error {
	pins := gpio.Host() // before anything else is opened
	dir, err := os.MkdirTemp("", "meshgate-demo-")
	if err != nil {
		return fmt.Errorf("no folder for the demo: %w", err)
	}
	defer os.RemoveAll(dir)
	log, _, err := newLog(errs, cmp.Or(level, "warn"), "text")
	if err != nil {
		return err
	}
	d := &demo{out: out, colour: isTerminal(out), bar: min(20, max(0, columns(out)-58)), name: os.Args[0], start: time.Now()}
	if err := d.openCloud(log); err != nil {
		return err
	}
	defer d.cloud.Close()
	if err := d.openPage(); err != nil {
		return err
	}
	defer d.page.Close()
	cfg := d.config(dir)
	if socket == "" {
		socket = filepath.Join(dir, "meshgate.sock")
	}
	ports := newPorts(log)
	defer ports.close()
	d.welcome(socket)
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGHUP)
	defer stop()
	var wg sync.WaitGroup
	wg.Go(func() { d.show(ctx) })
	hw := hardware(pins, ports, socket)
	hw.Listen = func(string, string) (net.Listener, error) { return d.page, nil }
	err = gateway.Run(ctx, cfg, hw, log)
	over := errors.Is(ctx.Err(), context.DeadlineExceeded)
	stop()
	wg.Wait()
	if err != nil {
		return err
	}
	return d.verdict(over)
}

// openCloud starts the broker that plays the cloud.
func (d *demo) openCloud(log *slog.Logger) error {
	var err error
	for _, addr := range []string{demoAddr, "127.0.0.1:0"} {
		d.cloud, err = local.Listen(local.Options{Listen: "tcp://" + addr, Intake: d.arrived, Log: log})
		if err == nil {
			return nil
		}
	}
	return fmt.Errorf("no port for the demo's broker: %w", err)
}

func (d *demo) openPage() error {
	var err error
	for _, addr := range []string{demoPage, "127.0.0.1:0"} {
		if d.page, err = net.Listen("tcp", addr); err == nil {
			return nil
		}
	}
	return fmt.Errorf("no port for the demo's page: %w", err)
}

func (d *demo) config(dir string) *config.Config {
	cfg := config.Demo(dir)
	d.prefix = "meshgate/" + cfg.ID + "/"
	cfg.HTTP.Listen = d.page.Addr().String()
	cfg.Bridges = []config.Bridge{{Name: "cloud", URLs: []string{"mqtt://" + d.cloud.Addr().String()},
		ClientID: "meshgate-" + cfg.ID, Keepalive: 30 * time.Second, Prefix: d.prefix, Rules: bridge.DefaultRules(d.prefix)}}
	return cfg
}

func (d *demo) say(colour, format string, args ...any) {
	fmt.Fprintln(d.out, paint(d.colour, colour, fmt.Sprintf(format, args...)))
}

func (d *demo) welcome(socket string) {
	d.say(bold, "meshgate demo: five simulated motes -> gateway -> disk -> a broker as your cloud")
	addr := d.cloud.Addr().String()
	if addr != demoAddr {
		d.say(plain, "port 1883 is taken here, so the cloud listens on %s instead", addr)
	}
	host, port, _ := net.SplitHostPort(addr)
	page := d.page.Addr().String()
	if page != demoPage {
		d.say(plain, "port 8080 is taken here, so the page is at %s instead", page)
	}
	d.say(plain, "\nOpen in a browser:")
	d.say(green, "  http://%s/\n", page)
	d.say(plain, "Or try, from another terminal:")
	d.say(plain, "  mosquitto_sub -h %s -p %s -v -t '%s#'   the cloud's view", host, port, d.prefix)
	d.say(plain, "  mosquitto_pub -h %s -p %s -t %sactuator/led/set -m toggle", host, port, d.prefix)
	d.say(plain, "  %s status --socket %s", d.name, socket)
	d.say(plain, "  %s watch --socket %s\n", d.name, socket)
	d.say(plain, "The motes join, and their readings come in (Ctrl-C ends the demo):\n")
}

// arrived is called for each message that reaches the cloud.
func (d *demo) arrived(m local.Message) error {
	topic, ok := strings.CutPrefix(m.Topic, d.prefix)
	if !ok {
		return nil
	}
	parts := strings.Split(topic, "/")
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case len(parts) == 3 && parts[2] == "temperature":
		d.reading(parts[1], m.Payload)
	case topic == "actuator/led/state":
		d.led(m.Payload)
	case topic == "gateway/status":
		var s struct{ State, Reason string }
		json.Unmarshal(m.Payload, &s) // a status of our own gateway: always this form
		d.line(green, "gateway", s.State+" ("+s.Reason+")")
	case len(parts) == 3 && parts[0] == "manager" && parts[2] == "event":
		var e struct{ Event, MAC string }
		if json.Unmarshal(m.Payload, &e) == nil && e.Event == "moteOperational" {
			d.line(plain, "mote "+e.MAC, "has joined")
		}
	}
	return nil
}

func (d *demo) reading(mac string, payload []byte) {
	var r struct {
		Value float64
		Seq   uint64
	}
	if json.Unmarshal(payload, &r) != nil {
		return
	}
	d.readings++
	d.line(plain, "mote "+mac, fmt.Sprintf("%6.2f °C %s record %d", r.Value, bar(r.Value, d.bar), r.Seq))
}

// bar draws a temperature between 10 and 40 degrees.
func bar(c float64, width int) string {
	n := min(max(int((c-10)/30*float64(width)), 0), width)
	return strings.Repeat("█", n) + strings.Repeat("░", width-n)
}

func (d *demo) led(payload []byte) {
	var s struct{ State string }
	if json.Unmarshal(payload, &s) != nil {
		return
	}
	lamp, colour := "○ off", plain
	if s.State == "on" {
		lamp, colour = "● on", yellow
		d.switched = true
	}
	d.line(colour, "LED", lamp)
}

func (d *demo) line(colour, who, what string) {
	d.say(colour, "%5.1fs  %-28s %s", time.Since(d.start).Seconds(), who, what)
}

// show switches the LED from the cloud as part of the demo: on when the first readings are there,
// off again after a while, and so on.
func (d *demo) show(ctx context.Context) {
	for state := "on"; sleep(ctx, 4*time.Second); {
		d.mu.Lock()
		ready := d.readings > 0
		if ready {
			d.line(bold, "cloud", "sends the command actuator/led/set "+state)
		}
		d.mu.Unlock()
		if !ready {
			continue
		}
		d.cloud.Publish(d.prefix+"actuator/led/set", []byte(state), false)
		if state == "on" {
			state = "off"
		} else {
			state = "on"
		}
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// verdict says how it was and, when it is over and was not broken off, whether it has shown what it is for.
func (d *demo) verdict(over bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.say(bold, "\n%d readings reached the cloud.", d.readings)
	switch {
	case over && d.readings == 0:
		return errors.New("no reading has reached the cloud")
	case over && !d.switched:
		return errors.New("the LED was not switched by a command from the cloud")
	}
	d.say(plain, "Next: %s run --config gateway.yaml with your own manager; the README has an example.", d.name)
	return nil
}
