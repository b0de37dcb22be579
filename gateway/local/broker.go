package local

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// Options of Listen. All bounds have a default, which a zero stands for.
type Options struct {
	Listen string      // tcp://HOST:PORT, tls://, ws:// or wss://; mqtt:// and mqtts:// are the first two; "": only Handler
	TLS    *tls.Config // for tls:// and wss://
	Users  string      // users file; without it everybody on this machine may connect, and nobody else
	ACL    string      // access list; without it everything is allowed

	// Intake is called with every message of a client, its last will too, before the message is acknowledged or anybody
	// else gets it. It may take as long as a disk needs: only that client waits. An error means that the message is not
	// taken: one with QoS > 0 is not acknowledged and its client disconnected, so that it sends it again; one with
	// QoS 0 and a will are counted. The message belongs to Intake.
	Intake func(Message) error

	Sessions string // file that keeps persistent sessions over a restart, see sessions.go; "": they end with the process
	Log      *slog.Logger

	MaxClients       int // 500 connections
	MaxSessions      int // 1000 persistent sessions
	MaxPacket        int // 256 KiB
	MaxRate          int // 10,000 messages a second and client; who sends faster is read more slowly
	MaxQueue         int // 500 messages with QoS > 0 that wait for a client, connected or not
	MaxQueueBytes    int // 1 MiB of them
	MaxQueuesBytes   int // 32 MiB for all clients together, with 1 KiB for each message; beyond it each has an even share
	MaxSocketsBytes  int // 16 MiB to be written to all clients together; beyond it each has an even share
	MaxUnfinished    int // 16 MiB of packets of more than 16 KiB that have begun and are not processed; beyond it they wait
	MaxSubscriptions int // 256 a client
	MaxLevels        int // 50,000 of all subscriptions together; beyond it each client has an even share
	MaxRetained      int // 10,000 messages
	MaxRetainedBytes int // 16 MiB
}

