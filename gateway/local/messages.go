package local

import (
	"runtime"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// throttle reads a client that sends too fast more slowly.
func (h *hook) throttle(c *conn) {
	now := time.Now()
	if c.next.Before(now.Add(-time.Second)) {
		c.next = now.Add(-time.Second) // a second's worth may come at once
	}
	c.next = c.next.Add(time.Second / time.Duration(h.b.opt.MaxRate))
	wait := c.next.Sub(now)
	if wait < 5*time.Millisecond {
		return
	}
	h.b.refusals.add(c.client, "it sends too fast and is slowed down", "limit", h.b.opt.MaxRate)
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
	case <-h.b.stop:
	}
}

// OnPublish hands a message over; what it returns goes to the subscribers. Access is checked here and not where the
// server does, so that a client older than MQTT 5, which cannot be told, gets its PUBACK and goes on, as Mosquitto does
// it. Created, a time of which the server uses 16 bits to order what it sends again, becomes a number that orders it.
func (h *hook) OnPublish(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	pk.Created = h.b.order.Add(1)
	if cl.Net.Inline {
		h.b.saying.Store(&saying{pk.TopicName, pk.Created})
		pk = stowed(pk)
		if pk.FixedHeader.Retain {
			h.b.retained.put(pk, true)
		}
		return pk, nil
	}
	if pk.TopicName == reserved || !h.b.access.Load().acl.allows(h.b.userOf(cl), cl.ID, pk.TopicName, write) {
		if pk.TopicName != reserved {
			h.b.refusals.add(cl.ID, "it may not publish to this topic", "topic", short(pk.TopicName))
		}
		if cl.Properties.ProtocolVersion == 5 && pk.FixedHeader.Qos == 1 {
			return pk, packets.ErrNotAuthorized
		}
		return pk, packets.CodeSuccessIgnore
	}
	if err := h.intake(cl, pk); err != nil && pk.FixedHeader.Qos > 0 {
		connOf(cl).refuse(errNotStored)
		return pk, packets.ErrRejectPacket
	}
	pk = stowed(pk)
	h.retain(cl, pk)
	return pk, nil
}

// OnPublished lets the subscribers' own goroutines take the message on, before the next one comes: what waits for them to run
// is bounded in messages only. Without any it does not: that would cost the publisher half of its speed.
func (h *hook) OnPublished(cl *mqtt.Client, pk packets.Packet) {
	if h.b.passedOn.Swap(false) {
		runtime.Gosched()
	}
}

func (h *hook) intake(cl *mqtt.Client, pk packets.Packet) error {
	err := h.b.opt.Intake(Message{Topic: pk.TopicName, Payload: pk.Payload, QoS: pk.FixedHeader.Qos,
		Retain: pk.FixedHeader.Retain, Client: cl.ID})
	if err != nil {
		h.b.count.notStored.Add(1)
		h.b.refusals.add(cl.ID, "a message is not taken", "topic", short(pk.TopicName), "error", err)
	}
	return err
}

func (h *hook) retain(cl *mqtt.Client, pk packets.Packet) {
	pk = stowed(pk)
	if pk.FixedHeader.Retain && !h.b.retained.put(pk.Copy(false), false) {
		h.b.count.notRetained.Add(1)
		h.b.refusals.add(cl.ID, "too much is retained; a message is not", "topic", short(pk.TopicName))
	}
}

// mayWill reports whether a client may leave a will on a topic, by the access list as it is now.
func (h *hook) mayWill(cl *mqtt.Client, topic string) bool {
	if validTopic(topic) && !isReserved(topic) && h.b.access.Load().acl.allows(h.b.userOf(cl), cl.ID, topic, write) {
		return true
	}
	h.b.refusals.add(cl.ID, "its last will is not allowed", "topic", short(topic))
	return false
}

// OnWill and OnWillSent treat a will as a message of its client. A will that MQTT 5 delays is not sent when OnWill is
// called, but when OnWillSent is (on the server's own goroutine).
func (h *hook) OnWill(cl *mqtt.Client, will mqtt.Will) (mqtt.Will, error) {
	c := connOf(cl)
	if c == nil {
		return will, nil
	}
	if !h.mayWill(cl, will.TopicName) {
		return mqtt.Will{TopicName: reserved}, nil // empty, on a topic that is nobody's
	}
	will.Retain = c.willRetain
	if c.willEmpty {
		will.Payload = nil
	}
	if will.WillDelayInterval == 0 {
		h.takeWill(cl, packets.Packet{TopicName: will.TopicName, Payload: will.Payload,
			Properties:  packets.Properties{User: will.User},
			FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: will.Qos, Retain: will.Retain}})
	}
	return will, nil
}

func (h *hook) OnWillSent(cl *mqtt.Client, pk packets.Packet) {
	if pk.Connect.WillProperties.WillDelayInterval > 0 && pk.TopicName != reserved {
		h.takeWill(cl, pk)
	}
}

func (h *hook) takeWill(cl *mqtt.Client, pk packets.Packet) {
	pk.Created = h.b.order.Add(1)
	_ = h.intake(cl, pk)
	h.retain(cl, pk)
}

