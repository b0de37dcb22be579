package local

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/storage"
	"github.com/mochi-mqtt/server/v2/packets"
)

// sessionFile keeps persistent sessions over a restart: JSON, replaced in one step two seconds after something changed,
// later where it is long, and when the broker is closed,
//
//	{"version":1,"sessions":[{"id":"...","user":"...","protocol":4,"expiry":0,
//	  "subscriptions":[{"filter":"a/#","qos":1,...}],
//	  "messages":[{"id":7,"topic":"a/b","payload":"BASE64","qos":1,"retain":false}]}]}
//
// Messages are those with QoS > 0 that wait for a client that is away, in order, with their properties where they came by
// MQTT 5. While a client is here its messages are not written, as they change too often for an SD card, unless it has not
// acknowledged one for two seconds: it may be gone. A crash loses at most the last four seconds, and one more for each MiB of
// the file; a file that is damaged is set aside.
type sessionFile struct {
	file  string
	log   *slog.Logger
	dirty atomic.Bool
	mu    sync.Mutex
	next  time.Time // not written before
	bad   bool      // the last attempt to write failed
	read  *restored
}

type savedSessions struct {
	Version  int            `json:"version"`
	Sessions []savedSession `json:"sessions"`
}

type savedSession struct {
	ID            string         `json:"id"`
	User          string         `json:"user,omitempty"`
	Protocol      byte           `json:"protocol"`
	Expiry        uint32         `json:"expiry,omitempty"` // MQTT 5, seconds
	Subscriptions []savedFilter  `json:"subscriptions,omitempty"`
	Messages      []savedMessage `json:"messages,omitempty"`
}

type savedFilter struct {
	Filter            string `json:"filter"`
	QoS               byte   `json:"qos"`
	Identifier        int    `json:"identifier,omitempty"`
	NoLocal           bool   `json:"no_local,omitempty"`
	RetainAsPublished bool   `json:"retain_as_published,omitempty"`
	RetainHandling    byte   `json:"retain_handling,omitempty"`
}

type savedMessage struct {
	ID      uint16 `json:"id"`
	Topic   string `json:"topic"`
	Payload []byte `json:"payload"`
	QoS     byte   `json:"qos"`
	Retain  bool   `json:"retain,omitempty"`

	Expires    int64                     `json:"expires,omitempty"` // MQTT 5, seconds of Unix time
	Properties storage.MessageProperties `json:"properties,omitzero"`
}

func savedFrom(pk packets.Packet) savedMessage {
	p := pk.Properties
	return savedMessage{ID: pk.PacketID, Topic: pk.TopicName, Payload: payloadOf(pk), QoS: pk.FixedHeader.Qos, Retain: pk.FixedHeader.Retain,
		Expires: max(0, pk.Expiry),
		Properties: storage.MessageProperties{CorrelationData: p.CorrelationData, SubscriptionIdentifier: p.SubscriptionIdentifier,
			User: p.User, ContentType: p.ContentType, ResponseTopic: p.ResponseTopic, MessageExpiryInterval: p.MessageExpiryInterval,
			PayloadFormat: p.PayloadFormat, PayloadFormatFlag: p.PayloadFormatFlag}}
}

// expired reports whether its time is over; else the interval is what is left of it.
func (m *savedMessage) expired(now time.Time) bool {
	if m.Expires == 0 {
		return false
	}
	left := min(m.Expires-now.Unix(), int64(m.Properties.MessageExpiryInterval)) // the clock may have been set back
	m.Properties.MessageExpiryInterval = uint32(max(0, left))
	return left <= 0
}

// restored is the file in the form in which the server asks for it.
type restored struct {
	clients       []storage.Client
	subscriptions []storage.Subscription
	messages      []storage.Message
}

// touch notes that the file is out of date.
func (s *sessionFile) touch() { s.dirty.Store(true) }

// save is called every two seconds, and writes the file if it is out of date: at most a MiB a second on the average.
func (s *sessionFile) save(snapshot func() savedSessions) {
	s.mu.Lock()
	soon := time.Now().Before(s.next)
	s.mu.Unlock()
	if !soon {
		s.write(snapshot)
	}
}

// write writes the file if it is out of date. A disk that does not take it is reported once.
func (s *sessionFile) write(snapshot func() savedSessions) {
	if s.file == "" || !s.dirty.Swap(false) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	size := 0
	err := replaceFile(s.file, func(w io.Writer) (err error) {
		size, err = snapshot().writeTo(w)
		return err
	})
	s.next = time.Now().Add(time.Duration(size>>20) * time.Second)
	if err != nil && !s.bad {
		s.log.Warn("local broker: cannot keep the sessions", "error", err)
	}
	if s.bad = err != nil; s.bad {
		s.touch()
	}
}

// writeTo writes one session after the other: all of them together in JSON would take several times the memory.
func (all savedSessions) writeTo(w io.Writer) (int, error) {
	size, err := fmt.Fprintf(w, `{"version":%d,"sessions":[`, all.Version)
	for i, one := range all.Sessions {
		data, bad := json.Marshal(one)
		if i > 0 {
			data = append([]byte{','}, data...)
		}
		n, no := w.Write(data)
		size, err = size+n, errors.Join(err, bad, no)
		if err != nil {
			return size, err
		}
	}
	n, no := io.WriteString(w, "]}")
	return size + n, errors.Join(err, no)
}

