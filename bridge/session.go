package bridge

import (
	"context"
	"crypto/x509"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

const (
	waitingMessages = 1024        // received and not yet taken by the owner
	patience        = time.Second // for the owner to take one when all places are full
	linger          = time.Second // for the broker to hang up after DISCONNECT
)

// Stats counts what a session did.
type Stats struct {
	Published int64 // given to the connection
	Received  int64 // put into Messages
	Dropped   int64 // received and not put there: it was full, or the topic not valid
	Truncated int64 // received without their payload, longer than MaxPacket
}

// Session is one connection to a broker, from CONNECT to its first error. It does not reconnect.
type Session struct {
	cfg      Config
	log      *slog.Logger
	client   mqtt.Client
	wire     *wire
	echoes   *echoes
	certs    []*x509.Certificate
	refused  []string
	started  time.Time
	messages chan Message
	full     bool            // the last message did not fit; only the client's dispatcher uses it
	turn     chan struct{}   // holds one while somebody publishes or subscribes
	topics   map[string]bool // that can be published to: whether what is comes back; guarded by the turn
	closing  chan struct{}   // closed when Close begins
	dead     chan struct{}   // closed with err
	gone     chan struct{}   // closed when the client's goroutines have ended
	done     chan struct{}   // closed when everything has ended
	outbox   outbox
	past     chan struct{} // closed

	mu    sync.Mutex
	err   error // why it ended
	clean bool  // DISCONNECT was sent: whatever ends the connection now is no error

	published, received, dropped atomic.Int64
}

// Connect connects, logs in and subscribes; it returns after 30 s at the latest, earlier when ctx ends. Its error is a
// *ConnectError. Subscriptions that the broker refuses are no error: see Refused. The session is not bound to ctx.
func Connect(ctx context.Context, cfg Config, log *slog.Logger) (*Session, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	cfg, err := cfg.check()
	if err != nil {
		return nil, &ConnectError{Step: StepConfig, Err: err}
	}
	u, err := ParseURL(cfg.URL)
	if err != nil {
		return nil, &ConnectError{Step: StepConfig, Err: err}
	}
	password, err := secret(cfg.PasswordFile)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	l, err := dial(ctx, cfg, u)
	if err != nil {
		return nil, err
	}
	s := newSession(cfg, log, l)
	if err := s.login(ctx, password); err != nil {
		return nil, err
	}
	go s.run()
	if err := s.subscribe(ctx); err != nil {
		s.fail(err)
		<-s.done
		return nil, s.handshakeError(ctx, s.reason(err))
	}
	return s, nil
}

func newSession(cfg Config, log *slog.Logger, l *line) *Session {
	s := &Session{
		cfg: cfg, log: log, certs: l.certs, echoes: newEchoes(), topics: map[string]bool{}, started: time.Now(),
		messages: make(chan Message, waitingMessages),
		turn:     make(chan struct{}, 1), closing: make(chan struct{}),
		dead: make(chan struct{}), gone: make(chan struct{}), done: make(chan struct{}), past: make(chan struct{}),
	}
	close(s.past)
	in := NewInbound(l.Conn)
	in.answered = s.answered
	s.wire = newWire(l.Conn, l.raw, in, s.fail, s.settle)
	return s
}

// login does CONNECT and CONNACK. With an error, nothing is left of the connection.
func (s *Session) login(ctx context.Context, password string) error {
	s.client = mqtt.NewClient(s.options(password))
	stop := context.AfterFunc(ctx, func() { s.fail(took(ctx, ctx.Err())) })
	defer stop()
	token := s.client.Connect()
	<-token.Done() // or the wire ends, by ctx at the latest
	if err := token.Error(); err != nil {
		s.wire.Close()
		<-s.wire.writer
		return s.handshakeError(ctx, s.reason(err))
	}
	return nil
}

// options are those of a client that lives for one connection and keeps nothing. It logs in, subscribes and takes what
// comes; what we publish goes past it, see outbox. Messages are dispatched in order, one handler at a time, as two commands
// for one lamp must not overtake each other; the handler does not block.
func (s *Session) options(password string) *mqtt.ClientOptions {
	o := mqtt.NewClientOptions().
		AddBroker("mqtt://broker"). // the connection is there already
		SetCustomOpenConnectionFn(s.open).
		SetClientID(s.cfg.ClientID).
		SetUsername(s.cfg.Username).
		SetPassword(password).
		SetProtocolVersion(s.cfg.level()).
		SetAutoReconnect(false).
		SetConnectRetry(false).
		SetCleanSession(true).
		SetOrderMatters(true).
		SetStore(noStore{}).
		SetKeepAlive(s.cfg.Keepalive).
		SetPingTimeout(math.MaxInt64). // the session looks itself, see silent
		SetConnectTimeout(connectTimeout).
		SetDefaultPublishHandler(s.receive).
		SetConnectionLostHandler(s.lost)
	if w := s.cfg.Will; w.Topic != "" {
		o.SetBinaryWill(w.Topic, w.Payload, w.QoS, w.Retain)
	}
	return o
}

// subscribe asks for every filter in a packet of its own, so that a SUBACK has one answer, and waits for them all.
func (s *Session) subscribe(ctx context.Context) error {
	tokens := make([]mqtt.Token, len(s.cfg.Subscribe))
	for i, sub := range s.cfg.Subscribe {
		s.turn <- struct{}{}
		if !closed(s.dead) {
			tokens[i] = s.client.Subscribe(sub.Filter, sub.QoS, nil)
		}
		<-s.turn
	}
	for i, t := range tokens {
		if t == nil {
			return s.reason(errWireClosed)
		}
		select {
		case <-t.Done():
		case <-s.dead:
			return s.reason(errWireClosed)
		case <-ctx.Done():
			return took(ctx, ctx.Err())
		}
		if err := t.Error(); err != nil {
			return err
		}
		for _, code := range t.(*mqtt.SubscribeToken).Result() {
			if code == 0x80 {
				s.refused = append(s.refused, s.cfg.Subscribe[i].Filter)
			}
		}
	}
	return nil
}

// Refused returns the filters of Config.Subscribe that the broker did not grant.
func (s *Session) Refused() []string { return s.refused }

// Certificates returns the broker's certificate and ours, where there are; for reports of those that end soon.
func (s *Session) Certificates() []*x509.Certificate { return s.certs }

// Stats returns the counters so far.
func (s *Session) Stats() Stats {
	return Stats{s.published.Load(), s.received.Load(), s.dropped.Load(), s.wire.in.long.Load()}
}
