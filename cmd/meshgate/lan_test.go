package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/meshgate/meshgate/bridge/brokertest"
	"github.com/meshgate/meshgate/gateway/control"
	"github.com/meshgate/meshgate/smartmesh/sim"
)

// lanSite is a gateway between a cloud and a LAN, both seen through Mosquitto's own clients.
type lanSite struct {
	t            *testing.T
	file, socket string
	cloud, lan   int // ports
	cloudBroker  *process
	keep         []string // of the cloud's configuration
	up, down     *process // subscribers of everything at the cloud and at the LAN
	gateway      *process
}

const lanRules = `    topics:
      - {topic: "mote/#", direction: out}
      - {topic: "actuator/+/state", direction: out}
      - {topic: "actuator/+/result", direction: out}
      - {topic: "actuator/+/set", direction: in}
      - {topic: "dev/#", direction: both}
`

// lanWays are the two ways to have a LAN side; each gives the section local of a configuration.
var lanWays = map[string]func(t *testing.T, port int) string{
	"listen": func(_ *testing.T, port int) string {
		return fmt.Sprintf("local: {listen: \"tcp://127.0.0.1:%d\"}\n", port)
	},
	"broker": func(t *testing.T, port int) string {
		mosquitto(t, port)
		return fmt.Sprintf("local: {broker: \"tcp://127.0.0.1:%d\"}\n", port)
	},
}

func newLANSite(t *testing.T, local func(*testing.T, int) string) *lanSite {
	t.Helper()
	needs(t, "mosquitto", "mosquitto_sub", "mosquitto_pub")
	_, port := simulated(t, sim.Config{Motes: 2, Period: time.Second, Seed: 3})
	s := &lanSite{t: t, cloud: freePort(t), lan: freePort(t)}
	s.keep = []string{"user root", "persistence true", "persistence_location " + t.TempDir() + "/", "max_queued_messages 0"}
	s.cloudBroker = mosquitto(t, s.cloud, s.keep...)
	s.up = subscriber(t, s.cloud, "meshgate/t1/#", "-c", "-i", "keeper")
	more := fmt.Sprintf("bridges:\n  - name: cloud\n    url: \"mqtt://127.0.0.1:%d\"\n%s", s.cloud, lanRules)
	s.file, s.socket = site(t, port, 0, more+local(t, s.lan))
	s.start()
	s.down = subscriber(t, s.lan, "#")
	return s
}

// start starts the gateway and waits until all is well.
func (s *lanSite) start() {
	s.t.Helper()
	s.gateway = gatewayProcess(s.t, "run", "--config", s.file)
	awaitStatus(s.t, s.socket, func(st control.Status) bool { return st.OK })
}

func (s *lanSite) stopCloud() {
	s.cloudBroker.signal(syscall.SIGTERM)
	awaitStatus(s.t, s.socket, func(st control.Status) bool { return !st.OK })
}

func (s *lanSite) startCloud() { s.cloudBroker = mosquitto(s.t, s.cloud, s.keep...) }

// unretain deletes what a broker retains on a topic.
func unretain(t *testing.T, port int, topic string) {
	t.Helper()
	if out, err := exec.Command("mosquitto_pub", "-p", fmt.Sprint(port), "-q", "1", "-t", topic, "-r", "-n").CombinedOutput(); err != nil {
		t.Fatalf("mosquitto_pub: %v: %s", err, out)
	}
}

// times counts the lines of a subscriber that hold all the words.
func times(p *process, words ...string) (n int) {
	for _, line := range p.out.list() {
		if holds(line, words) {
			n++
		}
	}
	return n
}

// TestLAN runs the same against the broker inside and against Mosquitto.
func TestLAN(t *testing.T) {
	for name, local := range lanWays {
		t.Run(name, func(t *testing.T) {
			s := newLANSite(t, local)
			s.shows()
			s.carries()
			s.obeys()
			s.never()
			s.will()
			s.away()
			s.killed()
			s.ends()
		})
	}
}

