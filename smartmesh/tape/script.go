package tape

import (
	"bytes"
	"encoding/binary"
	"math"
	"time"
)

// Packet types of the serial protocol.
const (
	kindHello         = 1
	kindHelloResponse = 2
	kindMgrHello      = 3
	kindNotification  = 20
	kindSubscribe     = 0x16
	kindGetTime       = 0x17

	ackService = 0x02 // of a control byte: wants to be acknowledged
)

// runGap is what passes in a script between two runs of the recorder, and at most while its port was closed: the pauses of a
// gateway that was off, or tried in vain, are not worth waiting for.
const runGap = time.Second

// A cue is something that the manager says by itself.
type cue struct {
	at     time.Duration // since the recording began, without the gaps
	packet []byte        // nil: noise
	raw    []byte        // as it was on the line
}

// An exchange is a request that was answered.
type exchange struct {
	at                time.Duration
	number            byte
	request, response []byte // the payloads
}

// A script is a recording in the form in which it is played.
type script struct {
	cues      []cue
	exchanges []exchange
	length    time.Duration
	clock     time.Time // what the manager's clock showed when the recording began, to the second or so; zero: nobody knows
}

// makeScript makes a recording playable. Of what the manager said it leaves out what only answers: the player does that by
// itself. A greeting is kept where it ended a session, and not where the manager went on greeting without one.
func makeScript(all []Entry) script {
	var s script
	var at, last time.Duration
	var run time.Time
	var asked []byte // the latest request
	open, gap := true, true
	for _, e := range all {
		pause := e.At - last
		if !e.Run.Equal(run) || gap {
			pause = min(max(pause, 0), runGap)
		}
		if len(s.cues) == 0 && len(s.exchanges) == 0 {
			pause = 0
		}
		at += max(pause, 0)
		run, last, gap = e.Run, e.At, e.Kind == Closed
		p, ok := packetOf(e.Data)
		switch {
		case e.Kind == Opened:
			open = false
		case e.Kind == ToManager && ok && p[0]&ackBit == 0 && p[1] > kindNotification:
			asked = p
		case e.Kind != FromManager:
		case ok && p[0]&ackBit != 0:
			if asked != nil && p[1] == asked[1] && p[2] == asked[2] {
				s.exchanges = append(s.exchanges, exchange{at, p[1], asked[packetHead:], p[packetHead:]})
			}
		case ok && p[1] == kindHelloResponse:
			open = true
		case ok && p[1] == kindMgrHello && !open:
		default:
			if !ok {
				p = nil
			}
			open = open && (p == nil || p[1] != kindMgrHello)
			s.cues = append(s.cues, cue{at, p, e.Data})
			s.learn(p, at)
		}
	}
	s.length = at
	return s
}

// answer finds the response to a request at a time: the latest that the same request got before, else the first after.
func (s *script) answer(number byte, request []byte, now time.Duration) ([]byte, bool) {
	found := -1
	for i, e := range s.exchanges {
		if e.number != number || !bytes.Equal(e.request, request) {
			continue
		}
		if e.at > now && found >= 0 {
			break
		}
		found = i
	}
	if found < 0 {
		return s.estimated(number, now)
	}
	e := s.exchanges[found]
	if number == kindGetTime {
		return laterTime(e.response, now-e.at), true
	}
	return e.response, true
}

// learn takes the time of a reading as a sign of the manager's clock: it was that late when the reading came, and hardly
// later for the one that was fastest.
//
//	notifData: type u8 4, utcSecs u64, utcUsecs u32, ...
func (s *script) learn(p []byte, at time.Duration) {
	const kindData, size = 4, packetHead + 1 + 8 + 4
	if len(p) < size || p[1] != kindNotification || p[packetHead] != kindData {
		return
	}
	be := binary.BigEndian
	secs := be.Uint64(p[packetHead+1:])
	if secs > math.MaxUint32 {
		return
	}
	clock := time.Unix(int64(secs), int64(be.Uint32(p[packetHead+9:]))*1000).Add(-at)
	if s.clock.IsZero() || clock.After(s.clock) {
		s.clock = clock
	}
}

// estimated answers getTime where the recording has no answer to it: without the time, no reading could be dated.
func (s *script) estimated(number byte, now time.Duration) ([]byte, bool) {
	if number != kindGetTime || s.clock.IsZero() {
		return nil, false
	}
	start := make([]byte, timeSize)
	binary.BigEndian.PutUint64(start[5:], uint64(s.clock.Unix()))
	binary.BigEndian.PutUint32(start[13:], uint32(s.clock.Nanosecond()/1000))
	return laterTime(start, now), true
}

// timeSize is that of the response to getTime.
const timeSize = 24

// laterTime is the response to getTime a while later.
//
//	RC u8, uptime u32, utcSecs u64, utcUsecs u32, asn 5 bytes of 7.25 ms, asnOffset u16
func laterTime(response []byte, by time.Duration) []byte {
	const slot = 7250 * time.Microsecond
	if len(response) < timeSize || response[0] != 0 {
		return response
	}
	out := bytes.Clone(response)
	be := binary.BigEndian
	be.PutUint32(out[1:], be.Uint32(out[1:])+uint32(int64(by/time.Second)))
	utc := time.Unix(int64(be.Uint64(out[5:])), int64(be.Uint32(out[13:]))*1000).Add(by)
	be.PutUint64(out[5:], uint64(utc.Unix()))
	be.PutUint32(out[13:], uint32(utc.Nanosecond()/1000))
	asn := append([]byte{0, 0, 0}, out[17:22]...)
	asn = be.AppendUint64(nil, be.Uint64(asn)+uint64(int64(by/slot)))
	copy(out[17:22], asn[3:])
	return out
}
