package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/meshgate/meshgate/bridge"
	"github.com/meshgate/meshgate/gpio"
)

const machineID = "0123456789abcdef0123456789abcdef"

// testHost is a machine with the given files and no environment.
func testHost(files map[string]string) host {
	return host{
		getenv: func(string) string { return "" },
		readFile: func(name string) ([]byte, error) {
			if s, ok := files[name]; ok {
				return []byte(s), nil
			}
			return nil, fs.ErrNotExist
		},
	}
}

func plainHost() host { return testHost(map[string]string{"/etc/machine-id": machineID + "\n"}) }

func read(dir, text string) (*Config, error) {
	return parse("f.yaml", []byte(text), dir, plainHost())
}

func mustRead(t *testing.T, dir, text string) *Config {
	t.Helper()
	c, err := read(dir, text)
	if err != nil {
		t.Fatalf("unexpected mistakes:\n%v", err)
	}
	return c
}

const minimal = "managers: [{name: main, port: auto}]\n"

func TestDefaults(t *testing.T) {
	c := mustRead(t, "/etc/meshgate", minimal+"bridges: [{name: cloud, url: 'mqtts://b.example'}]\nlocal: {broker: 'tcp://127.0.0.1'}\n")
	id := c.ID
	if !strings.HasPrefix(id, "mg-") || len(id) != 15 {
		t.Errorf("id = %q, want mg- and 12 hex digits", id)
	}
	want := &Config{
		File: "f.yaml", ID: id, StateDir: "/var/lib/meshgate",
		Managers: []Manager{{Name: "main", Port: "auto", Data: DataReliable}},
		Local:    &Local{Broker: "tcp://127.0.0.1:1883", ClientID: "meshgate-" + id + "-local"},
		Bridges: []Bridge{{
			Name: "cloud", URLs: []string{"mqtts://b.example:8883"}, ClientID: "meshgate-" + id,
			Keepalive: 30 * time.Second, Prefix: "meshgate/" + id + "/",
			Rules: bridge.DefaultRules("meshgate/" + id + "/"), Canary: time.Minute,
		}},
		Spool: Spool{MaxSize: 256 << 20, WhenFull: DropOldest},
		Log:   Log{Level: "info"},
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got  %+v\nwant %+v", *c, *want)
	}
}

