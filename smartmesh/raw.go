package smartmesh

import (
	"context"
	"errors"
	"fmt"
)

// Raw does one command by its number: payload is that of the request as it goes over the line, the result the whole payload
// of the response, response code first, whatever the code is. It takes its turn among the other commands and is repeated as
// they are; numbers that are not in the table are taken too. It is for who serves the manager to others.
func (s *Session) Raw(ctx context.Context, number byte, payload []byte) ([]byte, error) {
	row := specs[number]
	switch {
	case number <= typeNotification:
		return nil, fmt.Errorf("%w: packet type %d is no command", ErrArgument, number)
	case len(payload) > maxPayload:
		return nil, fmt.Errorf("%w: %d bytes, at most %d fit", ErrArgument, len(payload), maxPayload)
	case row == nil:
		row = &spec{id: number, name: fmt.Sprintf("command %d", number), traits: changes}
	}
	s.opt.OnPass(number, payload)
	r := &request{row: row, payload: append([]byte(nil), payload...), reply: make(chan reply, 1)}
	if err := ctx.Err(); err != nil {
		return nil, &failure{command: row.name, cause: err}
	}
	select {
	case s.requests <- r:
	case <-ctx.Done():
		return nil, &failure{command: row.name, cause: ctx.Err()}
	case <-s.over:
		return nil, &failure{command: row.name, lost: true, cause: s.cause}
	}
	got := r.await(ctx)
	switch {
	case got.err != nil && r.isSystemReset() && errors.Is(got.err, ErrManagerHello):
		return append([]byte{byte(RCOK)}, r.payload[1:]...), nil // as in request: the greeting shows that it was done
	case got.err != nil:
		return nil, &failure{command: row.name, lost: got.lost, unknown: row.is(changes), cause: got.err}
	case len(got.payload) == 0:
		return nil, fmt.Errorf("%w: %s: %w", ErrBadResponse, row.name, errMissingRC)
	}
	return got.payload, nil
}
