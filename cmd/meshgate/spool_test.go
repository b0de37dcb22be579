package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/meshgate/meshgate/bridge/brokertest"
	"github.com/meshgate/meshgate/bridge/spool"
)

// deadState makes a state folder with n records: events of three motes, a second apart, the last
// of them now.
func deadState(t *testing.T, n int) string {
	t.Helper()
	dir := t.TempDir()
	s, err := spool.Open(filepath.Join(dir, "spool"), spool.Options{Readers: []string{"cloud"}})
	if err != nil {
		t.Fatal(err)
	}
	var recs []spool.Record
	for i := range n {
		recs = append(recs, spool.Record{Kind: 4, Topic: fmt.Sprintf("mote/m%d/health", i%3), Time: time.Now().Add(time.Duration(i+1-n)*time.Minute - 30*time.Second),
			Synced: true, Payload: fmt.Appendf(nil, `{"n":%d}`, i)})
	}
	if _, err := s.Append(recs...); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// spoolRun runs a command line in this process.
func spoolRun(t *testing.T, want int, args ...string) (out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	if got := execute(t.Context(), args, strings.NewReader(""), &o, &e); got != want {
		t.Errorf("meshgate %s: exit %d, want %d: %s%s", strings.Join(args, " "), got, want, &o, &e)
	}
	return o.String(), e.String()
}

func TestSpoolLook(t *testing.T) {
	dir := deadState(t, 300)
	out, _ := spoolRun(t, 0, "spool", "stat", "--state-dir", dir)
	if !holds(out, []string{"300 records", "seq 1 to 300", "cloud", "SEGMENT"}) {
		t.Errorf("stat says %s", out)
	}
	out, _ = spoolRun(t, 0, "spool", "stat", "--json", "--state-dir", dir)
	var stat spoolStat
	if err := json.Unmarshal([]byte(out), &stat); err != nil || stat.Records != 300 || stat.Next != 301 || len(stat.Readers) != 1 || stat.Readers[0].Waiting != 300 {
		t.Errorf("stat --json: %v: %s", err, out)
	}
	for args, want := range map[string]int{
		"":                                    300,
		"--from 10 --to 19":                   10,
		"--topic mote/m1/#":                   100,
		"--last 10m --topic mote/+/health":    10,
		"--from 290 --topic mote/m2/health":   4,
		"--from 2100-01-01":                   0,
		"--to 2001-01-01T00:00:00Z":           0,
		"--from 2001-01-01 --to 2100-01-01":   300,
		"--from 2001-01-01T00:00:00 --to 100": 100,
	} {
		out, _ := spoolRun(t, 0, append([]string{"spool", "dump", "--state-dir", filepath.Join(dir, "spool")}, strings.Fields(args)...)...)
		if n := strings.Count(out, "\n"); n != want {
			t.Errorf("dump %s: %d lines, want %d:\n%s", args, n, want, out)
		}
	}
	for _, args := range []string{"--from yesterday", "--topic a/#/b", "--last -1h", "--last 1h --from 2026-01-01"} {
		spoolRun(t, 2, append([]string{"spool", "dump", "--state-dir", dir}, strings.Fields(args)...)...)
	}
	spoolRun(t, 1, "spool", "stat", "--state-dir", filepath.Join(dir, "nothing"))
	spoolRun(t, 1, "spool", "stat", "--socket", filepath.Join(dir, "no.sock"))
}

func TestSpoolExport(t *testing.T) {
	dir := deadState(t, 20)
	out, errs := spoolRun(t, 0, "spool", "export", "--state-dir", dir)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	var e exported
	if err := json.Unmarshal([]byte(lines[6]), &e); err != nil || len(lines) != 20 {
		t.Fatalf("%d lines, %v", len(lines), err)
	}
	if at, err := time.Parse(time.RFC3339, e.Time); err != nil || time.Since(at) > time.Hour {
		t.Errorf("time %s: %v", e.Time, err)
	}
	if e.Seq != 7 || e.Topic != "mote/m0/health" || e.Payload != `{"n":6,"time":"`+e.Time+`","seq":7}` {
		t.Errorf("line 7 is %s", lines[6])
	}
	if !strings.Contains(errs, "20 records") {
		t.Errorf("it says %s", errs)
	}
	file := filepath.Join(t.TempDir(), "x.csv")
	spoolRun(t, 0, "spool", "export", "--format", "csv", "-o", file, "--state-dir", dir, "--to", "5")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(bytes.NewReader(text)).ReadAll()
	if err != nil || len(rows) != 6 || strings.Join(rows[0], " ") != "seq topic payload time" || rows[5][0] != "5" {
		t.Errorf("%v: %v", err, rows)
	}
	spoolRun(t, 2, "spool", "export", "--format", "xml", "--state-dir", dir)
}

func TestSpoolVerify(t *testing.T) {
	dir := deadState(t, 200)
	out, _ := spoolRun(t, 0, "spool", "export", "--state-dir", dir)
	lines := strings.SplitAfter(out, "\n")
	has := filepath.Join(t.TempDir(), "received.jsonl")
	write := func(lines []string) {
		if err := os.WriteFile(has, []byte(strings.Join(lines, "")), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(lines)
	out, errs := spoolRun(t, 0, "spool", "verify", "--state-dir", dir, "--against", has)
	if out != "" || !strings.Contains(errs, "0 missing, 0 repeated") {
		t.Errorf("of a whole file it says %s%s", out, errs)
	}
	// 1-based: without 1, 51 to 60 and 200; 101 three times, 102 twice; one of another form, one no record
	broken := append([]string{"no json\n", `meshgate/x/mote/m/temperature {"value":1,"seq":61}` + "\n"}, lines[1:50]...)
	broken = append(append(broken, lines[61:199]...), lines[100], lines[100], lines[101])
	write(broken)
	out, errs = spoolRun(t, 1, "spool", "verify", "--state-dir", dir, "--against", has)
	if want := "missing 1\nmissing 51-60\nmissing 200\nrepeated 101-102\n"; out != want {
		t.Errorf("it says\n%swant\n%s", out, want)
	}
	if !strings.Contains(errs, "12 missing, 2 repeated") {
		t.Errorf("it says %s", errs)
	}
	if out, _ = spoolRun(t, 1, "spool", "verify", "--state-dir", dir, "--against", has, "--to", "40"); out != "missing 1\nrepeated 101-102\n" {
		t.Errorf("up to 40 it says %s", out)
	}
	spoolRun(t, 0, "spool", "verify", "--state-dir", dir)
	segs, err := filepath.Glob(filepath.Join(dir, "spool", "*.seg"))
	if err != nil || len(segs) == 0 {
		t.Fatal(err, segs)
	}
	raw, err := os.ReadFile(segs[0])
	if err != nil {
		t.Fatal(err)
	}
	raw[4096+500] ^= 1
	if err := os.WriteFile(segs[0], raw, 0o600); err != nil {
		t.Fatal(err)
	}
	out, errs = spoolRun(t, 1, "spool", "verify", "--state-dir", dir)
	if !strings.Contains(out+errs, "damaged") {
		t.Errorf("of a damaged one it says %s%s", out, errs)
	}
	write(lines)
	spoolRun(t, 0, "spool", "verify", "--state-dir", dir, "--against", has)
	write(append(slices.Clone(lines[:5]), lines[25:]...))
	if out, _ = spoolRun(t, 1, "spool", "verify", "--state-dir", dir, "--against", has); out != "missing 6-25\n" {
		t.Errorf("without one that is damaged, and others, it says %s", out)
	}
}

// What a bridge has brought in, to go out over others, is not sent back over it.
func TestSpoolReplayOverABridge(t *testing.T) {
	dir := t.TempDir()
	s, err := spool.Open(filepath.Join(dir, "spool"), spool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []string{"\x01\x05cloudon", "\x01\x05otheroff", "\x01\x06@localdim"} {
		if _, err := s.Append(spool.Record{Kind: 1, Topic: "lamp/1", Payload: []byte(m)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	b := brokertest.New()
	defer b.Close()
	at, err := b.Listen(nil)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "gateway.yaml")
	text := "id: x\nstate_dir: " + dir + "\nmanagers: [{name: main, port: \"sim:\"}]\nbridges: [{name: cloud, url: \"mqtt://" + at + "\", topics: [\"lamp/# both 1\"]}]\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	spoolRun(t, 0, "spool", "replay", "--config", file, "--bridge", "cloud")
	var got string
	for _, p := range b.Published() {
		got += string(p.Payload) + " "
	}
	if got != "off dim " {
		t.Errorf("published %q", got)
	}
}

// Records of before the clock was right are dated as a bridge dates them, by the date of their boot.
func TestSpoolDates(t *testing.T) {
	dir := t.TempDir()
	s, err := spool.Open(filepath.Join(dir, "spool"), spool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	start := time.Unix(946684800, 0)
	for run := uint16(7); run <= 8; run++ {
		if _, err := s.Append(spool.Record{Kind: 4, Topic: "mote/m/health", Time: time.Unix(100, 0), Payload: []byte("{}"),
			Anchor: spool.Anchor{Session: run, Clock: start.Add(time.Minute)}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	boots := `{"boots":[{"run":7,"boot":"a","date":"2026-11-25T10:00:00Z"},{"run":8,"boot":"b"}]}`
	if err := os.WriteFile(filepath.Join(dir, "clock.json"), []byte(boots), 0o600); err != nil {
		t.Fatal(err)
	}
	out, _ := spoolRun(t, 0, "spool", "export", "--format", "csv", "--state-dir", dir)
	if !holds(out, []string{`1,mote/m/health,"{""time"":""2026-11-25T10:01:00.000Z"",""seq"":1}",2026-11-25T10:01:00.000Z`, ",1970-01-01T00:01:40.000Z\n"}) {
		t.Errorf("it says %s", out)
	}
}

// What a local client has published says no number: a receiver that has only payloads is not asked for it.
func TestSpoolVerifyMessages(t *testing.T) {
	dir := t.TempDir()
	s, err := spool.Open(filepath.Join(dir, "spool"), spool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Append(spool.Record{Kind: 4, Topic: "mote/m/health", Payload: []byte("{}")},
		spool.Record{Kind: 1, Topic: "lamp/1", Payload: []byte("\x01\x00on")}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	has := filepath.Join(t.TempDir(), "has")
	for lines, want := range map[string]string{
		"p/mote/m/health {\"seq\":1}\np/lamp/1 on\n":                                           "",
		`{"seq":1,"topic":"mote/m/health","payload":"{}"}`:                                     "missing 2\n",
		`{"topic":"p/mote/m/health","payload":"{\"seq\":1}"}` + "\n" + `{"payload":{"seq":1}}`: "repeated 1\n",
	} {
		if err := os.WriteFile(has, []byte(lines), 0o600); err != nil {
			t.Fatal(err)
		}
		code := 0
		if want != "" {
			code = 1
		}
		if out, _ := spoolRun(t, code, "spool", "verify", "--state-dir", dir, "--against", has); out != want {
			t.Errorf("%s\nit says %q, want %q", lines, out, want)
		}
	}
}

func TestSpoolReplay(t *testing.T) {
	dir := deadState(t, 500)
	b := brokertest.New()
	defer b.Close()
	at, err := b.Listen(nil)
	if err != nil {
		t.Fatal(err)
	}
	spoolRun(t, 2, "spool", "replay", "mqtt://"+at, "--state-dir", dir)
	_, errs := spoolRun(t, 0, "spool", "replay", "mqtt://"+at, "--state-dir", dir, "--prefix", "x/", "--from", "101")
	all := b.Published()
	if len(all) != 400 || !strings.Contains(errs, "400 records published") {
		t.Fatalf("%d published: %s", len(all), errs)
	}
	p := all[0]
	if p.Topic != "x/mote/m1/health" || p.Retain || p.QoS != 1 || !holds(string(p.Payload), []string{`"seq":101`, `"historical":true`}) {
		t.Errorf("the first is %s %s", p.Topic, p.Payload)
	}
	b.Set(func(how *brokertest.Behaviour) {
		how.Cut = func(_ string, p brokertest.Packet) bool { return p.Type == brokertest.PUBLISH && p.Nth == 51 }
	})
	_, errs = spoolRun(t, 1, "spool", "replay", "mqtt://"+at, "--state-dir", dir, "--prefix", "x/")
	var from int
	if _, tail, ok := strings.Cut(errs, "go on with --from "); !ok || !scan(tail, &from) || from < 1 || from > 51 {
		t.Errorf("of a connection that was cut it says %s", errs)
	}
}

func scan(text string, n *int) bool {
	_, err := fmt.Sscan(text, n)
	return err == nil
}

func TestProgress(t *testing.T) {
	var out bytes.Buffer
	p := newProgress(&out, "records", 200)
	p.at(1)
	if out.Len() > 0 {
		t.Errorf("too early: %s", &out)
	}
	p.told, p.start = time.Now().Add(-time.Minute), time.Now().Add(-time.Second)
	p.at(50)
	if want := "[######..................]  25 %  50 records, 50/s\n"; out.String() != want {
		t.Errorf("it says %q, want %q", &out, want)
	}
}
