package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/meshgate/meshgate/smartmesh"
	"github.com/meshgate/meshgate/smartmesh/tape"
)

// replay plays the recording of a manager's port.
type replay struct {
	file  string
	speed float64
}

func (r replay) run(cmd *cobra.Command, link, listen, level string) error {
	for _, flag := range []string{"motes", "period", "seed", "faults"} {
		if cmd.Flags().Changed(flag) {
			return status{exitUsage, fmt.Errorf("--%s has no meaning with --replay: the recording says it", flag)}
		}
	}
	if r.speed <= 0 {
		return status{exitUsage, errors.New("--speed has to be more than 0")}
	}
	log, _, err := newLog(cmd.ErrOrStderr(), level, "text")
	if err != nil {
		return err
	}
	entries, err := readTape(r.file)
	if err != nil {
		return err
	}
	p := tape.NewPlayer(entries)
	p.Speed, p.Answer, p.Log = r.speed, unrecorded, log
	length, count := p.Length()
	if count == 0 {
		return fmt.Errorf("%s: the manager says nothing in this recording", r.file)
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s: %d packets in %v\n", r.file, count, length.Round(time.Second))
	if link != "" {
		return simulatePTY(cmd.Context(), p, link, cmd.OutOrStdout())
	}
	return r.listen(cmd, p, listen)
}

func readTape(file string) ([]tape.Entry, error) {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is not there: `record: %s` of a manager makes one", file, file)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	entries, err := tape.Read(f)
	if errors.Is(err, tape.ErrNotTape) {
		return nil, fmt.Errorf("%s is not a recording: `record: FILE` of a manager makes one", file)
	}
	return entries, err
}

// listen serves clients on a TCP port, one after the other.
func (r replay) listen(cmd *cobra.Command, p *tape.Player, addr string) error {
	ctx := cmd.Context()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	defer l.Close()
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	fmt.Fprintf(cmd.OutOrStdout(), "a recorded manager is at %s; give it to the gateway as `port: tcp://%s`\n", l.Addr(), l.Addr())
	for {
		conn, err := l.Accept()
		if err != nil {
			return orDone(ctx, err)
		}
		if err := p.Serve(ctx, conn); err != nil && ctx.Err() == nil {
			p.Log.Info("client gone", "from", conn.RemoteAddr(), "err", err)
		}
	}
}

// unrecorded answers requests that the recording has no answer to: what only reads gives zeros, lists are at their end, and
// what would change something is refused.
func unrecorded(command byte, _ []byte) []byte {
	for _, c := range smartmesh.Commands() {
		if c.ID != command || c.Changes || c.Secret {
			continue
		}
		size := 0
		for _, f := range c.Response {
			size += f.Size
		}
		for _, f := range c.Request {
			if f.Name == "next" || f.Name == "pathId" || f.Name == "idx" {
				return []byte{byte(smartmesh.RCEndOfList)}
			}
		}
		return make([]byte, size)
	}
	return []byte{byte(smartmesh.RCInvalidCommand)}
}
