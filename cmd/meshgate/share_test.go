package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/meshgate/meshgate/gateway/control"
	"github.com/meshgate/meshgate/smartmesh"
	"github.com/meshgate/meshgate/smartmesh/mux"
	"github.com/meshgate/meshgate/smartmesh/sim"
)

// sharedSite is a site whose manager has more keys.
func sharedSite(t *testing.T, port string, broker int, keys string) (file, socket string) {
	t.Helper()
	file, socket = site(t, port, broker, "")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(text), fmt.Sprintf("port: %q}", port), fmt.Sprintf("port: %q, %s}", port, keys), 1)
	if err := os.WriteFile(file, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	return file, socket
}

// TestSharedPort: beside the running gateway, a mux client subscribes, is told and calls commands, and a second gateway
// works through it; what the port's recording holds is played to a third.
func TestSharedPort(t *testing.T) {
	m, port := simulated(t, sim.Config{Motes: 3, Period: time.Second, Seed: 3})
	broker, shared := freePort(t), fmt.Sprintf("127.0.0.1:%d", freePort(t))
	mosquitto(t, broker)
	sub := subscriber(t, broker, "meshgate/t1/#")
	record := filepath.Join(t.TempDir(), "main.tape")
	file, socket := sharedSite(t, port, broker, fmt.Sprintf("share: {listen: %q}, record: %q", shared, record))
	first := gatewayProcess(t, "run", "--config", file)
	sub.out.await(t, "readings", func(all []string) bool { return len(readings(t, all)) >= 3 })
	awaitStatus(t, socket, func(s control.Status) bool { return s.OK })
	before := len(readings(t, sub.out.list()))
	visitShared(t, shared)
	sub.out.await(t, "readings meanwhile", func(all []string) bool { return len(readings(t, all)) >= before+5 })

	second, socket2 := site(t, "mux://"+shared, 0, "")
	through := gatewayProcess(t, "run", "--config", second)
	awaitStatus(t, socket2, func(s control.Status) bool { return s.OK && len(motesOf(t, socket2)) == 4 })
	through.signal(syscall.SIGTERM)
	if v := m.Stats().Violations; len(v) > 0 {
		t.Errorf("violations of the protocol: %v", v)
	}
	first.signal(syscall.SIGTERM)

	playing := gatewayProcess(t, "simulate", "--replay", record, "--speed", "5", "--listen", "127.0.0.1:0")
	_, at, _ := strings.Cut(playing.out.awaitLine(t, "a recorded manager is at"), "port: ")
	sub3 := subscriber(t, broker, "meshgate/t1/#")
	third, _ := site(t, strings.Trim(at, "`"), broker, "")
	gatewayProcess(t, "run", "--config", third)
	sub3.out.await(t, "readings of the recording", func(all []string) bool { return len(readings(t, all)) >= 3 })
	playing.out.awaitLine(t, "has been played")
}

// visitShared is a client of a shared port: it asks for much while it is told of five packets.
func visitShared(t *testing.T, addr string) {
	t.Helper()
	port, err := openMux(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	var heard atomic.Int64
	s, err := smartmesh.Connect(t.Context(), port, smartmesh.Options{Patience: mux.Patience,
		OnNotify: func(smartmesh.Notification) { heard.Add(1) }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Subscribe(t.Context(), 1<<smartmesh.NotifData, 1<<smartmesh.NotifData); err != nil {
		t.Fatal(err)
	}
	for i := 0; i < 50 || heard.Load() < 5; i++ {
		if info, err := s.GetNetworkInfo(t.Context()); err != nil || info.NumMotes != 3 {
			t.Fatalf("getNetworkInfo: %+v, %v", info, err)
		}
	}
	if err := s.ClearStatistics(t.Context()); err == nil {
		t.Error("a client may clear the statistics, though write is not allowed")
	}
}

func motesOf(t *testing.T, socket string) (all []control.Mote) {
	t.Helper()
	control.NewClient(socket).Get(t.Context(), "motes", &all)
	return all
}
