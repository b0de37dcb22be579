package smartmesh

import (
	"bytes"
	"io"
)

// A State is what a session leaves to the process that takes it up: the port stays open, and the manager does not notice.
type State struct {
	Next byte   // number of the next request
	Last byte   // number of the last reliable packet from the manager
	Rest []byte // of a frame that has not come whole; without it the manager repeats what it has sent reliably
}

// Detach ends the session like Close, but without a farewell: to the manager it goes on. Somebody else has to hold the port
// open, for the session closes what it was given. It is not ok when there is nothing to take up: the session was lost
// before, or the outstanding command did not end within half a second.
//
// What was read before has been delivered. Of that, what could not be acknowledged any more comes again, and is taken by
// Resume for the repeat that it is.
func (s *Session) Detach() (st State, ok bool) {
	s.once.Do(func() { s.staying = true; close(s.closing) })
	<-s.done
	return s.state, s.whole
}

// Resume takes up a session that was detached, without a hello. If the manager has given it up in the meantime, the
// session ends by ErrManagerHello or with the first command. What holds for port and opt is as with Connect.
func Resume(port io.ReadWriteCloser, st State, opt Options) *Session {
	s := newSession(&resumed{port, io.MultiReader(bytes.NewReader(st.Rest), port)}, opt)
	s.seq, s.last = st.Next, st.Last
	s.opt.Log.Debug("session taken up", "client", st.Next, "manager", st.Last)
	go s.loop()
	return s
}

// A resumed port gives the bytes that were left over first.
type resumed struct {
	io.ReadWriteCloser
	in io.Reader
}

func (p *resumed) Read(b []byte) (int, error) { return p.in.Read(b) }

// takeDown closes the port. After Detach the loop goes on for as long as there is something that was read before.
func (s *Session) takeDown() {
	if !s.parted {
		s.line.close(func(*frame) {})
		return
	}
	var lost error
	released := s.line.close(func(f *frame) {
		if err := s.receive(f); err != nil {
			lost = err
		}
	})
	s.state, s.whole = State{Next: s.seq, Last: s.last, Rest: s.line.rest}, released && lost == nil
}
