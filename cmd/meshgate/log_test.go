package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// journalFile is a file that says that it is the journal's stream.
func journalFile(t *testing.T) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "journal"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	t.Setenv("JOURNAL_STREAM", fmt.Sprintf("%d:%d", st.Dev, st.Ino))
	return f
}

func TestLogToTheJournal(t *testing.T) {
	f := journalFile(t)
	log, level, err := newLog(f, "info", "text")
	if err != nil {
		t.Fatal(err)
	}
	log.Debug("not told")
	log.With("bridge", "cloud").Info("connected")
	log.Warn("lost", "error", "two\nlines")
	log.WithGroup("g").Error("broken", "time", 7)
	setLevel(level, "debug")
	log.Debug("told")
	got, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	want := "<6>msg=connected bridge=cloud\n<4>msg=lost error=\"two\\nlines\"\n<3>msg=broken g.time=7\n<7>msg=told\n"
	if string(got) != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestLogElsewhere(t *testing.T) {
	journalFile(t)
	var out bytes.Buffer
	log, _, err := newLog(&out, "", "text")
	if err != nil {
		t.Fatal(err)
	}
	log.Info("hello")
	if line := out.String(); !strings.HasPrefix(line, "time=") || !strings.Contains(line, "level=INFO msg=hello") {
		t.Errorf("a stream that is not the journal's has %q", line)
	}
	for _, bad := range [][2]string{{"loud", "text"}, {"info", "xml"}} {
		if _, _, err := newLog(&out, bad[0], bad[1]); err == nil {
			t.Errorf("%v is taken", bad)
		}
	}
}
