package tape

import (
	"context"
	"encoding/binary"
	"io"
	"sync"
	"time"
)

const (
	// Size is a usual size of a recording: a quarter of a million packets, two hours of a full network, a month of five motes.
	Size = 16 << 20

	flushPeriod = time.Second
	maxPending  = 256 << 10 // bytes that wait for the disk; more are lost, and counted
)

// A Recorder takes what goes over ports and writes it to a file. It never makes a port wait for the disk.
type Recorder struct {
	secret func(command byte) bool
	began  time.Time

	mu      sync.Mutex
	pending []waiting
	size    int
	lost    uint64
	wake    chan struct{} // one token: much is pending
}

type waiting struct {
	kind Kind
	at   uint64
	data []byte
}

// NewRecorder makes one. secret says of which commands neither the requests nor the responses are recorded; nil: none.
func NewRecorder(secret func(command byte) bool) *Recorder {
	if secret == nil {
		secret = func(byte) bool { return false }
	}
	return &Recorder{secret: secret, began: time.Now(), wake: make(chan struct{}, 1)}
}

func (r *Recorder) add(kind Kind, data []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.size+len(data)+entryHead > maxPending {
		r.lost++
		return
	}
	at := uint64(time.Since(r.began).Microseconds())
	if r.lost > 0 {
		r.pending = append(r.pending, waiting{Lost, at, binary.LittleEndian.AppendUint64(nil, r.lost)})
		r.lost = 0
	}
	r.pending = append(r.pending, waiting{kind, at, data})
	if r.size += len(data) + entryHead; r.size > maxPending/4 {
		select {
		case r.wake <- struct{}{}:
		default: // it is told already
		}
	}
}

func (r *Recorder) taken() []waiting {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.pending
	r.pending, r.size = nil, 0
	return all
}

// Write writes what is recorded to a file, made with at most size bytes if it is not there, until ctx ends, and gives ctx's
// error, or what is wrong with the file. It may then be called again; up calls when the file is open.
func (r *Recorder) Write(ctx context.Context, path string, size int64, up func()) error {
	file, err := openRing(path, size, r.began)
	if err != nil {
		return err
	}
	up()
	tick := time.NewTicker(flushPeriod)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-tick.C:
		case <-r.wake:
		case <-ctx.Done():
		}
		if err := r.store(file); err != nil {
			file.close()
			return err
		}
	}
	if err := file.close(); err != nil {
		return err
	}
	return ctx.Err()
}

func (r *Recorder) store(file *ring) error {
	for _, w := range r.taken() {
		if err := file.add(w.kind, w.at, w.data); err != nil {
			return err
		}
	}
	return file.flush()
}

// Tap gives a port that is recorded.
func (r *Recorder) Tap(port io.ReadWriteCloser) io.ReadWriteCloser {
	r.add(Opened, nil)
	return &tap{port: port, r: r, in: cutter{secret: r.secret}, out: cutter{secret: r.secret}}
}

// tap is a recorded port. Its two directions and its end may come from three goroutines.
type tap struct {
	port io.ReadWriteCloser
	r    *Recorder

	mu      sync.Mutex
	in, out cutter
	closed  bool
}

func (t *tap) Read(b []byte) (int, error) {
	n, err := t.port.Read(b)
	t.note(FromManager, &t.in, b[:max(n, 0)])
	return n, err
}

// Write records first, so that an answer cannot come before what it answers.
func (t *tap) Write(b []byte) (int, error) {
	t.note(ToManager, &t.out, b)
	return t.port.Write(b)
}

func (t *tap) note(kind Kind, c *cutter, b []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c.add(b, func(piece []byte) { t.r.add(kind, piece) })
}

// Close ends the recording of the port with what is left of unfinished frames.
func (t *tap) Close() error {
	t.mu.Lock()
	if !t.closed {
		t.closed = true
		t.in.rest(func(piece []byte) { t.r.add(FromManager, piece) })
		t.out.rest(func(piece []byte) { t.r.add(ToManager, piece) })
		t.r.add(Closed, nil)
	}
	t.mu.Unlock()
	return t.port.Close()
}