func TestEveryKey(t *testing.T) {
	dir := t.TempDir()
	ca, cert, key := writePair(t, dir, "gw")
	write(t, dir, "users", "x:y\n")
	write(t, dir, "acl", "topic #\n")
	write(t, dir, "pw", "hunter2\n")
	data, err := os.ReadFile("testdata/every.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c := mustRead(t, dir, string(data))
	in := func(name string) string { return filepath.Join(dir, name) }
	want := &Config{
		File: "f.yaml", ID: "0123", StateDir: in("state"),
		Managers: everyManager(in),
		Outputs:  everyOutput(),
		Inputs: []gpio.Input{{Name: "door", Pin: "GPIO27", Pull: "up", ActiveLow: true, Debounce: 20 * time.Millisecond, Rate: 5},
			{Name: "meter", Pin: "GPIO22", Pull: "none", Count: 10 * time.Second}},
		Automations: everyAutomation(),
		Local:       &Local{Listen: "tls://0.0.0.0:1884", Users: in("users"), ACL: in("acl"), TLS: bridge.TLS{Cert: cert, Key: key}},
		Bridges:     everyBridge(in, ca, cert, key),
		Spool:       Spool{MaxSize: 1 << 30, MaxAge: 24 * time.Hour, WhenFull: DropNewest, Sync: 100 * time.Millisecond},
		HTTP:        HTTP{Listen: ":8080", Users: in("users")},
		Log:         Log{Level: "debug"},
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got  %s\nwant %s", dump(c), dump(want))
	}
}

func everyManager(in func(string) string) []Manager {
	return []Manager{
		{Name: "main", Port: in("pty"), Data: DataUnacknowledged, Temperature: 2500 * time.Millisecond,
			Allow: []string{"reset", "setNetworkConfig"},
			Share: &Share{Listen: "0.0.0.0:9900", Users: in("users"), Write: true}, Record: in("ring.bin")},
		{Name: "2", Port: "mux://10.0.0.7:9900", Data: DataReliable},
		{Name: "3", Port: "tcp://[fe80::1]:5000", Data: DataReliable},
		{Name: "4", Port: "sim:?motes=5&period=2s&seed=1", Data: DataReliable},
	}
}

func everyOutput() []gpio.Output {
	return []gpio.Output{
		{Name: "pump", Pin: "GPIO17", Kind: "switch", ActiveLow: true, MaxOn: 10 * time.Minute, MinOff: time.Minute,
			Lease: 5 * time.Minute, Rate: 6, Interlock: []string{"valve"},
			OnLinkLoss: gpio.GoSafe, LinkDelay: 30 * time.Second},
		{Name: "valve", Pin: "sim"}, {Name: "valve2", Pin: "sim"}, {Name: "valve3", Pin: "sim"},
		{Name: "all", Group: []string{"pump", "valve"}},
	}
}

func everyBridge(in func(string) string, ca, cert, key string) []Bridge {
	return []Bridge{
		{Name: "a", URLs: []string{"wss://a.example:443/mqtt?sig=1", "mqtt://localhost:1883"}, ClientID: "me",
			Username: "u", PasswordFile: in("pw"), TLS: bridge.TLS{CA: ca, Cert: cert, Key: key, ServerName: "a.example"},
			Keepalive: time.Minute, BacklogRate: 50, Prefix: "p/", Rules: bridge.Rules{
				{Pattern: "mote/#", QoS: 1, RemotePrefix: "p/", OwnPrefix: true},
				{Pattern: "x/+", Direction: bridge.In, QoS: 2, Retain: bridge.Strip, OwnPrefix: true},
				{Pattern: "lamp/+/set", Direction: bridge.In, QoS: 1, LocalPrefix: "home/", RemotePrefix: "devices/", OwnPrefix: true},
				{Pattern: "y", Direction: bridge.Both, QoS: 1, LocalPrefix: "l/", RemotePrefix: "r/", OwnPrefix: true},
			}},
		{Name: "b", URLs: []string{"mqtt://far.example:1885"}, ClientID: "meshgate-0123", Keepalive: 30 * time.Second,
			Prefix: "meshgate/0123/", Rules: bridge.DefaultRules("meshgate/0123/"), Plaintext: true, Canary: time.Minute},
	}
}

// dump prints what pointers point to as well.
func dump(c *Config) string {
	s := strings.ReplaceAll(fmt.Sprintf("%+v", struct{ *alias }{(*alias)(c)}.alias), "} ", "}\n     ")
	if c.Local != nil {
		s += fmt.Sprintf("\n     local %+v", *c.Local)
	}
	return s
}

type alias Config

func TestExample(t *testing.T) {
	c := mustRead(t, "/etc/meshgate", Example)
	if c.ID != "greenhouse-1" || len(c.Managers) != 1 || len(c.Outputs) != 2 || len(c.Inputs) != 1 ||
		c.Local == nil || len(c.Bridges) != 1 || c.HTTP.Listen != "127.0.0.1:8080" {
		t.Errorf("example.yaml reads as %s", dump(c))
	}
	// What it says of defaults is so.
	again := mustRead(t, "/etc/meshgate", strings.NewReplacer("    keepalive: 30s\n", "", "    backlog_rate: 0 ", "    # ",
		"    prefix: ", "    # ", "max_size: 256MiB, max_age: 0s, when_full: drop-oldest", "", "level: info", "").Replace(Example))
	if !reflect.DeepEqual(c, again) {
		t.Errorf("defaults differ from the example:\n%s\n%s", dump(c), dump(again))
	}
}

// The example of the public contract, with the files that it names.
func TestContractExample(t *testing.T) {
	dir := t.TempDir()
	writePair(t, dir, "gw")
	write(t, dir, "cloud.password", "secret\n")
	data, err := os.ReadFile("testdata/contract.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c := mustRead(t, dir, string(data))
	wantRules := bridge.Rules{
		{Pattern: "mote/#", QoS: 1, RemotePrefix: "meshgate/greenhouse-1/", OwnPrefix: true},
		{Pattern: "lamp/+/set", Direction: bridge.In, QoS: 1, LocalPrefix: "home/", RemotePrefix: "devices/", OwnPrefix: true},
	}
	if b := c.Bridges[0]; !reflect.DeepEqual(b.Rules, wantRules) || b.PasswordFile != filepath.Join(dir, "cloud.password") {
		t.Errorf("bridge reads as %+v", b)
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "gateway.yaml", minimal+"state_dir: st\n")
	t.Chdir(dir)
	c, err := Load("gateway.yaml")
	if err != nil || c.StateDir != filepath.Join(dir, "st") || c.File != "gateway.yaml" {
		t.Errorf("got %+v, %v", c, err)
	}
	if _, err := Load("none.yaml"); !errors.Is(err, fs.ErrNotExist) || !strings.HasPrefix(err.Error(), "config: open none.yaml") {
		t.Errorf("a file that is not there: %v", err)
	}
	write(t, dir, "bad.yaml", "managers: []\n")
	var errs Errors
	if _, err := Load("bad.yaml"); !errors.As(err, &errs) || len(errs) != 1 || errs[0].File != "bad.yaml" {
		t.Errorf("a bad file: %v", err)
	}
}

// A bridge to the broker that is local.broker as well is allowed where nothing goes round.
func TestNeighbourIsRemote(t *testing.T) {
	for _, topics := range []string{"", ", topics: ['dev/# both', '# in']", ", prefix: '', topics: ['gateway/# out', 'mote/+/led/set both']",
		", topics: ['dev/# out 1 \"\" up/', '# in 1 \"\" down/']"} {
		mustRead(t, "/", minimal+"local: {broker: 'tcp://127.0.0.1'}\nbridges: [{name: a, url: 'mqtt://localhost'"+topics+"}]\n")
	}
	mustRead(t, "/", minimal+"local: {broker: 'tcp://127.0.0.1'}\nbridges: [{name: a, url: mqtts://h, prefix: '', topics: ['# both']}]\n")
}

func TestDemo(t *testing.T) {
	c := Demo("/tmp/d")
	again := mustRead(t, "/", render(t, c))
	again.File = ""
	if !reflect.DeepEqual(c, again) {
		t.Errorf("the demo would read as\n%s, is\n%s", dump(again), dump(c))
	}
	if d := Default(); !word.MatchString(d.ID) || d.Spool != defaultSpool {
		t.Errorf("Default = %+v", d)
	}
}

func TestNoSecrets(t *testing.T) {
	c := mustRead(t, "/", minimal+"bridges: [{name: a, url: 'wss://h/mqtt?X-Amz-Signature=hunter2'}]\n")
	for _, s := range []string{c.String(), fmt.Sprintf("%v %+v", c, c), c.LogValue().String(), fmt.Sprintf("%+v", c.Redacted().Bridges)} {
		if strings.Contains(s, "hunter2") {
			t.Errorf("a secret in %s", s)
		}
	}
	if want := "wss://h:443/mqtt?X-Amz-Signature=hunter2"; c.Bridges[0].URLs[0] != want {
		t.Errorf("Redacted changed the original: %v", c.Bridges[0].URLs)
	}
	_, err := read("/", minimal+"bridges:\n- {name: a, url: 'mqtts://me:hunter2@h'}\n- {name: b, url: mqtts://h, password: hunter2}\n- {name: c, url: 'tcp://me:hunter2@h'}\n"+
		"- {name: d, url: 'mqtts://me:hunter2@h:x'}\nlocal: {listen: 'mqtt://u:hunter2@h'}\n")
	var errs Errors
	if !errors.As(err, &errs) || len(errs) < 5 {
		t.Fatalf("got %v", err)
	}
	if s := errs.Detail() + errs.Error(); strings.Contains(s, "hunter2") {
		t.Errorf("a secret in\n%s", s)
	}
}

func write(t testing.TB, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