// shows: the states are retained and live on the LAN, presence too.
func (s *lanSite) shows() {
	t := s.t
	s.down.out.awaitLine(t, "1 gateway/status ", `"online"`)
	s.down.out.awaitLine(t, "1 actuator/led/state ", `"off"`)
	s.down.out.awaitLine(t, "1 gateway/info ")
	s.down.out.awaitLine(t, "0 mote/", "/temperature ")
}

// carries: what a local client publishes reaches the cloud, with its retain flag, and what the cloud
// publishes reaches the LAN; neither goes back where it came from.
func (s *lanSite) carries() {
	t := s.t
	pub(t, s.lan, "dev/a", "from the LAN")
	pub(t, s.cloud, "meshgate/t1/dev/b", "from the cloud")
	pub(t, s.lan, "dev/r", "kept", "-r")
	pub(t, s.lan, "private", "not for the cloud")
	pub(t, s.lan, "actuator/led/state", "forged")
	pub(t, s.lan, "gateway/status", "forged", "-r")
	if code := execute(t.Context(), []string{"pub", "dev/p", "by hand", "--socket", s.socket}, nil, &strings.Builder{}, os.Stderr); code != 0 {
		t.Errorf("meshgate pub: %d", code)
	}
	s.up.out.awaitLine(t, "0 meshgate/t1/dev/p by hand")
	s.down.out.awaitLine(t, "0 dev/p by hand")
	s.up.out.awaitLine(t, "0 meshgate/t1/dev/a from the LAN")
	s.down.out.awaitLine(t, "0 dev/b from the cloud")
	late := subscriber(t, s.cloud, "meshgate/t1/#")
	late.out.awaitLine(t, "1 meshgate/t1/dev/r kept")
	for _, name := range []string{"dev/a ", "dev/b ", "dev/p "} {
		if up, down := times(s.up, "0 meshgate/t1/"+name), times(s.down, "0 "+name); up != 1 || down != 1 {
			t.Errorf("%sreached the cloud %d times and the LAN %d times", name, up, down)
		}
	}
	if times(s.up, "forged")+times(s.up, "private") != 0 {
		t.Error("what no rule carries, or is the gateway's own, reached the cloud")
	}
	s.down.out.awaitLine(t, "0 gateway/status ", `"online"`) // over the forged one
	s.down.out.await(t, "the state over the forged one", func(all []string) bool {
		i := slices.Index(all, "0 actuator/led/state forged")
		return i >= 0 && slices.ContainsFunc(all[i:], func(line string) bool { return holds(line, []string{"0 actuator/led/state ", `"off"`}) })
	})
}

// obeys: commands from the LAN are under the same rules and have the same results.
func (s *lanSite) obeys() {
	t := s.t
	for payload, want := range map[string]string{
		`{"state":"on","id":"l1","for":"1s"}`:                     `"stage":"applied"`,
		`{"state":"dim","id":"l2"}`:                               "is no state",
		`{"state":"on","id":"l3","until":"2020-01-01T00:00:00Z"}`: `"stage":"expired"`,
	} {
		pub(t, s.lan, "actuator/led/set", payload)
		s.down.out.awaitLine(t, "0 actuator/led/result ", want)
		s.up.out.awaitLine(t, "0 meshgate/t1/actuator/led/result ", want)
	}
	pub(t, s.lan, "actuator/pump/set", "on")
	s.down.out.awaitLine(t, "actuator/pump/result ", `"stage":"refused"`)
	pub(t, s.lan, "actuator/led/set", `{"state":"on","id":"l4"}`, "-r")
	s.down.out.awaitLine(t, "actuator/led/result ", `"id":"l4"`, `"stage":"refused"`, "retained")
	unretain(t, s.lan, "actuator/led/set")
	s.down.out.awaitLine(t, "0 actuator/led/state ", `"on"`)
}

// will: the last will of a local client reaches the cloud.
func (s *lanSite) will() {
	dev := subscriber(s.t, s.lan, "nothing", "--will-topic", "dev/will", "--will-payload", "gone", "--will-qos", "1", "-i", "dying")
	dev.kill()
	s.up.out.awaitLine(s.t, "0 meshgate/t1/dev/will gone")
	s.down.out.awaitLine(s.t, "0 dev/will gone")
}

