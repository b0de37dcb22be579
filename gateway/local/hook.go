package local

import (
	"bytes"
	"errors"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/storage"
	"github.com/mochi-mqtt/server/v2/packets"
)

// hook is where the MQTT server asks us. Unless said otherwise, it is called on the goroutine that reads a client's
// connection, which may wait.
type hook struct {
	mqtt.HookBase
	b *Broker
}

var errRefused = errors.New("local: refused") // has been logged

// reserved stands in place of a topic that clients may not publish to.
const reserved = "$reserved"

func (h *hook) ID() string { return "meshgate" }

func (h *hook) Provides(b byte) bool {
	return bytes.IndexByte([]byte{
		mqtt.OnConnect, mqtt.OnConnectAuthenticate, mqtt.OnACLCheck, mqtt.OnSessionEstablish,
		mqtt.OnSessionEstablished, mqtt.OnDisconnect,
		mqtt.OnPacketRead, mqtt.OnPacketEncode, mqtt.OnPacketSent, mqtt.OnPacketProcessed, mqtt.OnSubscribe, mqtt.OnSubscribed,
		mqtt.OnUnsubscribed, mqtt.OnPublish, mqtt.OnPublished, mqtt.OnPublishDropped, mqtt.OnQosPublish, mqtt.OnWill, mqtt.OnWillSent,
		mqtt.StoredClients, mqtt.StoredSubscriptions, mqtt.StoredInflightMessages,
	}, b) >= 0
}

// connOf is the connection of a client; nil for the gateway itself and for a session out of the file.
func connOf(cl *mqtt.Client) *conn {
	c, _ := cl.Net.Conn.(*conn)
	return c
}

// userOf is the name a client proved; "" where nobody has to.
func (b *Broker) userOf(cl *mqtt.Client) string {
	if b.access.Load().users == nil {
		return ""
	}
	return string(cl.Properties.Username)
}

// OnConnect refuses ids and sessions that are too much, and takes the flow control of MQTT 5 into our hands: the
// server's deadlocks. So does it with the times for which the server's arithmetic is wrong.
func (h *hook) OnConnect(cl *mqtt.Client, pk packets.Packet) error {
	c := connOf(cl)
	c.limit(int(pk.Properties.ReceiveMaximum))
	cl.Properties.Props.ReceiveMaximum = 0
	cl.Properties.Props.TopicAliasMaximum = 0
	cl.State.Inflight.ResetSendQuota(0)
	c.served.Store(cl)
	cl.State.Keepalive = patienceOf(cl.State.Keepalive)
	will := &cl.Properties.Will // is due when the session ends, at the latest
	will.WillDelayInterval = min(will.WillDelayInterval, cl.Properties.Props.SessionExpiryInterval)
	cl.Properties.Props.SessionExpiryIntervalFlag = false // see endSessions
	if len(cl.ID) > 256 || bytes.ContainsFunc([]byte(cl.ID), func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return h.refuse(cl, packets.ErrClientIdentifierNotValid, "a client id that is too long or has control characters")
	}
	if _, exists := h.b.srv.Clients.Get(cl.ID); !exists && persistent(cl) && h.b.srv.Clients.Len() >= h.b.opt.MaxSessions {
		return h.refuse(cl, packets.ErrServerUnavailable, "too many persistent sessions", "limit", h.b.opt.MaxSessions)
	}
	return nil
}

// patienceOf gives the keep-alive of which the server makes one and a half, in 16 bits and without fractions. Beyond twelve
// hours there is none: TCP finds out who is gone.
func patienceOf(keepAlive uint16) uint16 {
	switch {
	case keepAlive == 1:
		return 2
	case keepAlive > 43690:
		return 0
	}
	return keepAlive
}

// persistent: the session outlives its connection.
func persistent(cl *mqtt.Client) bool {
	if cl.Properties.ProtocolVersion == 5 {
		return cl.Properties.Props.SessionExpiryInterval > 0
	}
	return !cl.Properties.Clean
}

func (h *hook) refuse(cl *mqtt.Client, code packets.Code, reason string, args ...any) error {
	h.b.refusals.add(hostOf(connOf(cl).remote), reason, args...)
	_ = h.b.srv.SendConnack(cl, code, false, nil)
	return errRefused
}

// OnConnectAuthenticate: see Options.Users. A will that the access list does not allow is taken away; the client may
// connect without it.
func (h *hook) OnConnectAuthenticate(cl *mqtt.Client, pk packets.Packet) bool {
	c, a := connOf(cl), h.b.access.Load()
	c.users = a.users
	user, reason := string(pk.Connect.Username), ""
	switch {
	case a.users == nil && !c.local:
		reason = "without users only this machine may connect"
	case a.users != nil && user == "":
		reason = "no user name"
	case a.users != nil && !a.users.Verify(user, string(pk.Connect.Password)):
		reason = "wrong user name or password"
	}
	if reason != "" {
		h.b.refusals.add(hostOf(c.remote), reason, "user", user, "id", cl.ID)
		return false
	}
	if will := &cl.Properties.Will; will.Flag != 0 && !h.mayWill(cl, will.TopicName) {
		*will = mqtt.Will{}
	}
	return true
}

