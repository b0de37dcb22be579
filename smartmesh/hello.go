package smartmesh

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/meshgate/meshgate/hdlc"
)

const (
	protocolVersion = 4
	helloLimit      = 30 * time.Second // then the port had better be opened anew
)

type hello struct {
	Version  uint8     `sm:"version" doc:"protocol version, 4"`
	CliSeqNo uint8     `sm:"cliSeqNo" doc:"client's current sequence number; its next reliable request uses this plus one (mod 256)"`
	Mode     HelloMode `sm:"mode" doc:"reserved, 0"`
}

type helloResponse struct {
	Code     SuccessCode `sm:"successCode" doc:"outcome of the handshake"`
	Version  uint8       `sm:"version" doc:"protocol version, 4"`
	MgrSeqNo uint8       `sm:"mgrSeqNo" doc:"manager's current sequence number; its next reliable packet uses this plus one (mod 256)"`
	CliSeqNo uint8       `sm:"cliSeqNo" doc:"client's current sequence number; its next reliable request uses this plus one (mod 256)"`
	Mode     HelloMode   `sm:"mode" doc:"reserved, 0"`
}

type managerHello struct {
	Version uint8     `sm:"version" doc:"protocol version, 4"`
	Mode    HelloMode `sm:"mode" doc:"reserved, 0"`
}

var (
	helloLayout         = layoutOf[hello]()
	helloResponseLayout = layoutOf[helloResponse]()
	managerHelloLayout  = layoutOf[managerHello]()
)

// helloWaits are the times to wait for the answer to each hello; the last holds for all further ones.
var helloWaits = [...]time.Duration{time.Second, time.Second, 2 * time.Second, 3 * time.Second}

// hello opens the session. Each attempt has a number of its own and starts a session anew, so only the answer to the latest
// describes it. What the manager says before is of an older session: dropped, and not acknowledged.
func (s *Session) hello(ctx context.Context) error {
	limit, cancel := context.WithTimeout(ctx, helloLimit)
	defer cancel()
	stats := s.opt.Stats
	number := byte(rand.Uint32())
	for attempt := 0; limit.Err() == nil; attempt++ {
		number++
		stats.Hellos.Add(1)
		h := hello{Version: protocolVersion, CliSeqNo: number}
		p := Packet{Type: typeHello, Payload: helloLayout.marshal(nil, &h)}
		if err := s.line.write(hdlc.AppendFrame(nil, p.Append(nil)), ctx.Done()); err != nil {
			return fmt.Errorf("smartmesh: hello: %w", err)
		}
		answer := time.NewTimer(helloWaits[min(attempt, len(helloWaits)-1)])
		open, err := s.awaitHello(limit, number, answer.C)
		answer.Stop()
		if open || err != nil {
			return err
		}
	}
	err := fmt.Errorf("%w: %d frames came, and %d damaged ones", ErrNoHello,
		stats.Frames.Load()-s.line.frames0, stats.damaged()-s.line.damaged0)
	if ctx.Err() != nil {
		err = fmt.Errorf("%w: %w", err, ctx.Err())
	}
	return err
}

// awaitHello waits for the answer to hello number, until it is to be sent again or the time is up.
func (s *Session) awaitHello(limit context.Context, number byte, again <-chan time.Time) (open bool, err error) {
	for {
		select {
		case f, ok := <-s.line.frames:
			if !ok {
				return false, fmt.Errorf("smartmesh: hello: %w: %w", ErrRead, s.line.readErr)
			}
			p, err := ParsePacket(f.buf[:f.len])
			if err != nil {
				s.opt.Stats.packetError(err)
				continue
			}
			if open, err := s.helloAnswer(p, number); open || err != nil {
				return open, err
			}
		case <-again:
			return false, nil
		case <-limit.Done():
			return false, nil
		}
	}
}

// helloAnswer looks whether p is the answer to hello number, and takes over its numbers if the manager agrees.
func (s *Session) helloAnswer(p Packet, number byte) (open bool, err error) {
	var h helloResponse
	if p.Control&(controlAck|controlReliable) != 0 || p.Type != typeHelloResponse {
		return false, nil
	}
	missing, _, err := helloResponseLayout.unmarshal(&h, p.Payload)
	if err != nil || missing > 0 || h.CliSeqNo != number {
		s.opt.Stats.Unknown.Add(1)
		return false, nil
	}
	if h.Code != HelloSuccess || h.Version != protocolVersion {
		return false, &HelloError{Code: h.Code, Version: h.Version}
	}
	s.seq, s.last = number+1, h.MgrSeqNo
	s.opt.Log.Debug("session open", "client", number, "manager", h.MgrSeqNo)
	return true, nil
}
