package smartmesh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/meshgate/meshgate/hdlc"
)

// Options of a session.
type Options struct {
	// OnNotify gets every notification, in order, on the session's own goroutine: a reliable one is acknowledged when it
	// returns. It must return within 150 ms, and must not wait for a command of this session or for its end.
	OnNotify func(Notification)
	// OnPass is told of every command that Call and Raw are to do for somebody else, before it is sent: its number and the
	// payload of its request. It may be called by several goroutines at once; nil: nobody is told.
	OnPass func(command byte, payload []byte)
	// Refused, if set, is asked after a reliable one was delivered: true leaves it unacknowledged, and the manager will send it
	// again, for some seconds, and then end the session.
	Refused func() bool
	Log     *slog.Logger // nil: none
	Stats   *Stats       // nil: its own. May be shared by the sessions of one port, one after the other
	// Patience, if not 0, is how long a request waits for its response, sent only once: for a port that repeats by itself.
	Patience time.Duration
}

// closeLimit bounds the farewell of Close.
const closeLimit = 500 * time.Millisecond

// A Session is one session with a manager, from the hello to the first error. It does not reconnect. Its methods are safe
// for use by several goroutines; commands are done one after the other, first come first served.
type Session struct {
	opt      Options
	line     *line
	requests chan *request // unbuffered: who does not get in waits, and may give up without a trace
	closing  chan struct{} // closed by Close and Detach; staying is set before
	staying  bool          // the manager is not to notice
	once     sync.Once
	over     chan struct{} // closed when the session ends; err and cause are set before
	done     chan struct{} // closed when everything the session made is gone
	cause    error
	state    State // set before done is closed
	whole    bool  // and it can be taken up

	// Of the loop alone.
	seq     byte // number of the next request
	last    byte // number of the last reliable packet from the manager
	pending *request
	repeat  *time.Timer // of pending
	leaving bool        // Close or Detach was called: no further request is taken
	parted  bool        // by Detach: no bytes are sent any more
	bye     *request    // the farewell
	in      frame       // the one being looked at
	packet  []byte      // being sent, and its frame
	out     []byte
}

// Connect opens a session: it sends hellos until one is answered, without waiting for the manager to speak first, and gives
// up with ErrNoHello after half a minute. A manager that refuses gives a *HelloError. The port belongs to the session from
// the call on, also when an error is returned: it is closed by then. Nothing is subscribed to yet.
func Connect(ctx context.Context, port io.ReadWriteCloser, opt Options) (*Session, error) {
	s := newSession(port, opt)
	if err := s.hello(ctx); err != nil {
		s.line.close(func(*frame) {})
		return nil, err
	}
	s.opt.Stats.Sessions.Add(1)
	go s.loop()
	return s, nil
}

func newSession(port io.ReadWriteCloser, opt Options) *Session {
	if opt.OnNotify == nil {
		opt.OnNotify = func(Notification) {}
	}
	if opt.OnPass == nil {
		opt.OnPass = func(byte, []byte) {}
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	if opt.Stats == nil {
		opt.Stats = new(Stats)
	}
	s := &Session{
		opt: opt, line: newLine(port, opt.Stats, opt.Log),
		requests: make(chan *request), closing: make(chan struct{}), over: make(chan struct{}), done: make(chan struct{}),
		repeat: time.NewTimer(time.Hour),
	}
	s.repeat.Stop()
	return s
}

// Wait returns when the session is over and everything it made is gone: ErrSessionLost with the cause, or nil after Close.
func (s *Session) Wait() error {
	<-s.done
	if errors.Is(s.cause, ErrClosed) {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrSessionLost, s.cause)
}

// Done is closed when the session is over, so that one may select on it; see Wait.
func (s *Session) Done() <-chan struct{} { return s.done }

// Close ends the session: it lets the outstanding command finish and unsubscribes, for half a second at most, closes the
// port and waits for the session's goroutines. It is safe to call at any time and more than once, but not from OnNotify.
func (s *Session) Close() error {
	s.once.Do(func() { close(s.closing) })
	<-s.done
	return nil
}

// loop is the session's own goroutine: it owns the numbers, and is the only one to write.
func (s *Session) loop() {
	closing := s.closing
	var deadline <-chan time.Time
	for {
		var err error
		requests := s.requests
		if s.pending != nil || s.leaving {
			requests = nil
		}
		select {
		case f, ok := <-s.line.frames:
			if !ok {
				err = fmt.Errorf("%w: %w", ErrRead, s.line.readErr)
				break
			}
			s.in = f
			err = s.receive(&s.in)
		case r := <-requests:
			err = s.start(r)
		case <-s.repeat.C:
			err = s.again()
		case <-closing:
			closing, s.leaving = nil, true
			deadline = time.After(closeLimit)
			if s.pending == nil {
				err = s.farewell()
			}
		case <-deadline:
			err = ErrClosed
		}
		if err != nil {
			s.end(err)
			return
		}
	}
}

// end takes everything down.
func (s *Session) end(cause error) {
	select {
	case <-s.closing: // whatever came in between, it ends because it was asked to
		cause = ErrClosed
	default:
	}
	s.cause = cause
	close(s.over)
	s.repeat.Stop()
	if s.pending != nil {
		s.pending.reply <- reply{err: cause, lost: true}
	}
	s.takeDown()
	s.opt.Log.Debug("session over", "cause", cause)
	close(s.done)
}

// send writes a packet.
func (s *Session) send(p Packet) error {
	s.packet = p.Append(s.packet[:0])
	s.out = hdlc.AppendFrame(s.out[:0], s.packet)
	return s.line.write(s.out, s.closing)
}
