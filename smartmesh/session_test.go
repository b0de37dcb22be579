package smartmesh

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meshgate/meshgate/hdlc"
)

// TestSessionVectors drives a session with the golden vectors: frames in a row, what is delivered, what is sent back.
func TestSessionVectors(t *testing.T) {
	for _, v := range loadVectors(t, "sessions") {
		var want struct {
			Start struct {
				MgrSeqNo byte `json:"mgrSeqNo"`
			} `json:"start"`
			Steps []struct {
				In        string   `json:"in"`
				Delivered bool     `json:"delivered"`
				Out       []string `json:"out"`
			} `json:"steps"`
		}
		if err := json.Unmarshal(v.Decoded, &want); err != nil {
			t.Fatal(err)
		}
		t.Run(v.Name, func(t *testing.T) {
			bubble(t, want.Start.MgrSeqNo, func(t *testing.T, r *rig) {
				for i, step := range want.Steps {
					before := len(r.log.all())
					r.write(unhex(t, step.In))
					synctest.Wait()
					if got := len(r.log.all()) - before; got > 1 || (got == 1) != step.Delivered {
						t.Errorf("step %d: %d delivered, want %v", i, got, step.Delivered)
					}
					for _, out := range step.Out {
						if a := r.next(); hex.EncodeToString(a.frame) != out {
							t.Errorf("step %d: %x sent, want %s", i, a.frame, out)
						}
					}
					r.silent()
				}
				if v.Name == "manager-hello-ends-session" {
					if err := r.s.Wait(); !errors.Is(err, ErrSessionLost) || !errors.Is(err, ErrManagerHello) {
						t.Errorf("Wait: %v", err)
					}
				}
			})
		})
	}
}

// TestAcknowledgedAfterDelivery holds the record's way: the manager hears that a packet is taken once it is.
func TestAcknowledgedAfterDelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		taken := make(chan time.Time, 1)
		r := openRig(t, 4, Options{OnNotify: func(n Notification) {
			time.Sleep(100 * time.Millisecond)
			taken <- time.Now()
		}})
		defer r.s.Close()
		r.send(2, typeNotification, 5, "01 00000001 01")
		a := r.want(3, typeNotification, 5, "00")
		if at := <-taken; a.at.Before(at) {
			t.Errorf("acknowledged at %v, taken at %v", a.at, at)
		}
		_ = r.conn.Close()
	})
}

// TestRefused: what is refused is not acknowledged, and delivered again when it is repeated.
func TestRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		delivered, refused := 0, true
		r := openRig(t, 4, Options{OnNotify: func(Notification) { delivered++ }, Refused: func() bool { return refused }})
		defer r.s.Close()
		for range 3 {
			r.send(2, typeNotification, 5, "01 00000001 01")
			r.silent()
		}
		r.send(0, typeNotification, 9, "01 00000002 01")
		refused = false
		r.send(2, typeNotification, 5, "01 00000001 01")
		r.want(3, typeNotification, 5, "00")
		r.send(2, typeNotification, 5, "01 00000001 01")
		r.want(3, typeNotification, 5, "00")
		if gaps := r.s.opt.Stats.Gaps.Load(); delivered != 5 || gaps != 0 {
			t.Errorf("%d delivered, %d gaps", delivered, gaps)
		}
		_ = r.conn.Close()
	})
}

func TestWhatIsDeliveredRaw(t *testing.T) {
	bubble(t, 0, func(t *testing.T, r *rig) {
		r.send(2, typeNotification, 1, "09 010203")             // unknown notification
		r.send(2, typeNotification, 2, "01 0000000a 63 010203") // unknown event
		r.send(2, typeNotification, 3, "01 00000009 03 00170d") // cut: acknowledged, dropped
		r.send(2, typeNotification, 4, "")                      // the same
		r.send(2, 99, 5, "00")                                  // no notification at all
		r.send(0, 99, 5, "00")
		r.send(0, typeNotification, 5, "04 00")                  // cut, not acknowledged
		r.send(2, typeNotification, 6, "01 0000000c 01 aabb")    // longer than known
		r.send(0xFE, typeNotification, 7, "02 0000000000000001") // other bits of control are ignored
		for seq := range byte(7) {
			kind := byte(typeNotification)
			if seq == 4 {
				kind = 99
			}
			r.want(3, kind, seq+1, "00")
		}
		r.silent()
		got := r.log.all()
		if len(got) != 4 {
			t.Fatalf("%d delivered: %+v", len(got), got)
		}
		if n := got[0]; n.Body != nil || n.Err == nil || hex.EncodeToString(n.Raw) != "09010203" || n.Name() != "unknown" || n.Fields()["data"] != "010203" {
			t.Errorf("%+v", n)
		}
		if n := got[1]; n.Body != nil || n.EventName() != "event99" || n.EventID != 10 || n.Fields()["data"] != "010203" {
			t.Errorf("%+v", n)
		}
		if n := got[2]; n.EventName() != "networkReset" || n.Err != nil || len(n.Fields()) != 0 {
			t.Errorf("%+v", n)
		}
		if b, ok := got[3].Body.(*LogNotification); !ok || b.MAC[7] != 1 || len(b.Msg) != 0 || got[3].EventName() != "log" {
			t.Errorf("%+v", got[3])
		}
		c := counts(r.stats)
		if c["malformed"] != 3 || c["unknown_notifications"] != 2 || c["unknown"] != 2 || c["acks"] != 7 || c["gaps"] != 0 || c["notifications"] != 4 {
			t.Errorf("%v", c)
		}
	})
}

