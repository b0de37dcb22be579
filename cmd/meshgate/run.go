package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

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
			cfg, err := load(file)
			if err != nil {
				return err
			}
			if level == "" {
				level = cfg.Log.Level
			}
			log, err := newLog(cmd.ErrOrStderr(), level, format)
			if err != nil {
				return err
			}
			return runDaemon(ctx, cfg, socketFlag(cmd), log)
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
			if _, err := load(file); err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), "ok")
			return nil
		},
	}
	cmd.Flags().StringVar(&file, "config", defaultConfig, "the configuration")
	return cmd
}

// load reads a configuration; what is wrong with it is wrong usage.
func load(file string) (*config.Config, error) {
	cfg, err := config.Load(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil, status{exitUsage, fmt.Errorf("%s is not there: name another with --config, or try `meshgate run --demo`", file)}
	}
	var mistakes config.Errors
	if errors.As(err, &mistakes) {
		text := mistakes.Error()
		if isTerminal(os.Stderr) {
			text = mistakes.Detail()
		}
		return nil, status{exitUsage, fmt.Errorf("%d mistakes in the configuration:\n%s", len(mistakes), text)}
	}
	if err == nil {
		err = understood(cfg)
	}
	if err != nil {
		return nil, status{exitUsage, err}
	}
	return cfg, nil
}

// understood checks what package config does not know: the language of the simulator and the
// names of the manager's commands.
func understood(cfg *config.Config) error {
	var known []string
	for _, c := range smartmesh.Commands() {
		known = append(known, c.Name)
	}
	for _, m := range cfg.Managers {
		if strings.HasPrefix(m.Port, "sim:") {
			if _, err := sim.ParseURL(m.Port); err != nil {
				return fmt.Errorf("%s: manager %s: port: %w", cfg.File, m.Name, err)
			}
		}
		for _, name := range m.Allow {
			if !slices.Contains(known, name) {
				return fmt.Errorf("%s: manager %s: allow: %q is no command of the manager (`meshgate call --list`)", cfg.File, m.Name, name)
			}
		}
	}
	return nil
}

func runDaemon(ctx context.Context, cfg *config.Config, socket string, log *slog.Logger) error {
	pins := gpio.Host() // before anything else is opened
	ports := newPorts(log)
	defer ports.close()
	if socket == "" {
		socket = filepath.Join(cmp.Or(os.Getenv("RUNTIME_DIRECTORY"), cfg.StateDir), "meshgate.sock")
	}
	if err := os.MkdirAll(cfg.StateDir, 0o750); err != nil {
		return fmt.Errorf("the state folder cannot be made: %w", err)
	}
	log.Info("meshgate starts", "version", version, "id", cfg.ID, "state", cfg.StateDir)
	if err := keepOutputs(cfg.StateDir, cfg.Outputs); err != nil {
		log.Warn("the outputs cannot be written down for `meshgate safe`, which will have to go by the configuration", "error", err)
	}
	err := gateway.Run(ctx, cfg, hardware(pins, ports, socket), log)
	log.Info("meshgate has ended")
	return err
}

// hardware is this machine, with its control socket at a path.
func hardware(pins gpio.Machine, p *ports, socket string) gateway.Hardware {
	return gateway.Hardware{Version: version, OpenPort: p.open, GPIO: pins, ClockRight: clockRight, Boot: hostBoot(),
		Door: func() (net.Listener, error) { return control.Listen(socket) }}
}

// newLog logs to w. Under systemd the journal has its own time stamps.
func newLog(w io.Writer, level, format string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); level != "" && err != nil {
		return nil, status{exitUsage, fmt.Errorf("--log-level %q is none of debug, info, warn, error", level)}
	}
	opt := &slog.HandlerOptions{Level: l}
	if os.Getenv("JOURNAL_STREAM") != "" {
		opt.ReplaceAttr = func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}
	}
	switch strings.ToLower(format) {
	case "text":
		return slog.New(slog.NewTextHandler(w, opt)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, opt)), nil
	}
	return nil, status{exitUsage, fmt.Errorf("--log-format %q is neither text nor json", format)}
}

func socketFlag(cmd *cobra.Command) string {
	s, _ := cmd.Flags().GetString("socket") // it is a flag of the root: always there
	return s
}
