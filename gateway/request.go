package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/meshgate/meshgate/gateway/control"
	"github.com/meshgate/meshgate/smartmesh"
	"github.com/meshgate/meshgate/smartmesh/oap"
)

// managerRequest is manager/NAME/request: {"id","command","fields"}. Commands that can strand a
// network are refused unless the manager's entry allows them.
func (g *Gateway) managerRequest(ctx context.Context, name string, c command) map[string]any {
	var req struct {
		ID      json.RawMessage `json:"id"`
		Command string          `json:"command"`
		Fields  json.RawMessage `json:"fields"`
	}
	err := strictly(c, &req)
	id, _ := orderID(req.ID)
	if err != nil {
		return refused(id, err).fields()
	}
	m, err := g.manager(name)
	if err != nil {
		return refused(id, err).fields()
	}
	if err := m.allowed(req.Command); err != nil {
		return with(refused(id, err).fields(), "command", req.Command)
	}
	fields, err := m.call(ctx, control.CallRequest{Command: req.Command, Fields: req.Fields})
	if errors.Is(err, smartmesh.ErrArgument) {
		return with(refused(id, err).fields(), "command", req.Command)
	}
	if err != nil {
		return with(result{id: id, stage: stageFailed, err: err}.fields(), "command", req.Command)
	}
	return with(with(result{id: id, stage: stageConfirmed}.fields(), "command", req.Command), "fields", smartmesh.Redact(req.Command, fields))
}

// allowed says whether a command may come over MQTT.
func (m *mesh) allowed(name string) error {
	for _, c := range smartmesh.Commands() {
		if c.Name == name && c.Dangerous && !slices.Contains(m.cfg.Allow, name) {
			return fmt.Errorf("%s can strand the network: refused unless manager %s has it in allow", name, m.cfg.Name)
		}
		if c.Name == name && c.Secret && !slices.Contains(m.cfg.Allow, name) {
			return fmt.Errorf("%s carries secrets: refused unless manager %s has it in allow", name, m.cfg.Name)
		}
	}
	return nil
}

// oapRequest is mote/MAC/oap/request: {"id","method","address","fields"}.
func (g *Gateway) oapRequest(ctx context.Context, mac string, c command) map[string]any {
	var req struct {
		ID      json.RawMessage `json:"id"`
		Method  string          `json:"method"`
		Address string          `json:"address"`
		Fields  json.RawMessage `json:"fields"`
	}
	err := strictly(c, &req)
	id, _ := orderID(req.ID)
	if err != nil {
		return refused(id, err).fields()
	}
	r, fields := g.oapAsk(ctx, control.OAPRequest{MAC: mac, Method: req.Method, Address: req.Address, Fields: req.Fields})
	r.id = id
	if fields == nil {
		return r.fields()
	}
	return with(r.fields(), "fields", fields)
}

func (g *Gateway) oapCall(ctx context.Context, req control.OAPRequest) (any, error) {
	r, fields := g.oapAsk(ctx, req)
	return control.OAPResult{Result: r.control(), Fields: fields}, nil
}

// oapAsk reads or sets a resource of a mote.
func (g *Gateway) oapAsk(ctx context.Context, req control.OAPRequest) (result, map[string]any) {
	mac, err := smartmesh.ParseMAC(req.MAC)
	if err != nil {
		return refused("", err), nil
	}
	m := g.meshOf(mac)
	if m == nil {
		return refused("", fmt.Errorf("no mote %s is known", mac)), nil
	}
	address, err := oap.ParseAddress(req.Address)
	if err != nil {
		return refused("", err), nil
	}
	ask := oap.Request{Command: oap.Get, Address: address}
	switch req.Method {
	case "get":
	case "put":
		ask.Command = oap.Put
		if ask.Tags, err = putTags(address, req.Fields); err != nil {
			return refused("", err), nil
		}
	default:
		return refused("", fmt.Errorf("method %q is neither get nor put", req.Method)), nil
	}
	answer, err := m.ask(ctx, mac, ask)
	if err != nil {
		return result{stage: stageFailed, err: err}, nil
	}
	return result{stage: stageConfirmed}, oap.DecodeFields(address, answer.Tags)
}

// putTags reads the fields of a PUT.
func putTags(address []byte, raw json.RawMessage) ([]oap.Tag, error) {
	var values map[string]any
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if err := dec.Decode(&values); err != nil {
		return nil, fmt.Errorf("fields: %w", err)
	}
	return oap.EncodeFields(address, values)
}

// strictly reads a command's JSON; retained and oversized ones are refused.
func strictly(c command, v any) error {
	switch {
	case c.retain:
		return errRetained
	case c.truncated || len(c.payload) > maxOrder:
		return errTooLarge
	}
	dec := json.NewDecoder(bytes.NewReader(c.payload))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return fmt.Errorf("not a request: %w", err)
	}
	if dec.More() {
		return errors.New("not a request: more follows the object")
	}
	return nil
}