// TestNumbers follows the number of the last reliable packet through repeats, gaps and packets that have no number.
func TestNumbers(t *testing.T) {
	bubble(t, 5, func(t *testing.T, r *rig) {
		for i, step := range []struct {
			control, seq    byte
			delivered       bool
			gaps, repeats   int64
			acknowledgement bool
		}{
			{2, 5, false, 0, 1, true},  // the hello response's own number
			{0, 6, true, 0, 1, false},  // no number, though it looks like the next
			{2, 6, true, 0, 1, true},   // the next
			{0, 6, true, 0, 1, false},  // no number, though it looks like a repeat
			{2, 6, false, 0, 2, true},  // a repeat
			{2, 10, true, 1, 2, true},  // a gap
			{2, 10, false, 1, 3, true}, // its repeat
			{2, 11, true, 1, 3, true},  // and on from there
			{2, 9, true, 2, 3, true},   // backwards is a gap as well
			{0, 200, true, 2, 3, false},
			{2, 10, true, 2, 3, true},
		} {
			before := len(r.log.all())
			r.send(step.control, typeNotification, step.seq, "01 00000001 01")
			if step.acknowledgement {
				r.want(3, typeNotification, step.seq, "00")
			}
			r.silent()
			if got := len(r.log.all()) > before; got != step.delivered || r.stats.Gaps.Load() != step.gaps || r.stats.Repeats.Load() != step.repeats {
				t.Errorf("step %d: delivered %v, %v", i, got, counts(r.stats))
			}
		}
	})
}

func TestAcknowledgedWhileARequestIsOut(t *testing.T) {
	bubble(t, 200, func(t *testing.T, r *rig) {
		err := do(func() error { return r.s.ClearStatistics(t.Context()) })
		a := r.next()
		for i := range 200 {
			seq := byte(201 + i)
			r.send(2, typeNotification, seq, "01 00000001 01")
			if ack := r.want(3, typeNotification, seq, "00"); ack.at != a.at {
				t.Fatalf("acknowledged after %v", ack.at.Sub(a.at))
			}
		}
		r.respond(a, "00")
		if err := <-err; err != nil {
			t.Error(err)
		}
		if got := len(r.log.all()); got != 200 {
			t.Errorf("%d delivered", got)
		}
	})
}

func TestPortGoes(t *testing.T) {
	bubble(t, 0, func(t *testing.T, r *rig) {
		out := do(func() error { _, err := r.s.SendData(t.Context(), SendData{}); return err })
		r.next()
		_ = r.conn.Close()
		if err := <-out; !errors.Is(err, ErrSessionLost) || !errors.Is(err, io.EOF) || !errors.Is(err, ErrOutcomeUnknown) ||
			err.Error() != "smartmesh: sendData: session lost: outcome unknown: read: EOF" {
			t.Errorf("%v", err)
		}
		if err := r.s.Wait(); !errors.Is(err, ErrSessionLost) || err.Error() != "smartmesh: session lost: read: EOF" {
			t.Errorf("Wait: %v", err)
		}
		<-r.s.Done()
	})
}

