package gateway

import (
	"context"
	"io"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"
)

// A topic that was held back and is taken by the broker with a live record, before it was its turn to be tried again: what the
// session has passed over of it is on the disk, so the connection is made anew for it.
func TestTakenBeforeItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newParking(slog.New(slog.NewTextHandler(io.Discard, nil)), func(string) {})
		for seq := range uint64(holdTopicAfter) {
			p.park(key{seq + 1, "t"})
		}
		p.begin()
		if !p.holds(key{9, "t"}) {
			t.Fatal("the topic is not held back")
		}
		time.Sleep(2 * parkedFor)
		live := key{10, "t"}
		if p.holds(live) || p.depart(live) {
			t.Fatal("the topic is not free after its time")
		}
		p.arrived(live)
		ctx, cancel := context.WithTimeout(context.Background(), parkedFor)
		defer cancel()
		if err := p.retry(ctx); err == nil || ctx.Err() != nil {
			t.Errorf("what was passed over waits: %v", err)
		}
		p.begin()
		ctx, cancel = context.WithTimeout(context.Background(), parkedFor)
		defer cancel()
		if err := p.retry(ctx); ctx.Err() == nil {
			t.Errorf("the new session has passed over nothing, and ends: %v", err)
		}
	})
}
