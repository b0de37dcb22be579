package local

import (
	"context"
	"net"
	"net/http"
	"net/url"

	"github.com/coder/websocket"
)

// Handler serves MQTT over WebSocket (subprotocol "mqtt") to whoever asks with HTTP. A page of another host is refused
// with 403: its scripts have no business here, though the browser they run in may reach the gateway.
func (b *Broker) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !b.mayAsk(r) {
			b.refusals.add(hostOf(remoteAddr(r.RemoteAddr)), "a page of another host", "origin", r.Header.Get("Origin"))
			http.Error(w, "this page may not connect", http.StatusForbidden)
			return
		}
		ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{
			Subprotocols:       []string{"mqtt", "mqttv3.1"},
			InsecureSkipVerify: true, // checked above, without the port
			CompressionMode:    websocket.CompressionDisabled,
		})
		if err != nil {
			return // Accept has answered
		}
		ctx, cancel := context.WithCancel(context.Background())
		b.serve(&wsConn{Conn: websocket.NetConn(ctx, ws, websocket.MessageBinary), ws: ws, cancel: cancel}, remoteAddr(r.RemoteAddr))
	})
}

// mayAsk reports whether the request comes from a page of this host, whatever its port, or from no page at all. Where nobody
// needs a password, that host must have a name of this machine alone: any other may be made to point here.
func (b *Broker) mayAsk(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	host := (&url.URL{Host: r.Host}).Hostname()
	if err != nil || u.Hostname() == "" || u.Hostname() != host {
		return false
	}
	return b.access.Load().users != nil || host == "localhost" || net.ParseIP(host).IsLoopback()
}

type remoteAddr string

func (remoteAddr) Network() string  { return "websocket" }
func (a remoteAddr) String() string { return string(a) }

// wsConn closes a WebSocket at once: the close handshake would wait for a client that has gone.
type wsConn struct {
	net.Conn
	ws     *websocket.Conn
	cancel context.CancelFunc
}

func (c *wsConn) Close() error {
	err := c.ws.CloseNow()
	c.cancel()
	return err
}
