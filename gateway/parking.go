package gateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/meshgate/meshgate/bridge"
)

const (
	// suspectAfter is how many sessions have to be lost in a row, all with some message in flight that
	// is the same, before messages are sent one at a time.
	suspectAfter = 3
	// calmAfter is how many acknowledgements in a row end that again.
	calmAfter = 100
	// A message that is held back is tried again after parkedFor, and after twice as long each time
	// that the broker ends the connection for it again.
	parkedFor = 10 * time.Minute
	parkedMax = 12 * time.Hour
	// holdTopicAfter is how many held records of a topic make all of that topic wait: it is the
	// topic then that the broker does not allow, and each record of it would cost a connection.
	holdTopicAfter = 3
)

// key names a message in flight: a record by number and local topic, a state by its topic alone.
// As the name of what is held back, the latter stands for all records of the topic too.
type key struct {
	seq   uint64
	topic string
}

func (k key) String() string {
	if k.seq == 0 {
		return k.topic
	}
	return fmt.Sprintf("record %d (%s)", k.seq, k.topic)
}

// parking finds the message that makes a broker end the connection: one that is over its size
// limit, or one that its access rules do not allow. MQTT 3.1.1 has no other way to refuse a
// message, so without this one record would stop all that come after it for ever. It is held back
// and not acknowledged, so that it stays on the disk, and tried again later.
type parking struct {
	log  *slog.Logger
	show func(text string) // tells what is held back, "" when nothing is
	turn chan struct{}     // holds one while a message is on its way alone

	mu     sync.Mutex
	began  time.Time
	passed bool  // this session has passed over what the next one can get rid of
	flying []key // in the order they were sent
	acked  int   // in this session
	common []key // what was in flight at each of the last losses
	times  int   // how many losses that were
	alone  bool  // messages go one at a time
	calm   int   // acknowledgements in a row since then
	held   map[key]*held
}

// held is a message, or a topic, that is held back.
type held struct {
	until time.Time
	pause time.Duration
}

func newParking(log *slog.Logger, show func(string)) *parking {
	return &parking{log: log, show: show, turn: make(chan struct{}, 1), held: map[key]*held{}}
}

// begin is called when a session starts: what is due to be tried again goes alone.
func (p *parking) begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flying, p.acked, p.passed, p.began = nil, 0, false, time.Now()
	for _, h := range p.held {
		if !time.Now().Before(h.until) {
			p.alone, p.calm = true, 0
		}
	}
}

// holds reports whether a message is to be left where it is for now.
func (p *parking) holds(k key) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.held) == 0 {
		return false
	}
	one, all := p.held[k], p.held[key{topic: k.topic}]
	now := time.Now()
	return one != nil && now.Before(one.until) || all != nil && now.Before(all.until)
}

// due gives how long it is until something is to be tried again that this session holds back, or
// has passed over; 0 when there is nothing. What the session was to try and has not met is gone from the disk.
func (p *parking) due() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	var first time.Duration
	if p.passed {
		first = time.Second
	}
	for k, h := range p.held {
		switch d := max(time.Until(h.until), time.Second); {
		case h.until.After(p.began) && (first == 0 || d < first):
			first = d
		case !h.until.After(p.began) && time.Since(p.began) >= parkedFor:
			delete(p.held, k)
			p.tell()
		}
	}
	return first
}

// again has another session look at what this one has passed over because its rules were on trial.
func (p *parking) again() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.passed = true
}

// publish gives a message to the session. While one is suspected it returns only when the broker
// has acknowledged it or the session is over.
func (p *parking) publish(ctx context.Context, s *bridge.Session, k key, m bridge.Message) (bridge.Receipt, error) {
	if !p.depart(k) {
		return s.Publish(ctx, m)
	}
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	p.mu.Lock()
	p.flying = append(p.flying, k)
	p.mu.Unlock()
	r, err := s.Publish(ctx, m)
	if err != nil {
		return r, err
	}
	select {
	case <-r.Done():
		if r.Err() == nil {
			p.arrived(k)
		}
	case <-ctx.Done():
	}
	return r, nil
}

