//go:build unix

package sim

import (
	"context"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/meshgate/meshgate/hdlc"
)

// BenchmarkHundredMotes is a manager of 100 motes with 100 reports a second in all, for two seconds each round, served
// over a pipe to a client that acknowledges all of them. %core is the processor time of both together, as a part of one
// core.
func BenchmarkHundredMotes(b *testing.B) {
	const lasts = 2 * time.Second
	var used time.Duration
	reports := 0
	for b.Loop() {
		m := New(Config{Motes: 100, Period: time.Second, HealthPeriod: time.Minute}, nil)
		ctx, cancel := context.WithCancel(context.Background())
		go m.Run(ctx)
		here, there := net.Pipe()
		served := make(chan error)
		go func() { served <- m.Serve(ctx, there) }()
		go acknowledge(here)
		time.Sleep(3 * time.Second) // all have joined
		before, sent := processor(b), m.Stats().Acked
		time.Sleep(lasts)
		used += processor(b) - before
		reports += m.Stats().Acked - sent
		cancel()
		<-served
	}
	total := float64(b.N) * lasts.Seconds()
	b.ReportMetric(100*used.Seconds()/total, "%core")
	b.ReportMetric(float64(reports)/total, "reports/s")
}

// acknowledge subscribes to everything and acknowledges it.
func acknowledge(conn net.Conn) {
	go func() {
		conn.Write(hdlc.AppendFrame(nil, []byte{0, 1, 0, 3, 4, 0, 0}))
		time.Sleep(100 * time.Millisecond)
		conn.Write(hdlc.AppendFrame(nil, []byte{2, 22, 1, 8, 0, 0, 0, 0x76, 0, 0, 0, 0}))
	}()
	r := hdlc.NewReader(conn)
	for {
		p, err := r.Next()
		if err != nil {
			return
		}
		if p[0] == 2 {
			conn.Write(hdlc.AppendFrame(nil, []byte{3, p[1], p[2], 1, 0}))
		}
	}
}

func processor(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
