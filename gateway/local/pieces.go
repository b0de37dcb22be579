package local

import (
	"bytes"
	"encoding/binary"
	"unsafe"

	"github.com/mochi-mqtt/server/v2/packets"
)

// pieces is what waits to be written, in order. A large payload is not copied into it: all who wait for the same message have
// one.
type pieces struct {
	list  [][]byte
	size  int
	spare []byte // empty, for the next piece
}

// add copies p.
func (q *pieces) add(p []byte) {
	if len(p) == 0 {
		return
	}
	q.size += len(p)
	if n := len(q.list); n > 0 && len(p) <= cap(q.list[n-1])-len(q.list[n-1]) {
		q.list[n-1] = append(q.list[n-1], p...)
		return
	}
	room := q.spare
	switch q.spare = nil; {
	case len(p) <= cap(room):
	case len(q.list) == 0:
		room = make([]byte, 0, max(len(p), chunk/16))
	default:
		room = make([]byte, 0, max(len(p), chunk))
	}
	q.list = append(q.list, append(room, p...))
}

// share takes p, which nobody changes any more, as it is.
func (q *pieces) share(p []byte) {
	if len(p) < chunk/4 {
		q.add(p)
		return
	}
	q.size += len(p)
	q.list = append(q.list, p[:len(p):len(p)])
}

// take empties q.
func (q *pieces) take() (list [][]byte, size int) {
	list, size = q.list, q.size
	q.list, q.size = nil, 0
	return list, size
}

// reuse keeps the last piece of what has been written, if it is one of add's.
func (q *pieces) reuse(list [][]byte) {
	if last := list[len(list)-1]; len(last) < cap(last) && cap(last) <= chunk {
		q.spare = last[:0]
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
