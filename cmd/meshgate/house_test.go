package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/meshgate/meshgate/"

// house lists every room and what it may import of ours (design.md, section 1). Whoever
// needs another door changes this table and the picture together.
var house = map[string][]string{
	"hdlc":              {},
	"smartmesh":         {"hdlc"},
	"smartmesh/oap":     {},
	"smartmesh/health":  {},
	"smartmesh/mux":     {"hdlc"},
	"smartmesh/sim":     {"hdlc"},
	"smartmesh/tape":    {"hdlc"},
	"gpio":              {},
	"bridge":            {},
	"bridge/spool":      {},
	"bridge/brokertest": {},
	"gateway":           {"gateway/config", "gateway/console", "gateway/control", "gateway/local", "smartmesh", "smartmesh/oap", "smartmesh/health", "smartmesh/mux", "smartmesh/sim", "smartmesh/tape", "gpio", "bridge", "bridge/spool"},
	"gateway/config":    {"gpio", "bridge"},
	"gateway/console":   {},
	"gateway/control":   {},
	"gateway/local":     {"bridge"},
	"cmd/meshgate":      {"gateway", "gateway/config", "gateway/control", "gateway/local", "gpio", "bridge", "bridge/spool", "hdlc", "smartmesh", "smartmesh/oap", "smartmesh/health", "smartmesh/mux", "smartmesh/sim", "smartmesh/tape"},
}

// owners lists the third-party modules and the rooms, two at most, that may import them.
var owners = map[string][]string{
	"github.com/eclipse/paho.mqtt.golang": {"bridge", "gateway/local"},
	"github.com/mochi-mqtt/server/v2":     {"gateway/local"},
	"github.com/coder/websocket":          {"gateway/local"},
	"go.bug.st/serial":                    {"cmd/meshgate"},
	"periph.io/x/conn/v3":                 {"gpio"},
	"periph.io/x/host/v3":                 {"gpio"},
	"github.com/kardianos/service":        {"cmd/meshgate"},
	"github.com/spf13/cobra":              {"cmd/meshgate"},
	"go.yaml.in/yaml/v4":                  {"gateway/config"},
	"github.com/creack/pty":               {"cmd/meshgate"},
	"github.com/gorilla/websocket":        {"bridge"},
	"golang.org/x/term":                   {"cmd/meshgate"},
}

type pkg struct {
	ImportPath, Doc string
	Imports         []string
}

func rooms(t *testing.T) []pkg {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Doc,Imports", module+"...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []pkg
	for dec := json.NewDecoder(bytes.NewReader(out)); dec.More(); {
		var p pkg
		if err := dec.Decode(&p); err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

func TestHouse(t *testing.T) {
	for _, p := range rooms(t) {
		room := strings.TrimPrefix(p.ImportPath, module)
		may, known := house[room]
		if !known {
			t.Errorf("%s: a room the house does not know; docs/design.md and this table come first", room)
			continue
		}
		if p.Doc == "" {
			t.Errorf("%s: a package without a comment", room)
		}
		for _, imp := range p.Imports {
			checkDoor(t, room, imp, may)
		}
	}
}

// TestMakeTestNeedsGoAlone: the race detector needs a C compiler, `make test` does not; in CI nothing is left out.
func TestMakeTestNeedsGoAlone(t *testing.T) {
	if _, err := exec.LookPath("make"); err != nil {
		t.Skip(err)
	}
	for _, tt := range []struct {
		ci, cgo string
		race    bool
	}{{"", "0", false}, {"", "1", true}, {"true", "0", true}} {
		cmd := exec.Command("make", "-n", "-C", "../..", "test")
		cmd.Env = append(os.Environ(), "CI="+tt.ci, "CGO_ENABLED="+tt.cgo)
		out, err := cmd.CombinedOutput()
		if err != nil || strings.Contains(string(out), "-race") != tt.race {
			t.Errorf("%+v: %v\n%s", tt, err, out)
		}
	}
}

func checkDoor(t *testing.T, room, imp string, may []string) {
	t.Helper()
	if ours, ok := strings.CutPrefix(imp, module); ok {
		if !slices.Contains(may, ours) {
			t.Errorf("%s imports %s: no such door in the house", room, ours)
		}
		return
	}
	if !strings.Contains(strings.SplitN(imp, "/", 2)[0], ".") || strings.HasPrefix(imp, "golang.org/x/sys/") {
		return // the standard library, and the part of it that the kernel needs
	}
	for mod, who := range owners {
		if imp == mod || strings.HasPrefix(imp, mod+"/") {
			if !slices.Contains(who, room) {
				t.Errorf("%s imports %s: only %v may", room, imp, who)
			}
			return
		}
	}
	t.Errorf("%s imports %s: a module nobody owns", room, imp)
}
