package smartmesh

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A command is one row of the API: Req and Resp are the layouts of its payloads, Resp without the response code.
type command[Req, Resp any] struct {
	id      byte
	name    string
	meaning string
	traits  trait
}

// A trait is something a caller must know of a command.
type trait uint8

const (
	changes   trait = 1 << iota // has an effect that is not simply repeated: a lost response leaves the outcome unknown
	dangerous                   // strands, stops or reconfigures the network or the manager: to be confirmed
	slow                        // the response may take half a minute
)

// none is a payload without fields.
type none struct{}

// callback is the response of a command that is carried out later: an event will quote the handle.
type callback struct {
	CallbackID uint32 `sm:"callbackId" doc:"handle that a later event will quote"`
}

// A spec is a row without its types, for those that handle any command.
type spec struct {
	id            byte
	name, meaning string
	traits        trait
	req, resp     *layout
}

func (c command[Req, Resp]) spec() *spec {
	return &spec{c.id, c.name, c.meaning, c.traits, layoutOf[Req](), layoutOf[Resp]()}
}

func (s *spec) is(t trait) bool { return s.traits&t != 0 }

// specs are the rows by their number.
var specs = func() map[byte]*spec {
	m := make(map[byte]*spec)
	for _, s := range slices.Concat(managerCommands, networkCommands, moteCommands, securityCommands, radioCommands) {
		m[s.id] = s
	}
	return m
}()

// specNamed finds a row by its name.
func specNamed(name string) (*spec, error) {
	for _, s := range specs {
		if s.name == name {
			return s, nil
		}
	}
	for _, s := range specs {
		if strings.EqualFold(s.name, name) {
			return nil, fmt.Errorf("%w: unknown command %q; did you mean %s?", ErrArgument, name, s.name)
		}
	}
	return nil, fmt.Errorf("%w: unknown command %q", ErrArgument, name)
}

// call does one command. A response that lacks fields an older manager has too is an ErrBadResponse.
func call[Req, Resp any](ctx context.Context, s *Session, c command[Req, Resp], req Req) (Resp, error) {
	resp, _, err := callTimed(ctx, s, c, req)
	return resp, err
}

// callTimed is call that tells the time of the exchange as well.
func callTimed[Req, Resp any](ctx context.Context, s *Session, c command[Req, Resp], req Req) (resp Resp, at exchange, err error) {
	row := specs[c.id]
	payload := row.req.marshal(nil, &req)
	if len(payload) > maxPayload {
		return resp, at, fmt.Errorf("%w: %s: %d bytes, at most %d fit", ErrArgument, c.name, len(payload), maxPayload)
	}
	answer, at, err := s.request(ctx, row, payload)
	if err != nil {
		return resp, at, err
	}
	missing, _, err := row.resp.unmarshal(&resp, answer)
	if err == nil && missing > 0 {
		err = fmt.Errorf("%w: %d", errMissingFields, missing)
	}
	if err != nil {
		return resp, at, fmt.Errorf("%w: %s: %w", ErrBadResponse, c.name, err)
	}
	return resp, at, nil
}

// An exchange is when a request went out and its response came in, on the host's clock.
type exchange struct {
	sent, received time.Time
	repeated       bool // the request was sent more than once, so that sent may not belong to received
}

// Call does the command of that name: fields is a JSON object of the request's fields, nothing or null where there are
// none; the result is one of the response's fields, RC included, without those that an older manager does not send. Both
// use the names of the protocol's documents, bytes in hex, enumerations as numbers (a request may use their names).
func (s *Session) Call(ctx context.Context, command string, fields json.RawMessage) (json.RawMessage, error) {
	row, err := specNamed(command)
	if err != nil {
		return nil, err
	}
	payload, err := row.req.parse(fields)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrArgument, command, err)
	}
	s.opt.OnPass(row.id, payload)
	answer, _, err := s.request(ctx, row, payload)
	if err != nil {
		return nil, err
	}
	out, err := row.resp.describe(answer, dashes)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrBadResponse, command, err)
	}
	out.fields["RC"] = RCOK
	return json.Marshal(out.fields)
}
