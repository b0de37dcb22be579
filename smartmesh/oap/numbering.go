package oap

// Numbering numbers the requests to one mote and tells which response answers them, so that the late answer to an earlier
// request is not taken for that to the current one. There is one request outstanding at a time; repeats of it have its
// number. The zero value is for a mote of which nothing is known yet. It is not safe for concurrent use.
//
// Motes give back the sequence they were sent. Should one answer with 0 whatever it was sent, as long as the SDK, which
// always sends 0, does not notice, it gets 0 from then on. Until a mote has shown which kind it is, 0 is not sent, so that
// an answer with 0 tells.
type Numbering struct {
	last uint8
	kind moteKind
}

type moteKind uint8

const (
	kindUnknown moteKind = iota
	kindEchoes           // gives back the sequence it was sent
	kindZero             // answers with 0
)

// Next gives the sequence for the next request.
func (n *Numbering) Next() uint8 {
	if n.kind == kindZero {
		return 0
	}
	n.last = (n.last + 1) & 0x0F
	if n.last == 0 && n.kind == kindUnknown {
		n.last = 1
	}
	return n.last
}

// Answers says whether a response that came from the mote answers a request that was sent to it: the command must be the
// same, and the sequence, or 0 from a mote that has never answered with another. The address is not looked at: motes
// shorten it.
func (n *Numbering) Answers(resp Response, req Request) bool {
	switch {
	case resp.Command != req.Command:
		return false
	case resp.Sequence == req.Sequence:
		if resp.Sequence != 0 {
			n.kind = kindEchoes
		}
		return true
	case resp.Sequence == 0 && n.kind == kindUnknown:
		n.kind = kindZero
		return true
	}
	return false
}
