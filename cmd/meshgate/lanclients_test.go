package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/meshgate/meshgate/bridge/brokertest"

	"github.com/meshgate/meshgate/gateway/control"
	"github.com/meshgate/meshgate/smartmesh/sim"
)

// inside starts a gateway with a broker inside and no bridge; more goes into the section local.
func inside(t *testing.T, more string) (port int, file, socket string) {
	t.Helper()
	needs(t, "mosquitto_sub", "mosquitto_pub")
	_, manager := simulated(t, sim.Config{Motes: 2, Period: time.Second, Seed: 3})
	port = freePort(t)
	file, socket = site(t, manager, 0, fmt.Sprintf("local: {listen: \"tcp://127.0.0.1:%d\"%s}\n", port, more))
	return port, file, socket
}

// A device that sleeps is sent what came meanwhile, also when the gateway was restarted in between.
func TestSleepingDevice(t *testing.T) {
	port, file, socket := inside(t, "")
	well := func() {
		t.Helper()
		awaitStatus(t, socket, func(st control.Status) bool { return st.OK })
	}
	gateway := gatewayProcess(t, "run", "--config", file)
	well()
	awake := []string{"-c", "-i", "sleeper"}
	first := subscriber(t, port, "dev/#", awake...)
	pub(t, port, "dev/1", "awake")
	first.out.awaitLine(t, "0 dev/1 awake")
	first.kill()
	pub(t, port, "dev/2", "asleep")
	gateway.signal(syscall.SIGTERM)
	gateway = gatewayProcess(t, "run", "--config", file)
	well()
	pub(t, port, "dev/3", "still asleep")
	sessions := filepath.Join(filepath.Dir(socket), "sessions")
	awaitFile(t, sessions, "dev/3") // within two seconds of a message
	gateway.kill()
	gatewayProcess(t, "run", "--config", file)
	well()
	second := subscriber(t, port, "nothing", awake...)
	second.out.awaitLine(t, "dev/2 asleep")
	second.out.awaitLine(t, "dev/3 still asleep")
	if times(second, "dev/1 awake") != 0 {
		t.Error("what had been delivered came again")
	}
}

// The HTTP door has MQTT over WebSocket, with the same broker behind it.
func TestMQTTAtTheDoor(t *testing.T) {
	port, file, socket := inside(t, "")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	door := freePort(t)
	writeText(t, file, fmt.Sprintf("%s\nhttp: {listen: \"127.0.0.1:%d\"}\n", text, door))
	gatewayProcess(t, "run", "--config", file)
	awaitStatus(t, socket, func(st control.Status) bool { return st.OK })
	sub := subscriber(t, port, "dev/#")
	page := mqtt.NewClient(mqtt.NewClientOptions().AddBroker(fmt.Sprintf("ws://127.0.0.1:%d/mqtt", door)).SetClientID("page"))
	if tok := page.Connect(); !tok.WaitTimeout(patience) || tok.Error() != nil {
		t.Fatalf("%v", tok.Error())
	}
	defer page.Disconnect(0)
	page.Publish("dev/ws", 1, false, "by WebSocket")
	sub.out.awaitLine(t, "0 dev/ws by WebSocket")
}

// Who may connect, and to what, is what the files say, also after they have changed.
func TestLANUsers(t *testing.T) {
	users, acl := filepath.Join(t.TempDir(), "users"), filepath.Join(t.TempDir(), "acl")
	if code, errs := passwd(strings.NewReader("geheim"), "--stdin", users, "anna"); code != 0 {
		t.Fatal(errs)
	}
	writeText(t, acl, "pattern write dev/%u/#\nuser anna\ntopic read #\n")
	port, file, socket := inside(t, fmt.Sprintf(", users: %q, acl: %q", users, acl))
	gateway := gatewayProcess(t, "run", "--config", file)
	awaitStatus(t, socket, func(st control.Status) bool { return st.OK })
	anna := []string{"-u", "anna", "-P", "geheim"}
	sub := subscriber(t, port, "dev/#", anna...)
	pub(t, port, "dev/bob/x", "not hers", anna...)
	pub(t, port, "dev/anna/x", "hers", anna...)
	sub.out.awaitLine(t, "0 dev/anna/x hers")
	if times(sub, "not hers") != 0 {
		t.Error("the access list does not hold")
	}
	refused := exec.Command("mosquitto_pub", "-p", fmt.Sprint(port), "-t", "dev/anna/x", "-m", "1", "-u", "bob", "-P", "geheim")
	if out, err := refused.CombinedOutput(); err == nil || !strings.Contains(string(out), "not authori") {
		t.Errorf("bob: %v %s", err, out)
	}
	if code, errs := passwd(strings.NewReader("geheim"), "--stdin", users, "bob"); code != 0 {
		t.Fatal(errs)
	}
	gateway.out.awaitLine(t, "read again")
	pub(t, port, "dev/bob/x", "his", "-u", "bob", "-P", "geheim")
	sub.out.awaitLine(t, "0 dev/bob/x his")
}

