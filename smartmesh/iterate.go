package smartmesh

import (
	"context"
	"errors"
	"iter"
)

// hasRC tells whether err is the manager's answer with that code.
func hasRC(err error, code RC) bool {
	var e *RCError
	return errors.As(err, &e) && e.RC == code
}

// restarts bounds how often an iteration starts again because its last element went away.
const restarts = 5

// Motes gives the records of all motes, the access point's among them, each once. A hundred motes are 101 requests. The
// list may change while it is read: when the mote last given goes away it is read again from the start, without those
// given already. The last element may come with an error, and is then no mote.
func (s *Session) Motes(ctx context.Context) iter.Seq2[MoteConfig, error] {
	return func(yield func(MoteConfig, error) bool) {
		given := map[MAC]bool{}
		var at MAC
		for tries := 0; ; {
			m, err := s.GetMoteConfig(ctx, at, true)
			switch {
			case hasRC(err, RCEndOfList):
				return
			case hasRC(err, RCNotFound) && at != MAC{} && tries < restarts:
				tries++
				at = MAC{}
				continue
			case err == nil && m.MAC == at:
				return // an answer that does not move on would go on for ever
			case err != nil:
				yield(MoteConfig{}, err)
				return
			}
			at = m.MAC
			if !given[at] {
				given[at] = true
				if !yield(m, nil) {
					return
				}
			}
		}
	}
}

// Paths gives the paths of a mote. The last element may come with an error, and is then no path.
func (s *Session) Paths(ctx context.Context, mac MAC, filter PathFilter) iter.Seq2[NextPathInfo, error] {
	return func(yield func(NextPathInfo, error) bool) {
		var id uint16
		for range 1 << 16 {
			p, err := s.GetNextPathInfo(ctx, mac, filter, id)
			if hasRC(err, RCEndOfList) || !yield(p, err) || err != nil {
				return
			}
			id = p.PathID
		}
	}
}

// ACL gives the entries of the access list. The last element may come with an error, and is then no entry.
func (s *Session) ACL(ctx context.Context) iter.Seq2[ACLEntry, error] {
	return func(yield func(ACLEntry, error) bool) {
		var at MAC
		for range 1 << 16 {
			e, err := s.GetNextACLEntry(ctx, at)
			if hasRC(err, RCEndOfList) || !yield(e, err) || err != nil {
				return
			}
			at = e.MAC
		}
	}
}

// Links gives the links of a mote's schedule. The last element may come with an error, and is then no link.
func (s *Session) Links(ctx context.Context, mac MAC) iter.Seq2[Link, error] {
	return func(yield func(Link, error) bool) {
		for idx := 0; idx < 1<<16; {
			page, err := s.GetMoteLinks(ctx, mac, uint16(idx))
			if err != nil && !hasRC(err, RCEndOfList) {
				yield(Link{}, err)
				return
			}
			if err != nil || len(page.Links) == 0 {
				return
			}
			for _, l := range page.Links {
				if !yield(l, nil) {
					return
				}
			}
			idx += len(page.Links)
		}
	}
}
