package main

import (
	"bufio"
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
	"github.com/meshgate/meshgate/gateway/control"
	"github.com/meshgate/meshgate/gpio"
)

// BenchmarkDrain lets a backlog go to Mosquitto, three times in one run: from the disk of our daemon; from the memory of
// another Mosquitto over its own bridge; and from memory by the MQTT client alone, which is what CPU is compared with.
// MESHGATE_DRAIN is the number of records. The first two are counted by the same subscriber; the client's broker has none,
// or the counting would be in the client's time. Ours is drained once more to a broker without any, whose TCP holds small
// acknowledgements back until it hears from us: who is idle then, is so for long. The daemon is built as it is packaged. Memory is the most that was
// resident, with what is mapped of the program.
func BenchmarkDrain(b *testing.B) {
	needs(b, "mosquitto")
	n := 200_000
	if v, err := strconv.Atoi(os.Getenv("MESHGATE_DRAIN")); err == nil {
		n = v
	}
	program := filepath.Join(b.TempDir(), "meshgate")
	if out, err := exec.Command("../../packaging/build.sh", program).CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	for b.Loop() {
		idle := drainDaemon(b, program, 0)
		ours := drainDaemon(b, program, n)
		unwatched := drainUnwatched(b, program, n)
		theirs := drainMosquitto(b, n)
		b.ReportMetric(ours.rate, "msgs/s")
		b.ReportMetric(unwatched, "unwatched-msgs/s")
		b.ReportMetric(theirs, "mosquitto-msgs/s")
		b.ReportMetric(ours.rate/theirs, "ratio")
		b.ReportMetric(perMessage(ours.cpu-idle.cpu, n), "cpu-µs/msg")
		b.ReportMetric(perMessage(drainClient(b, n), n), "client-cpu-µs/msg")
		b.ReportMetric(ours.peak, "peak-MiB")
		b.ReportMetric(ours.peak/idle.peak, "peak/idle")
		b.ReportMetric(drainInside(b, n/4), "allocs/msg")
	}
	b.ReportMetric(0, "ns/op")
}

func perMessage(d time.Duration, n int) float64 { return float64(d.Nanoseconds()) / 1000 / float64(n) }

const drainTopic = "mote/00-17-0d-00-00-38-05-%02x/temperature"

// drained is what it took.
type drained struct {
	rate float64 // messages a second
	cpu  time.Duration
	peak float64 // MiB
}

// drainDaemon has the daemon drain n records; with none it is idle for three seconds.
func drainDaemon(b *testing.B, program string, n int) drained {
	dir, port, remote := drainSite(b, n)
	count := count(b, port, n)
	p := start(b, program, "run", "--config", filepath.Join(dir, "gateway.yaml"))
	socket := filepath.Join(dir, "meshgate.sock")
	awaitStatus(b, socket, func(st control.Status) bool { return upOf(st, "bridge") })
	if n == 0 {
		<-time.After(3 * time.Second)
	}
	got := <-count
	if got.n != n {
		b.Errorf("only %d of %d records have come", got.n, n)
	}
	// All are acknowledged, or there would be something that waits.
	awaitStatus(b, socket, func(st control.Status) bool { return st.Spool.Records == 0 })
	out := drained{rate: got.rate(), peak: float64(memory(b, p, "VmHWM:")) / 1024}
	p.signal(syscall.SIGTERM)
	out.cpu = p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()
	remote.Process.Kill()
	return out
}

// drainUnwatched gives the messages a second of a daemon whose broker has no subscriber, its start included.
func drainUnwatched(b *testing.B, program string, n int) float64 {
	dir, _, remote := drainSite(b, n)
	began := time.Now()
	p := start(b, program, "run", "--config", filepath.Join(dir, "gateway.yaml"))
	awaitStatus(b, filepath.Join(dir, "meshgate.sock"), func(st control.Status) bool { return upOf(st, "bridge") && st.Spool.Records == 0 })
	rate := float64(n) / time.Since(began).Seconds()
	p.signal(syscall.SIGTERM)
	remote.Process.Kill()
	return rate
}

