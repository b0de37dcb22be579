package smartmesh

import (
	"bytes"
	"context"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meshgate/meshgate/hdlc"
	"github.com/meshgate/meshgate/smartmesh/sim"
)

// A kernel keeps what comes over a port while nobody reads, and the port open while no process has it.
type kernel struct {
	conn net.Conn
	mu   sync.Mutex
	more *sync.Cond
	in   bytes.Buffer
	end  error
}

func newKernel(conn net.Conn) *kernel {
	k := &kernel{conn: conn}
	k.more = sync.NewCond(&k.mu)
	go func() {
		b := make([]byte, 7) // frames come in pieces
		for k.end == nil {
			n, err := conn.Read(b)
			k.mu.Lock()
			k.in.Write(b[:n])
			k.end = err
			k.more.Broadcast()
			k.mu.Unlock()
		}
	}()
	return k
}

// A handle is what one process has of the port.
type handle struct {
	*kernel
	closed bool
}

func (h *handle) Read(b []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for !h.closed && h.end == nil && h.in.Len() == 0 {
		h.more.Wait()
	}
	if h.closed {
		return 0, io.ErrClosedPipe
	}
	return h.in.Read(b)
}

func (h *handle) Write(b []byte) (int, error) { return h.conn.Write(b) }

func (h *handle) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	h.more.Broadcast()
	return nil
}

// TestHandover: fifty times a session is taken up where another one has left it, while twenty notifications come each
// second. The manager does not notice, and each is delivered once.
func TestHandover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := sim.New(sim.Config{Motes: 20, Period: time.Second, Seed: 7, Numbered: true, HealthPeriod: -1, KeepAcked: 10000}, nil)
		ctx, cancel := context.WithCancel(t.Context())
		here, there := net.Pipe()
		var wg sync.WaitGroup
		wg.Go(func() { m.Run(ctx) })
		wg.Go(func() { _ = m.Serve(ctx, there) })
		k, log := newKernel(here), new(notifyLog)
		opt := Options{OnNotify: log.add, Stats: new(Stats)}
		s, err := Connect(ctx, &handle{kernel: k}, opt)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Subscribe(ctx, 0xf6, 0); err != nil {
			t.Fatal(err)
		}
		for i := range 50 {
			time.Sleep(1237 * time.Millisecond)
			asked := do(func() error { _, err := s.GetTime(ctx); return err })
			st, ok := s.Detach()
			if !ok {
				t.Fatalf("detach %d: nothing to take up", i)
			}
			<-asked // it came in time or did not; the numbers are right in either case
			time.Sleep(time.Duration(i) * 3 * time.Millisecond)
			s = Resume(&handle{kernel: k}, st, opt)
			if _, err := s.GetTime(ctx); err != nil {
				t.Fatalf("resume %d: %v", i, err)
			}
		}
		time.Sleep(333 * time.Millisecond)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		var got [][]byte
		for _, n := range log.all() {
			got = append(got, n.Raw)
		}
		stats := m.Stats()
		if !slices.EqualFunc(got, m.Acked(), bytes.Equal) {
			t.Errorf("%d delivered, %d acknowledged, or others", len(got), len(m.Acked()))
		}
		if len(got) < 50*20 || stats.Sessions != 1 || stats.Dropped+stats.Overflow+stats.NViolations > 0 || stats.Acked != stats.Reliable {
			t.Errorf("%d delivered, %+v", len(got), stats)
		}
		if c := counts(opt.Stats); c["sessions"] != 1 || c["gaps"] != 0 {
			t.Errorf("%v", c)
		}
		cancel()
		here.Close()
		wg.Wait()
	})
}

// TestDetachKeepsWhatWasRead: a frame that has come in part goes along, and one that could not be acknowledged any more is
// known when it comes again.
func TestDetachKeepsWhatWasRead(t *testing.T) {
	bubble(t, 4, func(t *testing.T, r *rig) {
		begun := unhex(t, "7e 02 14 05 06 01")
		r.write(begun)
		synctest.Wait()
		st, ok := r.s.Detach()
		if !ok || st.Next != r.first || st.Last != 4 || !bytes.Equal(st.Rest, begun) {
			t.Errorf("%+v, %v", st, ok)
		}
		if again, _ := r.s.Detach(); again.Next != st.Next {
			t.Errorf("again: %+v", again)
		}
		here, p := newPeer(t)
		log := new(notifyLog)
		frame := hdlc.AppendFrame(nil, Packet{Type: typeNotification, Payload: unhex(t, "01 00000002 01")}.Append(nil))
		s := Resume(here, State{Next: 9, Last: 5, Rest: frame[:6]}, Options{OnNotify: log.add})
		p.write(frame[6:])
		p.send(2, typeNotification, 5, "01 00000001 01")
		p.want(3, typeNotification, 5, "00")
		err := do(func() error { return s.ClearStatistics(t.Context()) })
		p.respond(p.want(2, clearStatistics.id, 9, ""), "00")
		if err := <-err; err != nil || len(log.all()) != 1 || log.all()[0].EventID != 2 {
			t.Errorf("%v, %d delivered", err, len(log.all()))
		}
		closed := do(s.Close)
		p.respond(p.next(), "00")
		<-closed
	})
}

// TestDetachOfNothing: a session that is lost, closed or waits for an answer in vain cannot be taken up.
func TestDetachOfNothing(t *testing.T) {
	bubble(t, 0, func(t *testing.T, r *rig) {
		out := do(func() error { return r.s.ClearStatistics(t.Context()) })
		r.next()
		start := time.Now()
		if _, ok := r.s.Detach(); ok || time.Since(start) != closeLimit {
			t.Errorf("with a command outstanding: %v after %v", ok, time.Since(start))
		}
		<-out
	})
	bubble(t, 0, func(t *testing.T, r *rig) {
		r.send(0, typeManagerHello, 0, "0400")
		<-r.s.Done()
		if _, ok := r.s.Detach(); ok {
			t.Error("one that was lost is taken up")
		}
	})
}
