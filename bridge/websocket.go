package bridge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/gorilla/websocket"
)

// upgrade asks the other side of conn for a WebSocket with the subprotocol mqtt (MQTT 3.1.1 section 6).
func upgrade(ctx context.Context, conn net.Conn, u URL) (net.Conn, error) {
	given := func(context.Context, string, string) (net.Conn, error) { return conn, nil }
	d := websocket.Dialer{NetDialContext: given, NetDialTLSContext: given, Subprotocols: []string{"mqtt"}}
	ws, resp, err := d.DialContext(ctx, u.String(), nil)
	if err == nil {
		return &socket{Conn: ws}, nil
	}
	e := &ConnectError{Step: StepWebSocket, Err: took(ctx, err)}
	if resp != nil {
		e.Err = fmt.Errorf("%s: the server answered %s", u, resp.Status)
		if resp.StatusCode == http.StatusNotFound {
			e.Hint = "is the path right? brokers often have /mqtt"
		}
	} else if e.Err == err {
		e.Err, e.Hint = lineError(err), "is it a WebSocket port?"
	}
	return nil, e
}

// socket is a WebSocket as a stream of bytes: each Write is a binary message, messages are read one after another.
type socket struct {
	*websocket.Conn
	r io.Reader
}

func (s *socket) Write(p []byte) (int, error) {
	if err := s.WriteMessage(websocket.BinaryMessage, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (s *socket) Read(p []byte) (int, error) {
	for {
		if s.r == nil {
			_, r, err := s.NextReader()
			if err != nil {
				var closed *websocket.CloseError
				if errors.As(err, &closed) {
					err = fmt.Errorf("%w: %w", io.EOF, err)
				}
				return 0, err
			}
			s.r = r
		}
		n, err := s.r.Read(p)
		if err != io.EOF {
			return n, err
		}
		s.r = nil
		if n > 0 {
			return n, nil
		}
	}
}

func (s *socket) SetDeadline(t time.Time) error {
	return errors.Join(s.SetReadDeadline(t), s.SetWriteDeadline(t))
}