// drainSite gives the folder of a gateway with n records and its configuration, and its broker.
func drainSite(b *testing.B, n int) (dir string, port int, remote *exec.Cmd) {
	dir, port = b.TempDir(), freePort(b)
	fill(b, dir, n)
	check(b, os.WriteFile(filepath.Join(dir, "gateway.yaml"), drainConfig(dir, port), 0o600))
	return dir, port, cloud(b, port)
}

// fill puts n records into the spool of a gateway.
func fill(b *testing.B, dir string, n int) {
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
}

func drainConfig(dir string, port int) []byte {
	return fmt.Appendf(nil, "id: t\nstate_dir: %s\nmanagers: [{name: main, port: \"tcp://127.0.0.1:1\"}]\n"+
		"bridges: [{name: cloud, url: \"mqtt://127.0.0.1:%d\", canary: 0s}]\nspool: {max_size: 4GiB}\n", dir, port)
}

// drainInside gives the allocations a message of a gateway within this process.
func drainInside(b *testing.B, n int) float64 {
	dir, port := b.TempDir(), freePort(b)
	fill(b, dir, n)
	defer cloud(b, port).Process.Kill()
	cfg, err := config.Parse("x", drainConfig(dir, port), dir)
	check(b, err)
	count := count(b, port, n)
	ctx, cancel := context.WithCancel(context.Background())
	hw := gateway.Hardware{GPIO: gpio.Host(), ClockRight: func() bool { return true },
		OpenPort: func(context.Context, string) (io.ReadWriteCloser, error) { return nil, io.EOF }}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	done := make(chan error, 1)
	go func() { done <- gateway.Run(ctx, cfg, hw, slog.New(slog.DiscardHandler)) }()
	<-count
	runtime.ReadMemStats(&after)
	cancel()
	check(b, <-done)
	return float64(after.Mallocs-before.Mallocs) / float64(n)
}

// drainMosquitto gives the messages a second of Mosquitto's own bridge. Its queue stays in its memory: what is more than
// 65,535 messages does not outlive a restart.
func drainMosquitto(b *testing.B, n int) float64 {
	far, near := freePort(b), freePort(b)
	local := cloud(b, near, "max_queued_messages 0", "connection up", fmt.Sprintf("address 127.0.0.1:%d", far),
		"topic # out 1", "cleansession false", "restart_timeout 1", "remote_clientid up")
	publishAll(b, near, n)
	check(b, local.Process.Signal(syscall.SIGSTOP)) // until the other broker and the subscriber are there
	remote := cloud(b, far)
	count := count(b, far, n)
	check(b, local.Process.Signal(syscall.SIGCONT))
	got := <-count
	if got.n != n {
		b.Errorf("Mosquitto's bridge has brought only %d of %d", got.n, n)
	}
	local.Process.Kill()
	remote.Process.Kill()
	return got.rate()
}

// drainClient gives the CPU time of publishing from memory with the MQTT client that we use, and no more in flight.
func drainClient(b *testing.B, n int) time.Duration {
	port := freePort(b)
	defer cloud(b, port).Process.Kill()
	busy := ownCPU()
	publishAll(b, port, n)
	return ownCPU() - busy
}

// publishAll publishes what the gateway would, each message until it is acknowledged.
func publishAll(b *testing.B, port, n int) {
	c := mqtt.NewClient(mqtt.NewClientOptions().AddBroker(fmt.Sprintf("tcp://127.0.0.1:%d", port)).SetClientID("alone"))
	if t := c.Connect(); t.Wait() && t.Error() != nil {
		b.Fatal(t.Error())
	}
	defer c.Disconnect(100)
	flight := make(chan mqtt.Token, 100)
	go func() {
		for i := range n {
			flight <- c.Publish("meshgate/t/"+fmt.Sprintf(drainTopic, i%100), 1, false,
				fmt.Sprintf(`{"time":"2026-11-25T12:00:00.396Z","value":22.97,"unit":"C","seq":%d,"time_quality":"synced","manager":"main","historical":true}`, i))
		}
		close(flight)
	}()
	for t := range flight {
		if t.Wait(); t.Error() != nil {
			b.Fatal(t.Error())
		}
	}
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
	c.SetReadDeadline(time.Now().Add(patience)) // a failure shows in ReadByte
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
				c.SetReadDeadline(last.Add(5 * time.Second))
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
