package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/meshgate/meshgate/gateway/config"
	"github.com/meshgate/meshgate/gateway/control"
)

// manager finds the port on which one answers: the one that the running daemon has, the configured
// one, or one of those there are.
func (s *setup) manager(ctx context.Context, socket string) {
	configured := s.a.Port != "" && s.a.Port != "auto"
	if found := s.find(ctx, socket); found != "" {
		s.a.Port = found
	} else if !configured {
		fmt.Fprintln(s.out, "  No manager was found. The daemon tries again and again.")
		s.a.Port = "/dev/smartmesh-api"
	} else if !s.untested {
		fmt.Fprintf(s.out, "  No manager answers on %s now. The daemon tries again and again.\n", s.a.Port)
	}
	was := s.a.Port
	s.askValid("port", "Port of the manager", &s.a.Port)
	if s.a.Port != was && s.a.Port != "auto" && !s.untested {
		s.probe(ctx, s.a.Port)
	}
}

// probe says which manager answers on a port, or why none does, and whether one does.
func (s *setup) probe(ctx context.Context, port string) bool {
	mac, err := probe(ctx, port, s.ports.open)
	if err != nil {
		fmt.Fprintf(s.out, "  %s: %v\n", port, err)
		return false
	}
	fmt.Fprintf(s.out, "  %s: manager %s\n", port, mac)
	return true
}

func (s *setup) find(ctx context.Context, socket string) string {
	if s.untested {
		return ""
	}
	var try []string
	if s.a.Port != "" && s.a.Port != "auto" {
		try = append(try, s.a.Port)
	}
	if !s.given("port") {
		if mac := daemonsManager(ctx, socket); mac != "" {
			fmt.Fprintf(s.out, "  The running daemon has a session with manager %s\n", mac)
			return s.a.Port
		}
		try = append(try, findPorts(s.root)...)
	}
	for _, p := range slices.Compact(try) {
		if s.probe(ctx, p) {
			return p
		}
	}
	return ""
}

// daemonsManager is the first manager that a running daemon has a session with: it holds the port,
// which can then not be tried.
func daemonsManager(ctx context.Context, socket string) string {
	if socket == "" {
		var err error
		if socket, err = control.Find(config.Default().StateDir); err != nil {
			return ""
		}
	}
	var st control.Status
	if control.NewClient(socket).Get(ctx, "status", &st) != nil {
		return ""
	}
	for _, l := range st.Links {
		if l.Kind == "session" && l.Up {
			return l.Detail
		}
	}
	return ""
}
