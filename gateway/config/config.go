// Package config reads the gateway's one YAML file and gives back a valid Config, or every
// mistake in the file at once, each with its place:
//
//	gateway.yaml:4:5: managers[0]: unknown key "prot", did you mean "port"?
//	gateway.yaml:19:16: bridges[0].keepalive: 0s is out of range, 1s to 18h12m15s
//
// The file in short; example.yaml tells what each key means:
//
//	version, id, state_dir
//	managers:  - {name, port, data, temperature: {every}, allow, share: {listen, users, write}, record}
//	actuators: NAME: {pin, kind, active_low, safe, max_on, min_off, lease, rate, interlock,
//	             on_link_loss, link_loss_delay}
//	           NAME: {group: [NAME, ...]}
//	inputs:    NAME: {pin, pull, active_low, debounce, rate, count}
//	automations: - {name, when: {input, is} | {mote, channel, is | above | below, hysteresis}, for, set, to, else}
//	local:     {listen, users, acl, tls} or {broker, username, password_file, client_id, tls}
//	bridges:   - {name, url | urls, client_id, username, password_file, tls, keepalive, backlog_rate,
//	             prefix, topics, plaintext, canary}
//	spool:     {max_size, max_age, when_full, sync}
//	http:      {listen, users}
//	log:       {level}
//
// The file is strict: a key that is not known, a key twice, a value of another type or out of
// its range, a name that would not fit into a topic, a file that is named and is not there are
// mistakes. Text is taken as it is written (0123 stays 0123); nothing is expanded. Relative
// paths are relative to the file. What Load returns is not checked again by anybody.
package config

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/meshgate/meshgate/bridge"
	"github.com/meshgate/meshgate/gpio"
)

// Config is a valid configuration: defaults filled in, paths absolute, URLs with their ports.
type Config struct {
	File     string // the name it was read from, "" for Default and Demo
	Older    int    // the version of the file when it was migrated, else 0
	ID       string // A-Za-z0-9._-, at most 64 characters
	StateDir string

	Managers []Manager     // at least one, names unique
	Outputs  []gpio.Output // groups too
	Inputs   []gpio.Input

	Automations []Automation // names unique, no two of them fight over an output

	Local   *Local // nil: no LAN side
	Bridges []Bridge
	Spool   Spool
	HTTP    HTTP
	Log     Log
}

// Manager is one SmartMesh IP manager.
type Manager struct {
	Name        string
	Port        string        // "auto", auto:MAC, an absolute device path, tcp://HOST:PORT, mux://HOST:PORT, sim:?...
	Data        string        // DataReliable or DataUnacknowledged
	Temperature time.Duration // the report rate every mote is to have; 0: left alone. Whole milliseconds
	Allow       []string      // API commands that may come over MQTT though they can strand a network
	Share       *Share        // nil: the port is not shared
	Record      string        // file of the ring of raw frames, "" for none
}

// The ways in which a manager is asked to send the data of its motes.
const (
	DataReliable       = "reliable"
	DataUnacknowledged = "unacknowledged"
)

// Share offers a manager's port to others as a Serial Mux does.
type Share struct {
	Listen string // HOST:PORT
	Users  string // file of users, "" only on loopback
	Write  bool   // clients may do more than read
}

// Local is the LAN side: either a broker inside the daemon (Listen) or the one that runs
// here already (Broker).
type Local struct {
	Listen       string // tcp, mqtt, tls, ws or wss://HOST:PORT, encrypted ones with TLS; "" with Broker
	Broker       string // tcp, mqtt, tls or mqtts://HOST:PORT, "" with Listen
	Username     string // Broker only, as are PasswordFile and ClientID
	PasswordFile string
	ClientID     string
	Users        string // Listen only, as is ACL
	ACL          string
	TLS          bridge.TLS
}

// Bridge is one remote broker.
type Bridge struct {
	Name         string
	URLs         []string // tried in turn; mqtt, mqtts, ws or wss, always with a port
	ClientID     string
	Username     string
	PasswordFile string
	TLS          bridge.TLS
	Keepalive    time.Duration // whole seconds
	BacklogRate  int           // records a second, 0: as fast as it goes
	Prefix       string        // of the topics that are there whatever the rules are
	Rules        bridge.Rules  // with their prefixes, ready for use
	Plaintext    bool
	Canary       time.Duration // 0: off
}

// Spool bounds the disk buffer.
type Spool struct {
	MaxSize  int64         // bytes
	MaxAge   time.Duration // 0: no bound
	WhenFull string        // DropOldest or DropNewest
	Sync     time.Duration // how long a group of records may wait for its fsync; 0: not at all
}

// What happens to records when the spool is full.
const (
	DropOldest = "drop-oldest"
	DropNewest = "drop-newest"
)

// HTTP is the console, the metrics and the API; no Listen, no HTTP.
type HTTP struct {
	Listen string // HOST:PORT
	Users  string // file of users, "" only on loopback
}

// Log says how much is told.
type Log struct {
	Level string // debug, info, warn or error
}

// maxFile bounds the size of a configuration in bytes.
const maxFile = 1 << 20

// A Judge is what another package knows of values here: of "sim", the URL of a simulated port, or of "allow", the name of
// a command of the manager.
type Judge struct {
	Of    string
	Wrong func(text string) error // nil: it is right
}

// Load reads the configuration in the file at path. The error is Errors when the file could
// be read.
func Load(path string, judges ...Judge) (*Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	return Parse(path, data, dir, judges...)
}

// Parse is Load of a text: name is what the file is called in messages, dir the folder that
// relative paths start from. The error is Errors.
func Parse(name string, data []byte, dir string, judges ...Judge) (*Config, error) {
	d := newDecoder(name, dir, thisHost(), current)
	d.judges = judges
	return d.parse(data)
}

func parse(name string, data []byte, dir string, h host) (*Config, error) {
	return newDecoder(name, dir, h, current).parse(data)
}

// Default returns a configuration of nothing but defaults. It has no manager yet.
func Default() *Config {
	h := thisHost()
	id, err := h.id()
	if err != nil {
		id = "meshgate"
	}
	return &Config{
		ID: id, StateDir: h.stateDir(),
		Spool: defaultSpool, Log: Log{Level: "info"},
	}
}

// Demo returns the configuration of `meshgate run --demo`: a simulated manager with five
// motes, a simulated LED, the state in dir.
func Demo(dir string) *Config {
	c := Default()
	c.ID = "demo"
	c.StateDir = dir
	c.Managers = []Manager{{Name: "main", Port: "sim:?motes=5&period=2s&seed=1", Data: DataReliable}}
	c.Outputs = []gpio.Output{{Name: "led", Pin: "sim"}}
	return c
}
