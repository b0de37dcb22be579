package local

import (
	"slices"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// Publish publishes a message to the clients that subscribed to it, with the QoS they asked for, at most 1, and keeps
// it for those that subscribe later if retain is set. It never waits: messages go through a queue of 4096 messages or
// 4 MiB; what does not fit is dropped, counted and ErrFull. The payload must not be changed afterwards. Intake does
// not see it.
func (b *Broker) Publish(topic string, payload []byte, retain bool) error {
	return b.out.put(topic, payload, retain)
}

// Room reports whether there is much room in the queue of Publish.
func (b *Broker) Room() bool { return b.out.room() }

// publishLoop ends when the queue is closed and empty.
func (b *Broker) publishLoop() {
	for m := range b.out.queue {
		b.inject(m)
		b.out.took(m)
	}
}

// saying is the message of the gateway that is being published. What a client is to get of it waits in a queue of the
// server's that nobody can look into: the order of the message tells when it has left there.
type saying struct {
	topic string
	order int64
}

// waitSaid waits until what the gateway said has been written to the clients, half a second at most.
func (b *Broker) waitSaid(conns []*conn) {
	tick, limit := time.NewTicker(2*time.Millisecond), time.After(linger/2)
	defer tick.Stop()
	for _, c := range conns {
		for c.got.Load() < c.due.Load() && !c.isClosed() && !c.congested() {
			select {
			case <-tick.C:
			case <-limit:
				return
			}
		}
	}
}

func (b *Broker) inject(m Message) {
	err := b.srv.InjectPacket(b.own, packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: m.QoS, Retain: m.Retain},
		TopicName:   m.Topic,
		Payload:     m.Payload,
		PacketID:    1,
	})
	if err != nil {
		b.log.Error("local broker: cannot publish", "topic", m.Topic, "error", err)
	}
}

// delivery is a subscription whose retained messages are to be sent.
type delivery struct {
	sub     packets.Subscription
	existed bool
	index   int    // in SUBSCRIBE
	newest  uint64 // version of the newest that was there; what came later comes as a live message
}

// deliver has the retained messages of new subscriptions sent, on a goroutine of their own: the one that reads the
// client's acknowledgements cannot wait for them. Each subscription waits once at most.
func (b *Broker) deliver(cl *mqtt.Client, c *conn, list []delivery) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, d := range list {
		if isShared(d.sub.Filter) || d.sub.RetainHandling == 2 || d.sub.RetainHandling == 1 && d.existed {
			continue
		}
		if i := slices.IndexFunc(c.want, func(w delivery) bool { return w.sub.Filter == d.sub.Filter }); i >= 0 {
			c.want = slices.Delete(c.want, i, i+1) // has not begun
		}
		c.want = append(c.want, d)
	}
	if len(c.want) > 0 && !c.sending {
		c.sending = true
		b.wg.Go(func() { b.sendRetained(cl, c) })
	}
}

func (b *Broker) sendRetained(cl *mqtt.Client, c *conn) {
	for {
		c.mu.Lock()
		if len(c.want) == 0 || c.closed {
			c.sending = false
			c.mu.Unlock()
			return
		}
		d := c.want[0]
		c.want = c.want[1:]
		c.mu.Unlock()
		b.sendMatching(cl, c, d)
	}
}

// sendMatching asks for the topics part by part: a client may take long to read them.
func (b *Broker) sendMatching(cl *mqtt.Client, c *conn, d delivery) {
	for after := ""; ; {
		topics := b.retained.topics(d.sub.Filter, after)
		for _, topic := range topics {
			if !b.sendTopic(cl, c, d, topic) {
				return
			}
			after = topic
		}
		if len(topics) < topicsAtOnce {
			return
		}
	}
}

// sendTopic sends the retained message of a topic. Should it change meanwhile, the client might have got the new one
// first, as a live message, and is sent it again: what it gets last is what holds. False: the client has gone.
func (b *Broker) sendTopic(cl *mqtt.Client, c *conn, d delivery, topic string) bool {
	last := uint64(0)
	for range 5 {
		c.waitRoom()
		k := b.retained.get(topic)
		if k.version == last || last == 0 && k.version > d.newest || !b.access.Load().acl.allows(b.userOf(cl), cl.ID, topic, read) {
			break
		}
		pk := k.packet.Copy(false)
		pk.FixedHeader = packets.FixedHeader{Type: packets.Publish, Retain: k.version != 0,
			Qos: min(k.packet.FixedHeader.Qos, d.sub.Qos)}
		pk.TopicName = topic
		if d.sub.Identifier > 0 {
			pk.Properties.SubscriptionIdentifier = []int{d.sub.Identifier}
		}
		if !b.sendPacket(cl, c, pk) {
			return false
		}
		last = k.version
	}
	return !c.isClosed()
}

func (b *Broker) sendPacket(cl *mqtt.Client, c *conn, pk packets.Packet) bool {
	if pk.FixedHeader.Qos == 0 {
		return cl.WritePacket(pk) == nil || !c.isClosed()
	}
	c.mu.Lock()
	for cl.State.Inflight.Len() >= max(1, min(b.opt.MaxQueue/2, int(b.share()/(2*overhead)))) && !c.closed {
		c.changed.Wait()
	}
	c.mu.Unlock()
	id, err := cl.NextPacketID()
	if err != nil || c.isClosed() {
		return false
	}
	pk.PacketID = uint16(id)
	cl.State.Inflight.Set(pk)
	atomic.AddInt64(&b.srv.Info.Inflight, 1)
	c.held.Add(sizeOf(pk))
	b.queues.sum.Add(sizeOf(pk))
	if err := cl.WritePacket(pk); err != nil && !c.isClosed() { // too large for this client
		if cl.State.Inflight.Delete(pk.PacketID) {
			atomic.AddInt64(&b.srv.Info.Inflight, -1)
		}
	}
	return !c.isClosed()
}
