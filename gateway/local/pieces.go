package local

import (
	"bytes"
	"encoding/binary"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/mochi-mqtt/server/v2/packets"
)

// pieces is what waits to be written, in order. A large payload is not copied into it: all who wait for the same message have
// one.
type pieces struct {
	list  []piece
	size  int
	spare []byte // empty, for the next piece
}

type piece struct {
	bytes  []byte
	shared bool
}

// add copies p.
func (q *pieces) add(p []byte) {
	if len(p) == 0 {
		return
	}
	q.size += len(p)
	if n := len(q.list); n > 0 && !q.list[n-1].shared {
		if last := &q.list[n-1].bytes; len(p) <= cap(*last)-len(*last) {
			*last = append(*last, p...)
			return
		}
	}
	room := q.spare
	switch q.spare = nil; {
	case len(p) <= cap(room):
	case len(q.list) == 0 || q.list[len(q.list)-1].shared: // little may follow before the next shared one
		room = make([]byte, 0, max(len(p), chunk/64))
	default:
		room = make([]byte, 0, max(len(p), chunk))
	}
	q.list = append(q.list, piece{bytes: append(room, p...)})
}

// share takes p, which nobody changes any more, as it is.
func (q *pieces) share(p []byte) {
	q.size += len(p)
	q.list = append(q.list, piece{p, true})
}

// take empties q.
func (q *pieces) take() (list []piece, size int) {
	list, size = q.list, q.size
	q.list, q.size = nil, 0
	return list, size
}

// reuse keeps a piece that has been written.
func (q *pieces) reuse(p piece) {
	if !p.shared && cap(p.bytes) <= chunk {
		q.spare = p.bytes[:0]
	}
}

// waiters is what waits for the sockets of all clients together: many who do not read, each within his own bound, would fill
// the memory. What several wait for is counted once.
type waiters struct {
	most  int64
	bytes atomic.Int64
	conns atomic.Int64

	mu     sync.Mutex
	shared map[*byte]int // by how many connections
}

// share is how many bytes may wait for one client: beyond the bound for all, an even part of that.
func (w *waiters) share() int64 {
	if w.bytes.Load() <= w.most {
		return highWater
	}
	return min(highWater, w.most/max(1, w.conns.Load()))
}

// hold counts a payload that is not copied.
func (w *waiters) hold(p []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.shared == nil {
		w.shared = map[*byte]int{}
	}
	if w.shared[&p[0]]++; w.shared[&p[0]] == 1 {
		w.bytes.Add(int64(len(p)))
	}
}

// drop ends the count of pieces.
func (w *waiters) drop(list ...piece) {
	for _, p := range list {
		if !p.shared {
			w.bytes.Add(-int64(len(p.bytes)))
			continue
		}
		w.mu.Lock()
		if w.shared[&p.bytes[0]]--; w.shared[&p.bytes[0]] == 0 {
			delete(w.shared, &p.bytes[0])
			w.bytes.Add(-int64(len(p.bytes)))
		}
		w.mu.Unlock()
	}
}

// stowed takes the payload of a message out of the server's sight, into a field that a PUBLISH has no use for. The server
// copies each message for each of its subscribers, but not its strings.
func stowed(pk packets.Packet) packets.Packet {
	if len(pk.Payload) > 0 {
		pk.Connect.WillTopic, pk.Payload = string(pk.Payload), nil
	}
	return pk
}

// payloadOf is the payload of a message, stowed or not. It is not to be changed.
func payloadOf(pk packets.Packet) []byte {
	if s := pk.Connect.WillTopic; s != "" {
		return unsafe.Slice(unsafe.StringData(s), len(s))
	}
	return pk.Payload
}

// headOf encodes what comes before the payload of a PUBLISH.
func headOf(pk packets.Packet, payload int) ([]byte, error) {
	pk.Payload = nil
	var b bytes.Buffer
	if err := pk.PublishEncode(&b); err != nil {
		return nil, err
	}
	p := b.Bytes()
	_, n := binary.Uvarint(p[1:])
	rest := p[1+n:]
	head := binary.AppendUvarint(append(make([]byte, 0, 5+len(rest)), p[0]), uint64(len(rest)+payload))
	return append(head, rest...), nil
}
