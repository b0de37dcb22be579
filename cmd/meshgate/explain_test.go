package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/meshgate/meshgate/bridge"
	"github.com/meshgate/meshgate/bridge/brokertest"
	"github.com/meshgate/meshgate/gateway/control"
	"github.com/meshgate/meshgate/smartmesh"
)

// connectError is what the bridge really says.
func connectError(t *testing.T, change func(*bridge.Config)) string {
	t.Helper()
	cfg := bridge.Config{URL: "mqtts://broker.example", ClientID: "t"}
	change(&cfg)
	s, err := bridge.Connect(t.Context(), cfg, nil)
	if err == nil {
		s.Close(t.Context())
		t.Fatal("it connects")
	}
	return err.Error()
}

// TestExplain: errors as the rooms really make them, and the cause that is to be named.
func TestExplain(t *testing.T) {
	b := brokertest.New()
	defer b.Close()
	ca := brokertest.NewCA(t)
	server := ca.Server("broker.example", false)
	at, err := b.Listen(server)
	if err != nil {
		t.Fatal(err)
	}
	dial := func(ctx context.Context, n, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, n, at)
	}
	tlsError := func(change func(*bridge.Config)) string {
		return connectError(t, func(c *bridge.Config) { c.Dial, c.TLS.CA = dial, ca.File(); change(c) })
	}
	refuse := func(code byte) string {
		b.Set(func(now *brokertest.Behaviour) { now.Refuse = code })
		defer b.Set(func(now *brokertest.Behaviour) { now.Refuse = 0 })
		return connectError(t, func(c *bridge.Config) { c.URL, c.Dial = "mqtt://broker.example", b.Dial })
	}
	tests := []struct{ cause, kind, err string }{
		{"wrong port", "session", smartmesh.ErrNoHello.Error()},
		{"port not there", "serial", portError("/dev/ttyUSB3", fs.ErrNotExist).Error()},
		{"no permission", "serial", portError("/dev/ttyUSB3", fs.ErrPermission).Error()},
		{"port taken", "serial", portError("/dev/ttyUSB3", syscall.EBUSY).Error()},
		{"clock", "bridge", tlsError(func(c *bridge.Config) { c.Time = func() time.Time { return time.Now().AddDate(-40, 0, 0) } })},
		{"certificate expired", "bridge", tlsError(func(c *bridge.Config) { c.Time = func() time.Time { return time.Now().AddDate(40, 0, 0) } })},
		{"certificate", "bridge", tlsError(func(c *bridge.Config) { c.TLS.CA = "" })},
		{"certificate", "bridge", tlsError(func(c *bridge.Config) { c.URL = "mqtts://other.example" })},
		{"DNS", "bridge", connectError(t, func(c *bridge.Config) {
			c.Dial = func(context.Context, string, string) (net.Conn, error) {
				return nil, &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "broker.example", IsNotFound: true}}
			}
		})},
		{"no broker there", "bridge", connectError(t, func(c *bridge.Config) { c.URL = "mqtt://127.0.0.1:1" })},
		{"password", "bridge", refuse(4)},
		{"ACL", "bridge", refuse(5)},
		{"ACL", "bridge", "the broker refuses the subscription to a/+/set: commands will not arrive"},
		{"duplicate client id", "bridge", (&bridge.LostError{Err: bridge.ErrHungUp, After: time.Second, ClientID: "t"}).Error()},
		{"disk full", "spool", fmt.Errorf("spool: %w", syscall.ENOSPC).Error()},
		{"disk not writable", "spool", fmt.Errorf("spool: %w", syscall.EROFS).Error()},
		{"no network", "bridge", connectError(t, func(c *bridge.Config) {
			c.Dial = func(context.Context, string, string) (net.Conn, error) {
				return nil, &net.OpError{Op: "dial", Err: syscall.ENETUNREACH}
			}
		})},
	}
	for _, tt := range tests {
		l := control.Link{Kind: tt.kind, Name: "x", Error: tt.err}
		c := causeOf(l)
		if c == nil || c.name != tt.cause {
			t.Errorf("%q is explained by %+v, want %q", tt.err, c, tt.cause)
			continue
		}
		if got := explain(control.Status{Links: []control.Link{l, l}}); len(got) != 1 || !strings.Contains(got[0], tt.err) {
			t.Errorf("%s is told as %q", tt.cause, got)
		}
	}
}

func TestExplainTheRest(t *testing.T) {
	got := explain(control.Status{Links: []control.Link{
		{Kind: "serial", Name: "main", Error: portError("/dev/ttyUSB3", fs.ErrNotExist).Error()},
		{Kind: "session", Name: "main", Error: portError("/dev/ttyUSB3", fs.ErrNotExist).Error()},
		{Kind: "mesh", Name: "main", Error: "there is no session with the manager"},
		{Kind: "output", Name: "led", Error: "something new"}, {Kind: "bridge", Name: "cloud", Up: true}}})
	if len(got) != 2 || !strings.Contains(got[0], "plugged in") || got[1] != "output led: something new" {
		t.Errorf("told %q", got)
	}
	for text, want := range map[string]string{"no running meshgate found": "systemctl", "odd": "odd"} {
		if got := explainNoDaemon(errors.New(text)); !strings.Contains(got, want) {
			t.Errorf("%s: %q", text, got)
		}
	}
}
