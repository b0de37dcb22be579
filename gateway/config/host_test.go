package config

import (
	"strings"
	"testing"
)

func TestID(t *testing.T) {
	id := func(files map[string]string) string {
		s, err := testHost(files).id()
		if err != nil {
			return err.Error()
		}
		if !word.MatchString(s) || !strings.HasPrefix(s, "mg-") || len(s) != 15 {
			t.Errorf("id %q is not mg- and 12 hex digits", s)
		}
		return s
	}
	const etc, dbus, serial = "/etc/machine-id", "/var/lib/dbus/machine-id", "/sys/firmware/devicetree/base/serial-number"
	base := id(map[string]string{etc: machineID + "\n"})
	// The id is a promise: it is in the topics of every gateway out there.
	if want := "mg-7a161ef65932"; base != want {
		t.Errorf("id of %s is %s, was %s", machineID, base, want)
	}
	if got := id(map[string]string{dbus: machineID, etc: "uninitialized\n"}); got != base {
		t.Errorf("without /etc/machine-id, %s is not that of D-Bus, %s", got, base)
	}
	if got := id(map[string]string{etc: strings.ToUpper(machineID)}); got != base {
		t.Errorf("letters in upper case change it: %s", got)
	}
	one, two := id(map[string]string{etc: machineID, serial: "10000000abc\x00"}), id(map[string]string{etc: machineID, serial: "10000000abd\x00"})
	if one == two || one == base {
		t.Errorf("two boards with one card's copy have the ids %s and %s", one, two)
	}
	for _, bad := range []map[string]string{nil, {etc: ""}, {etc: "uninitialized"}, {etc: machineID + "00"}} {
		if got := id(bad); got != errNoMachineID.Error() {
			t.Errorf("%v gives %s", bad, got)
		}
	}
	_, err := parse("f.yaml", []byte("\n"+minimal), "/", testHost(nil))
	if want := `f.yaml:2:1: missing key "id": this machine has no /etc/machine-id to derive one from`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestStateDir(t *testing.T) {
	for env, want := range map[string]string{
		"": "/var/lib/meshgate", "/var/lib/private/x": "/var/lib/private/x", "/a:/b": "/a", "relative": "/var/lib/meshgate",
	} {
		h := plainHost()
		h.getenv = func(name string) string {
			if name != "STATE_DIRECTORY" {
				t.Errorf("asks for %s", name)
			}
			return env
		}
		if c, err := parse("f", []byte(minimal), "/", h); err != nil || c.StateDir != want {
			t.Errorf("STATE_DIRECTORY=%s gives %v, %v; want %s", env, c, err, want)
		}
	}
}
