package gateway

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/meshgate/meshgate/smartmesh"
	"github.com/meshgate/meshgate/smartmesh/oap"
)

// What a mote is given to answer in, and how often it is asked (oap.md, section 4: the way
// through a deep mesh takes seconds; all requests of ours may be repeated).
const (
	oapTimeout = 10 * time.Second
	oapTries   = 3
	busyPause  = time.Second // the manager's queue is full (RC 12, 14): wait, then try again
	busyTries  = 10
)

var errNoAnswer = errors.New("the mote did not answer")

// requester asks motes over OAP: one request at a time for each mote, matched by MAC, sequence
// and command, so that a late answer is never taken for another's.
type requester struct {
	mu    sync.Mutex
	motes map[smartmesh.MAC]*asked
}

// asked is the state of one mote's requests. turn holds one token: who has it may ask.
type asked struct {
	turn    chan struct{}
	numbers oap.Numbering
	waiting *oap.Request
	answer  chan oap.Response // holds one; the requester empties it before it asks
}

func newRequester() *requester { return &requester{motes: map[smartmesh.MAC]*asked{}} }

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

// do sends a request and waits for its answer; an OAP result other than OK is an error. It is
// bounded by its own tries and by ctx.
func (q *requester) do(ctx context.Context, s *smartmesh.Session, mac smartmesh.MAC, req oap.Request) (oap.Response, error) {
	a := q.mote(mac)
	select {
	case a.turn <- struct{}{}:
	case <-ctx.Done():
		return oap.Response{}, ctx.Err()
	}
	defer func() { <-a.turn }()
	q.await(a, &req)
	defer q.await(a, nil)
	for range oapTries {
		if err := send(ctx, s, mac, oap.AppendRequest(nil, req)); err != nil {
			return oap.Response{}, err
		}
		select {
		case r := <-a.answer:
			if r.Result != oap.OK {
				return r, fmt.Errorf("the mote answered %s", r.Result)
			}
			return r, nil
		case <-time.After(oapTimeout):
		case <-ctx.Done():
			return oap.Response{}, ctx.Err()
		}
	}
	return oap.Response{}, errNoAnswer
}

// await numbers a request and makes it the one that answers are for; nil: none is awaited.
func (q *requester) await(a *asked, req *oap.Request) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if a.waiting = req; req != nil {
		req.Reliable, req.Sync, req.Sequence = true, true, a.numbers.Next()
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
	if a == nil || a.waiting == nil || !a.numbers.Answers(r, *a.waiting) {
		return false
	}
	select {
	case a.answer <- r:
	default:
	}
	return true
}

// send queues a message at the manager, waiting while its queue is full.
func send(ctx context.Context, s *smartmesh.Session, mac smartmesh.MAC, data []byte) error {
	for range busyTries {
		_, err := s.SendData(ctx, smartmesh.SendData{MAC: mac, SrcPort: oap.Port, DstPort: oap.Port, Data: data})
		var rc *smartmesh.RCError
		if err == nil || !errors.As(err, &rc) {
			return err
		}
		switch rc.RC {
		case smartmesh.RCNoResources, smartmesh.RCNack:
			if !sleep(ctx, busyPause) {
				return ctx.Err()
			}
		case smartmesh.RCInvState, smartmesh.RCNotFound:
			return errors.New("the mote is not in the network")
		default:
			return err
		}
	}
	return errors.New("the manager's queue stays full")
}
