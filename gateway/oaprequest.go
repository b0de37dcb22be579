package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/meshgate/meshgate/smartmesh"
	"github.com/meshgate/meshgate/smartmesh/oap"
)

// What a mote is given to answer in, and how often it is asked (oap.md, section 4: the way
// through a deep mesh takes seconds; all requests of ours may be repeated).
const (
	leaveTimeout = 20 * time.Second // from the manager's acceptance until the packet has left it
	oapTimeout   = 10 * time.Second // from there until the answer
	oapTries     = 3
	busyPause    = time.Second // the manager is busy, or its queue full (RC 12, 13, 14): wait, then try again
	busyTries    = 10
)

// How far a request came that got no good answer.
const (
	reachedQueued   = "queued"   // the manager has accepted it
	reachedSent     = "sent"     // it has left the manager; whether the mote has it nobody knows
	reachedAnswered = "answered" // the mote has answered that it does not do it
)

// reachedError is a failure with how far the request came.
type reachedError struct {
	stage string
	err   error
}

func (e *reachedError) Error() string {
	switch e.stage {
	case reachedQueued:
		return fmt.Sprintf("%v (queued: the manager accepted it, but it did not leave for the mesh)", e.err)
	case reachedSent:
		return fmt.Sprintf("%v (sent: it left the manager for the mesh)", e.err)
	}
	return e.err.Error()
}

func (e *reachedError) Unwrap() error { return e.err }

// reached is how far a request came, or "" when the manager did not take it.
func reached(err error) string {
	if e, ok := errors.AsType[*reachedError](err); ok {
		return e.stage
	}
	return ""
}

var (
	errNoAnswer   = errors.New("the mote did not answer")
	errNotSent    = errors.New("the manager could not send it")
	errNotThere   = errors.New("the mote is not in the network")
	errOver       = errors.New("the gateway has let go of the manager")
	errQueueStays = errors.New("the manager's queue stays full")
)

// requester asks motes over OAP: one request at a time for each mote, matched by MAC, sequence
// and command, so that a late answer is never taken for another's.
type requester struct {
	departures *departures
	over       chan struct{} // closed when there is nobody left to ask

	mu        sync.Mutex
	motes     map[smartmesh.MAC]*asked
	strangers map[smartmesh.MAC]time.Time // when somebody else asked a mote last, or all of them
}

// asked is the state of one mote's requests. turn holds one token: who has it may ask.
type asked struct {
	turn    chan struct{}
	numbers oap.Numbering
	waiting *oap.Request
	answer  chan oap.Response // holds one; the requester empties it before it asks
}

func newRequester() *requester {
	return &requester{departures: newDepartures(), over: make(chan struct{}), motes: map[smartmesh.MAC]*asked{},
		strangers: map[smartmesh.MAC]time.Time{}}
}

func (q *requester) mote(mac smartmesh.MAC) *asked {
	q.mu.Lock()
	defer q.mu.Unlock()
	a := q.motes[mac]
	if a == nil {
		a = &asked{turn: make(chan struct{}, 1), answer: make(chan oap.Response, 1)}
		q.motes[mac] = a
	}
	return a
}

// do sends a request and waits for its answer; an OAP result other than OK is an error, which
// tells how far the request came. It is bounded by its own tries and by ctx; with patient, what the
// manager has taken is waited for although ctx ends, for nobody can take it back.
func (q *requester) do(ctx context.Context, s *smartmesh.Session, mac smartmesh.MAC, req oap.Request, patient bool) (oap.Response, error) {
	a := q.mote(mac)
	select {
	case a.turn <- struct{}{}:
	case <-ctx.Done():
		return oap.Response{}, context.Cause(ctx)
	}
	defer func() { <-a.turn }()
	r, err := q.ask(ctx, s, mac, a, req, patient)
	if err == nil && r.Result == oap.TooManyBytes && req.Command == oap.Put {
		if tags, ok := oap.Narrow(req.Address, req.Tags); ok { // a mote that wants sampleCount in one byte
			req.Tags = tags
			r, err = q.ask(ctx, s, mac, a, req, patient)
		}
	}
	if err == nil && r.Result != oap.OK {
		err = &reachedError{reachedAnswered, fmt.Errorf("the mote answered %s", r.Result)}
	}
	return r, err
}

