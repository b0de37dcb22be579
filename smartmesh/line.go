package smartmesh

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/meshgate/meshgate/hdlc"
)

const (
	writeLimit   = 2 * time.Second        // a port that takes longer for one frame is stuck
	hurryLimit   = 500 * time.Millisecond // the same once somebody waits for the end
	releaseLimit = time.Second            // for the port to let go of its goroutines once it is closed
	frameQueue   = 32                     // frames read ahead of the loop; when full, the bytes stay in the port
)

// A frame is one packet as it was read.
type frame struct {
	at  time.Time
	len int
	buf [hdlc.MaxPacket]byte
}

// A line is the port with the two goroutines that may block on it: one reads, one writes. Neither Write nor Close can be
// relied upon to return: a tty whose other side is stuck keeps both.
type line struct {
	port  io.ReadWriteCloser
	stats *Stats
	log   *slog.Logger

	frames chan frame // closed after the last one; then readErr tells why
	out    chan []byte
	wrote  chan error    // one answer for each out
	stop   chan struct{} // of the writing goroutine
	drop   chan struct{} // what is read is of no use any more
	read   chan struct{} // closed when the goroutine is gone, as is written
	writes chan struct{}

	frames0, damaged0 int64 // stats when the port was opened

	readErr error
	rest    []byte      // of an unfinished frame
	limit   *time.Timer // of write
}

func newLine(port io.ReadWriteCloser, stats *Stats, log *slog.Logger) *line {
	l := &line{
		port: port, stats: stats, log: log,
		frames: make(chan frame, frameQueue),
		out:    make(chan []byte), wrote: make(chan error, 1),
		stop: make(chan struct{}), drop: make(chan struct{}), read: make(chan struct{}), writes: make(chan struct{}),
		limit:   time.NewTimer(writeLimit),
		frames0: stats.Frames.Load(), damaged0: stats.damaged(),
	}
	l.limit.Stop()
	go l.reading()
	go l.writing()
	return l
}

func (l *line) reading() {
	defer close(l.read)
	defer close(l.frames)
	r := hdlc.NewReader(l.port)
	for {
		packet, err := r.Next()
		var bad hdlc.FrameError
		switch {
		case errors.As(err, &bad):
			l.stats.frameError(bad)
			l.log.Debug("frame dropped", "error", bad.Word())
			continue
		case err != nil:
			l.readErr, l.rest = err, r.Rest()
			return
		}
		l.stats.Frames.Add(1)
		f := frame{at: time.Now()}
		f.len = copy(f.buf[:], packet)
		select {
		case l.frames <- f:
		case <-l.drop:
			return
		}
	}
}

func (l *line) writing() {
	defer close(l.writes)
	for {
		select {
		case b := <-l.out:
			l.wrote <- writeAll(l.port, b)
		case <-l.stop:
			return
		}
	}
}

// writeAll writes all of b, for a tty may take a part without an error.
func writeAll(w io.Writer, b []byte) error {
	for len(b) > 0 {
		n, err := w.Write(b)
		if err != nil {
			return err
		}
		if n <= 0 {
			return io.ErrShortWrite
		}
		b = b[n:]
	}
	return nil
}

// write sends the bytes of a frame, and is the only one to do so: frames never interleave. After an error the line is of no
// further use, and b may still be read.
func (l *line) write(b []byte, hurry <-chan struct{}) error {
	l.limit.Reset(writeLimit)
	defer l.limit.Stop()
	l.out <- b // the writing goroutine is idle
	for {
		select {
		case err := <-l.wrote:
			if err != nil {
				return fmt.Errorf("write: %w", err)
			}
			return nil
		case <-hurry:
			l.limit.Reset(hurryLimit)
			hurry = nil
		case <-l.limit.C:
			return ErrStuck
		}
	}
}

// close closes the port and waits for the goroutines, but no longer than a stuck port deserves; it is false when the port
// does not let go. What has been read before goes to take.
func (l *line) close(take func(*frame)) bool {
	defer close(l.drop)
	close(l.stop)
	limit := time.NewTimer(releaseLimit)
	defer limit.Stop()
	select {
	case <-l.writes: // the usual case; closing while somebody writes could hit another file with the same number
	case <-time.After(50 * time.Millisecond):
	}
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		if err := l.port.Close(); err != nil {
			l.log.Debug("closing the port", "error", err)
		}
	}()
	frames := l.frames
	for _, gone := range []chan struct{}{closed, l.writes, l.read} {
		for waiting := true; waiting; {
			select {
			case f, ok := <-frames:
				if !ok {
					frames = nil
					break
				}
				take(&f)
			case <-gone:
				waiting = false
			case <-limit.C:
				l.stats.Abandoned.Add(1)
				l.log.Warn("the port does not let go; left to itself")
				return false
			}
		}
	}
	for f := range l.frames {
		take(&f)
	}
	return true
}
