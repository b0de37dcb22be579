package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/creack/pty"

	"github.com/meshgate/meshgate/gateway/local"
)

func passwd(in io.Reader, args ...string) (int, string) {
	var errs strings.Builder
	code := execute(context.Background(), append([]string{"passwd"}, args...), in, io.Discard, &errs)
	return code, errs.String()
}

func TestPasswd(t *testing.T) {
	file := filepath.Join(t.TempDir(), "users")
	right := func(name, password string, want bool) {
		t.Helper()
		u, err := local.LoadUsers(file)
		if err != nil {
			t.Fatal(err)
		}
		if u.Verify(name, password) != want {
			t.Errorf("%s with %q: not %v", name, password, want)
		}
	}
	for _, s := range []struct {
		in, name, password string
	}{{"geheim\n", "anna", "geheim"}, {"two words\r\n", "bob", "two words"}, {"new", "anna", "new"}} {
		if code, errs := passwd(strings.NewReader(s.in), "--stdin", file, s.name); code != 0 {
			t.Fatalf("%d %s", code, errs)
		}
		right(s.name, s.password, true)
	}
	right("anna", "geheim", false)
	if text, _ := os.ReadFile(file); strings.Contains(string(text), "new") {
		t.Errorf("the password is in the file: %s", text)
	}
	if st, _ := os.Stat(file); st.Mode().Perm() != 0o640 {
		t.Errorf("mode %v", st.Mode())
	}
	if code, errs := passwd(nil, "--delete", file, "anna"); code != 0 {
		t.Errorf("%d %s", code, errs)
	}
	right("anna", "new", false)
	right("bob", "two words", true)
}

func TestPasswdRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "users")
	writeText(t, file, "# nobody\n")
	for _, s := range []struct {
		in   string
		args []string
		code int
		want string
	}{
		{"", []string{"--delete", file, "anna"}, 1, `no user "anna"`},
		{"\n", []string{"--stdin", file, "c"}, 1, "empty password"},
		{"x\n", []string{"--stdin", file, "a:b"}, 1, "no user name"},
		{"x\n", []string{file, "c"}, 2, "say --stdin"},
		{"x\n", []string{"--stdin", filepath.Join(file, "below"), "c"}, 1, "not a directory"},
	} {
		if code, errs := passwd(strings.NewReader(s.in), s.args...); code != s.code || !strings.Contains(errs, s.want) {
			t.Errorf("%q: %d %s", s.args, code, errs)
		}
	}
}

// On a terminal the password is asked for twice and is not shown.
func TestPasswdOnATerminal(t *testing.T) {
	for typed, want := range map[string]int{"hidden": 0, "mistyped": 1} {
		file := filepath.Join(t.TempDir(), "users")
		ours, theirs, err := pty.Open()
		if err != nil {
			t.Skip(err)
		}
		defer ours.Close()
		end := make(chan int, 1)
		go func() {
			code := execute(context.Background(), []string{"passwd", file, "anna"}, theirs, io.Discard, theirs)
			theirs.Close()
			end <- code
		}()
		seen := awaitText(t, ours, "Password: ")
		io.WriteString(ours, "hidden\r")
		seen += awaitText(t, ours, "Again: ")
		io.WriteString(ours, typed+"\r")
		rest, _ := io.ReadAll(ours) // ends with an error when the other end is closed
		if code := <-end; code != want {
			t.Errorf("%s: status %d", typed, code)
		}
		if seen += string(rest); strings.Contains(seen, "hidden") {
			t.Errorf("it was shown: %q", seen)
		}
	}
}

func awaitText(t *testing.T, r io.Reader, want string) (all string) {
	t.Helper()
	buf := make([]byte, 256)
	for !strings.Contains(all, want) {
		n, err := r.Read(buf)
		if err != nil {
			t.Fatalf("%q, then %v", all, err)
		}
		all += string(buf[:n])
	}
	return all
}