// 200 clients that connect and vanish, half-open ones, floods and packets that MQTT does not allow:
// who behaves does not notice, and the daemon is as before when they are gone.
func TestRoughLAN(t *testing.T) {
	port, file, socket := inside(t, "")
	gateway := gatewayProcess(t, "run", "--config", file)
	awaitStatus(t, socket, func(st control.Status) bool { return st.OK })
	sub := subscriber(t, port, "dev/#")
	pub(t, port, "dev/0", "before")
	sub.out.awaitLine(t, "0 dev/0 before")
	before := rss(t, gateway)

	addr := fmt.Sprintf("127.0.0.1:%d", port)
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() { rough(addr, i) })
	}
	flood := exec.Command("mosquitto_pub", "-p", fmt.Sprint(port), "-q", "0", "-t", "flood", "-l")
	flood.Stdin = io.LimitReader(endless("a line of a flood, with nobody who wants it\n"), 2<<20)
	if out, err := flood.CombinedOutput(); err != nil {
		t.Errorf("flood: %v %s", err, out)
	}
	huge := exec.Command("mosquitto_pub", "-p", fmt.Sprint(port), "-q", "1", "-t", "dev/huge", "-s")
	huge.Stdin = io.LimitReader(endless("x"), 1<<20)
	huge.Run() // how it fails depends on when it notices
	wg.Wait()

	pub(t, port, "dev/1", "after")
	sub.out.awaitLine(t, "0 dev/1 after")
	if times(sub, "dev/huge") != 0 {
		t.Error("what is larger than the bound was carried")
	}
	st := awaitStatus(t, socket, func(st control.Status) bool { return st.OK && strings.Contains(detail(st, "local"), " 1 clients") })
	if after := rss(t, gateway); after > before+32<<10 {
		t.Errorf("%d KiB before, %d KiB after", before, after)
	}
	t.Log(detail(st, "local"), "RSS before", before, "KiB, after", rss(t, gateway), "KiB")
	gateway.out.awaitLine(t, "too large")
}

func detail(st control.Status, kind string) string {
	for _, l := range st.Links {
		if l.Kind == kind {
			return l.Detail
		}
	}
	return ""
}

// rough is a client of the bad kind, the i-th of them.
func rough(addr string, i int) {
	c, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	id := fmt.Sprintf("rough-%03d", i)
	connect := append([]byte{0x10, byte(12 + len(id)), 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 60, 0, byte(len(id))}, id...)
	switch i % 5 {
	case 0: // says nothing
	case 1: // half a CONNECT
		c.Write(connect[:7])
	case 2: // connects and vanishes without a word
		c.Write(connect)
		io.ReadFull(c, make([]byte, 4))
	case 3: // a SUBSCRIBE without its reserved bits
		c.Write(append(connect, 0x80, 2, 0, 1))
		io.Copy(io.Discard, c)
	case 4: // another language
		io.WriteString(c, "GET / HTTP/1.1\r\n\r\n")
		io.Copy(io.Discard, c)
	}
}

// endless repeats a text.
type endless string

func (e endless) Read(p []byte) (int, error) {
	n := copy(p, e)
	for n < len(p) {
		n += copy(p[n:], e)
	}
	return n, nil
}

// rss is a process's resident memory in KiB.
func rss(t testing.TB, p *process) int { return memory(t, p, "VmRSS:") }

// memory is a line of a process's status in KiB.
func memory(t testing.TB, p *process, line string) int {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Skip(err)
	}
	_, rest, _ := strings.Cut(string(data), line)
	n, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func writeText(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// awaitFile waits until a file holds a text.
func awaitFile(t *testing.T, file, text string) {
	t.Helper()
	tick, limit := time.NewTicker(50*time.Millisecond), time.After(patience)
	defer tick.Stop()
	for {
		data, _ := os.ReadFile(file)
		if strings.Contains(string(data), text) {
			return
		}
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("%s is still %s", file, data)
		}
	}
}

// The broker inside speaks TLS with the certificate it was given, and with the one that has taken its place, which disturbs
// no connection.
func TestLANOverTLS(t *testing.T) {
	ca := brokertest.NewCA(t)
	cert := ca.Issue("localhost", time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	port, file, socket := inside(t, fmt.Sprintf(", tls: {cert: %q, key: %q}", cert.CertFile, cert.KeyFile))
	gateway := gatewayProcess(t, "run", "--config", file)
	awaitStatus(t, socket, func(st control.Status) bool { return st.OK })
	sub := subscriber(t, port, "#", "--cafile", ca.File())
	sub.out.awaitLine(t, "1 gateway/status ", `"online"`)
	pub(t, port, "dev/a", "in secret", "--cafile", ca.File())
	sub.out.awaitLine(t, "0 dev/a in secret")
	if out, err := exec.Command("mosquitto_pub", "-p", fmt.Sprint(port), "-t", "dev/b", "-m", "1").CombinedOutput(); err == nil {
		t.Errorf("in the clear: %s", out)
	}
	other := brokertest.NewCA(t)
	next := other.Issue("localhost", time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	for _, f := range [][2]string{{next.CertFile, cert.CertFile}, {next.KeyFile, cert.KeyFile}} {
		if err := os.Rename(f[0], f[1]); err != nil {
			t.Fatal(err)
		}
	}
	gateway.out.awaitLine(t, "certificate of the local broker has been read again")
	pub(t, port, "dev/c", "under the new one", "--cafile", other.File())
	sub.out.awaitLine(t, "0 dev/c under the new one")
	if out, err := exec.Command("mosquitto_pub", "-p", fmt.Sprint(port), "-t", "dev/d", "-m", "1", "--cafile", ca.File()).CombinedOutput(); err == nil {
		t.Errorf("under the old one: %s", out)
	}
}
