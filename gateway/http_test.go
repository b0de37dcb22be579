package gateway

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/meshgate/meshgate/bridge/brokertest"
	"github.com/meshgate/meshgate/gateway/config"
	"github.com/meshgate/meshgate/gateway/local"
)

// browser asks a gateway in a bubble by HTTP.
type browser struct {
	t          *testing.T
	door       *pipes
	name, pass string
}

// withHTTP gives the world an HTTP door.
func withHTTP(w *world) *browser {
	b := &browser{t: w.t, door: newPipes()}
	w.cfg.HTTP.Listen = "127.0.0.1:8080"
	before := w.hw
	w.hw = func(hw *Hardware) {
		if before != nil {
			before(hw)
		}
		hw.Listen = func(string, string) (net.Listener, error) { return b.door, nil }
	}
	return b
}

func (b *browser) do(method, url string, body io.Reader, header ...string) (int, string) {
	b.t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), method, url, body)
	if err != nil {
		b.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	if b.name != "" {
		r.SetBasicAuth(b.name, b.pass)
	}
	client := http.Client{Transport: &http.Transport{DialContext: b.door.dial, DisableKeepAlives: true}}
	resp, err := client.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

func (b *browser) get(path string) (int, string) {
	b.t.Helper()
	return b.do("GET", "http://127.0.0.1:8080"+path, nil)
}

func TestProbes(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		b := withHTTP(w)
		defer b.door.Close()
		free, there := make(chan struct{}), w.port
		var hang atomic.Bool
		w.port = func() (io.ReadWriteCloser, error) {
			if hang.Load() {
				<-free
			}
			return there()
		}
		w.start()
		w.until("readings", func() bool { return len(w.published("mote/+/temperature")) >= 2 })
		for _, path := range []string{"/healthz", "/readyz"} {
			if code, text := b.get(path); code != 200 || text != "ok\n" {
				t.Errorf("%s: %d %q", path, code, text)
			}
		}
		w.broker.Set(func(br *brokertest.Behaviour) { br.Refuse = 4 })
		w.broker.Cut("meshgate-t")
		time.Sleep(time.Minute)
		if code, text := b.get("/readyz"); code != 503 || !strings.Contains(text, "bridge") {
			t.Errorf("readyz without a broker: %d %q", code, text)
		}
		if code, text := b.get("/healthz"); code != 200 {
			t.Errorf("healthz without a broker: %d %q", code, text)
		}
		hang.Store(true)
		w.sim.Reboot()
		time.Sleep(5 * time.Minute)
		if code, text := b.get("/healthz"); code != 503 || !strings.Contains(text, "manager main") {
			t.Errorf("healthz with a hung part: %d %q", code, text)
		}
		close(free)
	})
}

func TestHTTPDoor(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		b := withHTTP(w)
		defer b.door.Close()
		w.start()
		w.until("online", w.has("gateway/status", "online"))
		const set = `{"name":"led","state":"on"}`
		tests := []struct {
			method, url, body string
			header            []string
			code              int
		}{
			{"GET", "http://127.0.0.1:8080/api/v1/status", "", nil, 200},
			{"GET", "http://[::1]:8080/api/v1/status", "", nil, 200},
			{"GET", "http://localhost/api/v1/status", "", nil, 200},
			{"GET", "http://evil.example/api/v1/status", "", nil, 403},
			{"GET", "http://evil.example/metrics", "", nil, 403},
			{"GET", "http://evil.example/", "", nil, 403},
			{"GET", "http://evil.example/healthz", "", nil, 200},
			{"POST", "http://localhost/api/v1/set", set, []string{"Origin", "http://evil.example", "Sec-Fetch-Site", "cross-site"}, 403},
			{"POST", "http://localhost/api/v1/set", set, []string{"Origin", "http://localhost", "Sec-Fetch-Site", "same-origin"}, 200},
			{"POST", "http://localhost/api/v1/set", set, nil, 200},
			{"GET", "http://localhost/api/v1/set", "", nil, 405},
			{"GET", "http://localhost/none", "", nil, 404},
			{"POST", "http://localhost/metrics", "", nil, 405},
		}
		for _, tt := range tests {
			if code, text := b.do(tt.method, tt.url, strings.NewReader(tt.body), tt.header...); code != tt.code {
				t.Errorf("%s %s %v: %d, want %d: %s", tt.method, tt.url, tt.header, code, tt.code, text)
			}
		}
	})
}

