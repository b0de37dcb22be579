package main

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestUsage(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.yaml")
	text := "id: g\nmanagers:\n  - {nam: main, port: tcp://127.0.0.1:1}\nbridges:\n  - {name: c, url: \"mqtt://127.0.0.1\", password_file: none, keepalive: 5}\n"
	if err := os.WriteFile(bad, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	others := filepath.Join(dir, "others.yaml") // mistakes that other packages know of, too
	writeText(t, others, "managers:\n  - {name: main, port: 'sim:?mots=3', allow: [reset, getTim]}\n  - {nam: b, port: 'sim:'}\n")
	tests := []struct {
		args []string
		code int
		want []string
	}{
		{[]string{"frobnicate"}, exitUsage, []string{`unknown command "frobnicate"`, "meshgate --help"}},
		{[]string{"set", "led"}, exitUsage, []string{"accepts 2 arg", "Usage: meshgate set NAME STATE", "meshgate set --help"}},
		{[]string{"service", "instal"}, exitUsage, []string{`unknown command "instal" for "meshgate service"`, "meshgate service --help"}},
		{[]string{"completion", "tcsh"}, exitUsage, []string{`unknown command "tcsh"`}},
		{[]string{"run", "--colour"}, exitUsage, []string{"unknown flag: --colour"}},
		{[]string{"run", "--config", "/none.yaml"}, exitUsage, []string{"/none.yaml is not there", "--demo"}},
		{[]string{"check", "--config", bad}, exitUsage, []string{bad + ":3:6:", `"nam"`, `"name"`, ":5:", "none", "keepalive"}},
		{[]string{"check", "--config", others}, exitUsage, []string{others + `:2:24: managers[0].port: sim: unknown parameter "mots"`,
			others + `:2:54: managers[0].allow[1]: "getTim" is no command of the manager`, others + ":3:6:"}},
		{[]string{"simulate"}, exitUsage, []string{"--pty LINK or --listen HOST:PORT"}},
		{[]string{"simulate", "--listen", "x", "--faults", "nois=1"}, exitUsage, []string{"nois", "noise"}},
		{[]string{"call"}, exitUsage, []string{"call --list"}},
		{[]string{"call", "reset", "type=0"}, exitUsage, []string{"--yes"}},
		{[]string{"call", "getTime", "x"}, exitUsage, []string{`"x" is not field=value`}},
		{[]string{"status", "--socket", filepath.Join(dir, "none")}, exitFailed, []string{"no answer from the daemon at " + dir}},
		{[]string{"bridge", "test", "a/#", "--config", bad}, exitUsage, []string{"#"}},
	}
	for _, tt := range tests {
		out, errs, code := meshgate(t, "", tt.args...)
		if code != tt.code {
			t.Errorf("%v: status %d, want %d: %s", tt.args, code, tt.code, errs)
		}
		for _, want := range tt.want {
			if !strings.Contains(errs, want) {
				t.Errorf("%v: no %q in %s", tt.args, want, errs)
			}
		}
		if out != "" {
			t.Errorf("%v: written to standard output: %s", tt.args, out)
		}
	}
}

// TestNotReadable: a file of root's tells a person, and the journal of a service, what to do.
func TestNotReadable(t *testing.T) {
	_, err := judged(nil, &fs.PathError{Op: "open", Path: "/etc/x.yaml", Err: syscall.EACCES})
	if err == nil || !contains(err.Error(), "/etc/x.yaml may not be read", "sudo chgrp meshgate /etc/x.yaml") {
		t.Errorf("got %v", err)
	}
}

func TestVersion(t *testing.T) {
	out, _, code := meshgate(t, "", "version", "--json")
	var v map[string]string
	if err := json.Unmarshal([]byte(out), &v); err != nil || code != 0 || v["version"] != version || v["go"] == "" {
		t.Errorf("%d, %v: %s", code, err, out)
	}
	for _, arg := range []string{"version", "--version"} {
		if out, _, code := meshgate(t, "", arg); code != 0 || !strings.HasPrefix(out, "meshgate ") || !strings.Contains(out, version) {
			t.Errorf("%s: %d: %s", arg, code, out)
		}
	}
}

func TestCheckOK(t *testing.T) {
	file, _ := site(t, "sim:", 1883, "")
	if out, errs, code := meshgate(t, "", "check", "--config", file); code != 0 || out != "ok\n" {
		t.Errorf("%d: %s%s", code, out, errs)
	}
	out, _, code := meshgate(t, "", "bridge", "test", "--config", file, "mote/x/temperature")
	if code != 0 || !strings.Contains(out, "meshgate/t1/mote/x/temperature") {
		t.Errorf("%d: %s", code, out)
	}
	if _, errs, code := meshgate(t, "", "bridge", "test", "--config", file, "actuator/led/set"); code != exitFailed || !strings.Contains(errs, "in as meshgate/t1/actuator/led/set") {
		t.Errorf("%d: %s", code, errs)
	}
	if _, errs, code := meshgate(t, "", "bridge", "test", "--config", file, "nobody/x"); code != exitFailed || !strings.Contains(errs, "no rule") {
		t.Errorf("%d: %s", code, errs)
	}
}

func TestCallList(t *testing.T) {
	out, _, code := meshgate(t, "", "call", "--list")
	if code != 0 || strings.Count(out, "\n") != 1+43 || !strings.Contains(out, "getNetworkInfo") || strings.Contains(out, "\x1b") {
		t.Errorf("%d: %s", code, out)
	}
}

// TestCompletion: the shells complete the names of the manager's commands.
func TestCompletion(t *testing.T) {
	if out, _, code := meshgate(t, "", "__complete", "call", "getNetw"); code != 0 || !strings.Contains(out, "getNetworkInfo\n") {
		t.Errorf("%d: %s", code, out)
	}
}

func TestFieldValue(t *testing.T) {
	for in, want := range map[string]any{"5": int64(5), "0x10": int64(16), "true": true, "00ff": "00ff", "0": int64(0), "abc": "abc", "-3": int64(-3),
		"0000000000000000": "0000000000000000"} {
		if got := fieldValue(in); got != want {
			t.Errorf("%s: got %#v, want %#v", in, got, want)
		}
	}
}
