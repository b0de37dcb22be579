package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"sync"
	"time"

	"github.com/creack/pty"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/meshgate/meshgate/smartmesh/sim"
)

// simulation is what `meshgate simulate` is asked for.
type simulation struct {
	cfg                        sim.Config
	link, listen, extra, level string
	again                      replay
}

func simulateCmd() *cobra.Command {
	s := simulation{cfg: sim.Config{Motes: 5, Period: 2 * time.Second, Seed: 1}}
	cmd := &cobra.Command{
		Use: "simulate", Short: "Simulate a SmartMesh IP manager with motes, on a pty or a TCP port", Args: cobra.NoArgs,
		Example: "  meshgate simulate --pty /tmp/manager      then: port: /tmp/manager\n" +
			"  meshgate simulate --listen 127.0.0.1:9911  then: port: tcp://127.0.0.1:9911\n" +
			"  meshgate simulate --replay main.tape --pty /tmp/manager      what `record: main.tape` has kept",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if (s.link == "") == (s.listen == "") {
				return status{exitUsage, errors.New("say where: --pty LINK or --listen HOST:PORT")}
			}
			if s.again.file != "" {
				return s.again.run(cmd, s.link, s.listen, s.level)
			}
			return s.run(cmd)
		},
	}
	cmd.Flags().IntVar(&s.cfg.Motes, "motes", s.cfg.Motes, "how many motes")
	cmd.Flags().DurationVar(&s.cfg.Period, "period", s.cfg.Period, "how often each sends its temperature")
	cmd.Flags().Int64Var(&s.cfg.Seed, "seed", s.cfg.Seed, "of the random numbers")
	cmd.Flags().StringVar(&s.link, "pty", "", "serve on a pseudo terminal and make this link to it")
	cmd.Flags().StringVar(&s.listen, "listen", "", "serve on this TCP address")
	cmd.Flags().StringVar(&s.extra, "faults", "", "what goes wrong, as in a sim: port, e.g. noise=0.01&lostack=0.05")
	cmd.Flags().StringVar(&s.again.file, "replay", "", "play this recording of a manager's port instead")
	cmd.Flags().Float64Var(&s.again.speed, "speed", 1, "of --replay: 10 is ten times as fast")
	cmd.Flags().StringVar(&s.level, "log-level", "info", "debug, info, warn or error")
	return cmd
}

// run simulates until the command is ended.
func (s simulation) run(cmd *cobra.Command) error {
	if s.extra != "" {
		faults, err := sim.ParseURL("sim:?" + s.extra)
		if err != nil {
			return status{exitUsage, err}
		}
		faults.Motes, faults.Period, faults.Seed = s.cfg.Motes, s.cfg.Period, s.cfg.Seed
		s.cfg = faults
	}
	log, _, err := newLog(cmd.ErrOrStderr(), s.level, "text")
	if err != nil {
		return err
	}
	m := sim.New(s.cfg, log)
	ctx, stop := context.WithCancel(cmd.Context())
	defer stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { m.Run(ctx) })
	defer stop()
	if s.link != "" {
		return simulatePTY(ctx, m, s.link, cmd.OutOrStdout())
	}
	return simulateTCP(ctx, m, s.listen, cmd.OutOrStdout())
}

// server is what speaks as a manager on a port.
type server interface {
	Serve(ctx context.Context, rw io.ReadWriteCloser) error
}

// simulatePTY keeps the terminal open itself, so that a program that closes it hangs nothing up:
// the manager does not notice either.
func simulatePTY(ctx context.Context, m server, link string, out io.Writer) error {
	end, tty, err := terminal()
	if err != nil {
		return fmt.Errorf("no pseudo terminal: %w", err)
	}
	defer tty.Close()
	if old, err := os.Readlink(link); err == nil {
		if _, err := os.Stat(old); errors.Is(err, fs.ErrNotExist) || err == nil {
			os.Remove(link) // a link that an earlier run has left
		}
	}
	if err := os.Symlink(tty.Name(), link); err != nil {
		return err
	}
	defer os.Remove(link)
	fmt.Fprintf(out, "a simulated manager is at %s; give it to the gateway as `port: %s`\n", link, link)
	return orDone(ctx, m.Serve(ctx, end))
}

// terminal makes a raw pseudo terminal and the end of it where a manager speaks, which can be closed while it is read:
// pty.Open gives one that cannot.
func terminal() (end, tty *os.File, err error) {
	master, tty, err := pty.Open()
	if err != nil {
		return nil, nil, err
	}
	defer master.Close()
	if _, err := term.MakeRaw(int(tty.Fd())); err != nil {
		tty.Close()
		return nil, nil, err
	}
	fd, err := unix.FcntlInt(master.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		tty.Close()
		return nil, nil, err
	}
	return os.NewFile(uintptr(fd), master.Name()), tty, nil
}

func simulateTCP(ctx context.Context, m *sim.Manager, addr string, out io.Writer) error {
	return orDone(ctx, sim.ListenTCP(ctx, m, addr, func(at net.Addr) {
		fmt.Fprintf(out, "a simulated manager is at %s; give it to the gateway as `port: tcp://%s`\n", at, at)
	}))
}

// orDone gives no error when ctx has ended: that was the wish.
func orDone(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}
