package bridge

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	highWater = 32 << 10 // bytes waiting to be written, above which Publish waits: 4 s at 64 kbit/s
	chunk     = 8 << 10  // bytes written under one deadline
)

var (
	errWireClosed = errors.New("connection ended")

	// ErrStuck is the cause of a session's end when what was sent did not leave the host in time.
	ErrStuck = errors.New("the connection takes no more data")
)

// wire is the net.Conn that the MQTT client gets: it reads through Inbound, and a Write never blocks. What is written is
// collected and sent by a goroutine of its own, under a deadline for every 8 KiB, so that a connection that takes nothing
// is noticed whatever packet is on its way, and so that a burst of small packets leaves in few system calls. The first
// error, in either direction, is given to fail.
type wire struct {
	net.Conn
	raw net.Conn // what Conn runs on; closing it does not wait for anybody
	in  *Inbound

	sent atomic.Int64 // when something was last, nanoseconds after in.born

	fail   func(error) // told the first error
	settle func()      // waited for before the client is told

	mu     sync.Mutex
	buf    []byte
	spare  []byte
	going  int           // bytes that are being written
	last   bool          // nothing more is collected
	err    error         // no more writes: closed or failed
	wake   chan struct{} // something to write, or err; holds one
	room   chan struct{} // less than highWater is waiting, perhaps; holds one
	ended  chan struct{} // closed with err
	writer chan struct{} // closed when the goroutine has ended
	eof    chan struct{} // closed when nothing more can be read
	eofOne sync.Once
}

func newWire(conn, raw net.Conn, in *Inbound, fail func(error), settle func()) *wire {
	w := &wire{
		Conn: conn, raw: raw, in: in, fail: fail, settle: settle,
		wake: make(chan struct{}, 1), room: make(chan struct{}, 1),
		ended: make(chan struct{}), writer: make(chan struct{}), eof: make(chan struct{}),
	}
	go w.write()
	return w
}

// Read reads packets. It is the only place where the client gets to know of the end, and its errors never contain what net
// says about a closed connection, which the client takes for its own doing and then does not end.
func (w *wire) Read(p []byte) (int, error) {
	n, err := w.in.Read(p)
	if err == nil {
		return n, nil
	}
	if before := w.close(err); before != nil { // done before eof is closed, or the writer's error may come first
		err = before
	}
	w.eofOne.Do(func() { close(w.eof) })
	w.fail(err)
	w.settle()
	return n, err
}

// Write takes a packet of the client. Its PINGREQ is dropped: it does not know what goes past it, and would send one all
// the time; see ping.
func (w *wire) Write(p []byte) (int, error) {
	if !bytes.Equal(p, pingreq) {
		w.put(func(buf []byte) []byte { return append(buf, p...) })
	}
	return len(p), nil
}

// put collects what add appends. What comes after the end, or after the last packet, is dropped.
func (w *wire) put(add func([]byte) []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil && !w.last {
		w.buf = add(w.buf)
		signal(w.wake)
	}
}

// ping asks the broker for a sign of life when nothing was sent for so long, or nothing came and it is not asked yet. What
// waits to be sent is a sign of ours, and a ping behind it would be answered late.
func (w *wire) ping(after time.Duration) {
	now := time.Since(w.in.born)
	quiet := now - time.Duration(w.sent.Load())
	deaf := now - time.Duration(w.in.heard.Load())
	if w.waiting() == 0 && (quiet >= after || deaf >= after && w.in.pinged.Load() == 0) {
		w.in.pinged.CompareAndSwap(0, int64(now))
		w.put(func(buf []byte) []byte { return append(buf, pingreq...) })
	}
}

// silent returns for how long a ping has not been answered. The time that a payload took to be skipped does not count.
func (w *wire) silent() time.Duration {
	pinged := w.in.pinged.Load()
	if pinged == 0 {
		return 0
	}
	return min(time.Since(w.in.born)-time.Duration(pinged), w.in.sinceSkip())
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// waiting returns how many bytes wait to be written.
func (w *wire) waiting() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.buf) + w.going
}

// write sends what was collected until the wire ends.
func (w *wire) write() {
	defer close(w.writer)
	for range w.wake {
		for {
			batch, ok := w.take()
			if !ok {
				return
			}
			if len(batch) == 0 {
				break
			}
			if err := w.send(batch); err != nil {
				if err != ErrStuck {
					w.lastWords()
				}
				if w.close(err) == nil { // else the reader has met it first, and tells
					w.fail(err)
				}
				return
			}
		}
	}
}

// lastWords waits a moment for the reader to end: who closes a connection may have said why before, a TLS alert or a
// CONNACK, and that is the better error.
func (w *wire) lastWords() {
	timer := time.NewTimer(linger)
	defer timer.Stop()
	select {
	case <-w.eof:
	case <-w.ended:
	case <-timer.C:
	}
}

// take returns what was collected, not ok when the wire has ended. It is called when what the last call returned has
// been sent.
func (w *wire) take() (batch []byte, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return nil, false
	}
	batch, w.buf, w.spare = w.buf, w.spare[:0], nil
	if cap(batch) <= 4*highWater {
		w.spare = batch[:0]
	}
	w.going = len(batch)
	if w.going < highWater {
		signal(w.room)
	}
	return batch, true
}

func (w *wire) send(batch []byte) error {
	for len(batch) > 0 {
		n := min(chunk, len(batch))
		w.Conn.SetWriteDeadline(time.Now().Add(writeTimeout)) // a failure shows in Write
		if _, err := w.Conn.Write(batch[:n]); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return ErrStuck
			}
			return err
		}
		batch = batch[n:]
	}
	w.sent.Store(int64(time.Since(w.in.born)))
	return nil
}

// Close ends the wire; what was collected and not yet sent is dropped.
func (w *wire) Close() error {
	w.close(errWireClosed)
	return nil
}

// close keeps the first error and closes the connection. It returns the error that was there before.
func (w *wire) close(err error) error {
	w.mu.Lock()
	before := w.err
	if before == nil {
		w.err = err
		close(w.ended)
	}
	w.mu.Unlock()
	if before == nil {
		signal(w.wake)
		w.raw.Close()
	}
	return before
}

// finish sends last after all that was collected, and waits until the other side has closed the connection, or limit: a
// connection closed at once, with bytes unread, is reset, and last with it.
func (w *wire) finish(last []byte, limit time.Duration) {
	w.put(func(buf []byte) []byte {
		w.last = true
		return append(buf, last...)
	})
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-w.eof:
	case <-timer.C:
	}
}

// SetDeadline is for reading; a write has its own.
func (w *wire) SetDeadline(t time.Time) error { return w.Conn.SetReadDeadline(t) }

var _ io.ReadWriteCloser = (*wire)(nil)
