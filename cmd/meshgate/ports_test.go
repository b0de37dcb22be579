package main

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

func TestOpenPortErrors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, busy, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	if err := unix.Flock(int(busy.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	p := newPorts(slog.New(slog.DiscardHandler))
	defer p.close()
	for port, want := range map[string]string{
		"/dev/none":         "/dev/none is not there: is the manager plugged in?",
		file:                file + " is no serial port",
		busy.Name():         busy.Name() + ": another program uses the port",
		"tcp://127.0.0.1:1": "connection refused",
		"sim:?mots=1":       "mots",
	} {
		_, err := p.open(context.Background(), port)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", port, err, want)
		}
	}
}

// TestOpenPortIsExclusive: a second gateway on the same port is refused, and may have it later.
func TestOpenPortIsExclusive(t *testing.T) {
	_, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer tty.Close()
	first, err := openSerial(tty.Name())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := openSerial(tty.Name()); err == nil || !strings.Contains(err.Error(), "another program") {
		t.Errorf("second opening: %v", err)
	}
	first.Close()
	again, err := openSerial(tty.Name())
	if err != nil {
		t.Fatalf("after the first was closed: %v", err)
	}
	again.Close()
}

func TestTable(t *testing.T) {
	var out strings.Builder
	tab := newTable(&out, "NAME", "STATE")
	tab.row(cell{"température", plain}, cell{"up", green})
	tab.row(cell{"x", plain}, cell{"", red})
	tab.print()
	want := "NAME         STATE\ntempérature  up\nx\n"
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", &out, want)
	}
}

func TestSize(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 9000: "9000 B", 20 << 10: "20 KiB", 300 << 20: "300 MiB"} {
		if got := size(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}
