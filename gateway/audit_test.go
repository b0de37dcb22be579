package gateway

import (
	"cmp"
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/meshgate/meshgate/bridge/brokertest"
	"github.com/meshgate/meshgate/bridge/spool"
	"github.com/meshgate/meshgate/gateway/config"
)

type manifest struct {
	First, Last, Count uint64
	Dropped            struct{ Refused int }
}

// manifests are those that came, by what they begin with: one that waited may come behind a new one.
func (w *world) manifests() (all []manifest) {
	for _, p := range w.published("gateway/audit") {
		var m manifest
		if err := json.Unmarshal([]byte(p), &m); err != nil {
			w.t.Fatal(err)
		}
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b manifest) int { return cmp.Compare(a.First, b.First) })
	return all
}

// TestAuditOverRestarts: the manifests of several lives name every record once.
func TestAuditOverRestarts(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		for life := range 3 {
			w.broker.Set(func(b *brokertest.Behaviour) { b.Refuse = byte(life % 2 * 3) }) // the second one has no broker
			w.start()
			time.Sleep(3*time.Minute + 20*time.Second)
			w.end1()
		}
		w.start()
		w.until("the last manifests", func() bool { return len(w.published("gateway/audit")) >= 13 })
		next := uint64(1)
		for _, m := range w.manifests() {
			if m.First != next || m.Last < m.First || m.Count != m.Last-m.First+1 {
				t.Errorf("%+v does not begin with %d", m, next)
			}
			next = m.Last + 1
		}
		for _, p := range w.broker.Published() {
			for _, seq := range seqs(t, []brokertest.Publish{p}) {
				if uint64(seq) > next+100 {
					t.Errorf("record %d is in no manifest", seq)
				}
			}
		}
	})
}

// TestAuditOfAFullDisk: what is refused while no manifest can be stored is told by the first that can, and what is refused last by
// one at the end.
func TestAuditOfAFullDisk(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		w.cfg.Spool.MaxSize, w.cfg.Spool.WhenFull = 1, config.DropNewest
		w.broker.Set(refuseAll)
		w.start()
		time.Sleep(30*time.Minute + 20*time.Second)
		if !strings.Contains(w.log.String(), "spool: full") {
			t.Fatal("the disk is not full")
		}
		w.broker.Set(refuseNone)
		w.until("news", func() bool { return strings.Contains(w.log.String(), "the disk takes records again") })
		lost, err := strconv.Atoi(regexp.MustCompile(`lost=(\d+)`).FindStringSubmatch(w.log.String())[1])
		if err != nil {
			t.Fatal(err)
		}
		w.end1()
		w.start()
		w.until("the manifest of the end", func() bool { return len(w.published("gateway/audit")) > 0 })
		time.Sleep(10 * time.Minute)
		told, next := 0, uint64(1)
		for _, m := range w.manifests() {
			if m.First != next {
				t.Errorf("%+v does not begin with %d", m, next)
			}
			told, next = told+m.Dropped.Refused, m.Last+1
		}
		if told != lost {
			t.Errorf("%d were refused, %d are told of", lost, told)
		}
	})
}

func TestLastAudited(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	s, err := spool.Open(dir, spool.Options{Readers: []string{"cloud"}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	add := func(n int, topic, payload string) {
		for range n {
			if _, err := s.Append(spool.Record{Kind: kindObject, Topic: topic, Payload: []byte(payload)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	expect := func(want uint64) {
		t.Helper()
		if got := lastAudited(dir); got != want {
			t.Errorf("got %d, want %d", got, want)
		}
	}
	expect(0)
	add(5, "x", `{}`)
	expect(0)
	add(1, auditTopic, `{"first":1,"last":5}`)
	add(1, auditTopic, `{"first":6,"last":6}`)
	add(3, "x", fmt.Sprintf(`{"last":%d}`, 99))
	expect(6)
	add(1500, "x", `{}`) // beyond the first look
	expect(6)
}
