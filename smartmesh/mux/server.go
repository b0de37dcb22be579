package mux

import (
	"context"
	"encoding/binary"
	"log/slog"
	"net"
	"sync"
	"time"
)

const (
	helloLimit = 2 * time.Second // for a client to say hello
	partLimit  = time.Second     // for a client to read what is left when it is let go
	outQueue   = 512             // messages that may wait for a client that does not read; one more and it is let go
	maxClients = 16

	typeSubscribe = 0x16
	maxReserved   = 20 // types up to this are no commands

	rcInvalidArgument = 2 // the manager's
)

// ServerOptions say what a Server serves, and to whom.
type ServerOptions struct {
	// Do has the manager do one command and gives the whole payload of its response, RC first. An error means that no
	// response came and that the session is over. It is called by one goroutine at a time: what clients ask for waits
	// its turn, so that the owner of the session never has more than one command of theirs before its own.
	Do func(ctx context.Context, command byte, payload []byte) ([]byte, error)
	// Allow says whether clients may have a command done; nil: all of them. Subscribing needs no leave: a client's
	// subscription is its own. A command that is refused is answered with RC 1 and never reaches the manager.
	Allow func(command byte) bool
	// Secret judges the secret of a hello; nil: DefaultSecret is the one.
	Secret func(secret [8]byte) bool
	// Filter and UnackFilter are what the owner of the session has subscribed to. It goes on getting these types, and
	// those that it has acknowledged stay so, whatever the clients ask for.
	Filter, UnackFilter uint32
	Info                Info         // answered to who asks; its RC and version are filled in
	Log                 *slog.Logger // nil: none
}

// A Server is the mux for the length of one session with a manager. It has no listener: hand it connections by Serve. All
// of its methods may be called by any goroutine.
type Server struct {
	opt  ServerOptions
	ctx  context.Context // ends with the session
	stop context.CancelFunc
	turn chan struct{} // holds one: who has it may call Do

	asked subscription // what the manager has accepted last; of who has the turn

	mu      sync.Mutex
	clients map[*client]bool
	wg      sync.WaitGroup // of Serve
}

// A subscription is the two fields of the command, a bit for each type of notification.
type subscription struct{ filter, unack uint32 }

func (s subscription) has(notifType byte) bool { return notifType < 32 && s.filter>>notifType&1 == 1 }

// NewServer makes the mux of a session that has just been opened and subscribed.
func NewServer(opt ServerOptions) *Server {
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	if opt.Allow == nil {
		opt.Allow = func(byte) bool { return true }
	}
	if opt.Secret == nil {
		opt.Secret = func(secret [8]byte) bool { return string(secret[:]) == DefaultSecret }
	}
	opt.Info.RC, opt.Info.ProtocolVersion = RCOK, Version
	s := &Server{opt: opt, turn: make(chan struct{}, 1), clients: map[*client]bool{},
		asked: subscription{opt.Filter, opt.UnackFilter}}
	s.ctx, s.stop = context.WithCancel(context.Background())
	return s
}

// Close lets all clients go, as the protocol wants it when the session is over, and waits until they are gone.
func (s *Server) Close() {
	s.mu.Lock()
	s.stop()
	s.mu.Unlock()
	s.wg.Wait()
}

// Serve serves one client until it leaves, is let go or the Server is closed, and closes its connection.
func (s *Server) Serve(conn net.Conn) {
	defer conn.Close()
	c := &client{s: s, conn: conn, out: make(chan []byte, outQueue), log: s.opt.Log.With("client", conn.RemoteAddr())}
	c.ctx, c.stop = context.WithCancel(s.ctx)
	defer c.stop()
	if !s.enter(c) {
		return
	}
	defer s.wg.Done()
	var writing sync.WaitGroup
	writing.Go(c.write)
	release := context.AfterFunc(c.ctx, func() {
		conn.SetReadDeadline(time.Now())
		conn.SetWriteDeadline(time.Now().Add(partLimit))
	})
	defer release()
	c.read()
	c.stop()
	s.leave(c)
	close(c.out) // nobody else knows the client any more
	writing.Wait()
	if c.welcome {
		c.log.Info("a client of the shared port has left")
		s.renew()
	}
}

// enter takes a client in, if there is room and the session lives.
func (s *Server) enter(c *client) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil || len(s.clients) == maxClients {
		c.log.Warn("a client of the shared port is turned away", "clients", len(s.clients))
		return false
	}
	s.clients[c] = true
	s.wg.Add(1)
	return true
}

func (s *Server) leave(c *client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.clients, c)
}

// Notify passes a notification on: payload is that of the serial packet, type first. It does not wait: a client that has
// not read what came before is let go.
func (s *Server) Notify(payload []byte) {
	if len(payload) == 0 || len(payload) > MaxData {
		return
	}
	var message []byte
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.clients {
		wished := c.wish != nil && c.wish.has(payload[0])
		if !c.sub.has(payload[0]) && !wished {
			continue
		}
		if message == nil {
			message = AppendMessage(nil, TypeNotification, payload)
		}
		switch {
		case c.sub.has(payload[0]):
			c.send(message)
		case len(c.held) < outQueue:
			c.held = append(c.held, message)
		}
	}
}

// take waits for the turn to have the manager do something; not ok when ctx ends first. give gives it to the next.
func (s *Server) take(ctx context.Context) bool {
	select {
	case s.turn <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (s *Server) give() { <-s.turn }

// command has the manager do a command of a client and gives the data of the answer.
func (s *Server) command(ctx context.Context, number byte, payload []byte) []byte {
	if !s.take(ctx) {
		return []byte{RCCommandTimeout}
	}
	defer s.give()
	return s.do(ctx, number, payload)
}

// do is for who has the turn. Without a response the session is over, for all clients.
func (s *Server) do(ctx context.Context, number byte, payload []byte) []byte {
	answer, err := s.opt.Do(ctx, number, payload)
	if err == nil && len(answer) > 0 && len(answer) <= MaxData {
		return answer
	}
	if ctx.Err() == nil || s.ctx.Err() != nil { // it is not only that this client has gone
		s.opt.Log.Debug("no response for a client of the shared port", "command", number, "error", err)
		s.stop()
	}
	return []byte{RCCommandTimeout}
}

// union is what all together want, with a wish of one of them in place of what it has.
func (s *Server) union(one *client, wish subscription) subscription {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all subscription
	for c := range s.clients {
		sub := c.sub
		if c == one {
			sub = wish
		}
		all.filter |= sub.filter
		all.unack |= sub.unack
	}
	own := subscription{s.opt.Filter, s.opt.UnackFilter}
	acknowledged := own.filter &^ own.unack
	return subscription{own.filter | all.filter, own.unack | all.unack&^acknowledged}
}

// ask has the manager take the union, unless that is what it has. It is for who has the turn.
func (s *Server) ask(u subscription) []byte {
	if u == s.asked {
		return []byte{RCOK}
	}
	payload := binary.BigEndian.AppendUint32(nil, u.filter)
	answer := s.do(s.ctx, typeSubscribe, binary.BigEndian.AppendUint32(payload, u.unack))
	if answer[0] == RCOK {
		s.asked = u
	}
	return answer
}

// renew asks for what is still wanted after a client has left.
func (s *Server) renew() {
	if s.take(s.ctx) {
		defer s.give()
		s.ask(s.union(nil, subscription{}))
	}
}
