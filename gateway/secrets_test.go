package gateway

import (
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/meshgate/meshgate/bridge"
	"github.com/meshgate/meshgate/bridge/brokertest"
)

// TestReplacedPassword: a password file that is replaced is taken up without a restart.
func TestReplacedPassword(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		file := filepath.Join(t.TempDir(), "password")
		put := func(text string, at time.Time) {
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(file, at, at); err != nil {
				t.Fatal(err)
			}
		}
		put("old", time.Now())
		w.cfg.Bridges[0].Username, w.cfg.Bridges[0].PasswordFile = "gw", file
		w.start()
		w.until("readings", func() bool { return len(w.published("mote/+/temperature")) >= 4 })
		time.Sleep(10 * time.Minute)
		put("new", time.Now())
		time.Sleep(2 * time.Minute)
		all := w.broker.Connects()
		if len(all) != 2 || all[0].Password != "old" || all[1].Password != "new" {
			t.Errorf("connections: %+v", all)
		}
		if len(w.broker.Wills()) != 0 || strings.Contains(w.log.String(), "level=WARN") {
			t.Errorf("it did not change over in peace: %v\n%s", w.broker.Wills(), &w.log)
		}
		have := seqs(t, w.broker.Published())
		seen := map[int]int{}
		for _, n := range have {
			if seen[n]++; seen[n] > 1 {
				t.Errorf("record %d came %d times", n, seen[n])
			}
		}
	})
}

// TestReplacedCertificates: the files of another authority and another certificate of ours are taken up without a restart,
// and not before all of them are there.
func TestReplacedCertificates(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		dir := t.TempDir()
		at := func(name string) string { return filepath.Join(dir, name) }
		put := func(name, from string) {
			data, err := os.ReadFile(from)
			if err == nil {
				err = os.WriteFile(at(name), data, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		old, next := brokertest.NewCA(t), brokertest.NewCA(t)
		ours := func(ca *brokertest.CA) brokertest.Pair {
			return ca.Issue("gw", time.Now().Add(-time.Hour), time.Now().AddDate(1, 0, 0))
		}
		pair := ours(old)
		put("ca", old.File())
		put("cert", pair.CertFile)
		put("key", pair.KeyFile)
		var server atomic.Pointer[tls.Config]
		server.Store(old.Server("broker", true))
		w.cfg.Bridges[0].URLs = []string{"mqtts://broker:8883"}
		w.cfg.Bridges[0].TLS = bridge.TLS{CA: at("ca"), Cert: at("cert"), Key: at("key")}
		w.startWith(nil, func(hw *Hardware) {
			hw.Dial = w.broker.DialTLS(&tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return server.Load(), nil }})
		})
		w.until("readings", func() bool { return len(w.published("mote/+/temperature")) >= 4 })
		server.Store(next.Server("broker", true))
		pair = ours(next)
		put("cert", pair.CertFile)
		time.Sleep(5 * time.Minute) // without its key it is of no use
		if n := len(w.broker.Connects()); n != 1 {
			t.Fatalf("%d connections", n)
		}
		put("ca", next.File())
		put("key", pair.KeyFile)
		w.until("a new connection", func() bool { return len(w.broker.Connects()) == 2 })
		n := len(w.published("mote/+/temperature"))
		w.until("readings over it", func() bool { return len(w.published("mote/+/temperature")) > n })
		if len(w.broker.Wills()) != 0 || strings.Contains(w.log.String(), "level=WARN") {
			t.Errorf("it did not change over in peace: %v\n%s", w.broker.Wills(), &w.log)
		}
	})
}

