package main

import (
	"context"
	"io"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/meshgate/meshgate/smartmesh"
)

// portPatterns are where a manager's API port is looked for, the surest first: the name that our
// udev rule gives, the fourth port of an adapter, any adapter, the serial line on the pins.
var portPatterns = []string{"/dev/smartmesh-api", "/dev/smartmesh-api-*", "/dev/serial/by-id/*if03*", "/dev/ttyUSB*", "/dev/ttyACM*", "/dev/serial0"}

// findPorts lists the ports there are below root, each once, by the first of its names.
func findPorts(root string) []string {
	var all []string
	seen := map[string]bool{}
	for _, p := range portPatterns {
		paths, _ := filepath.Glob(filepath.Join(root, p)) // the patterns are good
		for _, path := range paths {
			real, err := filepath.EvalSymlinks(path)
			if err != nil || seen[real] {
				continue
			}
			seen[real] = true
			all = append(all, path)
		}
	}
	return all
}

// probe says which manager answers on a port.
func probe(ctx context.Context, port string, open func(context.Context, string) (io.ReadWriteCloser, error)) (mac string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	rw, err := open(ctx, port)
	if err != nil {
		return "", err
	}
	s, err := smartmesh.Connect(ctx, rw, smartmesh.Options{OnNotify: func(smartmesh.Notification) {}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		rw.Close()
		return "", err
	}
	defer s.Close()
	sys, err := s.GetSystemInfo(ctx)
	if err != nil {
		return "", err
	}
	return sys.MAC.String(), nil
}