// depart notes that a message is on its way, unless it has to go alone.
func (p *parking) depart(k key) (alone bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.alone {
		p.flying = append(p.flying, k)
	}
	return p.alone
}

// arrived notes that the broker has acknowledged a message. It may be told twice.
func (p *parking) arrived(k key) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.Index(p.flying, k)
	if i < 0 {
		return
	}
	p.flying = slices.Delete(p.flying, i, i+1)
	p.acked++
	if p.calm++; p.alone && p.calm >= calmAfter {
		p.alone, p.times = false, 0
	}
	if len(p.held) == 0 {
		return
	}
	taken := false
	for _, name := range []key{k, {topic: k.topic}} {
		if h := p.held[name]; h != nil {
			taken, p.passed = true, p.passed || h.until.After(p.began)
			delete(p.held, name)
		}
	}
	if taken {
		p.log.Info("the broker takes what was held back", "topic", k.topic, "seq", k.seq)
		p.tell()
	}
}

// ended is called with the error of a session that is over, and reports whether a message explains
// it: one that was on its way alone, and is held back now.
func (p *parking) ended(err error) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	flying := p.flying
	p.flying = nil
	hungUp := errors.Is(err, bridge.ErrHungUp)
	if !hungUp && !(errors.Is(err, bridge.ErrNoAck) && p.acked > 0) {
		return false // the line is at fault, or a broker that acknowledges nothing at all
	}
	switch {
	case len(flying) == 0:
		p.times = 0
		return false
	case p.alone:
		p.park(flying[0])
		return true
	}
	if p.suspect(flying); p.times >= suspectAfter {
		p.alone, p.calm = true, 0
	}
	return false
}

// suspect keeps of what was in flight at each of the last losses what was so at this one, too.
func (p *parking) suspect(flying []key) {
	p.common = slices.DeleteFunc(p.common, func(k key) bool { return !slices.Contains(flying, k) })
	if p.times == 0 || len(p.common) == 0 {
		p.common, p.times = flying, 0
	}
	p.times++
}

// park holds a message back, and its whole topic when it is not the first of it.
func (p *parking) park(k key) {
	same := 0
	for other := range p.held {
		if other.topic == k.topic && other != k {
			same++
		}
	}
	topic := key{topic: k.topic}
	if same >= holdTopicAfter-1 || p.held[topic] != nil {
		k = topic
		maps.DeleteFunc(p.held, func(other key, _ *held) bool { return other.topic == k.topic && other != k })
	}
	h := p.held[k]
	if h == nil {
		h = &held{pause: parkedFor / 2}
		p.held[k] = h
		p.log.Warn("the broker ends the connection for a message: it is held back on the disk and tried again later. "+
			"Is it larger than the broker allows, or its topic not allowed?", "topic", k.topic, "seq", k.seq, "all of the topic", k.seq == 0)
	}
	h.pause = min(2*h.pause, parkedMax)
	h.until = time.Now().Add(h.pause)
	p.calm, p.times = 0, 0
	p.tell()
}

// tell says what is held back.
func (p *parking) tell() {
	var first key
	for k := range p.held {
		if first.topic == "" || k.seq < first.seq || k.seq == first.seq && k.topic < first.topic {
			first = k
		}
	}
	switch n := len(p.held); n {
	case 0:
		p.show("")
	case 1:
		p.show(fmt.Sprintf("the broker ends the connection for %s, which is held back on the disk", first))
	default:
		p.show(fmt.Sprintf("the broker ends the connection for %s and %d others, which are held back on the disk", first, n-1))
	}
}

// retry ends a session when something that it holds back is to be tried again.
func (p *parking) retry(ctx context.Context) error {
	for {
		wait := p.due()
		if !sleep(ctx, cmp.Or(wait, time.Minute)) {
			return ctx.Err()
		}
		if wait == time.Second && p.due() == time.Second {
			return renewal("what was held back is tried again")
		}
	}
}
