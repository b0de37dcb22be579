// Package control is the door through which a person looks into a running daemon: JSON over
// HTTP on a Unix socket.
//
//	GET  /api/v1/status              Status
//	GET  /api/v1/motes               []Mote
//	GET  /api/v1/topology            []Topology
//	GET  /api/v1/health              []MeshHealth
//	GET  /api/v1/watch?filter=F      one Message a line, for as long as the caller listens
//	POST /api/v1/set                 SetRequest   -> Result
//	POST /api/v1/call                CallRequest  -> the response's fields
//	POST /api/v1/oap                 OAPRequest   -> OAPResult
//	POST /api/v1/pub                 Message      -> {}
//	POST /api/v1/reload              {}           -> Change
//	GET  /api/v1/config              ConfigState
//	POST /api/v1/config/apply        ApplyRequest -> ConfigState
//	POST /api/v1/config/confirm      {}           -> ConfigState
//
// An error is answered as {"error":TEXT} with a status of 400 or above. Who may open the socket
// (mode 0660, the daemon's group) may do all of it.
package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"
)

// Status is the health of every link of the chain, each on its own.
type Status struct {
	OK      bool         `json:"ok"`
	ID      string       `json:"id"`
	Version string       `json:"version"`
	Since   time.Time    `json:"since"`
	Links   []Link       `json:"links"`
	Spool   Spool        `json:"spool"`
	Outputs []Output     `json:"outputs,omitempty"`
	Bridges []BridgeInfo `json:"bridges,omitempty"`
}

// Link is one link of the chain: kind is serial, session, mesh, spool, local, bridge, output or input.
type Link struct {
	Kind   string    `json:"kind"`
	Name   string    `json:"name"`
	Up     bool      `json:"up"`
	Detail string    `json:"detail"`
	Error  string    `json:"error"`
	Since  time.Time `json:"since"`
}

// Spool tells how much waits on the disk and what was dropped, by reason.
type Spool struct {
	Records uint64            `json:"records"`
	Bytes   int64             `json:"bytes"`
	Oldest  *time.Time        `json:"oldest"`
	Dropped map[string]uint64 `json:"dropped"`

	WrittenDay map[string]int64 `json:"written_day,omitempty"` // bytes a day, by what they are written for
}

// Output is what an output's pin reads.
type Output struct {
	Name  string    `json:"name"`
	State string    `json:"state"`
	Time  time.Time `json:"time"`
}

// BridgeInfo is a bridge's progress: records that wait for it.
type BridgeInfo struct {
	Name    string `json:"name"`
	Waiting uint64 `json:"waiting"`
}

// Mote is a mote as the gateway knows it.
type Mote struct {
	MAC       string     `json:"mac"`
	Manager   string     `json:"manager"`
	ID        uint16     `json:"id"`
	AP        bool       `json:"ap,omitempty"`
	State     string     `json:"state"`
	Fresh     string     `json:"fresh"`
	LastSeen  *time.Time `json:"last_seen"`
	Celsius   *float64   `json:"temperature,omitempty"`
	Battery   *int       `json:"battery_mv,omitempty"`
	Neighbors *int       `json:"neighbors,omitempty"`

	Availability *float64 `json:"availability,omitempty"` // share of packets it could take for sending
	Stability    *float64 `json:"stability,omitempty"`    // share of its transmissions that were acknowledged
	RSSI         *int     `json:"rssi,omitempty"`         // of the neighbour it hears best, dBm
}

// Message is a local message, with its local topic.
type Message struct {
	Topic   string `json:"topic"`
	Payload string `json:"payload"`
	Retain  bool   `json:"retain,omitempty"`
}

// SetRequest switches an actuator ("led") or a mote's LED ("MAC/led").
type SetRequest struct {
	Name  string `json:"name"`
	State string `json:"state"`
	For   string `json:"for,omitempty"`
}

// Result is how far a command came: stage is applied, confirmed, refused, expired or failed.
type Result struct {
	ID    string    `json:"id,omitempty"`
	OK    bool      `json:"ok"`
	Stage string    `json:"stage"`
	Error string    `json:"error,omitempty"`
	Time  time.Time `json:"time"` // when the stage was reached

	Accepted time.Time `json:"accepted,omitzero"` // when the gateway took the command up
}

// CallRequest is a command of a manager's API; Manager may be empty where there is but one.
type CallRequest struct {
	Manager string          `json:"manager,omitempty"`
	Command string          `json:"command"`
	Fields  json.RawMessage `json:"fields,omitempty"`
}

// OAPRequest reads or sets a resource of a mote.
type OAPRequest struct {
	MAC     string          `json:"mac"`
	Method  string          `json:"method"`
	Address string          `json:"address"`
	Fields  json.RawMessage `json:"fields,omitempty"`
}

// OAPResult is the mote's answer.
type OAPResult struct {
	Result
	Fields map[string]any `json:"fields,omitempty"`
}

// Listen opens the socket at path, with mode 0660. A socket left over by a daemon that died is
// replaced; one that is answered is an error, because two daemons must not share a state folder.
func Listen(path string) (net.Listener, error) {
	if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
		c.Close()
		return nil, fmt.Errorf("control: %s: another meshgate answers there", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("control: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("control: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("control: %w", err)
	}
	if err := os.Chmod(path, 0o660); err != nil {
		l.Close()
		return nil, fmt.Errorf("control: %w", err)
	}
	return l, nil
}

// maxConns bounds the connections that speak HTTP: they may not take the files that the rest of the gateway needs.
const maxConns = 128

// Serve answers on l until ctx ends; streams end with it. Connections beyond maxConns are closed at once; one that has been
// taken over for a WebSocket does not count.
func Serve(ctx context.Context, l net.Listener, h http.Handler) error {
	var open atomic.Int64
	srv := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       time.Minute,
		ConnState: func(c net.Conn, s http.ConnState) {
			switch s {
			case http.StateNew:
				if open.Add(1) > maxConns {
					c.Close()
				}
			case http.StateClosed, http.StateHijacked:
				open.Add(-1)
			}
		},
		MaxHeaderBytes: 16 << 10,
		BaseContext:    func(net.Listener) context.Context { return ctx },
	}
	stop := context.AfterFunc(ctx, func() { srv.Close() })
	defer stop()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("control: %w", err)
	}
	return nil
}

// Reply writes v as JSON.
func Reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v) // the caller went away if this fails; nothing is left to tell it
}

// Fail answers with an error's text.
func Fail(w http.ResponseWriter, code int, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	json.NewEncoder(w).Encode(map[string]string{"error": err.Error()})
}

// maxBody bounds what a caller may post: no command comes near it.
const maxBody = 256 << 10

// Post is a handler that reads a T, acts and answers with what act returns; an error becomes 400.
func Post[T any](act func(context.Context, T) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var req T
		dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&req); err != nil {
			Fail(w, http.StatusBadRequest, fmt.Errorf("control: request: %w", err))
			return
		}
		res, err := act(r.Context(), req)
		if err != nil {
			Fail(w, http.StatusBadRequest, err)
			return
		}
		Reply(w, res)
	}
}