// TestConsole: the page is there, and what its script asks for is answered.
func TestConsole(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		b := withHTTP(w)
		defer b.door.Close()
		w.start()
		w.until("online", w.has("gateway/status", "online"))
		if code, page := b.get("/"); code != 200 || !strings.Contains(page, `<script src="console.js"`) {
			t.Errorf("the page: %d %s", code, page)
		}
		_, script := b.get("/console.js")
		asked := regexp.MustCompile(`(?:ask\("|api/v1/)([a-z]+)`).FindAllStringSubmatch(script, -1)
		if len(asked) < 4 {
			t.Fatalf("the script asks for %v", asked)
		}
		for _, m := range asked {
			if code, _ := b.do("OPTIONS", "http://localhost/api/v1/"+m[1], nil); code != 405 {
				t.Errorf("the script asks for %s: %d", m[1], code)
			}
		}
	})
}

func TestHTTPUsers(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		users, err := local.ParseUsers(nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := users.Set("anna", "secret"); err != nil {
			t.Fatal(err)
		}
		b := withHTTP(w)
		defer b.door.Close()
		w.cfg.HTTP = config.HTTP{Listen: "0.0.0.0:8080", Users: filepath.Join(t.TempDir(), "users")}
		if err := users.Save(w.cfg.HTTP.Users); err != nil {
			t.Fatal(err)
		}
		w.start()
		w.until("online", w.has("gateway/status", "online"))
		for _, tt := range []struct {
			name, pass, path string
			code             int
		}{
			{"", "", "/healthz", 200}, {"", "", "/", 401}, {"", "", "/metrics", 401}, {"", "", "/api/v1/status", 401},
			{"anna", "wrong", "/metrics", 401}, {"bob", "secret", "/metrics", 401},
			{"anna", "secret", "/metrics", 200}, {"anna", "secret", "/api/v1/status", 200},
		} {
			b.name, b.pass = tt.name, tt.pass
			if code, text := b.do("GET", "http://gateway.example:8080"+tt.path, nil); code != tt.code {
				t.Errorf("%+v: %d %s", tt, code, text)
			}
		}
	})
}

// TestHTTPPortTaken: it is told, and the rest of the daemon does not mind.
func TestHTTPPortTaken(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		w.cfg.HTTP.Listen = "127.0.0.1:80"
		w.hw = func(hw *Hardware) {
			hw.Listen = func(string, string) (net.Listener, error) { return nil, fmt.Errorf("address already in use") }
		}
		w.start()
		w.until("readings", func() bool { return len(w.published("mote/+/temperature")) >= 2 })
		if !contains(w.log.String(), []string{"127.0.0.1:80", "already in use"}) {
			t.Errorf("the log does not tell:\n%s", &w.log)
		}
	})
}

func TestMetrics(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		b := withHTTP(w)
		defer b.door.Close()
		w.cfg.Managers = append(w.cfg.Managers, config.Manager{Name: `a "b" \c`, Port: "sim:2", Data: config.DataReliable})
		w.start()
		w.until("readings", func() bool { return len(w.published("mote/+/temperature")) >= 4 })
		time.Sleep(time.Second)
		code, text := b.get("/metrics")
		if code != 200 {
			t.Fatalf("%d %s", code, text)
		}
		got, err := parseExposition(text)
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		for name, at := range map[string]float64{
			`meshgate_build_info{version="test"}`:                  1,
			`meshgate_alive`:                                       1,
			`meshgate_link_up{kind="bridge",name="cloud"}`:         1,
			`meshgate_bridge_sent_total{bridge="cloud"}`:           1,
			`meshgate_spool_appended_total`:                        4,
			`meshgate_session_sessions_total{manager="main"}`:      1,
			`meshgate_serial_frames_total{manager="main"}`:         10,
			`meshgate_motes{manager="main",state="operational"}`:   2,
			`meshgate_spool_dropped_total{reason="size"}`:          0,
			`meshgate_motes{manager="a \"b\" \\c",state="lost"}`:   0,
			`meshgate_spool_written_bytes_total{what="records"}`:   100,
			`meshgate_link_up{kind="session",name="a \"b\" \\c"}`:  0,
			`meshgate_session_acks_total{manager="a \"b\" \\c"}`:   0,
			`process_start_time_seconds`:                           float64(started.Unix()),
			`meshgate_session_notifications_total{manager="main"}`: 1,
		} {
			if v, ok := got[name]; !ok || v < at {
				t.Errorf("%s is %v (%v), want %v at least", name, v, ok, at)
			}
		}
		if !strings.Contains(text, "meshgate_mote_temperature_celsius{") {
			t.Error("no temperatures")
		}
	})
}