// ask sends a request, again when no answer comes, under one number.
func (q *requester) ask(ctx context.Context, s *smartmesh.Session, mac smartmesh.MAC, a *asked, req oap.Request, patient bool) (oap.Response, error) {
	q.await(mac, a, &req)
	defer q.await(mac, a, nil)
	var err error
	for range oapTries {
		var r oap.Response
		if r, err = q.try(ctx, s, mac, a, oap.AppendRequest(nil, req), patient); err == nil {
			return r, nil
		}
		if ctx.Err() != nil || !errors.Is(err, errNoAnswer) && !errors.Is(err, errNotSent) {
			break
		}
	}
	return oap.Response{}, err
}

// try sends a request once and waits for its answer. The time runs anew from when it leaves the
// manager, where it may have waited for its turn.
func (q *requester) try(ctx context.Context, s *smartmesh.Session, mac smartmesh.MAC, a *asked, data []byte, patient bool) (oap.Response, error) {
	handle, err := send(ctx, s, mac, data)
	if err != nil {
		return oap.Response{}, err
	}
	left, forget := q.departures.of(handle)
	defer forget()
	timer := time.NewTimer(leaveTimeout)
	defer timer.Stop()
	stage, failure := reachedQueued, errNotSent
	end := ctx.Done()
	if patient {
		end = nil
	}
	for {
		select {
		case r := <-a.answer:
			return r, nil
		case code := <-left:
			if code != 0 {
				return oap.Response{}, &reachedError{stage, fmt.Errorf("%w: it says %d", errNotSent, code)}
			}
			stage, failure = reachedSent, errNoAnswer
			timer.Reset(oapTimeout)
		case <-timer.C:
			return oap.Response{}, &reachedError{stage, failure}
		case <-end:
			return oap.Response{}, &reachedError{stage, context.Cause(ctx)}
		case <-q.over:
			return oap.Response{}, &reachedError{stage, errOver}
		}
	}
}

// await numbers a request and makes it the one that answers are for; nil: none is awaited.
func (q *requester) await(mac smartmesh.MAC, a *asked, req *oap.Request) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if a.waiting = req; req != nil {
		req.Reliable, req.Sync, req.Sequence = true, true, a.numbers.Next()
		if req.Sequence == 0 && q.strange(mac) {
			req.Sequence = a.numbers.Next()
		}
	}
	select {
	case <-a.answer:
	default:
	}
}

// answered takes a response that came from mac and reports whether somebody waits for it.
func (q *requester) answered(mac smartmesh.MAC, r oap.Response) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	a := q.motes[mac]
	if a == nil || a.waiting == nil || r.Sequence != a.waiting.Sequence && q.strange(mac) || !a.numbers.Answers(r, *a.waiting) {
		return false
	}
	r.Tags = slices.Clone(r.Tags) // they are in the session's buffer, which is used again
	for i := range r.Tags {
		r.Tags[i].Value = bytes.Clone(r.Tags[i].Value)
	}
	select {
	case a.answer <- r:
	default:
	}
	return true
}

// send queues a message at the manager, waiting while its queue is full, and gives its handle.
func send(ctx context.Context, s *smartmesh.Session, mac smartmesh.MAC, data []byte) (handle uint32, err error) {
	err = patiently(ctx, func() (err error) {
		handle, err = s.SendData(ctx, smartmesh.SendData{MAC: mac, SrcPort: oap.Port, DstPort: oap.Port, Data: data})
		return err
	})
	rc, refused := errors.AsType[*smartmesh.RCError](err)
	switch {
	case isBusy(err) && ctx.Err() != nil:
		err = context.Cause(ctx)
	case isBusy(err):
		err = errQueueStays
	case refused && (rc.RC == smartmesh.RCInvState || rc.RC == smartmesh.RCNotFound):
		err = fmt.Errorf("%w: %s", errNotThere, rc.RC.Name())
	}
	return handle, err
}

// isBusy tells whether the manager refuses something for now only.
func isBusy(err error) bool {
	rc, refused := errors.AsType[*smartmesh.RCError](err)
	return refused && (rc.RC == smartmesh.RCNoResources || rc.RC == smartmesh.RCInProgress || rc.RC == smartmesh.RCNack)
}

// patiently asks the manager again while it is busy.
func patiently(ctx context.Context, ask func() error) error {
	for range busyTries {
		if err := ask(); !isBusy(err) || !sleep(ctx, busyPause) {
			return err
		}
	}
	return ask()
}
