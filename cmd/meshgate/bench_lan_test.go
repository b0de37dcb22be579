package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/meshgate/meshgate/bridge/spool"
	"github.com/meshgate/meshgate/gateway/control"
)

// rawClient speaks just enough MQTT 3.1.1 to publish with QoS 1 and to wait for each PUBACK, so that
// what is measured is the broker.
type rawClient struct {
	net.Conn
	in *bufio.Reader
}

// dialRaw connects a client; a subscription to a filter comes with it, if there is one.
func dialRaw(addr, id, filter string) (*rawClient, error) {
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return nil, err
	}
	c := &rawClient{conn, bufio.NewReader(conn)}
	packet := append([]byte{0x10, byte(12 + len(id)), 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 0, 0, byte(len(id))}, id...)
	if _, err = c.Write(packet); err == nil {
		_, err = io.ReadFull(c.in, make([]byte, 4))
	}
	if err == nil && filter != "" {
		_, err = c.Write(append(append([]byte{0x82, byte(5 + len(filter)), 0, 1, 0, byte(len(filter))}, filter...), 1))
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

// publish returns when the message is acknowledged. Topic and payload together are short.
func (c *rawClient) publish(topic, payload string) error {
	packet := append([]byte{0x32, byte(4 + len(topic) + len(payload)), 0, byte(len(topic))}, topic...)
	packet = append(append(packet, 0, 1), payload...)
	c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Write(packet); err != nil {
		return err
	}
	var ack [4]byte
	if _, err := io.ReadFull(c.in, ack[:]); err != nil {
		return err
	}
	if ack[0] != 0x40 {
		return fmt.Errorf("%x is no PUBACK", ack)
	}
	return nil
}

// rate publishes n messages below a topic by each of so many clients and gives how many were acknowledged a second.
func rate(b *testing.B, addr, topic string, clients, n int) float64 {
	b.Helper()
	var wg sync.WaitGroup
	var failed atomic.Pointer[error]
	began := time.Now()
	for i := range clients {
		wg.Go(func() {
			c, err := dialRaw(addr, fmt.Sprintf("bench-%d", i), "")
			for k := 0; k < n && err == nil; k++ {
				err = c.publish(fmt.Sprintf("%s/%d", topic, i), "23.5 degrees, more or less")
			}
			if err != nil {
				failed.Store(&err)
				return
			}
			c.Close()
		})
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		b.Fatal(*err)
	}
	return float64(clients*n) / time.Since(began).Seconds()
}

// leastEnv has the test binary be the least server that acknowledges after the disk, at the address that it names.
const leastEnv = "MESHGATE_TEST_LEAST"

// leastServer reads packets from one client after the other, commits each PUBLISH and answers it, and knows nothing else of
// MQTT: what is left of the disk's speed behind a socket, whatever the broker.
func leastServer(address string) {
	dir, err := os.MkdirTemp("", "least")
	sp, _ := spool.Open(dir, spool.Options{MaxSize: 256 << 20, Readers: []string{"cloud"}})
	l, _ := net.Listen("tcp", address)
	fmt.Println("ready")
	for err == nil {
		var conn net.Conn
		if conn, err = l.Accept(); err != nil {
			break
		}
		packet := make([]byte, 256)
		for {
			n, err := conn.Read(packet)
			if err != nil {
				break
			}
			answer := []byte{0x20, 2, 0, 0}
			if packet[0]>>4 == 3 {
				if _, err := sp.AppendDurable(spool.Record{Kind: 1, Topic: "dev/0", Payload: packet[:n]}); err != nil {
					break
				}
				answer = []byte{0x40, 2, 0, 1}
			}
			conn.Write(answer)
		}
		conn.Close()
	}
	os.Exit(1)
}

// BenchmarkPubackAfterDisk compares, in one run and on one disk, how many messages a second the local
// broker takes with custody, by one client and by 32, with what the disk buffer alone can commit, with
// the least server that does the same, with what the same broker takes of messages that no bridge
// carries, and with Mosquitto, which acknowledges what it has in memory.
func BenchmarkPubackAfterDisk(b *testing.B) {
	port := freePort(b)
	file, socket := site(b, "sim:?motes=1&period=60s&seed=1", 0, fmt.Sprintf("local: {listen: \"tcp://127.0.0.1:%d\"}\n"+
		"bridges:\n  - {name: cloud, url: \"mqtt://127.0.0.1:%d\", topics: [\"dev/# out 1\"]}\n", port, freePort(b)))
	gatewayProcess(b, "run", "--config", file)
	awaitStatus(b, socket, func(st control.Status) bool { return detail(st, "local") != "" && upOf(st, "local") })
	lan := fmt.Sprintf("127.0.0.1:%d", port)
	sp, err := spool.Open(filepath.Join(b.TempDir(), "spool"), spool.Options{MaxSize: 256 << 20, Readers: []string{"cloud"}})
	if err != nil {
		b.Fatal(err)
	}
	defer sp.Close()
	least := fmt.Sprintf("127.0.0.1:%d", freePort(b))
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), leastEnv+"="+least, "TMPDIR="+b.TempDir())
	startCmd(b, cmd).out.awaitLine(b, "ready")
	const n, short = 500, 100
	commits(b, sp, n) // so that both have their files
	rate(b, lan, "dev", 1, n)
	rate(b, least, "dev", 1, n)
	var alone, bare, one, many, unkept []float64
	for b.Loop() { // taken in turn, for the disk has its moods
		alone = append(alone, commits(b, sp, n))
		bare = append(bare, rate(b, least, "dev", 1, n))
		one = append(one, rate(b, lan, "dev", 1, n))
		many = append(many, rate(b, lan, "dev", 32, short))
		unkept = append(unkept, rate(b, lan, "other", 1, n))
	}
	b.StopTimer()
	b.ReportMetric(median(alone), "spool/s")
	b.ReportMetric(median(bare), "least/s")
	b.ReportMetric(median(one), "lan/s")
	b.ReportMetric(median(many), "lan-32/s")
	b.ReportMetric(median(unkept), "lan-unkept/s")
	b.ReportMetric(median(one)/median(alone), "one:spool")
	b.ReportMetric(median(one)/median(bare), "one:least")
	b.ReportMetric(median(many)/median(alone), "32:spool")
	neighbour := freePort(b)
	cloud(b, neighbour)
	b.ReportMetric(rate(b, fmt.Sprintf("127.0.0.1:%d", neighbour), "dev", 1, n), "mosquitto/s")
	b.ReportMetric(rate(b, fmt.Sprintf("127.0.0.1:%d", neighbour), "dev", 32, n), "mosquitto-32/s")
}

