package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// Client talks to the daemon behind one socket.
type Client struct {
	socket string
	http   http.Client
}

// Find gives the first socket that is there: $RUNTIME_DIRECTORY/meshgate.sock,
// /run/meshgate/meshgate.sock, stateDir/meshgate.sock.
func Find(stateDir string) (string, error) {
	var tried []string
	for _, dir := range []string{os.Getenv("RUNTIME_DIRECTORY"), "/run/meshgate", stateDir} {
		if dir == "" {
			continue
		}
		path := filepath.Join(dir, "meshgate.sock")
		if _, err := os.Stat(path); err == nil || errors.Is(err, fs.ErrPermission) { // the client says what to do about that
			return path, nil
		}
		tried = append(tried, path)
	}
	return "", fmt.Errorf("no running meshgate found (looked for %s): start it, or say where its socket is with --socket", strings.Join(tried, ", "))
}

// NewClient makes a client of the daemon at socket; nothing is opened yet.
func NewClient(socket string) *Client {
	c := &Client{socket: socket}
	c.http.Transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}}
	return c
}

// Get reads a resource ("status", "motes") into v.
func (c *Client) Get(ctx context.Context, what string, v any) error {
	return c.do(ctx, http.MethodGet, what, nil, v)
}

// Post sends req to a resource ("set", "call") and reads the answer into v.
func (c *Client) Post(ctx context.Context, what string, req, v any) error {
	body, err := json.Marshal(req)
	if err != nil {
		return fmt.Errorf("control: %w", err)
	}
	return c.do(ctx, http.MethodPost, what, bytes.NewReader(body), v)
}

// Watch calls got for each live message whose topic matches the filter, until ctx ends or the
// daemon does.
func (c *Client) Watch(ctx context.Context, filter string, got func(Message)) error {
	resp, err := c.send(ctx, http.MethodGet, "watch?filter="+url.QueryEscape(filter), nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var m Message
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			return fmt.Errorf("control: %w", err)
		}
		got(m)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("control: %w", err)
	}
	return errors.New("control: the daemon ended")
}

func (c *Client) do(ctx context.Context, method, what string, body io.Reader, v any) error {
	resp, err := c.send(ctx, method, what, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(v); err != nil {
		return fmt.Errorf("control: answer: %w", err)
	}
	return nil
}

func (c *Client) send(ctx context.Context, method, what string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://meshgate/api/v1/"+what, body)
	if err != nil {
		return nil, fmt.Errorf("control: %w", err)
	}
	resp, err := c.http.Do(req)
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("%s: permission denied: use sudo, or join the group of the socket (sudo adduser $USER meshgate, and log in again)", c.socket)
	}
	if err != nil {
		return nil, fmt.Errorf("no answer from the daemon at %s: %w", c.socket, errors.Unwrap(err))
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	var fail struct{ Error string }
	if json.NewDecoder(io.LimitReader(resp.Body, maxBody)).Decode(&fail) != nil || fail.Error == "" {
		fail.Error = resp.Status
	}
	return nil, errors.New(fail.Error)
}
