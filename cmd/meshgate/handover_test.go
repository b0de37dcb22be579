package main

import (
	"context"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"github.com/meshgate/meshgate/gateway"
	"github.com/meshgate/meshgate/smartmesh"
	"github.com/meshgate/meshgate/smartmesh/sim"
)

// fdStore is a service manager that keeps descriptors for the next process.
type fdStore struct {
	t    *testing.T
	conn *net.UnixConn
	kept map[string]*os.File
	now  *process
}

// until reads datagrams until one has the line.
func (s *fdStore) until(line string) {
	s.t.Helper()
	s.conn.SetReadDeadline(time.Now().Add(patience))
	text, oob := make([]byte, 4096), make([]byte, 256)
	for {
		n, m, _, _, err := s.conn.ReadMsgUnix(text, oob)
		if err != nil {
			s.t.Fatalf("%s has not come: %v; the process says:\n%s", line, err, strings.Join(s.now.out.list(), "\n"))
		}
		lines := strings.Split(string(text[:n]), "\n")
		if len(lines) == 2 {
			s.change(lines[0], strings.TrimPrefix(lines[1], "FDNAME="), oob[:m])
		}
		if slices.Contains(lines, line) {
			return
		}
	}
}

func (s *fdStore) change(what, name string, oob []byte) {
	switch what {
	case "FDSTOREREMOVE=1":
		if s.kept[name] != nil {
			s.kept[name].Close()
			delete(s.kept, name)
		}
	case "FDSTORE=1":
		if len(name) > maxName || strings.Contains(name, ":") {
			s.t.Errorf("no name for a descriptor: %q", name)
		}
		messages, err := unix.ParseSocketControlMessage(oob)
		if err != nil || len(messages) != 1 {
			s.t.Fatalf("%d messages, %v", len(messages), err)
		}
		fds, err := unix.ParseUnixRights(&messages[0])
		if err != nil || len(fds) != 1 {
			s.t.Fatalf("%d descriptors, %v", len(fds), err)
		}
		unix.CloseOnExec(fds[0])
		s.kept[name] = os.NewFile(uintptr(fds[0]), name)
	}
}

// run starts a gateway with what is kept.
func (s *fdStore) run(file string) *process {
	s.t.Helper()
	path, err := binary()
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", `LISTEN_PID=$$ exec "$@"`, "sh", path, "run", "--config", file)
	var names []string
	for name, f := range s.kept {
		names = append(names, name)
		cmd.ExtraFiles = append(cmd.ExtraFiles, f)
	}
	cmd.Env = append(os.Environ(), "LISTEN_FDS="+strconv.Itoa(len(names)), "LISTEN_FDNAMES="+strings.Join(names, ":"))
	s.now = startCmd(s.t, cmd)
	s.until("READY=1")
	return s.now
}

// onTTY serves a manager on a pseudo terminal, which nobody else holds open once release is called.
func onTTY(t *testing.T, cfg sim.Config) (m *sim.Manager, port string, release func()) {
	t.Helper()
	end, tty, err := terminal()
	if err != nil {
		t.Fatal(err)
	}
	m = sim.New(cfg, nil)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { m.Run(ctx) })
	wg.Go(func() { _ = m.Serve(ctx, end) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	return m, tty.Name(), func() { tty.Close() }
}

// TestRestarts is the promise of the package: the daemon is restarted again and again while twenty notifications come each
// second, the manager never sees another session, and gets every one of them acknowledged. MESHGATE_RESTARTS makes it a
// soak.
func TestRestarts(t *testing.T) {
	restarts := 5
	if n, err := strconv.Atoi(os.Getenv("MESHGATE_RESTARTS")); err == nil {
		restarts = n
	}
	cfg := sim.Config{Motes: 20, Period: time.Second, Seed: 3, HealthPeriod: -1}
	for _, kind := range []string{"tcp", "tty"} {
		t.Run(kind, func(t *testing.T) {
			m, port, release := onTTY(t, cfg)
			if kind == "tcp" {
				release()
				m, port = simulated(t, cfg)
			}
			path := filepath.Join(t.TempDir(), "notify")
			t.Setenv("NOTIFY_SOCKET", path)
			s := &fdStore{t, serviceManager(t, path), map[string]*os.File{}, nil}
			file, _ := site(t, port, 0, "")
			p := s.run(file)
			for range restarts {
				awaitAcked(t, m, p)
				release()
				p.cmd.Process.Signal(syscall.SIGTERM)
				s.until("FDSTORE=1")
				if err := <-p.end; err != nil {
					t.Fatalf("the process ended with %v", err)
				}
				close(p.end)
				p = s.run(file)
				if len(s.kept) != 0 {
					t.Errorf("%d descriptors stay in the store", len(s.kept))
				}
			}
			awaitAcked(t, m, p)
			st := m.Stats()
			if st.Sessions != 1 || st.Dropped+st.Overflow+st.Overrun+st.Unacked+st.Discarded > 0 || st.Acked < st.Reliable-1 {
				t.Errorf("%+v; the last process says:\n%s", st, strings.Join(p.out.list(), "\n"))
			}
			for _, v := range st.Violations {
				if !strings.Contains(v, " after ") { // no process, no acknowledgement in time
					t.Errorf("violation: %s", v)
				}
			}
			t.Logf("%d restarts, %d notifications, %d sent again", restarts, st.Reliable, st.Resent)
		})
	}
}

// awaitAcked waits until the manager has ten more notifications acknowledged.
func awaitAcked(t *testing.T, m *sim.Manager, p *process) {
	t.Helper()
	want := m.Stats().Acked + 10
	limit := time.After(patience)
	for m.Stats().Acked < want {
		select {
		case <-limit:
			t.Fatalf("%d notifications are not acknowledged: %+v; the process says:\n%s", want, m.Stats(), strings.Join(p.out.list(), "\n"))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// TestWhatIsLeft: the name of a descriptor holds a session's numbers, and leaves out what is too long for it; on other
// terms, for another manager or a second time nothing is taken.
func TestWhatIsLeft(t *testing.T) {
	l := gateway.Left{Manager: "main", Terms: "/dev/serial/by-id/usb-x 1 2", Ahead: -time.Second,
		State: smartmesh.State{Next: 255, Last: 3, Rest: []byte{0x7e, 2}}}
	about, err := url.ParseQuery(nameOf(l, url.Values{}))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := readLeft(about); err != nil || !reflect.DeepEqual(got, l) {
		t.Errorf("%+v, %v", got, err)
	}
	_, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		manager, terms, path string
		ok                   bool
	}{
		{"main", l.Terms, tty.Name(), true},
		{"other", l.Terms, tty.Name(), false},
		{"main", "/dev/other 1 2", tty.Name(), false},
		{"main", l.Terms, "/dev/null", false},
	} {
		f, err := os.OpenFile(tty.Name(), os.O_RDONLY|unix.O_NOCTTY, 0)
		if err != nil {
			t.Fatal(err)
		}
		h := &handover{left: []stored{{about, f}}}
		about.Set("path", step.path)
		got, ok := h.take(step.manager, step.terms)
		if ok != step.ok {
			t.Errorf("%+v: %v", step, ok)
		}
		if _, ok := h.take(step.manager, step.terms); ok {
			t.Errorf("%+v: taken twice", step)
		}
		if ok {
			got.Port.Close()
		}
		h.close()
		if f.Close() == nil {
			t.Errorf("%+v: the descriptor is still open", step)
		}
	}
}
