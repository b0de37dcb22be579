package main

import (
	"bufio"
	"bytes"
	"context"
	bin "encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/meshgate/meshgate/bridge/spool"
	"github.com/meshgate/meshgate/gateway"
	"github.com/meshgate/meshgate/gateway/config"
	"github.com/meshgate/meshgate/gpio"
)

// BenchmarkDrain lets a backlog go to Mosquitto, three times in one run: from our spool; from the
// queue of another Mosquitto over its own bridge; and from memory by the MQTT client alone, which
// is what CPU is compared with. MESHGATE_DRAIN is the number of records.
func BenchmarkDrain(b *testing.B) {
	for _, p := range []string{"mosquitto", "mosquitto_pub"} {
		if _, err := exec.LookPath(p); err != nil {
			b.Skipf("%s is not on this machine", p)
		}
	}
	n := 200_000
	if v, err := strconv.Atoi(os.Getenv("MESHGATE_DRAIN")); err == nil {
		n = v
	}
	for b.Loop() {
		ours, cpu, allocs := drainSpool(b, n)
		theirs := drainMosquitto(b, n)
		client, alone := drainClient(b, n)
		b.ReportMetric(ours, "msgs/s")
		b.ReportMetric(theirs, "mosquitto-msgs/s")
		b.ReportMetric(client, "client-msgs/s")
		b.ReportMetric(ours/theirs, "ratio")
		b.ReportMetric(cpu, "cpu-µs/msg")
		b.ReportMetric(alone, "client-cpu-µs/msg")
		b.ReportMetric(allocs, "allocs/msg")
	}
}

const drainTopic = "mote/00-17-0d-00-00-38-05-%02x/temperature"

// drainSpool gives messages a second, CPU time and allocations a message.
func drainSpool(b *testing.B, n int) (rate, cpu, allocs float64) {
	dir := b.TempDir()
	s, err := spool.Open(filepath.Join(dir, "spool"), spool.Options{Readers: []string{"cloud"}})
	check(b, err)
	batch := make([]spool.Record, 0, 500)
	for i := range n {
		batch = append(batch, spool.Record{Kind: 2, Topic: fmt.Sprintf(drainTopic, i%100), Time: time.Now(), Synced: true,
			Payload: append(bin.BigEndian.AppendUint32(nil, uint32(i%5000)), "main"...)})
		if len(batch) == cap(batch) || i == n-1 {
			_, err := s.Append(batch...)
			check(b, err)
			batch = batch[:0]
		}
	}
	check(b, s.Close())
	port := freePort2(b)
	cloud(b, port)
	cfg, err := config.Parse("x", fmt.Appendf(nil, "id: t\nstate_dir: %s\nmanagers: [{name: main, port: \"tcp://127.0.0.1:1\"}]\n"+
		"bridges: [{name: cloud, url: \"mqtt://127.0.0.1:%d\", canary: 0s}]\nspool: {max_size: 4GiB}\n", dir, port), dir)
	check(b, err)
	count := count(b, port, n)
	ctx, cancel := context.WithCancel(context.Background())
	hw := gateway.Hardware{GPIO: gpio.Host(), ClockRight: func() bool { return true },
		OpenPort: func(context.Context, string) (io.ReadWriteCloser, error) { return nil, io.EOF }}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	busy := ownCPU()
	done := make(chan error, 1)
	go func() { done <- gateway.Run(ctx, cfg, hw, slog.New(slog.DiscardHandler)) }()
	got := <-count
	runtime.ReadMemStats(&after)
	used := ownCPU() - busy
	cancel()
	check(b, <-done)
	if got.n != n {
		b.Errorf("only %d of %d records have come", got.n, n)
	}
	return got.rate(), float64(used.Microseconds()) / float64(n), float64(after.Mallocs-before.Mallocs) / float64(n)
}

// drainMosquitto gives the messages a second of Mosquitto's own bridge.
func drainMosquitto(b *testing.B, n int) float64 {
	remote, local := freePort2(b), freePort2(b)
	conf := []string{"user root", "persistence true", "persistence_location " + b.TempDir() + "/", "max_queued_messages 0",
		"connection up", fmt.Sprintf("address 127.0.0.1:%d", remote), "topic # out 1", "cleansession false", "restart_timeout 60", "remote_clientid up"}
	first := cloud(b, local, conf...)
	var lines bytes.Buffer
	for i := range n {
		fmt.Fprintf(&lines, `{"time":"2026-11-25T12:00:00.396Z","value":22.97,"unit":"C","seq":%d,"time_quality":"synced","manager":"main","historical":true}`+"\n", i)
	}
	pub := exec.Command("mosquitto_pub", "-p", fmt.Sprint(local), "-q", "1", "-l", "-t", "meshgate/t/"+fmt.Sprintf(drainTopic, 1))
	pub.Stdin = &lines
	out, err := pub.CombinedOutput()
	if err != nil {
		b.Fatalf("mosquitto_pub: %v: %s", err, out)
	}
	check(b, first.Process.Signal(syscall.SIGTERM)) // its queue goes to its disk
	first.Wait()
	cloud(b, remote)
	count := count(b, remote, n)
	cloud(b, local, conf...)
	return (<-count).rate()
}

