package local

import (
	"slices"
	"strings"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

func levelsOf(filter string) int64 { return int64(strings.Count(filter, "/") + 1) }

func subscribed(cl *mqtt.Client) (sum int64) {
	for filter := range cl.State.Subscriptions.GetAll() {
		sum += levelsOf(filter)
	}
	return sum
}

// hasRoom counts n more levels for a client that has own ones; false when all clients together have too many, and this one
// more than an even share of that.
func (b *Broker) hasRoom(own, n int64) bool {
	all := int64(b.opt.MaxLevels)
	if b.levels.sum.Load()+n > all {
		b.recount(&b.levels, subscribed)
	}
	if b.levels.sum.Load()+n > all && own+n > all/int64(max(1, b.srv.Clients.Len())) {
		return false
	}
	b.levels.sum.Add(n)
	return true
}

// OnSubscribe blanks filters that are not valid, or more than a client may have: the server refuses them.
func (h *hook) OnSubscribe(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	c := connOf(cl)
	c.subscribing.Store(true)
	c.granted = nil
	room := h.b.opt.MaxSubscriptions - cl.State.Subscriptions.Len()
	own, added := subscribed(cl), map[string]bool{}
	for i, sub := range pk.Filters {
		_, exists := cl.State.Subscriptions.Get(sub.Filter)
		old := exists || added[sub.Filter]
		n := levelsOf(sub.Filter)
		if !validFilter(sub.Filter) || !old && (room <= 0 || !h.b.hasRoom(own, n)) {
			h.b.refusals.add(cl.ID, "a subscription is too much or not valid", "filter", short(sub.Filter))
			pk.Filters[i].Filter = ""
			continue
		}
		if !old {
			room, own = room-1, own+n
			added[sub.Filter] = true
		}
		c.granted = append(c.granted, delivery{sub: sub, existed: exists, index: i})
	}
	return pk
}

func (h *hook) OnSubscribed(cl *mqtt.Client, pk packets.Packet, reasons []byte) {
	c := connOf(cl)
	c.subscribing.Store(false)
	newest := h.b.retained.newest()
	var granted []delivery
	for _, d := range c.granted {
		if reasons[d.index] >= packets.ErrUnspecifiedError.Code {
			h.b.refusals.add(cl.ID, "it may not subscribe to this", "filter", short(d.sub.Filter))
		} else {
			d.newest = newest
			granted = append(granted, d)
		}
	}
	c.granted = granted
	if persistent(cl) {
		h.b.sessions.touch()
	}
}

func (h *hook) OnUnsubscribed(cl *mqtt.Client, pk packets.Packet) {
	if c := connOf(cl); c != nil {
		c.mu.Lock()
		c.want = slices.DeleteFunc(c.want, func(d delivery) bool {
			return slices.ContainsFunc(pk.Filters, func(f packets.Subscription) bool { return f.Filter == d.sub.Filter })
		})
		c.mu.Unlock()
	}
	if persistent(cl) {
		h.b.sessions.touch()
	}
}
