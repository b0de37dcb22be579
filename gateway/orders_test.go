package gateway

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// recorder is an execute and a refuse that remember.
type recorder struct {
	mu            sync.Mutex
	done, refused []string
	takes         time.Duration
}

func (r *recorder) execute(ctx context.Context, c command) {
	select {
	case <-time.After(r.takes):
	case <-ctx.Done():
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done = append(r.done, string(c.payload))
}

func (r *recorder) refuse(c command, why error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refused = append(r.refused, string(c.payload))
}

func cmdFor(target string, n int) command {
	return command{topic: target + "/set", payload: fmt.Append(nil, n)}
}

func TestOrdersKeepTheOrderOfATarget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{takes: time.Second}
		o := newOrders(r.execute, r.refuse)
		for i := range 10 {
			o.do(t.Context(), cmdFor("actuator/a", i))
		}
		time.Sleep(time.Minute)
		o.close()
		if want := []string{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"}; !slices.Equal(r.done, want) {
			t.Errorf("got %v", r.done)
		}
	})
}

func TestOrdersOfDifferentTargetsDoNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{takes: time.Second}
		o := newOrders(r.execute, r.refuse)
		began := time.Now()
		for i := range 20 {
			o.do(t.Context(), cmdFor(fmt.Sprint("mote/", i, "/led"), i))
		}
		for range 20 { // each is done after its second
			time.Sleep(50 * time.Millisecond)
		}
		synctest.Wait()
		if time.Since(began) != time.Second || len(r.done) != 20 {
			t.Errorf("%d done after %v", len(r.done), time.Since(began))
		}
		o.close()
	})
}

func TestOrdersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{takes: time.Hour}
		o := newOrders(r.execute, r.refuse)
		ctx, cancel := context.WithCancel(t.Context())
		for i := range 10000 {
			o.do(ctx, cmdFor("actuator/a", i))
		}
		synctest.Wait()
		if want := 10000 - 1 - maxWaiting; len(r.refused) != want {
			t.Errorf("%d refused, want %d", len(r.refused), want)
		}
		for i := range maxTargets + 5 {
			o.do(ctx, cmdFor(fmt.Sprint("actuator/b", i), i))
		}
		if want := 10000 - 1 - maxWaiting + 6; len(r.refused) != want {
			t.Errorf("%d refused, want %d", len(r.refused), want)
		}
		if got := len(o.queues["actuator/a"]); got != maxWaiting || string(o.queues["actuator/a"][got-1].c.payload) != "9999" {
			t.Errorf("%d wait, the last word is %s", got, o.queues["actuator/a"][got-1].c.payload)
		}
		cancel() // the session that brought them is gone: what waits is forgotten
		o.close()
		if len(r.done) != 0 {
			t.Errorf("%d were carried out after their session", len(r.done))
		}
	})
}
