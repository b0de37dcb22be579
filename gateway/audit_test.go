package gateway

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/meshgate/meshgate/bridge/brokertest"
	"github.com/meshgate/meshgate/bridge/spool"
)

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
		for _, p := range w.published("gateway/audit") {
			var m struct{ First, Last, Count uint64 }
			if err := json.Unmarshal([]byte(p), &m); err != nil {
				t.Fatal(err)
			}
			if m.First != next || m.Last < m.First || m.Count != m.Last-m.First+1 {
				t.Errorf("%s does not begin with %d", p, next)
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
