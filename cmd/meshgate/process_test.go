package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/meshgate/meshgate/smartmesh/sim"
)

// patience is how long a test waits for what has to come; only a failure ever takes so long.
const patience = 30 * time.Second

// binary builds the program once for all tests that run it as a process.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "meshgate-test-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "meshgate")
	out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w: %s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	if address := os.Getenv(leastEnv); address != "" {
		leastServer(address)
	}
	code := m.Run()
	if path, err := binary(); err == nil {
		os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

// process is a program under test and what it has written.
type process struct {
	cmd *exec.Cmd
	out lines
	end chan error
}

// lines collects what is written, line by line, and tells who waits.
type lines struct {
	mu    sync.Mutex
	all   []string
	grown chan struct{}
}

func (l *lines) read(r io.Reader) {
	s := bufio.NewScanner(r)
	s.Buffer(nil, 4<<20)
	for s.Scan() {
		l.mu.Lock()
		l.all = append(l.all, s.Text())
		close(l.grown)
		l.grown = make(chan struct{})
		l.mu.Unlock()
	}
}

func (l *lines) list() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all[:len(l.all):len(l.all)]
}

// await waits until ok accepts the lines so far.
func (l *lines) await(t testing.TB, what string, ok func([]string) bool) {
	t.Helper()
	limit := time.After(patience)
	for {
		l.mu.Lock()
		all, grown := l.all, l.grown
		l.mu.Unlock()
		if ok(all) {
			return
		}
		select {
		case <-grown:
		case <-limit:
			t.Fatalf("%s has not come within %v; the last lines are:\n%s", what, patience, strings.Join(all[max(0, len(all)-20):], "\n"))
		}
	}
}

// more waits until something is added, or for the time given.
func (l *lines) more(d time.Duration) {
	l.mu.Lock()
	grown := l.grown
	l.mu.Unlock()
	select {
	case <-grown:
	case <-time.After(d):
	}
}

// awaitLine waits for a line that holds all the words, and gives it.
func (l *lines) awaitLine(t testing.TB, words ...string) string {
	t.Helper()
	var found string
	l.await(t, fmt.Sprintf("a line with %q", words), func(all []string) bool {
		for _, line := range all {
			if found = line; holds(line, words) {
				return true
			}
		}
		return false
	})
	return found
}

func holds(line string, words []string) bool {
	for _, w := range words {
		if !strings.Contains(line, w) {
			return false
		}
	}
	return true
}

// start runs a program; both of its streams are collected. It is killed at the end of the test.
func start(t testing.TB, name string, args ...string) *process {
	t.Helper()
	return startCmd(t, exec.Command(name, args...))
}

func startCmd(t testing.TB, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{cmd: cmd, end: make(chan error, 1)}
	p.out.grown = make(chan struct{})
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stdout, p.cmd.Stderr = w, w
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	go func() {
		p.out.read(r)
		r.Close()
		p.end <- p.cmd.Wait()
	}()
	t.Cleanup(func() { p.kill() })
	return p
}

func (p *process) kill() { p.signal(syscall.SIGKILL) }

// signal ends the program and gives how it ended; a second call gives nil.
func (p *process) signal(s os.Signal) error {
	p.cmd.Process.Signal(s)
	err, ok := <-p.end
	if ok {
		close(p.end)
	}
	return err
}

func gatewayProcess(t testing.TB, args ...string) *process {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	return start(t, path, args...)
}

// freePort gives a TCP port that nobody uses.
func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// mosquitto starts Debian's broker on a port, with more lines for its configuration.
func mosquitto(t testing.TB, port int, more ...string) *process {
	t.Helper()
	needs(t, "mosquitto", "mosquitto_sub", "mosquitto_pub")
	conf := filepath.Join(t.TempDir(), "mosquitto.conf")
	text := fmt.Sprintf("listener %d 127.0.0.1\n%s\n", port, strings.Join(more, "\n"))
	if !strings.Contains(text, "allow_anonymous") {
		text += "allow_anonymous true\n"
	}
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, "mosquitto", "-c", conf, "-v")
	p.out.awaitLine(t, "mosquitto version", "running")
	return p
}

// needs skips a test whose peers are not on this machine, so that `make test` passes with nothing
// but Go; in CI a peer that is missing is a failure.
func needs(t testing.TB, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err == nil {
			continue
		}
		if os.Getenv("CI") != "" {
			t.Fatalf("%s is missing (apt-get install mosquitto mosquitto-clients)", p)
		}
		t.Skipf("%s is not on this machine (apt-get install mosquitto mosquitto-clients)", p)
	}
}

// subscriber prints each message as "RETAINED TOPIC PAYLOAD".
func subscriber(t *testing.T, port int, filter string, more ...string) *process {
	t.Helper()
	p := start(t, "stdbuf", append([]string{"-oL", "mosquitto_sub", "-p", fmt.Sprint(port), "-q", "1", "-t", filter, "-F", "%r %t %p", "-d"}, more...)...)
	p.out.awaitLine(t, "Subscribed")
	return p
}

func pub(t *testing.T, port int, topic, payload string, more ...string) {
	t.Helper()
	args := append([]string{"-p", fmt.Sprint(port), "-q", "1", "-t", topic, "-s"}, more...)
	cmd := exec.Command("mosquitto_pub", args...)
	cmd.Stdin = strings.NewReader(payload)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("mosquitto_pub: %v: %s", err, out)
	}
}

// simulated serves a manager on a TCP port for the length of the test.
func simulated(t *testing.T, cfg sim.Config) (*sim.Manager, string) {
	t.Helper()
	m := sim.New(cfg, nil)
	ctx, cancel := context.WithCancel(context.Background())
	at := make(chan net.Addr, 1)
	var wg sync.WaitGroup
	wg.Go(func() { m.Run(ctx) })
	wg.Go(func() {
		if err := sim.ListenTCP(ctx, m, "127.0.0.1:0", func(a net.Addr) { at <- a }); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("ListenTCP: %v", err)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	return m, "tcp://" + (<-at).String()
}

// site writes a gateway's configuration into a folder of its own and gives the file and the socket.
func site(t testing.TB, port string, broker int, more string) (file, socket string) {
	t.Helper()
	dir := t.TempDir()
	var text bytes.Buffer
	fmt.Fprintf(&text, "id: t1\nstate_dir: %s\nmanagers:\n  - {name: main, port: %q}\n", filepath.Join(dir, "state"), port)
	fmt.Fprintf(&text, "actuators:\n  led: {pin: sim}\n")
	if broker > 0 {
		fmt.Fprintf(&text, "bridges:\n  - {name: cloud, url: \"mqtt://127.0.0.1:%d\"}\n", broker)
	}
	text.WriteString(more)
	file = filepath.Join(dir, "gateway.yaml")
	if err := os.WriteFile(file, text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return file, filepath.Join(dir, "state", "meshgate.sock")
}
