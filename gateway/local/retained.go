package local

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// retained is the last retained message of each topic. The server below has a store of its own, but one that reads
// while others write; it is kept empty, and this one is used.
type retained struct {
	maxCount, maxBytes int

	mu      sync.RWMutex
	byTopic map[string]kept
	bytes   int
	version uint64
}

type kept struct {
	packet  packets.Packet
	version uint64
	until   time.Time // of an MQTT 5 message that expires
}

// overhead is what a message that is retained, or waits, costs beside its topic and payload.
const overhead = 1024

const topicsAtOnce = 512

func (k kept) size() int { return int(sizeOf(k.packet)) }

func (k kept) expired(now time.Time) bool { return !k.until.IsZero() && now.After(k.until) }

// put keeps a message, or with an empty payload forgets the topic. A message of a client is not kept when that would
// go beyond the bounds: false. Those of the gateway always are.
func (r *retained) put(pk packets.Packet, own bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.version++
	old, had := r.byTopic[pk.TopicName]
	if len(payloadOf(pk)) == 0 {
		if had {
			r.drop(pk.TopicName, old)
		}
		return true
	}
	pk.TopicName = strings.Clone(pk.TopicName) // not the whole packet it came in
	k := kept{packet: pk, version: r.version}
	if s := pk.Properties.MessageExpiryInterval; s > 0 {
		k.until = time.Now().Add(time.Duration(s) * time.Second)
	}
	after, count := r.bytes+k.size(), len(r.byTopic)+1
	if had {
		after, count = after-old.size(), count-1
	}
	if !own && (count > r.maxCount || after > r.maxBytes) {
		return false
	}
	if r.byTopic == nil {
		r.byTopic = map[string]kept{}
	}
	r.byTopic[pk.TopicName], r.bytes = k, after
	return true
}

func (r *retained) drop(topic string, k kept) {
	delete(r.byTopic, topic)
	r.bytes -= k.size()
}

// get returns the message of a topic; a zero version where there is none.
func (r *retained) get(topic string) kept {
	r.mu.RLock()
	defer r.mu.RUnlock()
	k := r.byTopic[topic]
	if k.expired(time.Now()) {
		return kept{}
	}
	return k
}

// topics returns those that match and come after the given one, sorted; the first of them, if there are many.
func (r *retained) topics(filter, after string) []string {
	if !strings.ContainsAny(filter, "+#") {
		if filter <= after || r.get(filter).version == 0 {
			return nil
		}
		return []string{filter}
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	var found []string
	cut := func() {
		slices.Sort(found)
		found = found[:min(len(found), topicsAtOnce)]
	}
	for topic := range r.byTopic {
		if topic <= after || !matches(filter, topic) {
			continue
		}
		if found = append(found, topic); len(found) == 2*topicsAtOnce {
			cut()
		}
	}
	cut()
	return found
}

// newest is the version of the last change.
func (r *retained) newest() uint64 {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.version
}

// expire forgets what has expired.
func (r *retained) expire(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for topic, k := range r.byTopic {
		if k.expired(now) {
			r.drop(topic, k)
		}
	}
}

func (r *retained) size() (count, bytes int) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.byTopic), r.bytes
}