func (b *Broker) snapshot() savedSessions {
	all := savedSessions{Version: 1}
	for id, cl := range b.srv.Clients.GetAll() {
		c := connOf(cl)
		if c == nil || !c.keep.persistent {
			continue
		}
		s := savedSession{ID: id, User: c.keep.user, Protocol: c.keep.protocol, Expiry: c.keep.expiry}
		for _, sub := range cl.State.Subscriptions.GetAll() {
			s.Subscriptions = append(s.Subscriptions, savedFilter{Filter: sub.Filter, QoS: sub.Qos, Identifier: sub.Identifier,
				NoLocal: sub.NoLocal, RetainAsPublished: sub.RetainAsPublished, RetainHandling: sub.RetainHandling})
		}
		if cl.Closed() || c.behind.Load() {
			for _, pk := range cl.State.Inflight.GetAll(false) {
				if pk.FixedHeader.Type == packets.Publish {
					s.Messages = append(s.Messages, savedFrom(pk))
				}
			}
		}
		all.Sessions = append(all.Sessions, s)
	}
	return all
}

// load reads the file.
func (s *sessionFile) load() []savedSession {
	if s.file == "" {
		return nil
	}
	data, err := os.ReadFile(s.file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var all savedSessions
	if err == nil {
		err = json.Unmarshal(data, &all)
	}
	if err == nil && all.Version != 1 {
		err = errors.New("written by another version")
	}
	if err != nil {
		s.log.Warn("local broker: the kept sessions cannot be read and are set aside", "file", s.file, "error", err)
		_ = os.Rename(s.file, s.file+".bad")
		return nil
	}
	return all.Sessions
}

// restored reads the file at the first call and numbers its messages.
func (b *Broker) restored() *restored {
	if b.sessions.read != nil {
		return b.sessions.read
	}
	r := &restored{}
	for _, s := range b.sessions.load() {
		if len(r.clients) >= b.opt.MaxSessions {
			break
		}
		r.clients = append(r.clients, storage.Client{ID: s.ID, Username: []byte(s.User), ProtocolVersion: s.Protocol,
			Properties: storage.ClientProperties{SessionExpiryInterval: s.Expiry}})
		for _, f := range s.Subscriptions {
			if validFilter(f.Filter) {
				r.subscriptions = append(r.subscriptions, storage.Subscription{Client: s.ID, Filter: f.Filter, Qos: min(f.QoS, 2),
					Identifier: f.Identifier, NoLocal: f.NoLocal, RetainAsPublished: f.RetainAsPublished, RetainHandling: f.RetainHandling})
			}
		}
		for _, m := range s.Messages[:min(len(s.Messages), b.opt.MaxQueue)] {
			if m.ID != 0 && validTopic(m.Topic) && !m.expired(time.Now()) {
				r.messages = append(r.messages, storage.Message{Client: s.ID, PacketID: m.ID, TopicName: m.Topic, Payload: m.Payload,
					Created: b.order.Add(1), Properties: m.Properties,
					FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: min(max(m.QoS, 1), 2), Retain: m.Retain}})
			}
		}
	}
	b.sessions.read = r
	return r
}

// adopt gives each session out of the file a connection that is closed, so that the same bounds hold for it.
func (b *Broker) adopt() {
	for _, cl := range b.srv.Clients.GetAll() {
		c := newConn(nil, nil, 0, &b.waiters)
		c.keep = keepOf(cl)
		c.held.Store(1 << 40)
		c.end(nil)
		cl.Net.Conn = c
		for _, pk := range cl.State.Inflight.GetAll(false) {
			if life := pk.Properties.MessageExpiryInterval; life > 0 { // the server has not kept when it is over
				pk.ProtocolVersion, pk.Expiry = 5, time.Now().Unix()+int64(life)
				cl.State.Inflight.Set(pk)
			}
		}
	}
	b.sessions.read = &restored{}
	b.recount(&b.levels, subscribed)
}

// keeping is what the file has of a client, as it was when it connected.
type keeping struct {
	persistent bool
	user       string
	protocol   byte
	expiry     uint32
}

func keepOf(cl *mqtt.Client) keeping {
	return keeping{persistent: persistent(cl), user: string(cl.Properties.Username),
		protocol: cl.Properties.ProtocolVersion, expiry: cl.Properties.Props.SessionExpiryInterval}
}

// housekeeping does what must be done now and then: sessions that are away for too long, what expires, the file.
func (b *Broker) housekeeping() {
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-b.stop:
			return
		case now := <-tick.C:
			if n%30 == 0 {
				b.retained.expire(now)
			}
			b.endSessions(now)
			b.noteBehind()
			b.sessions.save(b.snapshot)
		}
	}
}

// lifeOf is how long a session is kept without its client: as MQTT 5 asks, and until a will that is due at its end has gone.
func lifeOf(cl *mqtt.Client) time.Duration {
	if cl.Properties.ProtocolVersion != 5 {
		return sessionLife
	}
	return min(sessionLife, time.Duration(cl.Properties.Props.SessionExpiryInterval)*time.Second+3*time.Second)
}

// endSessions ends those whose time is over. The server would count it by the host's clock, and end the sessions of MQTT 5 when
// that is set.
func (b *Broker) endSessions(now time.Time) {
	for id, cl := range b.srv.Clients.GetAll() {
		if !cl.Closed() || now.Sub(b.awaySince(cl)) < lifeOf(cl) {
			continue
		}
		b.mu.Lock()
		current, _ := b.srv.Clients.Get(id)
		if current == cl && b.live[id] == nil {
			b.srv.Clients.Delete(id)
			b.drop(cl)
		}
		b.mu.Unlock()
	}
}

// awaySince is when a session's client went away: now for one that has not gone yet.
func (b *Broker) awaySince(cl *mqtt.Client) time.Time {
	c := connOf(cl)
	if c == nil {
		return b.started // from the file
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		return time.Now()
	}
	return c.ended
}