// drainClient publishes from memory with the MQTT client that we use, and no more in flight.
func drainClient(b *testing.B, n int) (rate, cpu float64) {
	port := freePort2(b)
	cloud(b, port)
	c := mqtt.NewClient(mqtt.NewClientOptions().AddBroker(fmt.Sprintf("tcp://127.0.0.1:%d", port)).SetClientID("alone"))
	if t := c.Connect(); t.Wait() && t.Error() != nil {
		b.Fatal(t.Error())
	}
	defer c.Disconnect(100)
	count := count(b, port, n)
	busy := ownCPU()
	flight := make(chan mqtt.Token, 100)
	go func() {
		for i := range n {
			flight <- c.Publish("meshgate/t/"+fmt.Sprintf(drainTopic, i%100), 1, false,
				fmt.Sprintf(`{"time":"2026-11-25T12:00:00.396Z","value":22.97,"unit":"C","seq":%d,"time_quality":"synced","manager":"main","historical":true}`, i))
		}
		close(flight)
	}()
	for t := range flight {
		t.Wait()
	}
	return (<-count).rate(), float64((ownCPU() - busy).Microseconds()) / float64(n)
}

func check(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func ownCPU() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func freePort2(b *testing.B) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(b, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// cloud runs a quiet Mosquitto until the end of the benchmark.
func cloud(b *testing.B, port int, more ...string) *exec.Cmd {
	b.Helper()
	conf := filepath.Join(b.TempDir(), "mosquitto.conf")
	text := fmt.Sprintf("listener %d 127.0.0.1\nallow_anonymous true\n%s\n", port, strings.Join(more, "\n"))
	if len(more) == 0 {
		text += "max_queued_messages 0\n" // or it drops what the counter does not take at once
	}
	check(b, os.WriteFile(conf, []byte(text), 0o600))
	cmd := exec.Command("mosquitto", "-c", conf)
	check(b, cmd.Start())
	b.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	for range 200 {
		if c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			c.Close()
			return cmd
		}
		time.Sleep(50 * time.Millisecond) // a process outside, no bubble
	}
	b.Fatal("mosquitto does not start")
	return nil
}

// count subscribes with QoS 0, by hand so that it costs next to nothing, and tells how long it was
// from the first reading to the last of n, or to the last that came, as many as there were.
func count(b *testing.B, port, n int) <-chan counted {
	b.Helper()
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	check(b, err)
	b.Cleanup(func() { c.Close() })
	_, err = c.Write([]byte("\x10\x11\x00\x04MQTT\x04\x02\x00\x00\x00\x05count" + "\x82\x08\x00\x01\x00\x03a/#\x00"))
	check(b, err)
	const filter = "meshgate/t/mote/+/temperature"
	_, err = c.Write(append([]byte{0x82, byte(len(filter) + 5), 0, 2, 0, byte(len(filter))}, filter+"\x00"...))
	check(b, err)
	r := bufio.NewReaderSize(c, 1<<16)
	_, err = io.CopyN(io.Discard, r, 4+5+5) // CONNACK and two SUBACK
	check(b, err)
	done := make(chan counted, 1)
	go func() {
		var start, last time.Time
		got := 0
		for got < n {
			head, err := r.ReadByte()
			if err != nil {
				break
			}
			size, err := bin.ReadUvarint(r)
			if err != nil {
				break
			}
			if _, err := r.Discard(int(size)); err != nil {
				break
			}
			if head>>4 != 3 {
				continue
			}
			if got == 0 {
				start = time.Now()
			}
			if got++; got%1000 == 0 {
				last = time.Now()
				c.SetReadDeadline(last.Add(5 * time.Second)) // a failure shows in ReadByte
			}
		}
		if got == n {
			last = time.Now()
		}
		done <- counted{got, last.Sub(start)}
	}()
	return done
}

// counted is what has come, and in how long.
type counted struct {
	n    int
	took time.Duration
}

func (c counted) rate() float64 { return float64(c.n) / c.took.Seconds() }
