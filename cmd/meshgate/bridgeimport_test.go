package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/meshgate/meshgate/gateway/config"
)

const mosquittoConf = `# a broker with two bridges
listener 1883
allow_anonymous true

connection cloud
address broker.example.net:8883 [2001:db8::1]:8884 third.example.net
remote_clientid greenhouse-1
remote_username greenhouse-1
remote_password secret word
keepalive_interval 45
bridge_cafile CA
cleansession false
topic # out 1
topic lamp/+/set in 2 home/ devices/
topic "" out 1 one two
topic status both 0 "" site/
notifications true
something_new 7

connection plain
address 127.0.0.1
topic mote/#

listener 1884
password_file /etc/secret
`

// TestBridgeImport: what is printed is a valid section of our configuration, with the rules as
// they were and no password.
func TestBridgeImport(t *testing.T) {
	dir := t.TempDir()
	ca := filepath.Join(dir, "ca.pem")
	conf := filepath.Join(dir, "mosquitto.conf")
	text := strings.ReplaceAll(strings.ReplaceAll(mosquittoConf, "bridge_cafile CA", "bridge_cafile "+ca), `topic "" out`, `topic "" out`)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, _, code := meshgate(t, "", "bridge", "import", conf)
	if code != 0 || strings.Contains(out, "secret word") || strings.Contains(out, "/etc/secret") {
		t.Fatalf("exit %d: %s", code, out)
	}
	for _, want := range []string{"something_new 7: not taken over", "the password is not copied", "gateway/status is always published"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	for line := range strings.Lines(out) { // without the files that are not here
		if strings.Contains(line, "password_file") || strings.Contains(line, "tls:") {
			out = strings.Replace(out, line, "", 1)
		}
	}
	cfg, err := config.Parse("x.yaml", []byte("id: t\nmanagers: [{name: main, port: \"sim:\"}]\n"+out), dir)
	if err != nil {
		t.Fatalf("%v in\n%s", err, out)
	}
	b := cfg.Bridges[0]
	if got := strings.Join(b.URLs, " "); got != "mqtts://broker.example.net:8883 mqtts://[2001:db8::1]:8884 mqtts://third.example.net:1883" {
		t.Errorf("urls %s", got)
	}
	if b.ClientID != "greenhouse-1" || b.Username != "greenhouse-1" || b.Keepalive.String() != "45s" {
		t.Errorf("%+v", b)
	}
	for local, want := range map[string]string{"a/b": "a/b", "one": "one", "status": "status"} {
		if remote, qos, ok := b.Rules.Out(local); !ok || remote != want || qos != 1 {
			t.Errorf("%s goes out as %s, qos %d, %v", local, remote, qos, ok)
		}
	}
	if local, qos, ok := b.Rules.In("devices/lamp/7/set"); !ok || local != "home/lamp/7/set" || qos != 2 {
		t.Errorf("a command comes in as %s, qos %d, %v", local, qos, ok)
	}
	if remote, qos, ok := cfg.Bridges[1].Rules.Out("mote/x"); !ok || remote != "mote/x" || qos != 0 {
		t.Errorf("mote/x goes out as %s, qos %d, %v", remote, qos, ok)
	}
	if err := os.WriteFile(conf, []byte("listener 1883\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, errs, code := meshgate(t, "", "bridge", "import", conf); code != 1 || !strings.Contains(errs, "no connection") {
		t.Errorf("exit %d: %s", code, errs)
	}
	if err := os.WriteFile(conf, []byte("connection a\ntopic a/#/b out 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, errs, code := meshgate(t, "", "bridge", "import", conf); code != 1 || !strings.Contains(errs, "line 2") {
		t.Errorf("exit %d: %s", code, errs)
	}
}
