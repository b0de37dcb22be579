package smartmesh

import (
	"errors"
	"time"
)

// notifyLimit is what a delivery may take, by the caller's promise.
const notifyLimit = 150 * time.Millisecond

// receive takes one packet in.
func (s *Session) receive(f *frame) error {
	p, err := ParsePacket(f.buf[:f.len])
	if err != nil {
		s.opt.Stats.packetError(err)
		s.opt.Log.Debug("packet dropped", "error", err)
		return nil
	}
	switch {
	case p.isAck():
		return s.response(p, f.at)
	case p.Type == typeManagerHello:
		return ErrManagerHello
	case p.isReliable():
		return s.reliable(p)
	case p.Type == typeNotification:
		s.deliver(p)
	default:
		s.opt.Stats.Unknown.Add(1)
	}
	return nil
}

// reliable takes a packet that waits for its acknowledgement, and gives it whatever is in it, or it would come for ever.
//
//	number            delivered  counted
//	last              no         repeat
//	last+1 (mod 256)  yes
//	any other         yes        gap
//	refused           yes                the next time too
//
// The acknowledgement goes out when the delivery has returned.
func (s *Session) reliable(p Packet) error {
	if p.Seq == s.last {
		s.opt.Stats.Repeats.Add(1)
	} else {
		if p.Seq != s.last+1 {
			s.opt.Stats.Gaps.Add(1)
		}
		s.last = p.Seq
		if p.Type == typeNotification {
			s.deliver(p)
			if s.opt.Refused != nil && s.opt.Refused() {
				s.last-- // its repeat is delivered
				return nil
			}
		} else {
			s.opt.Stats.Unknown.Add(1)
		}
	}
	if s.parted {
		return nil // it comes again, and then gets it
	}
	s.opt.Stats.Acks.Add(1)
	return s.send(p.acknowledgement())
}

// deliver hands a notification up, unless its fields are cut.
func (s *Session) deliver(p Packet) {
	n := ParseNotification(p)
	switch {
	case errors.Is(n.Err, errTruncated):
		s.opt.Stats.Malformed.Add(1)
		s.opt.Log.Debug("notification dropped", "error", n.Err)
		return
	case n.Err != nil:
		s.opt.Stats.UnknownNotifs.Add(1)
	}
	s.opt.Stats.Notifications.Add(1)
	begin := time.Now()
	s.opt.OnNotify(n)
	if time.Since(begin) > notifyLimit {
		s.opt.Stats.SlowNotifies.Add(1)
	}
}
