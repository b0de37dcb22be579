package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/meshgate/meshgate/gateway/config"
)

// answers are all that setup asks for.
type answers struct {
	ID, Port, Broker, Username, PasswordFile, CA, LED, HTTP string
	Plaintext                                               bool

	password string // to be written into PasswordFile; empty: it is there
}

// setup is one run of `meshgate setup`.
type setup struct {
	file          string
	given         func(flag string) bool
	yes, untested bool
	start         bool
	replace       bool           // also what setup does not ask for
	old           *config.Config // what is configured already; nil: nothing, or not valid
	was           answers        // the same, as far as setup asks for it
	in            *bufio.Reader
	ended         error    // why nothing is asked any more
	terminal      *os.File // where a password can be typed unseen; nil: none
	out           io.Writer
	ports         *ports
	root          string // of the file system, for tests
	a             answers
}

func setupCmd() *cobra.Command {
	s := &setup{root: "/"}
	cmd := &cobra.Command{
		Use: "setup", Short: "Ask the few questions there are, test the answers, write the configuration", Args: cobra.NoArgs,
		Long: `Finds the manager, asks for the broker, tests it step by step, writes a commented configuration and starts the
service. Each answer can be given as a flag; with --yes, or without a terminal, nothing is asked. It can be run
again at any time: what is configured is the default, and the old file is kept beside the new one as FILE.bak. A
file with settings that are not asked for here is not replaced without a yes, or --replace.`,
		Example: "  meshgate setup\n  meshgate setup --yes --broker mqtts://broker.example.net --username gw1 --password-file cloud.password --start",
		RunE: func(cmd *cobra.Command, _ []string) error {
			s.given, s.out = cmd.Flags().Changed, cmd.OutOrStdout()
			if f, ok := cmd.InOrStdin().(*os.File); ok && term.IsTerminal(int(f.Fd())) {
				s.terminal, s.in = f, bufio.NewReader(breakable{cmd.Context(), f})
			} else {
				s.yes = true
			}
			s.ports = newPorts(slog.New(slog.DiscardHandler))
			defer s.ports.close()
			return s.run(cmd.Context(), socketFlag(cmd))
		},
	}
	f := cmd.Flags()
	f.StringVar(&s.file, "config", defaultConfig, "the file to write")
	f.StringVar(&s.a.ID, "id", "", "the gateway's name in topics (default: derived from the hardware)")
	f.StringVar(&s.a.Port, "port", "", "the manager's port (default: the one on which a manager answers)")
	f.StringVar(&s.a.Broker, "broker", "", "URL of the broker: mqtts://HOST, mqtt://, wss:// or ws://; none for none")
	f.StringVar(&s.a.Username, "username", "", "user name at the broker")
	f.StringVar(&s.a.PasswordFile, "password-file", "", "file with the password")
	f.StringVar(&s.a.CA, "ca", "", "file of the authority that signed the broker's certificate (default: the system's)")
	f.StringVar(&s.a.LED, "led", "", "pin that the actuator led switches: GPIO17, led:ACT, sim; none for none")
	f.StringVar(&s.a.HTTP, "http", "", "console and metrics for all users of this machine, at HOST:PORT such as 127.0.0.1:8080; none for none")
	f.BoolVar(&s.a.Plaintext, "plaintext", false, "go on without encryption to a broker elsewhere")
	f.BoolVar(&s.yes, "yes", false, "ask nothing: take flags and defaults")
	f.BoolVar(&s.untested, "no-test", false, "do not test the manager and the broker")
	f.BoolVar(&s.replace, "replace", false, "replace a file that has settings which setup does not ask for")
	f.BoolVar(&s.start, "start", false, "start the service when the file is written")
	return cmd
}

func (s *setup) run(ctx context.Context, socket string) (err error) {
	if s.file, err = filepath.Abs(s.file); err != nil {
		return err
	}
	s.defaults()
	if err := s.valid(); err != nil {
		return status{exitUsage, err}
	}
	s.askValid("id", "Name of this gateway", &s.a.ID)
	s.manager(ctx, socket)
	if err := s.broker(ctx, socket); err != nil {
		return err
	}
	s.askValid("led", "Pin of an LED or relay that commands may switch (GPIO17, led:ACT, sim; none)", &s.a.LED)
	s.askValid("http", "Console for a browser, for all users of this machine (127.0.0.1:8080; none)", &s.a.HTTP)
	if s.ended != nil {
		return s.ended
	}
	if err := s.write(); err != nil {
		return err
	}
	return s.startService(ctx)
}