// away: what was published and what was deleted while the cloud was away is so when it is back.
func (s *lanSite) away() {
	t := s.t
	s.stopCloud()
	pub(t, s.lan, "dev/away", "meanwhile")
	unretain(t, s.lan, "dev/r")
	s.startCloud()
	s.up.out.awaitLine(t, "meshgate/t1/dev/away meanwhile")
	s.up.out.await(t, "the deletion", func([]string) bool { return times(s.up, "0 meshgate/t1/dev/r ") >= 2 })
	awaitStatus(t, s.socket, func(st control.Status) bool { return st.OK })
	late := subscriber(t, s.cloud, "meshgate/t1/#")
	late.out.awaitLine(t, "1 meshgate/t1/gateway/status")
	if times(late, "1 meshgate/t1/dev/r") != 0 {
		t.Error("the deletion was lost")
	}
}

// never: what can never be stored is not acknowledged by the broker inside, is taken from one beside,
// and holds up nothing.
func (s *lanSite) never() {
	t := s.t
	c, err := dialRaw(fmt.Sprintf("127.0.0.1:%d", s.lan), "never", "")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c.publish("dev/\x01", "nowhere") == nil {
		t.Error("acknowledged, and carried nowhere")
	}
	huge := filepath.Join(t.TempDir(), "huge")
	writeText(t, huge, strings.Repeat("x", 2<<20))
	_ = exec.Command("mosquitto_pub", "-p", fmt.Sprint(s.lan), "-q", "1", "-t", "dev/huge", "-f", huge).Run() // fails where it is not taken
	pub(t, s.lan, "dev/behind", "it")
	s.up.out.awaitLine(t, "meshgate/t1/dev/behind it")
}

// killed: what a local client has its PUBACK for survives the gateway.
func (s *lanSite) killed() {
	const n = 50
	t := s.t
	s.stopCloud()
	for i := range n {
		pub(t, s.lan, "dev/k", fmt.Sprintf("k%d.", i))
	}
	awaitStatus(t, s.socket, func(st control.Status) bool { return st.Spool.Records >= n })
	s.gateway.kill()
	s.startCloud()
	s.start()
	for i := range n {
		s.up.out.awaitLine(t, "meshgate/t1/dev/k ", fmt.Sprintf(" k%d.", i))
	}
}

// ends: a clean stop says goodbye on the LAN.
func (s *lanSite) ends() {
	late := subscriber(s.t, s.lan, "#") // the other one may have lost its connection with the gateway
	late.out.awaitLine(s.t, "1 gateway/status ", `"online"`)
	s.gateway.out.awaitLine(s.t, "connected", "bridge=cloud")
	began := time.Now()
	if err := s.gateway.signal(syscall.SIGTERM); err != nil || time.Since(began) > 6*time.Second {
		s.t.Errorf("SIGTERM: %v after %v", err, time.Since(began))
	}
	late.out.awaitLine(s.t, "0 gateway/status ", `"offline","reason":"stopped"`)
}

