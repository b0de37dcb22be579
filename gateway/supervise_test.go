package gateway

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestSupervisePauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var starts []time.Time
		supervise(ctx, slog.New(slog.DiscardHandler), nil, func(error) {}, func(context.Context, func(...any)) error {
			if starts = append(starts, time.Now()); len(starts) == 12 {
				cancel()
			}
			return errors.New("away")
		})
		want := backoffMin
		for i := 1; i < len(starts); i++ {
			if pause := starts[i].Sub(starts[i-1]); pause < want/2 || pause > want {
				t.Errorf("pause %d is %v, want %v to %v", i, pause, want/2, want)
			}
			want = min(2*want, backoffMax)
		}
	})
}

func TestSuperviseStableSessionStartsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		runs := 0
		var ended time.Time
		supervise(ctx, slog.New(slog.DiscardHandler), nil, func(error) { ended = time.Now() }, func(context.Context, func(...any)) error {
			if runs++; runs == 8 {
				time.Sleep(stableAfter)
			} else if runs == 9 {
				if p := time.Since(ended); p > backoffMin {
					t.Errorf("pause after a stable session is %v", p)
				}
				cancel()
			}
			return errors.New("away")
		})
	})
}

func TestSuperviseTellsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		ctx, cancel := context.WithCancel(t.Context())
		failures := 0
		supervise(ctx, slog.New(slog.NewTextHandler(&out, nil)), nil, func(error) {
			if failures++; failures == 20 {
				cancel()
			}
		}, func(context.Context, func(...any)) error {
			if failures < 10 {
				return errors.New("connection refused")
			}
			return errors.New("bad password")
		})
		if n := strings.Count(out.String(), "\n"); n != 2 {
			t.Errorf("%d lines, want one for each kind of failure:\n%s", n, &out)
		}
	})
}

// TestSuperviseFlapping: a link that connects and fails the same way again and again is told once;
// when it holds at last, that is told too.
func TestSuperviseFlapping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out journal
		ctx, cancel := context.WithCancel(t.Context())
		runs := 0
		supervise(ctx, slog.New(slog.NewTextHandler(&out, nil)), nil, func(error) {}, func(_ context.Context, up func(...any)) error {
			up()
			if runs++; runs == 20 {
				time.Sleep(2 * stableAfter)
				cancel()
			}
			return errors.New("closed by port 4711"[:15+runs%4])
		})
		var story []string
		for line := range strings.Lines(out.String()) {
			_, rest, _ := strings.Cut(line, "msg=")
			story = append(story, strings.Fields(rest)[0])
		}
		if got := strings.Join(story, " "); got != `connected "lost, connected connected` {
			t.Errorf("the log tells %s:\n%s", got, &out)
		}
	})
}