// TestCustodyOfMosquitto is what TestCustody is compared with: Mosquitto, persistent and otherwise as it comes, with a session
// that waits for the messages, as its own bridge would have, killed (-9) after it has acknowledged them. It is a figure and
// no promise of ours: nothing here fails.
func TestCustodyOfMosquitto(t *testing.T) {
	needs(t, "mosquitto", "mosquitto_sub")
	const n = 1000
	port := freePort(t)
	conf := []string{"user root", "persistence true", "persistence_location " + t.TempDir() + "/"}
	broker := mosquitto(t, port, conf...)
	away := subscriber(t, port, "dev/#", "-c", "-i", "bridge", "-q", "1")
	away.kill()
	c, err := dialRaw(fmt.Sprintf("127.0.0.1:%d", port), "dev", "")
	for k := 0; k < n && err == nil; k++ {
		err = c.publish("dev/0", fmt.Sprintf("=%d", k))
	}
	if err != nil {
		t.Fatal(err)
	}
	broker.kill()
	mosquitto(t, port, conf...)
	back := subscriber(t, port, "dev/#", "-c", "-i", "bridge", "-q", "1")
	pub(t, port, "dev/0", "the end")
	back.out.awaitLine(t, "dev/0 the end")
	t.Logf("%d acknowledged, %d arrived after kill -9", n, times(back, "dev/0 ="))
}

// commits gives how many records a second a spool takes, one after the other.
func commits(b *testing.B, sp *spool.Spool, n int) float64 {
	began := time.Now()
	for range n {
		if _, err := sp.AppendDurable(spool.Record{Kind: 1, Topic: "dev/0", Payload: []byte("23.5 degrees, more or less")}); err != nil {
			b.Fatal(err)
		}
	}
	return float64(n) / time.Since(began).Seconds()
}

func median(all []float64) float64 {
	slices.Sort(all)
	return all[len(all)/2]
}

func upOf(st control.Status, kind string) bool {
	for _, l := range st.Links {
		if l.Kind == kind {
			return l.Up
		}
	}
	return false
}