// TestCertificateEnds: a certificate that ends is shown in status and health.
func TestCertificateEnds(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		ca := brokertest.NewCA(t)
		server := ca.Server("broker", false)
		server.Certificates[0] = ca.Issue("broker", time.Now().AddDate(-1, 0, 0), time.Now().AddDate(0, 0, 5)).Certificate
		w.cfg.Bridges[0].URLs = []string{"mqtts://broker:8883"}
		w.cfg.Bridges[0].TLS = bridge.TLS{CA: ca.File()}
		door := newPipes()
		w.startWith(door, func(hw *Hardware) { hw.Dial = w.broker.DialTLS(server) })
		w.until("health", w.has("gateway/health", `"certificate_ends":"2000-01-06T`))
		if l := door.bridgeLink(t); !l.Up || !strings.Contains(l.Error, "the broker's certificate (broker) ends on 2000-01-06, in 5 days") {
			t.Errorf("status shows %+v", l)
		}
	})
}

// TestCertificateThresholds: each threshold is told once.
func TestCertificateThresholds(t *testing.T) {
	var log journal
	var ls links
	f := &forward{log: slog.New(slog.NewTextHandler(&log, nil)), ending: map[string]int{}, state: &condition{link: ls.add("bridge", "cloud", "")}}
	f.state.connected("mqtts://broker", "up")
	end := time.Date(2026, 12, 31, 0, 0, 0, 0, time.UTC)
	cert := &x509.Certificate{SerialNumber: big.NewInt(7), NotAfter: end}
	for hours := 40 * 24; hours > 0; hours-- {
		f.judgeCertificates([]*x509.Certificate{cert}, end.Add(-time.Duration(hours)*time.Hour))
		list, well := ls.list()
		left := hours / 24
		if well != (left > certificateUrgent) || strings.Contains(list[0].Detail, "ends on") != (left <= 30 && left > certificateUrgent) {
			t.Fatalf("%d hours before: %+v", hours, list[0])
		}
	}
	if n := strings.Count(log.String(), "ends soon"); n != 4 {
		t.Errorf("told %d times:\n%s", n, &log)
	}
}

func TestThreshold(t *testing.T) {
	for days, want := range map[int]int{400: 0, 31: 0, 30: 30, 15: 30, 14: 14, 8: 14, 7: 7, 2: 7, 1: 1, 0: 1, -5: 1} {
		if got := threshold(days); got != want {
			t.Errorf("%d days: %d, want %d", days, got, want)
		}
	}
}

// TestClockAt1970: a host whose clock is not set does not lock itself out of its broker.
func TestClockAt1970(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		ca := brokertest.NewCA(t)
		good := started.AddDate(26, 0, 0)
		server := ca.Server("broker", false)
		server.Certificates[0] = ca.Issue("broker", good.AddDate(0, -1, 0), good.AddDate(1, 0, 0)).Certificate
		server.Time = func() time.Time { return good }
		w.cfg.Bridges[0].URLs = []string{"mqtts://broker:8883"}
		w.cfg.Bridges[0].TLS = bridge.TLS{CA: ca.File()}
		var right atomic.Bool
		run := func() {
			w.startWith(nil, func(hw *Hardware) {
				hw.Dial, hw.ClockRight = w.broker.DialTLS(server), right.Load
			})
		}
		run()
		time.Sleep(time.Minute)
		if n := len(w.broker.Connects()); n != 0 || !strings.Contains(w.log.String(), "bridge: TLS:") {
			t.Errorf("%d connections with a clock in 2000:\n%s", n, &w.log)
		}
		w.end1()
		if err := touch(filepath.Join(w.cfg.StateDir, "clock"), good); err != nil {
			t.Fatal(err)
		}
		run()
		w.until("online", w.has("gateway/status", "online"))
	})
}

func TestGoodClock(t *testing.T) {
	dir := t.TempDir()
	right := true
	c := newGoodClock(dir, func() bool { return right }, nil)
	c.tick()
	again := newGoodClock(dir, func() bool { return right }, nil)
	if d := time.Since(again.floor); d > time.Minute {
		t.Errorf("kept as %v", again.floor)
	}
	again.floor = time.Now().Add(time.Hour) // a clock that was wrong and thought right
	if d := time.Until(again.now()); d > time.Minute {
		t.Errorf("a right clock is not trusted: %v", d)
	}
	right = false
	if d := time.Until(again.now()); d < 59*time.Minute {
		t.Errorf("no floor: %v", d)
	}
}