// OnSessionEstablish: from here on the client is known by its id. A session is for the user that began it only.
func (h *hook) OnSessionEstablish(cl *mqtt.Client, pk packets.Packet) {
	c := connOf(cl)
	h.b.takeOver(c, cl.ID)
	old, ok := h.b.srv.Clients.Get(cl.ID)
	switch {
	case !ok:
	case !bytes.Equal(old.Properties.Username, cl.Properties.Username): // not whose session it is
		h.b.srv.Clients.Delete(cl.ID)
		h.b.drop(old)
	case !pk.Connect.Clean:
		c.ids.inherit(&connOf(old).ids)
	}
	c.keep = keepOf(cl)
	c.held.Store(1 << 40) // counted at the next message
	h.b.log.Debug("local broker: client connected", "client", cl.ID, "user", string(cl.Properties.Username), "remote", c.remote)
	if persistent(cl) {
		h.b.sessions.touch()
	}
}

func (h *hook) OnDisconnect(cl *mqtt.Client, err error, expire bool) {
	c := connOf(cl)
	if c == nil {
		return
	}
	cause := c.why() // ours, or nil
	_ = c.closeFor(err)
	if !expire {
		h.b.sessions.touch()
	}
	switch {
	case errors.Is(cause, errOverflow), isTimeout(cause):
		h.b.refusals.add(cl.ID, "it reads too slowly and was disconnected", "remote", c.remote.String())
	case errors.Is(cause, errUnfinished):
		h.b.refusals.add(cl.ID, "a large packet does not come to its end, and there is no room for others; it was disconnected")
	case errors.Is(err, packets.ErrPacketTooLarge):
		h.b.refusals.add(cl.ID, "a packet is too large", "limit", h.b.opt.MaxPacket)
	case cause == nil && isProtocolError(err):
		h.b.refusals.add(cl.ID, "not what MQTT allows", "error", err)
	}
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

func isProtocolError(err error) bool {
	var code packets.Code
	return errors.As(err, &code) && code.Code >= packets.ErrUnspecifiedError.Code
}

// OnPacketRead sees every packet before the server does. ErrRejectPacket ends the connection.
func (h *hook) OnPacketRead(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	c := connOf(cl)
	if c == nil {
		return pk, nil
	}
	if c.refused.Load() {
		return pk, packets.ErrRejectPacket
	}
	switch pk.FixedHeader.Type {
	case packets.Connect:
		return h.readConnect(c, pk)
	case packets.Publish:
		h.throttle(c)
		h.b.count.received.Add(1)
		if pk.TopicName != "" && !validTopic(pk.TopicName) {
			h.b.refusals.add(cl.ID, "not a topic to publish to", "topic", short(pk.TopicName))
			c.refuse(packets.ErrTopicNameInvalid)
			return pk, packets.ErrRejectPacket
		}
		if isReserved(pk.TopicName) {
			h.b.refusals.add(cl.ID, "$SYS is not for clients to publish to")
			pk.TopicName = reserved
		}
	case packets.Disconnect:
		if props := &cl.Properties.Props; pk.Properties.SessionExpiryIntervalFlag && props.SessionExpiryInterval > 0 {
			props.SessionExpiryInterval, pk.Properties.SessionExpiryIntervalFlag = pk.Properties.SessionExpiryInterval, false
		}
	case packets.Subscribe, packets.Unsubscribe:
		if most := 4 * h.b.opt.MaxSubscriptions; len(pk.Filters) > most {
			h.b.refusals.add(cl.ID, "too many filters in one packet", "limit", most)
			c.refuse(packets.ErrQuotaExceeded)
			return pk, packets.ErrRejectPacket
		}
	}
	c.ids.in(cl, &pk)
	return pk, nil
}

// readConnect keeps from the server what it would refuse and MQTT has: that a will is retained, or empty, and an empty
// password, which is as good as none.
func (h *hook) readConnect(c *conn, pk packets.Packet) (packets.Packet, error) {
	if c.served.Load() != nil {
		return pk, nil // a second CONNECT: the server ends the connection
	}
	c.willRetain = pk.Connect.WillRetain
	pk.Connect.WillRetain = false
	if pk.Connect.WillFlag && len(pk.Connect.WillPayload) == 0 {
		c.willEmpty, pk.Connect.WillPayload = true, []byte{0}
	}
	if len(pk.Connect.Password) == 0 {
		pk.Connect.PasswordFlag = false
	}
	return pk, nil
}

func isReserved(topic string) bool {
	return len(topic) >= 4 && bytes.EqualFold([]byte(topic[:4]), []byte("$SYS"))
}

func short(s string) string {
	if len(s) > 64 {
		return s[:64] + "..."
	}
	return s
}

// OnPacketProcessed: the SUBACK is on its way, now the retained messages; or a message is acknowledged.
func (h *hook) OnPacketProcessed(cl *mqtt.Client, pk packets.Packet, err error) {
	c := connOf(cl)
	if c == nil || err != nil {
		return
	}
	switch pk.FixedHeader.Type {
	case packets.Subscribe:
		h.b.deliver(cl, c, c.granted)
		c.granted = nil
	case packets.Puback, packets.Pubcomp:
		c.acknowledged()
	case packets.Pubrec:
		if pk.ReasonCode >= packets.ErrUnspecifiedError.Code {
			c.acknowledged()
		}
	}
}

func (h *hook) StoredClients() ([]storage.Client, error) { return h.b.restored().clients, nil }

func (h *hook) StoredSubscriptions() ([]storage.Subscription, error) {
	return h.b.restored().subscriptions, nil
}

func (h *hook) StoredInflightMessages() ([]storage.Message, error) {
	return h.b.restored().messages, nil
}
