package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/meshgate/meshgate/bridge/spool"
	"github.com/meshgate/meshgate/gateway"
	"github.com/meshgate/meshgate/gateway/config"
	"github.com/meshgate/meshgate/gateway/control"
	"github.com/meshgate/meshgate/gpio"
	"github.com/meshgate/meshgate/smartmesh"
	"github.com/meshgate/meshgate/smartmesh/sim"
)

const defaultConfig = "/etc/meshgate/gateway.yaml"

func runCmd() *cobra.Command {
	var file, level, format string
	var demo bool
	var length time.Duration
	cmd := &cobra.Command{
		Use: "run", Short: "Run the gateway in the foreground", Args: cobra.NoArgs,
		Example: "  meshgate run --demo\n  meshgate run --config gateway.yaml",
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			if length > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, length)
				defer cancel()
			}
			if demo {
				return runDemo(ctx, cmd.OutOrStdout(), cmd.ErrOrStderr(), socketFlag(cmd), level)
			}
			file, err := filepath.Abs(file)
			if err != nil {
				return err
			}
			cfg, err := load(file)
			if err != nil {
				return err
			}
			log, threshold, err := newLog(cmd.ErrOrStderr(), cmp.Or(level, cfg.Log.Level), format)
			if err != nil {
				return err
			}
			if note := older(cfg); note != "" {
				log.Warn(note)
			}
			src, stop := source(file, threshold, level != "", notifier())
			defer stop()
			return runDaemon(ctx, cfg, src, socketFlag(cmd), log)
		},
	}
	cmd.Flags().StringVar(&file, "config", defaultConfig, "the configuration")
	cmd.Flags().BoolVar(&demo, "demo", false, "a simulated network, a simulated LED and a cloud in the process; needs no configuration")
	cmd.Flags().DurationVar(&length, "for", 0, "end by itself after this long")
	cmd.Flags().StringVar(&level, "log-level", "", "debug, info, warn or error (default: as configured)")
	cmd.Flags().StringVar(&format, "log-format", "text", "text or json")
	return cmd
}

func checkCmd() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use: "check", Short: "Say every mistake in the configuration", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := load(file)
			if err != nil {
				return err
			}
			for _, p := range gpio.Missing(cfg.Outputs) { // no mistake of the file: the machine may be another, or get it later
				fmt.Fprintf(cmd.ErrOrStderr(), "meshgate: this machine cannot do it now: actuator %v\n", p)
			}
			if note := older(cfg); note != "" {
				fmt.Fprintf(cmd.ErrOrStderr(), "meshgate: %s\n", note)
			}
			fmt.Fprintln(cmd.OutOrStdout(), "ok")
			return nil
		},
	}
	cmd.Flags().StringVar(&file, "config", defaultConfig, "the configuration")
	return cmd
}

// load reads a configuration; what is wrong with it is wrong usage.
func load(file string) (*config.Config, error) { return judged(config.Load(file, judges()...)) }

// judged is what became of reading a configuration, in the words of a person who wrote it.
func judged(cfg *config.Config, err error) (*config.Config, error) {
	var path *fs.PathError
	if errors.Is(err, os.ErrNotExist) && errors.As(err, &path) {
		return nil, status{exitUsage, fmt.Errorf("%s is not there: name another with --config, or try `meshgate run --demo`", path.Path)}
	}
	if errors.Is(err, os.ErrPermission) && errors.As(err, &path) {
		return nil, status{exitUsage, fmt.Errorf("%[1]s may not be read: use sudo; so that the service can, `sudo chgrp meshgate %[1]s && sudo chmod g+r %[1]s`", path.Path)}
	}
	var mistakes config.Errors
	if errors.As(err, &mistakes) {
		text := mistakes.Error()
		if isTerminal(os.Stderr) {
			text = mistakes.Detail()
		}
		many := "s"
		if len(mistakes) == 1 {
			many = ""
		}
		return nil, status{exitUsage, fmt.Errorf("%d mistake%s in the configuration:\n%s", len(mistakes), many, text)}
	}
	if err != nil {
		return nil, status{exitUsage, err}
	}
	return cfg, nil
}

// judges are what package config does not know: the language of the simulator and the names of the
// manager's commands.
func judges() []config.Judge {
	return []config.Judge{
		{Of: "sim", Wrong: func(url string) error { _, err := sim.ParseURL(url); return err }},
		{Of: "allow", Wrong: func(name string) error {
			if slices.ContainsFunc(smartmesh.Commands(), func(c smartmesh.CommandInfo) bool { return c.Name == name }) {
				return nil
			}
			return fmt.Errorf("%q is no command of the manager (`meshgate call --list`)", name)
		}},
	}
}

// memoryGoal is what the daemon takes at most, as long as less than that is in use: beyond it what is not used any more is
// collected more often. GOMEMLIMIT sets another.
const memoryGoal = 80 << 20

func aimAtMemory() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryGoal)
	}
}

func runDaemon(ctx context.Context, cfg *config.Config, src gateway.Source, socket string, log *slog.Logger) error {
	aimAtMemory()
	pins := gpio.Host() // before anything else is opened
	ports := newPorts(log)
	defer ports.close()
	if socket == "" {
		socket = filepath.Join(cmp.Or(os.Getenv("RUNTIME_DIRECTORY"), cfg.StateDir), "meshgate.sock")
	}
	if err := os.MkdirAll(cfg.StateDir, 0o750); err != nil && !spool.Passes(err) {
		return fmt.Errorf("the state folder cannot be made: %w (`state_dir:` in the configuration names another)", err)
	}
	log.Info("meshgate starts", "version", version, "id", cfg.ID, "state", cfg.StateDir)
	keep := newKeeper(cfg.StateDir, log)
	keep.keep(cfg.Outputs)
	hw := hardware(pins, ports, socket)
	service := notifier()
	hw.Source = keep.follow(src)
	if service.stores() {
		over := takeOver(service)
		defer over.close()
		hw.Left, hw.Leave = over.take, over.leave
	}
	hw.Ready, hw.Alive, hw.AlivePeriod = service.ready, service.alive, service.period()
	defer context.AfterFunc(ctx, service.stopping)()
	err := gateway.Run(ctx, cfg, hw, log)
	log.Info("meshgate has ended")
	return err
}

// hardware is this machine, with its control socket at a path.
func hardware(pins gpio.Machine, p *ports, socket string) gateway.Hardware {
	return gateway.Hardware{Version: version, OpenPort: p.open, GPIO: pins, ClockRight: clockRight, Boot: hostBoot(),
		Door: func() (net.Listener, error) { return control.Listen(socket) }}
}

func socketFlag(cmd *cobra.Command) string {
	s, _ := cmd.Flags().GetString("socket") // it is a flag of the root: always there
	return s
}
