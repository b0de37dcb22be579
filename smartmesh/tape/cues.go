package tape

import (
	"context"
	"time"

	"github.com/meshgate/meshgate/hdlc"
)

// play says one thing after the other, until ctx ends.
func (p *Player) play(ctx context.Context) {
	for p.listening(ctx) {
		p.mu.Lock()
		if p.pos == len(p.script.cues) {
			p.mu.Unlock()
			break
		}
		c := p.script.cues[p.pos]
		p.mu.Unlock()
		if !p.pause(ctx, c.at) {
			return
		}
		if !p.say(ctx, c) {
			continue // the session is lost: it comes again in the next
		}
		p.mu.Lock()
		p.pos++
		p.mu.Unlock()
	}
	if ctx.Err() != nil {
		return
	}
	select {
	case <-p.over:
	default:
		close(p.over)
		p.Log.Info("the recording has been played")
	}
}

// listening waits for a client that has subscribed; not ok when ctx ends first. Time stands still meanwhile.
func (p *Player) listening(ctx context.Context) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for !p.session || p.filter == 0 {
		changed := p.changed
		p.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
		p.mu.Lock()
		p.since = time.Now()
		if ctx.Err() != nil {
			return false
		}
	}
	return true
}

// pause waits until a time of the recording.
func (p *Player) pause(ctx context.Context, at time.Duration) bool {
	p.mu.Lock()
	wait := at - p.now - p.scaled(time.Since(p.since))
	p.mu.Unlock()
	if p.Speed > 0 {
		wait = time.Duration(float64(wait) / p.Speed)
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now, p.since = at, time.Now()
	return true
}

// say sends one thing; false when the session was lost over it, or nobody listens any more.
func (p *Player) say(ctx context.Context, c cue) bool {
	p.mu.Lock()
	listening, out := p.session && p.filter != 0, p.out
	wanted := c.packet == nil || c.packet[1] == kindNotification && len(c.packet) > packetHead &&
		c.packet[packetHead] < 32 && p.filter>>c.packet[packetHead]&1 == 1
	if listening && c.packet != nil && c.packet[1] == kindMgrHello {
		p.set(false, 0)
		wanted = true
	}
	p.mu.Unlock()
	switch {
	case !listening:
		return false
	case !wanted:
		return true
	case c.reliable():
		return p.insist(ctx, out, c)
	}
	return put(ctx, out, c.frame())
}

// put queues a frame, and waits for its turn.
func put(ctx context.Context, out chan<- []byte, frame []byte) bool {
	select {
	case out <- frame:
		return true
	case <-ctx.Done():
		return false
	}
}

// frame gives what goes over the line.
func (c cue) frame() []byte {
	if c.packet == nil {
		return c.raw
	}
	return hdlc.AppendFrame(nil, c.packet)
}

func (c cue) reliable() bool { return c.packet != nil && c.packet[0]&(ackBit|ackService) == ackService }

// insist sends a packet until it is acknowledged; false when it never is: the session is dropped.
func (p *Player) insist(ctx context.Context, out chan<- []byte, c cue) bool {
	seq := c.packet[2]
	for len(p.acked) > 0 {
		<-p.acked
	}
	for range maxSends {
		if !put(ctx, out, c.frame()) {
			return false
		}
		if p.awaitAck(ctx, seq) {
			return true
		}
		p.mu.Lock()
		session := p.session && p.filter != 0
		p.mu.Unlock()
		if ctx.Err() != nil || !session {
			return false
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.Log.Warn("the client does not acknowledge: the session is dropped", "seq", seq)
	p.set(false, 0)
	p.send(0, kindMgrHello, 0, []byte{4, 0})
	return false
}

func (p *Player) awaitAck(ctx context.Context, seq byte) bool {
	t := time.NewTimer(ackLimit)
	defer t.Stop()
	for {
		select {
		case got := <-p.acked:
			if got == seq {
				return true
			}
		case <-t.C:
			return false
		case <-ctx.Done():
			return false
		}
	}
}