// OnACLCheck is asked for reading only: for the filter of a subscription, and by whoever publishes for each message
// and client. It leaves out clients that do not keep up.
func (h *hook) OnACLCheck(cl *mqtt.Client, topic string, writing bool) bool {
	if writing {
		return true // see OnPublish
	}
	c := connOf(cl)
	if c != nil && !c.subscribing.Load() && (c.congested() || h.full(cl, c)) {
		h.b.count.slow.Add(1)
		h.b.refusals.add(cl.ID, "it does not keep up; messages for it are left out")
		return false
	}
	if !h.b.access.Load().acl.allows(h.b.userOf(cl), cl.ID, topic, read) {
		return false
	}
	if c != nil && !c.subscribing.Load() && cl.State.Inflight.Len() >= h.b.opt.MaxQueue { // the server leaves out what has QoS > 0, and counts it
		h.b.refusals.add(cl.ID, "it does not acknowledge; messages with QoS > 0 for it are left out", "limit", h.b.opt.MaxQueue)
	}
	h.b.passedOn.Store(true)
	if s := h.b.saying.Load(); c != nil && !c.subscribing.Load() && s != nil && s.topic == topic {
		c.due.Store(s.order)
	}
	return true
}

// full: more waits for the client's acknowledgement than may. The bytes are counted exactly only where a count that
// never falls says that it might be so, and after that not for 100 ms.
func (h *hook) full(cl *mqtt.Client, c *conn) bool {
	limit := h.b.share()
	if c.held.Load() <= limit {
		return false
	}
	now := time.Since(h.b.started).Milliseconds()
	if now < c.recheck.Load() {
		return true
	}
	sum := queued(cl)
	c.held.Store(sum)
	if sum > limit {
		c.recheck.Store(now + 100)
		return true
	}
	return false
}

// OnQosPublish: a message waits for a client's acknowledgement, here or when it comes back.
func (h *hook) OnQosPublish(cl *mqtt.Client, pk packets.Packet, sent int64, resends int) {
	if c := connOf(cl); c != nil && pk.FixedHeader.Type == packets.Publish {
		c.held.Add(sizeOf(pk))
		h.b.queues.sum.Add(sizeOf(pk))
	}
	if cl.Closed() {
		h.b.sessions.touch()
	}
}

func (h *hook) OnPublishDropped(cl *mqtt.Client, pk packets.Packet) {
	h.b.count.slow.Add(1)
	h.b.refusals.add(cl.ID, "it does not keep up; messages for it are left out")
}

// OnPacketEncode holds a packet back until the client has room for it. It is called on a goroutine of that client,
// except for DISCONNECT. A message it writes itself, for the server would copy it twice more; what the server writes instead,
// conn drops. Where the client has said how large a packet may be, the server looks to that, and writes it.
func (h *hook) OnPacketEncode(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	c := connOf(cl)
	if c == nil {
		return pk
	}
	if pk.FixedHeader.Type != packets.Disconnect {
		c.waitRoom()
	}
	if pk.FixedHeader.Type == packets.Connack && cl.Properties.ProtocolVersion != 5 {
		pk.ReasonCode = oldCode(cl, pk.ReasonCode)
	}
	if isAck(pk.FixedHeader.Type) && pk.ReasonCode < packets.ErrUnspecifiedError.Code {
		pk.Properties, pk.ReasonCode = packets.Properties{}, 0 // the server repeats those of the message, with its QoS for a code
	}
	if pk.FixedHeader.Type == packets.Publish && pk.FixedHeader.Qos > 0 && c.flowing.Load() {
		c.waitWindow()
	}
	c.ids.out(&pk)
	if pk.FixedHeader.Type == packets.Publish {
		return h.write(c, pk)
	}
	return pk
}

// write writes a message, and gives what the server is to write.
func (h *hook) write(c *conn, pk packets.Packet) packets.Packet {
	payload := payloadOf(pk)
	head, err := headOf(pk, len(payload))
	if err != nil || pk.Mods.MaxSize > 0 {
		pk.Payload = payload
		return pk
	}
	c.publish(head, payload)
	atomic.AddInt64(&h.b.srv.Info.MessagesSent, 1)
	h.sent(c, pk)
	return packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pingreq}}
}

// oldCode is the return code of MQTT 3.1.1 for one of MQTT 5 that the server has none for.
func oldCode(cl *mqtt.Client, code byte) byte {
	switch {
	case code < packets.ErrUnspecifiedError.Code:
		return code
	case cl.Properties.ProtocolVersion > 5: // also one of a bridge, which asks again without the bit that says so
		return packets.Err3UnsupportedProtocolVersion.Code
	case cl.Properties.Props.AssignedClientID != "" && !cl.Properties.Clean: // a session that nobody could come back to
		return packets.Err3ClientIdentifierNotValid.Code
	}
	return packets.Err3NotAuthorized.Code
}

func isAck(t byte) bool {
	return t == packets.Puback || t == packets.Pubrec || t == packets.Pubrel || t == packets.Pubcomp
}

// OnPacketSent counts for OnPacketEncode.
func (h *hook) OnPacketSent(cl *mqtt.Client, pk packets.Packet, b []byte) {
	if c := connOf(cl); c != nil && pk.FixedHeader.Type == packets.Publish {
		h.sent(c, pk)
	}
}

func (h *hook) sent(c *conn, pk packets.Packet) {
	if n := pk.Created; c.got.Load() < n && n <= h.b.order.Load() { // that of a will is a time
		c.got.Store(n)
	}
	if pk.FixedHeader.Qos > 0 {
		c.sent()
	}
}

// OnSessionEstablished: what waited has been sent, and from now on acknowledgements are read. Who proved a password of a users
// file that has been replaced meanwhile was not yet among those whom Reload looks at.
func (h *hook) OnSessionEstablished(cl *mqtt.Client, pk packets.Packet) {
	c, now := connOf(cl), h.b.access.Load().users
	c.flowing.Store(true)
	if c.users != now && !c.users.same(now, string(cl.Properties.Username)) {
		h.b.disconnect(c, packets.ErrNotAuthorized, errUserChanged)
	}
}