// defaults are what is configured already, and else what the machine tells.
func (s *setup) defaults() {
	was := answers{ID: config.Default().ID, Broker: "none", LED: "none", HTTP: "none"}
	if cfg, err := config.Load(s.file); err == nil {
		s.old = cfg
		s.old.Older = 0 // what it says counts, not how
		was.ID, was.Port = cfg.ID, cfg.Managers[0].Port
		if len(cfg.Bridges) > 0 {
			b := cfg.Bridges[0]
			was.Broker, was.Username, was.PasswordFile, was.CA, was.Plaintext = b.URLs[0], b.Username, b.PasswordFile, b.TLS.CA, b.Plaintext
		}
		was.HTTP = cmp.Or(cfg.HTTP.Listen, "none")
		for _, o := range cfg.Outputs {
			if o.Name == "led" {
				was.LED = o.Pin
			}
		}
	} else if !errors.Is(err, os.ErrNotExist) {
		fmt.Fprintf(s.out, "%s is not valid and is replaced:\n%v\n", s.file, err)
	}
	for _, d := range []struct {
		flag string
		to   *string
		was  string
	}{{"id", &s.a.ID, was.ID}, {"port", &s.a.Port, was.Port}, {"broker", &s.a.Broker, was.Broker}, {"username", &s.a.Username, was.Username},
		{"password-file", &s.a.PasswordFile, was.PasswordFile}, {"ca", &s.a.CA, was.CA}, {"led", &s.a.LED, was.LED}, {"http", &s.a.HTTP, was.HTTP}} {
		if !s.given(d.flag) {
			*d.to = d.was
		}
	}
	s.a.Plaintext = s.a.Plaintext || was.Plaintext
	s.was = was
}

func (s *setup) say(what string, err error) {
	if err != nil {
		fmt.Fprintf(s.out, "  %-14s FAILED: %v\n", what, err)
		return
	}
	fmt.Fprintf(s.out, "  %-14s ok\n", what)
}

// at is where a path of the configuration leads: it starts from the folder of the file.
func (s *setup) at(path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(s.file), path)
}

// write puts the file in its place, if it says anything new.
func (s *setup) write() error {
	text := []byte(s.a.file())
	if err := os.MkdirAll(filepath.Dir(s.file), 0o755); err != nil {
		return err
	}
	if err := s.keepOthers(); err != nil {
		return err
	}
	if s.a.password != "" {
		if err := replaceFile(s.a.PasswordFile, []byte(s.a.password+"\n")); err != nil {
			return err
		}
		giveGroup(s.a.PasswordFile)
	}
	cfg, err := loadText(s.file, text)
	if err != nil {
		return fmt.Errorf("these answers make no valid configuration: %w", err)
	}
	if s.old != nil && reflect.DeepEqual(cfg, s.old) {
		fmt.Fprintf(s.out, "%s says that already\n", s.file)
		return nil
	}
	if exists(s.file) {
		defer fmt.Fprintf(s.out, "the old file is %s.bak\n", s.file)
	}
	if err := replaceFile(s.file, text); err != nil {
		return err
	}
	giveGroup(s.file)
	fmt.Fprintf(s.out, "%s is written\n", s.file)
	return nil
}

// keepOthers asks before settings go that setup does not ask for: those that are gone when it writes what it has read.
func (s *setup) keepOthers() error {
	if s.old == nil || s.replace {
		return nil
	}
	if same, err := config.Parse(s.old.File, []byte(s.was.file()), filepath.Dir(s.file)); err == nil && reflect.DeepEqual(same, s.old) {
		return nil
	}
	fmt.Fprintf(s.out, "%s has settings that are not asked for here and would be gone.\n", s.file)
	if s.confirm("Replace it all the same? (yes/no)") {
		return nil
	}
	return fmt.Errorf("%s stays as it is: edit it, or replace it with --replace", s.file)
}

// startService starts or restarts the service with what was written. Without the package it makes one where there is none.
func (s *setup) startService(ctx context.Context) error {
	if !s.start && !s.given("start") && !s.yes {
		s.start = s.confirm("Start the service now? (yes/no)")
	}
	packaged := notPackaged(packagedUnits) != nil
	switch {
	case !s.start && packaged:
		fmt.Fprintln(s.out, "Next: systemctl restart meshgate; meshgate status")
		return nil
	case !s.start:
		fmt.Fprintf(s.out, "Next: meshgate service install and start, or meshgate run --config %s\n", s.file)
		return nil
	case packaged:
		for _, args := range [][]string{{"enable", "meshgate"}, {"restart", "meshgate"}} {
			if out, err := exec.CommandContext(ctx, "systemctl", args...).CombinedOutput(); err != nil {
				return fmt.Errorf("systemctl %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(out))
			}
		}
	default:
		if err := installService(s.file); err != nil && !installedAlready(err) {
			return err
		}
		giveGroup(s.file) // which there was not before
		if s.a.password != "" {
			giveGroup(s.a.PasswordFile)
		}
		if err := steerService("restart"); err != nil {
			return err
		}
	}
	fmt.Fprintln(s.out, "The service runs. Next: meshgate status")
	if s.a.HTTP != "" && s.a.HTTP != "none" {
		fmt.Fprintf(s.out, "The console: http://%s/\n", s.a.HTTP)
	}
	return nil
}
