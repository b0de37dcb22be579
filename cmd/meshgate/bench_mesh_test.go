package main

import (
	"context"
	"fmt"
	"log/slog"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/meshgate/meshgate/gateway"
	"github.com/meshgate/meshgate/gateway/config"
	"github.com/meshgate/meshgate/gpio"
	"github.com/meshgate/meshgate/smartmesh/sim"
)

// BenchmarkFourManagers has four managers send 36 packets a second each, by way of the disk to Mosquitto, for five seconds
// each round. %core is the processor time of the gateway and of the four simulators in its process together, as a part of
// one core: below 10 is allowed for the gateway alone.
func BenchmarkFourManagers(b *testing.B) {
	if _, err := exec.LookPath("mosquitto"); err != nil {
		b.Skip("mosquitto is not on this machine")
	}
	const lasts = 5 * time.Second
	var used time.Duration
	packets := 0
	sims, end := fourManagers(b)
	for b.Loop() {
		before, sent := ownCPU(), acked(sims)
		<-time.After(lasts)
		used += ownCPU() - before
		packets += acked(sims) - sent
	}
	end()
	total := float64(b.N) * lasts.Seconds()
	b.ReportMetric(100*used.Seconds()/total, "%core")
	b.ReportMetric(float64(packets)/total/4, "packets/s/manager")
	b.ReportMetric(0, "ns/op")
}

// fourManagers runs a gateway until end is called. All motes have joined when it returns.
func fourManagers(b *testing.B) (sims []*sim.Manager, end func()) {
	b.Helper()
	port, dir := freePort(b), b.TempDir()
	cloud(b, port)
	var managers []string
	for i := range 4 {
		managers = append(managers, fmt.Sprintf(`{name: m%d, port: "sim:?motes=36&period=1s&seed=%d"}`, i, i+1))
	}
	cfg, err := config.Parse("x", fmt.Appendf(nil, "id: t\nstate_dir: %s\nmanagers: [%s]\nbridges: [{name: cloud, url: \"mqtt://127.0.0.1:%d\"}]\n",
		dir, strings.Join(managers, ", "), port), dir)
	check(b, err)
	log := slog.New(slog.DiscardHandler)
	ports := newPorts(log)
	for _, m := range cfg.Managers {
		s, err := ports.sim(m.Port)
		check(b, err)
		sims = append(sims, s)
	}
	ctx, cancel := context.WithCancel(context.Background())
	hw := gateway.Hardware{GPIO: gpio.Host(), ClockRight: func() bool { return true }, OpenPort: ports.open}
	done := make(chan error, 1)
	go func() { done <- gateway.Run(ctx, cfg, hw, log) }()
	for range 60 { // until they report at the full rate, and no more comes of their joining
		before := acked(sims)
		<-time.After(time.Second)
		if n := acked(sims) - before; n >= 4*34 && n <= 4*38 {
			break
		}
	}
	return sims, func() { cancel(); check(b, <-done); ports.close() }
}

// acked counts what the managers have got acknowledged.
func acked(sims []*sim.Manager) (n int) {
	for _, s := range sims {
		n += s.Stats().Acked
	}
	return n
}
