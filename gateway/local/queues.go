package local

import (
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// total is a sum over all clients. It never falls by itself, and is counted where it matters.
type total struct {
	sum   atomic.Int64
	again atomic.Int64 // is not counted before this time, in ms of the broker's life
}

// recount makes a total anew, once a second at most.
func (b *Broker) recount(t *total, of func(*mqtt.Client) int64) {
	now, at := time.Since(b.started).Milliseconds(), t.again.Load()
	if now < at || !t.again.CompareAndSwap(at, now+1000) {
		return
	}
	sum := int64(0)
	for _, cl := range b.srv.Clients.GetAll() {
		sum += of(cl)
	}
	t.sum.Store(sum)
}

// share is how many bytes may wait for one client, as sizeOf counts them: beyond the bound for all, an even part of that.
func (b *Broker) share() int64 {
	one, all := int64(b.opt.MaxQueueBytes+b.opt.MaxQueue*overhead), int64(b.opt.MaxQueuesBytes)
	if b.queues.sum.Load() > all {
		b.recount(&b.queues, queued)
	}
	if b.queues.sum.Load() <= all {
		return one
	}
	return min(one, all/int64(max(1, b.srv.Clients.Len())))
}

func queued(cl *mqtt.Client) (sum int64) {
	for _, pk := range cl.State.Inflight.GetAll(false) {
		sum += sizeOf(pk)
	}
	return sum
}

// sizeOf is what a message that waits costs.
func sizeOf(pk packets.Packet) int64 { return int64(len(pk.TopicName) + len(payloadOf(pk)) + overhead) }

// queue is what waits for a client: how many messages, and the numbers of the first and the last.
type queue struct {
	n           int
	first, last int64
}

func queueOf(cl *mqtt.Client) (q queue) {
	if cl.State.Inflight.Len() == 0 {
		return q
	}
	for _, pk := range cl.State.Inflight.GetAll(false) {
		if pk.FixedHeader.Type != packets.Publish {
			continue
		}
		if q.n++; q.n == 1 {
			q.first = pk.Created
		}
		q.first, q.last = min(q.first, pk.Created), max(q.last, pk.Created)
	}
	return q
}

// noteBehind finds the clients that are here and have acknowledged nothing of what waited at the last look.
func (b *Broker) noteBehind() {
	b.sessions.mu.Lock()
	defer b.sessions.mu.Unlock()
	for _, cl := range b.srv.Clients.GetAll() {
		c := connOf(cl)
		if c == nil || !c.keep.persistent || cl.Closed() {
			continue
		}
		q := queueOf(cl)
		behind := q.n > 0 && q.first == c.seen.first
		if was := c.behind.Swap(behind); was != behind || behind && q != c.seen {
			b.sessions.touch()
		}
		c.seen = q
	}
}