func TestCloseSaysFarewell(t *testing.T) {
	bubble(t, 0, func(t *testing.T, r *rig) {
		out := do(func() error { return r.s.ClearStatistics(t.Context()) })
		a := r.next()
		synctest.Wait()
		waiting := do(func() error { return r.s.ClearStatistics(t.Context()) })
		synctest.Wait()
		start := time.Now()
		closed := do(r.s.Close)
		again := do(r.s.Close)
		synctest.Wait()
		r.respond(a, "00") // what is out may finish
		if err := <-out; err != nil {
			t.Errorf("the outstanding one: %v", err)
		}
		bye := r.want(2, subscribe.id, a.Seq+1, "0000000000000000")
		r.send(2, typeNotification, 1, "01 00000001 01") // still acknowledged
		r.want(3, typeNotification, 1, "00")
		r.respond(bye, "00")
		if err := errors.Join(<-closed, <-again, r.s.Wait()); err != nil || time.Since(start) != 0 {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		if err := <-waiting; !errors.Is(err, ErrSessionLost) || !errors.Is(err, ErrClosed) {
			t.Errorf("the one that waited: %v", err)
		}
		r.closed()
	})
}

func TestCloseWithASilentManager(t *testing.T) {
	bubble(t, 0, func(t *testing.T, r *rig) {
		out := do(func() error { return r.s.ClearStatistics(t.Context()) })
		r.next()
		start := time.Now()
		if err := r.s.Close(); err != nil || time.Since(start) != closeLimit {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		if err := <-out; !errors.Is(err, ErrClosed) || !errors.Is(err, ErrOutcomeUnknown) {
			t.Errorf("the outstanding one: %v", err)
		}
	})
}

func TestCloseMeetsManagerHello(t *testing.T) {
	bubble(t, 0, func(t *testing.T, r *rig) {
		closed := do(r.s.Close)
		r.next()
		r.send(0, typeManagerHello, 0, "0400")
		if err := errors.Join(<-closed, r.s.Wait()); err != nil {
			t.Error(err)
		}
	})
}

// A stuck port takes no bytes once it is told so, and lets go of the writer only when the device does: a tty whose other
// side has gone to sleep.
type stuckPort struct {
	io.ReadWriteCloser
	stuck  atomic.Bool
	closes bool          // whether Close returns
	device chan struct{} // closed when the device goes
}

func (p *stuckPort) Write(b []byte) (int, error) {
	if p.stuck.Load() {
		<-p.device
		return 0, io.ErrClosedPipe
	}
	n, err := p.ReadWriteCloser.Write(b[:1]) // and takes them one by one
	return n, err
}

func (p *stuckPort) Close() error {
	if !p.closes {
		<-p.device
	}
	return p.ReadWriteCloser.Close()
}

func TestStuckPort(t *testing.T) {
	for name, closes := range map[string]bool{"that closes": true, "that does not even close": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				end, p := newPeer(t)
				port := &stuckPort{ReadWriteCloser: end, closes: closes, device: make(chan struct{})}
				stats := new(Stats)
				opened := make(chan *Session)
				go func() {
					s, err := Connect(t.Context(), port, Options{Stats: stats})
					if err != nil {
						t.Errorf("Connect: %v", err)
					}
					opened <- s
				}()
				p.welcome(0)
				s := <-opened
				port.stuck.Store(true)
				start := time.Now()
				p.send(2, typeNotification, 1, "01 00000001 01")
				synctest.Wait() // its acknowledgement is what gets stuck
				err := do(func() error { return s.ClearStatistics(t.Context()) })
				if err := s.Wait(); !errors.Is(err, ErrStuck) || time.Since(start) > 3500*time.Millisecond {
					t.Errorf("Wait: %v after %v", err, time.Since(start))
				}
				if err := <-err; !errors.Is(err, ErrStuck) || errors.Is(err, ErrOutcomeUnknown) {
					t.Errorf("the one that waited: %v", err)
				}
				if err := s.Close(); err != nil || counts(stats)["abandoned"] != 1 {
					t.Errorf("Close: %v, %v", err, counts(stats))
				}
				close(port.device)
				_ = p.conn.Close()
			})
		})
	}
}

func TestStuckPortAtClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end, p := newPeer(t)
		port := &stuckPort{ReadWriteCloser: end, closes: true, device: make(chan struct{})}
		opened := make(chan *Session)
		go func() {
			s, err := Connect(t.Context(), port, Options{})
			if err != nil {
				t.Errorf("Connect: %v", err)
			}
			opened <- s
		}()
		p.welcome(0)
		s := <-opened
		port.stuck.Store(true)
		start := time.Now()
		if err := s.Close(); err != nil || time.Since(start) > closeLimit+releaseLimit+time.Second {
			t.Errorf("Close: %v after %v", err, time.Since(start))
		}
		close(port.device)
		_ = p.conn.Close()
	})
}

// TestFloodIsBounded sends more than anybody takes: the bytes wait in the port, not in memory.
func TestFloodIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		var taken atomic.Int64
		r := openRig(t, 0, Options{OnNotify: func(Notification) { <-gate; taken.Add(1) }})
		var sent atomic.Int64
		const all = 1000
		f := hdlc.AppendFrame(nil, Packet{Type: typeNotification, Payload: []byte{1, 0, 0, 0, 1, 1}}.Append(nil))
		go func() {
			for range all {
				r.write(f)
				sent.Add(1)
			}
		}()
		synctest.Wait()
		if n := sent.Load(); n > frameQueue+4096/int64(len(f))+2 {
			t.Errorf("%d packets taken ahead", n)
		}
		close(gate)
		synctest.Wait()
		if taken.Load() != all {
			t.Errorf("%d of %d delivered", taken.Load(), all)
		}
		_ = r.conn.Close()
		_ = r.s.Wait()
	})
}
