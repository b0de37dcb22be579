package tape

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/meshgate/meshgate/hdlc"
)

const (
	greetPeriod = 1500 * time.Millisecond // between two greetings while there is no session
	ackLimit    = 500 * time.Millisecond  // a reliable notification is sent again after it
	maxSends    = 6                       // and then the session is dropped
	outQueue    = 256                     // frames that may wait for a client that does not read

	rcOK             = 0
	rcInvalidCommand = 1
)

// A Player plays a recording as the manager that was recorded. It opens sessions and answers requests by itself: with what
// the same request was answered in the recording, else with what Answer says. What the manager said unasked comes as it
// was, noise, repeats and gaps in the numbers included, at its time after the one before, once a client has subscribed.
type Player struct {
	// Speed makes the recorded times shorter; 0 is 1. At another speed than 1 readings get other dates.
	Speed float64
	// Answer gives the payload of the response, RC first, to a request that was not recorded; nil: RC 1.
	Answer func(command byte, request []byte) []byte
	Log    *slog.Logger // nil: none

	script script
	over   chan struct{} // closed when everything has been played
	acked  chan byte

	mu      sync.Mutex
	out     chan []byte // frames to be written
	pos     int         // of the next cue
	session bool
	filter  uint32
	changed chan struct{} // closed when session or filter change, then made anew
	last    []byte        // the latest request, and its response
	reply   []byte
	now     time.Duration // where in the recording we are, at since
	since   time.Time
}

// NewPlayer makes a player of a recording.
func NewPlayer(all []Entry) *Player {
	return &Player{script: makeScript(all), over: make(chan struct{}), changed: make(chan struct{}), acked: make(chan byte, 16)}
}

// Length is how long the recording takes, and how many things the manager says in it by itself.
func (p *Player) Length() (time.Duration, int) { return p.script.length, len(p.script.cues) }

// Over is closed when everything has been played; the player then goes on as a manager with nothing to say.
func (p *Player) Over() <-chan struct{} { return p.over }

// Serve speaks with one client until rw ends or ctx ends, and closes rw. The next client goes on where this one stopped.
// The end of rw is no error.
func (p *Player) Serve(ctx context.Context, rw io.ReadWriteCloser) error {
	if p.Log == nil {
		p.Log = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithCancel(ctx)
	out := make(chan []byte, outQueue)
	p.mu.Lock()
	p.out, p.since = out, time.Now()
	p.set(false, 0)
	p.mu.Unlock()
	var wg sync.WaitGroup
	wg.Go(func() { write(ctx, rw, out) })
	wg.Go(func() { <-ctx.Done(); rw.Close() })
	wg.Go(func() { p.greet(ctx) })
	wg.Go(func() { p.play(ctx) })
	err := p.read(rw)
	cancel()
	wg.Wait()
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrClosedPipe) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// set changes the session; under the mutex.
func (p *Player) set(session bool, filter uint32) {
	p.session, p.filter = session, filter
	close(p.changed)
	p.changed = make(chan struct{})
}

// write writes what is queued; who reads the port sees its end.
func write(ctx context.Context, w io.Writer, out <-chan []byte) {
	for {
		select {
		case b := <-out:
			w.Write(b)
		case <-ctx.Done():
			return
		}
	}
}

// send queues a packet. Under the mutex, so it does not wait: a client that does not read loses it, as on a serial line.
func (p *Player) send(control, kind, seq byte, payload []byte) {
	packet := append([]byte{control, kind, seq, byte(len(payload))}, payload...)
	select {
	case p.out <- hdlc.AppendFrame(nil, packet):
	default:
		p.Log.Warn("the client does not read: a packet is lost", "type", kind)
	}
}

// number is that of the last reliable packet, as a hello is answered: the next to come is new to the client.
func (p *Player) number() byte {
	for _, c := range p.script.cues[p.pos:] {
		if c.reliable() {
			return c.packet[2] - 1
		}
	}
	return 0
}

// greet says that there is no session, for as long as there is none.
func (p *Player) greet(ctx context.Context) {
	tick := time.NewTicker(greetPeriod)
	defer tick.Stop()
	for {
		p.mu.Lock()
		if !p.session {
			p.send(0, kindMgrHello, 0, []byte{4, 0})
		}
		p.mu.Unlock()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (p *Player) read(rw io.Reader) error {
	r := hdlc.NewReader(rw)
	for {
		b, err := r.Next()
		var bad hdlc.FrameError
		switch {
		case errors.As(err, &bad):
			continue
		case err != nil:
			return err
		case len(b) >= packetHead && int(b[3]) == len(b)-packetHead:
			p.receive(bytes.Clone(b))
		}
	}
}

// receive takes a packet of the client.
func (p *Player) receive(b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	payload := b[packetHead:]
	switch {
	case b[0]&ackBit != 0:
		select {
		case p.acked <- b[2]:
		default: // far more than have been sent
		}
	case b[1] == kindHello && len(payload) >= 3:
		p.last = nil
		p.set(true, 0)
		p.send(0, kindHelloResponse, 0, []byte{0, 4, p.number(), payload[1], payload[2]})
	case b[1] <= kindNotification || !p.session:
	default:
		if !bytes.Equal(b, p.last) {
			p.last, p.reply = b, p.respond(b[1], payload)
		}
		p.send(ackBit|ackService, b[1], b[2], p.reply)
	}
}

// respond gives the payload of a response.
func (p *Player) respond(number byte, request []byte) []byte {
	if number == kindSubscribe && len(request) >= 8 {
		p.set(true, binary.BigEndian.Uint32(request))
		return []byte{rcOK}
	}
	if response, ok := p.script.answer(number, request, p.now+p.scaled(time.Since(p.since))); ok {
		return response
	}
	if p.Answer != nil {
		return p.Answer(number, request)
	}
	return []byte{rcInvalidCommand}
}

// scaled is what passes in the recording while d passes here.
func (p *Player) scaled(d time.Duration) time.Duration {
	if p.Speed > 0 {
		return time.Duration(float64(d) * p.Speed)
	}
	return d
}
