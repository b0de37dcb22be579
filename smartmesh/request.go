package smartmesh

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/meshgate/meshgate/hdlc"
)

// The times a request waits for its response before it is sent again; after the last it is given up, and the session with
// it, for only a new session cleans up both sides' numbers.
var (
	usualWaits = []time.Duration{500 * time.Millisecond, time.Second, time.Second, time.Second, time.Second}
	slowWaits  = []time.Duration{10 * time.Second, 10 * time.Second, 10 * time.Second, 10 * time.Second, 10 * time.Second}
)

// A request is one command on its way.
type request struct {
	row     *spec
	payload []byte
	reply   chan reply // room for one: the loop never waits for who asked

	seq   byte
	frame []byte // the bytes that are repeated
	waits []time.Duration
	sends int
	sent  time.Time // when it was first sent
}

// A reply is how a request ended.
type reply struct {
	payload []byte // of the response
	at      exchange
	err     error
	lost    bool // the session is over, and err the cause
}

// A failure is why a command has no response. It is ErrSessionLost and ErrOutcomeUnknown where it says so.
type failure struct {
	command       string
	lost, unknown bool
	cause         error
}

func (f *failure) Error() string {
	text := "smartmesh: " + f.command + ": "
	if f.lost {
		text += "session lost: "
	}
	if f.unknown {
		text += "outcome unknown: "
	}
	return text + f.cause.Error()
}

func (f *failure) Unwrap() error { return f.cause }

func (f *failure) Is(target error) bool {
	return f.lost && target == ErrSessionLost || f.unknown && target == ErrOutcomeUnknown
}

// await waits for the request's end, or that of ctx.
func (r *request) await(ctx context.Context) reply {
	select {
	case got := <-r.reply:
		return got
	case <-ctx.Done():
	}
	select {
	case got := <-r.reply: // both came at once
		return got
	default:
		return reply{err: ctx.Err()}
	}
}

// request does one command: it queues it, sends it when its turn comes, and gives the response's fields after the code.
// When ctx ends first the caller is free, but the request keeps its turn until it is answered or given up, so that the
// numbers stay right.
func (s *Session) request(ctx context.Context, row *spec, payload []byte) (answer []byte, at exchange, err error) {
	r := &request{row: row, payload: payload, reply: make(chan reply, 1)}
	if err := ctx.Err(); err != nil {
		return nil, at, &failure{command: row.name, cause: err}
	}
	select {
	case s.requests <- r:
	case <-ctx.Done():
		return nil, at, &failure{command: row.name, cause: ctx.Err()}
	case <-s.over:
		return nil, at, &failure{command: row.name, lost: true, cause: s.cause}
	}
	got := r.await(ctx)
	switch {
	case got.err != nil && r.isSystemReset() && errors.Is(got.err, ErrManagerHello):
		return payload[1:], at, nil // the response was lost in the reset; that the manager greets shows that it was done
	case got.err != nil:
		return nil, at, &failure{command: row.name, lost: got.lost, unknown: row.is(changes), cause: got.err}
	case len(got.payload) == 0:
		return nil, at, fmt.Errorf("%w: %s: %w", ErrBadResponse, row.name, errMissingRC)
	case got.payload[0] != byte(RCOK):
		return nil, at, &RCError{Command: row.name, RC: RC(got.payload[0])}
	}
	return got.payload[1:], got.at, nil
}

// isSystemReset tells whether the request restarts the manager.
func (r *request) isSystemReset() bool {
	return r.row.id == reset.id && len(r.payload) > 0 && r.payload[0] == byte(ResetSystem)
}

// start gives the request the next number and sends it.
func (s *Session) start(r *request) error {
	r.seq = s.seq
	s.seq++
	r.waits = usualWaits
	if s.opt.Patience > 0 {
		r.waits = []time.Duration{s.opt.Patience}
	}
	if r.row.is(slow) {
		r.waits = slowWaits
	}
	p := Packet{Control: controlReliable, Type: r.row.id, Seq: r.seq, Payload: r.payload}
	r.frame = hdlc.AppendFrame(nil, p.Append(nil))
	r.sent = time.Now()
	s.pending = r
	s.opt.Stats.Requests.Add(1)
	s.opt.Log.Debug("request", "command", r.row.name, "seq", r.seq, "length", len(r.payload))
	return s.transmit(r)
}

// transmit sends the pending request, for the first time or again, and sets the time of the next repeat.
func (s *Session) transmit(r *request) error {
	r.sends++
	s.repeat.Reset(r.waits[r.sends-1])
	return s.line.write(r.frame, s.closing)
}

// again repeats the pending request, the identical bytes under the same number, or gives it up.
func (s *Session) again() error {
	r := s.pending
	if r.sends == len(r.waits) {
		s.opt.Stats.Unanswered.Add(1)
		return fmt.Errorf("%s: %w", r.row.name, ErrNoAnswer)
	}
	s.opt.Stats.RequestRepeats.Add(1)
	s.opt.Log.Debug("request repeated", "command", r.row.name, "seq", r.seq)
	return s.transmit(r)
}

// response takes what has the form of a response. Only that of the pending request's type and number is one; anything else
// is late, and dropped.
func (s *Session) response(p Packet, at time.Time) error {
	r := s.pending
	if r == nil || p.Type != r.row.id || p.Seq != r.seq {
		s.opt.Stats.LateAnswers.Add(1)
		s.opt.Log.Debug("late response", "type", p.Type, "seq", p.Seq)
		return nil
	}
	s.repeat.Stop()
	s.pending = nil
	r.reply <- reply{payload: append([]byte(nil), p.Payload...), at: exchange{r.sent, at, r.sends > 1}}
	if !s.leaving {
		return nil
	}
	if r == s.bye {
		return ErrClosed
	}
	return s.farewell()
}

// farewell unsubscribes, so that the manager does not run into packets that nobody acknowledges; a session that is to be
// taken up again leaves without a word.
func (s *Session) farewell() error {
	if s.staying {
		s.parted = true
		return ErrClosed
	}
	var none subscribeRequest
	row := specs[subscribe.id]
	s.bye = &request{row: row, payload: row.req.marshal(nil, &none), reply: make(chan reply, 1)}
	return s.start(s.bye)
}