// TestIdleMemory: the whole daemon with 50 local clients that are connected and subscribed.
func TestIdleMemory(t *testing.T) {
	const clients, limit = 50, 25 << 10 // KiB
	port, file, socket := inside(t, "")
	gateway := gatewayProcess(t, "run", "--config", file)
	awaitStatus(t, socket, func(st control.Status) bool { return st.OK })
	for i := range clients {
		c, err := dialRaw(fmt.Sprintf("127.0.0.1:%d", port), fmt.Sprintf("idle-%d", i), "actuator/#")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	awaitStatus(t, socket, func(st control.Status) bool {
		return strings.Contains(detail(st, "local"), fmt.Sprintf(" %d clients", clients))
	})
	if used := rss(t, gateway); used > limit {
		t.Errorf("%d KiB, more than %d", used, limit)
	} else {
		t.Logf("%d KiB with %d clients", used, clients)
	}
}

// TestCustody: messages are published with QoS 1 while the cloud is away and the gateway is killed in
// between; every one of them arrives. MESHGATE_SOAK says how many; 5,000 without.
func TestCustody(t *testing.T) {
	const clients = 32
	total := 5000
	if s := os.Getenv("MESHGATE_SOAK"); s != "" {
		total, _ = strconv.Atoi(s)
	}
	needs(t, "mosquitto", "mosquitto_sub")
	port, cloud := freePort(t), freePort(t)
	file, socket := site(t, "sim:?motes=1&period=60s&seed=1", 0, fmt.Sprintf("local: {listen: \"tcp://127.0.0.1:%d\"}\n"+
		"bridges:\n  - {name: cloud, url: \"mqtt://127.0.0.1:%d\", topics: [\"dev/# out 1\"]}\n", port, cloud))
	ready := func() {
		t.Helper()
		awaitStatus(t, socket, func(st control.Status) bool { return upOf(st, "local") })
	}
	gateway := gatewayProcess(t, "run", "--config", file)
	ready()
	var sent atomic.Int64
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() { device(fmt.Sprintf("127.0.0.1:%d", port), i, clients, total, &sent) })
	}
	for kills := 1; kills <= 3; kills++ {
		awaitCount(t, &sent, int64(total*kills/4))
		gateway.kill()
		gateway = gatewayProcess(t, "run", "--config", file)
	}
	wg.Wait()
	gateway.kill()
	if sent.Load() != int64(total) {
		t.Fatalf("%d of %d were acknowledged", sent.Load(), total)
	}
	mosquitto(t, cloud, "max_queued_messages 0")
	sub := start(t, "stdbuf", "-oL", "mosquitto_sub", "-p", fmt.Sprint(cloud), "-q", "1", "-t", "meshgate/t1/dev/#", "-F", "%p", "-d")
	sub.out.awaitLine(t, "Subscribed")
	began := time.Now()
	gatewayProcess(t, "run", "--config", file)
	seen, repeats := arrivals(t, sub, total)
	t.Logf("%d published by %d clients, 4 kills, %d arrived, %d repeats, %v after the cloud was back", total, clients, seen, repeats, time.Since(began))
}

// device publishes every clients-th number of total, each until it is acknowledged.
func device(addr string, i, clients, total int, sent *atomic.Int64) {
	var c *rawClient
	for n := i; n < total; {
		var err error
		if c == nil {
			c, err = dialRaw(addr, fmt.Sprintf("dev-%d", i), "")
		}
		if err == nil {
			err = c.publish(fmt.Sprintf("dev/%d", i), fmt.Sprintf("=%d", n))
		}
		if err == nil {
			n += clients
			sent.Add(1)
			continue
		}
		if c != nil {
			c.Close()
		}
		c = nil
	}
	if c != nil {
		c.Close()
	}
}

func awaitCount(t *testing.T, n *atomic.Int64, want int64) {
	t.Helper()
	tick, limit := time.NewTicker(10*time.Millisecond), time.After(30*time.Minute)
	defer tick.Stop()
	for n.Load() < want {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("%d of %d", n.Load(), want)
		}
	}
}

// arrivals waits until all numbers have come, for as long as more come.
func arrivals(t *testing.T, sub *process, total int) (seen, repeats int) {
	t.Helper()
	have := make([]bool, total)
	at := 0
	for last := 0; ; last = at {
		limit := time.Now().Add(patience)
		for seen < total && time.Now().Before(limit) {
			all := sub.out.list()
			for ; at < len(all); at++ {
				n, err := strconv.Atoi(strings.TrimPrefix(all[at], "="))
				if err != nil || !strings.HasPrefix(all[at], "=") {
					continue
				}
				if have[n] {
					repeats++
				} else {
					have[n] = true
					seen++
				}
			}
			sub.out.more(100 * time.Millisecond)
		}
		if seen == total {
			return seen, repeats
		}
		if at == last {
			t.Fatalf("%d of %d have arrived, and no more come", seen, total)
		}
	}
}
