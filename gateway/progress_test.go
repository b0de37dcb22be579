package gateway

import (
	"context"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meshgate/meshgate/bridge/brokertest"
)

func TestProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p progress
		var idle atomic.Bool
		idle.Store(true)
		a, b := p.add("a", nil), p.add("b", idle.Load)
		want := func(names ...string) {
			t.Helper()
			if got := p.stuck(); !slices.Equal(got, names) {
				t.Errorf("stuck: %q, want %q", got, names)
			}
		}
		want()
		time.Sleep(patience + time.Second)
		want("a")
		a.beat()
		idle.Store(false)
		want() // b was idle a moment ago: its minute starts now
		a.rest(time.Minute)
		time.Sleep(patience + time.Second)
		want("b")
		time.Sleep(time.Minute)
		want("a", "b")
		a.remove()
		b.beat()
		want()
	})
}

// beats counts how often the watchdog was fed, and keeps the last line.
type beats struct {
	mu   sync.Mutex
	n    int
	line string
	all  []string
}

func (b *beats) alive(line string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.n++
	b.line = line
	b.all = append(b.all, line)
}

func (b *beats) said() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.line
}

// ever reports whether a line has held the words.
func (b *beats) ever(words string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.ContainsFunc(b.all, func(line string) bool { return strings.Contains(line, words) })
}

// in counts those of the next d.
func (b *beats) in(d time.Duration) int {
	b.mu.Lock()
	n := b.n
	b.mu.Unlock()
	time.Sleep(d)
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.n - n
}

// TestWatchdogOfWhatIsAway: what is away is no hang, for however long.
func TestWatchdogOfWhatIsAway(t *testing.T) {
	inWorld(t, twoMotes, func(w *world) {
		var b beats
		w.hw = func(hw *Hardware) { hw.Alive = b.alive }
		w.start()
		w.until("readings", func() bool { return len(w.published("mote/+/temperature")) >= 2 })
		time.Sleep(2 * pulsePeriod) // for the line to tell it
		if n := b.in(10 * time.Minute); n < 119 || !strings.HasPrefix(b.said(), "all well") {
			t.Errorf("fed %d times in ten minutes, with %q", n, b.said())
		}
		w.broker.Set(func(br *brokertest.Behaviour) { br.NoAck = true })
		if n := b.in(10 * time.Minute); n < 119 {
			t.Errorf("a broker that does not acknowledge: fed %d times in ten minutes\n%s", n, &w.log)
		}
		w.broker.Set(func(br *brokertest.Behaviour) { br.NoAck, br.Refuse = false, 4 })
		w.port = func() (io.ReadWriteCloser, error) { return nil, io.ErrUnexpectedEOF }
		w.sim.Reboot()
		if n := b.in(10 * time.Minute); n < 119 || !strings.Contains(b.said(), "bridge cloud: ") || !strings.Contains(b.said(), "serial main: ") {
			t.Errorf("all away: fed %d times in ten minutes, with %q", n, b.said())
		}
	})
}

// TestWatchdogOfAHungPart: the pings stop although everything else works on.
func TestWatchdogOfAHungPart(t *testing.T) {
	hung := make(map[string]func(*world, <-chan struct{}))
	hung["manager main"] = func(w *world, free <-chan struct{}) {
		w.port = func() (io.ReadWriteCloser, error) { <-free; return nil, io.EOF }
	}
	hung["bridge cloud"] = func(w *world, free <-chan struct{}) {
		before := w.hw
		w.hw = func(hw *Hardware) {
			before(hw)
			hw.Dial = func(context.Context, string, string) (net.Conn, error) { <-free; return nil, io.EOF }
		}
	}
	for part, hang := range hung {
		t.Run(part, func(t *testing.T) {
			inWorld(t, twoMotes, func(w *world) {
				var b beats
				free := make(chan struct{})
				w.hw = func(hw *Hardware) { hw.Alive = b.alive }
				hang(w, free)
				w.start()
				if n := b.in(patience); n == 0 {
					t.Error("not fed in the first minute")
				}
				time.Sleep(2 * pulsePeriod)
				if n := b.in(10 * time.Minute); n > 0 {
					t.Errorf("fed %d times with a part that hangs", n)
				}
				if !strings.Contains(w.log.String(), "no progress") || !strings.Contains(w.log.String(), part) {
					t.Errorf("the log does not name it:\n%s", &w.log)
				}
				close(free)
				if n := b.in(10 * time.Minute); n < 100 {
					t.Errorf("fed %d times after it came back", n)
				}
			})
		})
	}
}