var (
	sampleLine = regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*"(?:,[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*")*)?\})? (\S+)$`)
	helpLine   = regexp.MustCompile(`^# HELP ([a-zA-Z_:][a-zA-Z0-9_:]*) (\S.*)$`)
	typeLine   = regexp.MustCompile(`^# TYPE ([a-zA-Z_:][a-zA-Z0-9_:]*) (counter|gauge)$`)
)

// parseExposition reads the text format strictly, with what promtool's linter wants: each metric
// has help, then a type, then its samples in one block; counters end in _total and gauges do not;
// no sample twice.
func parseExposition(text string) (map[string]float64, error) {
	if !strings.HasSuffix(text, "\n") {
		return nil, fmt.Errorf("the last line has no end")
	}
	got, done := map[string]float64{}, map[string]bool{}
	var now, kind string
	for i, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		fail := func(what string) (map[string]float64, error) {
			return nil, fmt.Errorf("line %d: %s: %q", i+1, what, line)
		}
		if m := helpLine.FindStringSubmatch(line); m != nil {
			if done[m[1]] {
				return fail("a second block")
			}
			now, kind, done[m[1]] = m[1], "", true
			continue
		}
		if m := typeLine.FindStringSubmatch(line); m != nil {
			if m[1] != now || kind != "" {
				return fail("the type is not after the help")
			}
			if kind = m[2]; (kind == "counter") != strings.HasSuffix(now, "_total") {
				return fail("the name does not fit the type")
			}
			continue
		}
		m := sampleLine.FindStringSubmatch(line)
		if m == nil {
			return fail("not a line of the format")
		}
		if m[1] != now || kind == "" {
			return fail("a sample outside of its block")
		}
		v, err := strconv.ParseFloat(m[3], 64)
		if err != nil || kind == "counter" && (v < 0 || math.IsNaN(v)) {
			return fail("not a value")
		}
		if _, twice := got[m[1]+m[2]]; twice {
			return fail("a sample twice")
		}
		got[m[1]+m[2]] = v
	}
	return got, nil
}

func TestExposition(t *testing.T) {
	e := new(exposition)
	e.gauge("a", "One \\ two\nthree.", math.Inf(1), "x", "a\"b\\c\nd\xff")
	e.counter("b_total", "Count.", 12345678901)
	e.gauge("a", "not looked at", math.NaN())
	var out bytes.Buffer
	if err := e.write(&out); err != nil {
		t.Fatal(err)
	}
	want := "# HELP a One \\\\ two\\nthree.\n# TYPE a gauge\na{x=\"a\\\"b\\\\c\\nd\uFFFD\"} +Inf\na NaN\n" +
		"# HELP b_total Count.\n# TYPE b_total counter\nb_total 1.2345678901e+10\n"
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", &out, want)
	}
	if _, err := parseExposition(out.String()); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"a 1\n", "# HELP a x\na 1\n", "# HELP a x\n# TYPE a gauge\na 1", "# HELP a x\n# TYPE a counter\na 1\n",
		"# HELP a x\n# TYPE a gauge\na 1\na 1\n", "# HELP a x\n# TYPE a gauge\na{b=\"\n\"} 1\n"} {
		if _, err := parseExposition(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
