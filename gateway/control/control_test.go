package control

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// serve runs a handler on a socket in a temporary folder and gives a client to it.
func serve(t *testing.T, h http.Handler) *Client {
	t.Helper()
	path := filepath.Join(t.TempDir(), "run", "meshgate.sock")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, l, h) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return NewClient(path)
}

func TestPost(t *testing.T) {
	mux := http.NewServeMux()
	mux.Handle("POST /api/v1/set", Post(func(_ context.Context, r SetRequest) (any, error) {
		if r.Name != "led" {
			return nil, errors.New("no actuator is called " + r.Name)
		}
		return Result{OK: true, Stage: "applied"}, nil
	}))
	c := serve(t, mux)
	var res Result
	if err := c.Post(t.Context(), "set", SetRequest{Name: "led", State: "on"}, &res); err != nil || !res.OK || res.Stage != "applied" {
		t.Errorf("set led: %+v, %v", res, err)
	}
	err := c.Post(t.Context(), "set", SetRequest{Name: "pump", State: "on"}, &res)
	if err == nil || err.Error() != "no actuator is called pump" {
		t.Errorf("set pump: %v", err)
	}
	err = c.Post(t.Context(), "set", map[string]string{"nmae": "led"}, &res)
	if err == nil || !strings.Contains(err.Error(), "nmae") {
		t.Errorf("unknown field: %v", err)
	}
	err = c.Post(t.Context(), "set", SetRequest{Name: strings.Repeat("x", maxBody)}, &res)
	if err == nil || !strings.Contains(err.Error(), "too large") {
		t.Errorf("large body: %v", err)
	}
}

// A crowd that says nothing takes no more than its share of files, and none when it is gone.
func TestCrowd(t *testing.T) {
	c := serve(t, http.NotFoundHandler())
	const more = 5
	var all []net.Conn
	closed := make(chan error, maxConns+more)
	for range cap(closed) {
		conn, err := net.Dial("unix", c.socket)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		all = append(all, conn)
		go func() {
			_, err := conn.Read(make([]byte, 1))
			closed <- err
		}()
	}
	for range more {
		if err := <-closed; err == nil {
			t.Error("it is answered")
		}
	}
	for _, conn := range all[:maxConns] { // in the order in which they were accepted
		conn.Write([]byte("GET / HTTP/1.0\r\n\r\n"))
	}
	for range maxConns {
		if err := <-closed; err != nil {
			t.Fatal(err)
		}
	}
	var got any
	if err := c.Get(t.Context(), "x", &got); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("afterwards: %v", err)
	}
}

func TestWatch(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/watch", func(w http.ResponseWriter, r *http.Request) {
		Reply(w, Message{Topic: r.URL.Query().Get("filter"), Payload: "1"})
		Reply(w, Message{Topic: "b", Payload: "2"})
	})
	c := serve(t, mux)
	var got []string
	err := c.Watch(t.Context(), "mote/#", func(m Message) { got = append(got, m.Topic+"="+m.Payload) })
	if err == nil || strings.Join(got, " ") != "mote/#=1 b=2" {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestListen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "meshgate.sock")
	if err := os.WriteFile(path, nil, 0o600); err != nil { // what a dead daemon left
		t.Fatal(err)
	}
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o660 {
		t.Errorf("mode %v, %v", fi.Mode(), err)
	}
	if _, err := Listen(path); err == nil || !strings.Contains(err.Error(), "another meshgate") {
		t.Errorf("second daemon: %v", err)
	}
}

func TestFind(t *testing.T) {
	t.Setenv("RUNTIME_DIRECTORY", "")
	dir := t.TempDir()
	if _, err := Find(dir); err == nil || !strings.Contains(err.Error(), "--socket") {
		t.Errorf("none there: %v", err)
	}
	want := filepath.Join(dir, "meshgate.sock")
	if err := os.WriteFile(want, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := Find(dir); err != nil || got != want {
		t.Errorf("got %q, %v", got, err)
	}
}

// TestNotForEverybody: who is not in the group does not even see the socket, and is told what to do.
func TestNotForEverybody(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("RUNTIME_DIRECTORY", dir)
	if err := os.Chmod(dir, 0); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		if err := syscall.Seteuid(65534); err != nil {
			t.Fatal(err)
		}
		defer syscall.Seteuid(0)
	}
	socket, err := Find("")
	if err != nil {
		t.Fatal(err)
	}
	if err := NewClient(socket).Get(t.Context(), "status", new(Status)); err == nil || !strings.Contains(err.Error(), "permission denied: use sudo") {
		t.Errorf("got %v", err)
	}
}