// TestNeighbour is what only a broker can do that goes on while the gateway is away: what it kept
// comes, commands do not; its certificate is checked; and the cloud loses nothing when it goes.
func TestNeighbour(t *testing.T) {
	ca, port := brokertest.NewCA(t), freePort(t)
	cert := ca.Issue("localhost", time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	conf := []string{"user root", "persistence true", "persistence_location " + t.TempDir() + "/", "allow_anonymous true",
		fmt.Sprintf("listener %d 127.0.0.1", port), "certfile " + cert.CertFile, "keyfile " + cert.KeyFile}
	var broker *process
	var plain int
	s := newLANSite(t, func(t *testing.T, lan int) string {
		plain = lan
		broker = mosquitto(t, plain, conf...)
		return fmt.Sprintf("local: {broker: \"mqtts://127.0.0.1:%d\", tls: {ca: %q, server_name: localhost}}\n", port, ca.File())
	})
	s.down.out.awaitLine(t, "1 actuator/led/state ", `"off"`)

	s.gateway.kill()
	s.down.out.awaitLine(t, "gateway/status", `"offline","reason":"lost"`)
	pub(t, plain, "actuator/led/set", `{"state":"on","id":"late"}`)
	pub(t, plain, "actuator/led/set", `{"state":"on","id":"later"}`, "-r")
	pub(t, plain, "dev/kept", "while it was away")
	s.start()
	s.up.out.awaitLine(t, "meshgate/t1/dev/kept while it was away")
	s.up.out.awaitLine(t, "actuator/led/result", `"id":"later"`, `"stage":"refused"`)
	if times(s.up, `"id":"late"`) != 0 || times(s.up, "actuator/led/state", `"on"`) != 0 {
		t.Error("a late command was carried out")
	}
	if n := times(s.up, "meshgate/t1/actuator/led/state", `"off"`); n != 2 {
		t.Errorf("%d states went to the cloud, one for each start is right: an old one came back from the LAN", n)
	}

	broker.signal(syscall.SIGTERM)
	st := awaitStatus(t, s.socket, func(st control.Status) bool { return !st.OK })
	for _, l := range st.Links {
		if l.Up == (l.Kind == "local") {
			t.Errorf("%+v", l)
		}
	}
	n := len(readings(t, s.up.out.list()))
	s.up.out.await(t, "readings all the same", func(all []string) bool { return len(readings(t, all)) >= n+5 })
	mosquitto(t, plain, conf...)
	awaitStatus(t, s.socket, func(st control.Status) bool { return st.OK })
	subscriber(t, plain, "#").out.awaitLine(t, "1 gateway/status", `"online"`)
	s.dropOutput(plain)
}

// dropOutput: an output that goes away takes its retained topics with it, on both sides.
func (s *lanSite) dropOutput(plain int) {
	t := s.t
	s.gateway.signal(syscall.SIGTERM)
	text, err := os.ReadFile(s.file)
	if err != nil {
		t.Fatal(err)
	}
	writeText(t, s.file, strings.Replace(string(text), "  led: {pin: sim}", "  lamp: {pin: sim}", 1))
	lan := subscriber(t, plain, "#")
	s.start()
	for broker, topic := range map[*process]string{lan: "actuator/led/state", s.up: "meshgate/t1/actuator/led/state"} {
		broker.out.await(t, "the deletion of "+topic, func(all []string) bool { return slices.Contains(all, "0 "+topic+" ") })
		broker.out.awaitLine(t, strings.Replace(topic, "led", "lamp", 1)+" ", `"off"`)
	}
}

// TestNeighbourOfAnotherAuthority: a certificate that the file of authorities does not vouch for ends
// the connection, and status says why.
func TestNeighbourOfAnotherAuthority(t *testing.T) {
	port, cert := freePort(t), brokertest.NewCA(t).Issue("localhost", time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	mosquitto(t, freePort(t), "user root", fmt.Sprintf("listener %d 127.0.0.1", port), "certfile "+cert.CertFile, "keyfile "+cert.KeyFile)
	_, manager := simulated(t, sim.Config{Motes: 1, Period: time.Second, Seed: 3})
	file, socket := site(t, manager, 0, fmt.Sprintf("local: {broker: \"mqtts://localhost:%d\", tls: {ca: %q}}\n", port, brokertest.NewCA(t).File()))
	gatewayProcess(t, "run", "--config", file)
	awaitStatus(t, socket, func(st control.Status) bool {
		for _, l := range st.Links {
			if l.Kind == "local" && strings.Contains(l.Error, "unknown authority") {
				return true
			}
		}
		return false
	})
}

// TestWillAtTheEnd: when the gateway is stopped it is the end of its clients' connections too; their
// wills are on the disk before it has ended, and reach the cloud from the next start.
func TestWillAtTheEnd(t *testing.T) {
	s := newLANSite(t, lanWays["listen"])
	s.stopCloud()
	subscriber(t, s.lan, "nothing", "--will-topic", "dev/will", "--will-payload", "the gateway has gone", "--will-qos", "1", "-i", "left")
	s.gateway.signal(syscall.SIGTERM)
	s.startCloud()
	s.start()
	s.up.out.awaitLine(t, "0 meshgate/t1/dev/will the gateway has gone")
}
