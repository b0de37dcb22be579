package gateway

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"
)

// orders carries out commands: those for one target one after the other and in the order in which
// they came, those for different targets at the same time, so that a mote that takes half a
// minute to answer holds up no pump.
type orders struct {
	execute func(context.Context, command)
	refuse  func(command, error)

	mu     sync.Mutex
	queues map[string][]queued // by target; a target that is here has a goroutine at work
	wg     sync.WaitGroup
	ended  bool
}

type queued struct {
	ctx context.Context
	c   command
}

// Bounds of what may wait. Beyond maxWaiting the oldest gives way, with a result that says so: it
// would come late, and the last word on a target has to count. Beyond maxTargets the new one is
// refused.
const (
	maxWaiting = 64 // for one target
	maxTargets = 64 // at work at the same time
)

var (
	errBusy      = errors.New("too many commands at once; this one is not carried out")
	errOvertaken = errors.New("too many commands at once; later ones have overtaken this one, which is not carried out")
)

func newOrders(execute func(context.Context, command), refuse func(command, error)) *orders {
	return &orders{execute: execute, refuse: refuse, queues: map[string][]queued{}}
}

// do starts or queues a command, or refuses it. A command whose ctx has ended when its turn
// comes is forgotten.
func (o *orders) do(ctx context.Context, c command) {
	target, _, _ := cutLast(c.topic, "/")
	c.came = time.Now()
	if out, why := o.queue(target, queued{ctx, c}); why != nil && out.ctx.Err() == nil {
		o.refuse(out.c, why)
	}
}

// queue takes a command. If there is no room it gives the one that has to go, and why.
func (o *orders) queue(target string, q queued) (out queued, why error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	waiting, busy := o.queues[target]
	switch {
	case o.ended:
	case !busy && len(o.queues) >= maxTargets:
		return q, errBusy
	case len(waiting) >= maxWaiting:
		o.queues[target] = append(waiting[1:], q)
		return waiting[0], errOvertaken
	case busy:
		o.queues[target] = append(waiting, q)
	default:
		o.queues[target] = nil
		o.wg.Go(func() { o.work(target, q) })
	}
	return queued{}, nil
}

func (o *orders) work(target string, q queued) {
	for more := true; more; q, more = o.next(target) {
		if q.ctx.Err() == nil {
			o.execute(q.ctx, q.c)
		}
	}
}

// next gives what waits for target; when there is nothing, the target is not at work any more.
func (o *orders) next(target string) (queued, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	queue := o.queues[target]
	if len(queue) == 0 {
		delete(o.queues, target)
		return queued{}, false
	}
	o.queues[target] = queue[1:]
	return queue[0], true
}

// close takes no more commands and waits for those at work.
func (o *orders) close() {
	o.mu.Lock()
	o.ended = true
	clear(o.queues)
	o.mu.Unlock()
	o.wg.Wait()
}

// cutLast splits s around its last sep.
func cutLast(s, sep string) (head, tail string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}
