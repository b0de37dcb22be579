package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestUnit: the text in the program is the packaged one, and becomes one for another place.
func TestUnit(t *testing.T) {
	packaged, err := os.ReadFile(filepath.Join("..", "..", "packaging", "meshgate.service"))
	if err != nil {
		t.Fatal(err)
	}
	if string(packaged) != unitText {
		t.Error("packaging/meshgate.service and cmd/meshgate/service_unit.go differ: copy the one into the other")
	}
	got := unitFor("/opt/my tools/meshgate", "/etc/100%.yaml", func(g string) bool { return g == "dialout" })
	for _, want := range []string{
		"\nExecStart=\"/opt/my tools/meshgate\" run --config /etc/100%%.yaml\n",
		"\nExecStartPre=\"/opt/my tools/meshgate\" check --config /etc/100%%.yaml\n",
		"\nExecStopPost=-\"/opt/my tools/meshgate\" safe --config /etc/100%%.yaml\n",
		"\nExecReload=/bin/kill -HUP $MAINPID\n", "\nSupplementaryGroups=dialout\n", "\nWatchdogSec=",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	was, is := strings.Split(unitText, "\n"), strings.Split(got, "\n")
	for i, line := range was { // what is not about the place is word for word the same
		if len(is) != len(was) || is[i] != line && !strings.HasPrefix(line, "Exec") && !strings.HasPrefix(line, "SupplementaryGroups=") {
			t.Fatalf("%d lines of %d, and %q has become %q", len(is), len(was), line, is[i])
		}
	}
	if strings.Contains(got, "/usr/bin/meshgate") {
		t.Errorf("the old place is still in\n%s", got)
	}
	if strings.Contains(got, "{{") {
		t.Error("the library would take this for its template")
	}
}

func TestServiceRefusesWhereThePackageIs(t *testing.T) {
	unit := filepath.Join(t.TempDir(), "meshgate.service")
	if err := notPackaged([]string{unit}); err != nil {
		t.Errorf("without the package: %v", err)
	}
	if err := os.WriteFile(unit, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := notPackaged([]string{unit}); err == nil || !strings.Contains(err.Error(), "systemctl") {
		t.Errorf("with it: %v", err)
	}
}

func TestServiceStatus(t *testing.T) {
	out, errs, code := meshgate(t, "", "service", "status")
	if code == 0 || out+errs == "" {
		t.Errorf("%d %q %q", code, out, errs)
	}
}
