package smartmesh

import (
	"errors"
	"sync/atomic"

	"github.com/meshgate/meshgate/hdlc"
)

// Stats count what happened on a port. They may be read at any time, and outlive the sessions that share them.
type Stats struct {
	Frames   atomic.Int64 // received whole
	BadFCS   atomic.Int64 // frames dropped: see hdlc's errors
	TooShort atomic.Int64
	Aborted  atomic.Int64
	TooLong  atomic.Int64

	HeaderTooShort atomic.Int64 // packets dropped: see the errors of that name
	LengthMismatch atomic.Int64
	Unknown        atomic.Int64 // packets of no known type, or out of place

	Hellos         atomic.Int64 // sent
	Sessions       atomic.Int64 // opened
	Requests       atomic.Int64 // sent, repeats not counted
	RequestRepeats atomic.Int64 // sent again because no response came
	LateAnswers    atomic.Int64 // responses that nobody waits for
	Unanswered     atomic.Int64 // requests given up, each with its session

	Notifications atomic.Int64 // delivered
	Acks          atomic.Int64 // sent
	Repeats       atomic.Int64 // reliable packets that came again: acknowledged, not delivered
	Gaps          atomic.Int64 // reliable packets with numbers missing before them
	Malformed     atomic.Int64 // notifications whose fields were cut: acknowledged, dropped
	UnknownNotifs atomic.Int64 // notifications and events of no known number: delivered raw
	SlowNotifies  atomic.Int64 // deliveries that took longer than 150 ms
	Abandoned     atomic.Int64 // ports that did not let go of a goroutine
}

// Each calls f for every counter, in order, with its name as it is published.
func (s *Stats) Each(f func(name string, value int64)) {
	for _, c := range []struct {
		name  string
		value *atomic.Int64
	}{
		{"frames", &s.Frames}, {"bad_fcs", &s.BadFCS}, {"too_short", &s.TooShort}, {"aborted", &s.Aborted},
		{"too_long", &s.TooLong}, {"header_too_short", &s.HeaderTooShort}, {"length_mismatch", &s.LengthMismatch},
		{"unknown", &s.Unknown}, {"hellos", &s.Hellos}, {"sessions", &s.Sessions}, {"requests", &s.Requests},
		{"request_repeats", &s.RequestRepeats}, {"late_answers", &s.LateAnswers}, {"unanswered", &s.Unanswered},
		{"notifications", &s.Notifications}, {"acks", &s.Acks}, {"repeats", &s.Repeats}, {"gaps", &s.Gaps},
		{"malformed", &s.Malformed}, {"unknown_notifications", &s.UnknownNotifs}, {"slow_notifies", &s.SlowNotifies},
		{"abandoned", &s.Abandoned},
	} {
		f(c.name, c.value.Load())
	}
}

// damaged is the number of frames dropped.
func (s *Stats) damaged() int64 {
	return s.BadFCS.Load() + s.TooShort.Load() + s.Aborted.Load() + s.TooLong.Load()
}

// frameError counts a bad frame.
func (s *Stats) frameError(e hdlc.FrameError) {
	switch e {
	case hdlc.BadFCS:
		s.BadFCS.Add(1)
	case hdlc.TooShort:
		s.TooShort.Add(1)
	case hdlc.Aborted:
		s.Aborted.Add(1)
	case hdlc.TooLong:
		s.TooLong.Add(1)
	}
}

// packetError counts a bad packet.
func (s *Stats) packetError(err error) {
	if errors.Is(err, ErrHeaderTooShort) {
		s.HeaderTooShort.Add(1)
	} else {
		s.LengthMismatch.Add(1)
	}
}