func (o *Options) fill() {
	set := func(v *int, fallback int) {
		if *v <= 0 {
			*v = fallback
		}
	}
	set(&o.MaxClients, 500)
	set(&o.MaxSessions, 1000)
	set(&o.MaxPacket, 256<<10)
	set(&o.MaxRate, 10000)
	set(&o.MaxQueue, 500)
	set(&o.MaxQueueBytes, 1<<20)
	set(&o.MaxQueuesBytes, 32<<20)
	set(&o.MaxSocketsBytes, 16<<20)
	set(&o.MaxUnfinished, 16<<20)
	set(&o.MaxSubscriptions, 256)
	set(&o.MaxLevels, 50000)
	set(&o.MaxRetained, 10000)
	set(&o.MaxRetainedBytes, 16<<20)
	o.MaxQueue = min(o.MaxQueue, 65535)
	if o.Intake == nil {
		o.Intake = func(Message) error { return nil }
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
}

// sessionLife is how long a persistent session is kept while its client is away, at most.
const sessionLife = 7 * 24 * time.Hour

// closeWait bounds Close.
const closeWait = 4 * time.Second

// Broker is the embedded broker.
type Broker struct {
	opt        Options
	log        *slog.Logger
	srv        *mqtt.Server
	own        *mqtt.Client // publishes what the gateway says
	listener   net.Listener // nil: none
	url        string
	secure     bool // TLS below MQTT, not below HTTP
	http       *http.Server
	access     atomic.Pointer[access]
	retained   retained
	refusals   refusals
	out        outbox
	order      atomic.Int64 // numbers messages, see hook.OnPublish
	saying     atomic.Pointer[saying]
	passedOn   atomic.Bool // a message has gone to a subscriber, see hook.OnPublished
	queues     total       // bytes that wait for acknowledgements, of those that are away too: many sleepers would fill the memory
	levels     total       // of all subscriptions: each costs the server about 640 bytes, unless others begin with the same ones
	waiters    waiters
	unfinished unfinished
	started    time.Time
	sessions   sessionFile

	mu       sync.Mutex
	conns    map[*conn]struct{}
	knocking int              // connections that are not among them yet, see knock
	live     map[string]*conn // by client id
	closing  bool
	stop     chan struct{}
	wg       sync.WaitGroup // connections
	loops    sync.WaitGroup // accept, publish, housekeeping
	once     sync.Once
	count    counters
}

type counters struct {
	received, notStored, slow, notRetained atomic.Int64
}

// access is what is reread by Reload.
type access struct {
	users *Users
	acl   *acl
}

// Listen starts a broker.
func Listen(opt Options) (*Broker, error) {
	opt.fill()
	b := &Broker{
		opt: opt, log: opt.Log, started: time.Now(), stop: make(chan struct{}),
		conns: map[*conn]struct{}{}, live: map[string]*conn{},
		retained:   retained{maxCount: opt.MaxRetained, maxBytes: opt.MaxRetainedBytes},
		refusals:   refusals{log: opt.Log},
		waiters:    waiters{most: int64(opt.MaxSocketsBytes)},
		unfinished: unfinished{most: opt.MaxUnfinished},
	}
	b.sessions = sessionFile{file: opt.Sessions, log: opt.Log}
	b.out.init(opt.MaxPacket)
	if err := b.Reload(); err != nil {
		return nil, err
	}
	if err := b.listen(); err != nil {
		return nil, err
	}
	if err := b.startServer(); err != nil {
		b.closeListener()
		return nil, err
	}
	b.loops.Go(b.publishLoop)
	b.loops.Go(b.housekeeping)
	if b.http != nil {
		b.loops.Go(func() { _ = b.http.Serve(b.listener) })
	} else if b.listener != nil {
		b.loops.Go(b.acceptLoop)
	}
	return b, nil
}

// startServer makes the MQTT server. It has no listener of its own and says nothing to the log: both are ours. Its own
// figures below $SYS, made once at its start, are taken away, and its store of retained messages stays empty.
func (b *Broker) startServer() error {
	limits := mqtt.NewDefaultServerCapabilities()
	limits.MaximumClients = int64(b.opt.MaxClients)
	limits.MaximumMessageExpiryInterval = 0
	limits.MaximumClientWritesPending = 1024 // on their way to conn, which bounds the bytes
	limits.MaximumPacketSize = uint32(b.opt.MaxPacket)
	limits.MaximumInflight = uint16(b.opt.MaxQueue)
	limits.TopicAliasMaximum = 0
	limits.RetainAvailable = 0
	b.srv = mqtt.New(&mqtt.Options{
		Capabilities:             limits,
		ClientNetWriteBufferSize: 1, // conn gathers
		Logger:                   slog.New(slog.DiscardHandler),
		SysTopicResendInterval:   1 << 30,
	})
	if err := b.srv.AddHook(&hook{b: b}, nil); err != nil {
		return fmt.Errorf("local: %w", err)
	}
	b.own = b.srv.NewClient(nil, "gateway", "", true)
	if err := b.srv.Serve(); err != nil {
		return fmt.Errorf("local: %w", err)
	}
	for topic, pk := range b.srv.Topics.Retained.GetAll() {
		pk.TopicName, pk.Payload = topic, nil
		b.srv.Topics.RetainMessage(pk)
	}
	b.adopt()
	return nil
}

// Addr is where the broker listens; nil if it has only a Handler.
func (b *Broker) Addr() net.Addr {
	if b.listener == nil {
		return nil
	}
	return b.listener.Addr()
}

// Reload reads users and access list again. Where a file has a mistake, both stay as they are. Who is connected with a
// password that is no longer right is disconnected; new rules hold at once.
func (b *Broker) Reload() error {
	next := &access{}
	var err error
	if b.opt.Users != "" {
		if next.users, err = LoadUsers(b.opt.Users); err != nil {
			return err
		}
	}
	if b.opt.ACL != "" {
		if next.acl, err = loadACL(b.opt.ACL); err != nil {
			return err
		}
	}
	old := b.access.Swap(next)
	if old == nil || old.users == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.live {
		if !old.users.same(next.users, string(c.served.Load().Properties.Username)) {
			go b.disconnect(c, packets.ErrNotAuthorized, errUserChanged)
		}
	}
	return nil
}

// Close publishes what waits, disconnects all clients, hands their wills to Intake and ends the broker, within five
// seconds. More than once does no harm.
func (b *Broker) Close() error {
	b.once.Do(b.close)
	return nil
}

func (b *Broker) close() {
	patience := time.NewTimer(closeWait)
	defer patience.Stop()
	b.mu.Lock()
	b.closing = true
	conns := make([]*conn, 0, len(b.conns))
	for c := range b.conns {
		conns = append(conns, c)
	}
	b.mu.Unlock()
	b.out.close()
	b.closeListener()
	close(b.stop)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		b.loops.Wait()
		b.waitSaid(conns)
		b.dismiss(conns)
		b.wg.Wait()
		b.sessions.touch()
		b.sessions.write(b.snapshot)
		_ = b.srv.Close()
	}()
	select {
	case <-ended:
	case <-patience.C:
		b.log.Warn("local broker: some connections do not end")
		for _, c := range conns {
			_ = c.inner.Close()
		}
	}
}
