// Command meshgate is the gateway daemon and the tools to look into it.
//
// One file a group of commands: run and demo (the daemon), ports (the serial line, TCP and the
// simulator), look (status, motes, watch), mesh (topology, health), steer (set, call, oap, pub),
// codec (decode, encode), pins (gpio), passwd, safe, setup, config, bridge, spool, service, diag, docs.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// version is set by the linker.
var version = "dev"

// Exit statuses (contract, section 1).
const (
	exitFailed  = 1
	exitUsage   = 2
	exitNotWell = 3
)

// status is an error that ends the program with a status of its own. A text that is empty has
// been said already.
type status struct {
	code int
	err  error
}

func (s status) Error() string {
	if s.err == nil {
		return ""
	}
	return s.err.Error()
}

func (s status) Unwrap() error { return s.err }

// sameSignal is how long a second signal is taken for the first: timeout(1) and shells send one to
// the program and to its group.
const sameSignal = time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, func() { time.AfterFunc(sameSignal, stop) }) // a second one ends the program at once
	os.Exit(execute(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// execute runs one command line and gives the exit status.
func execute(ctx context.Context, args []string, in io.Reader, out, errs io.Writer) int {
	root := commands()
	ran := false // cobra has found the command line right
	root.PersistentPreRun = func(*cobra.Command, []string) { ran = true }
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errs)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	if text := err.Error(); text != "" {
		fmt.Fprintf(errs, "meshgate: %s\n", text)
	}
	var s status
	if errors.As(err, &s) {
		return s.code
	}
	if !ran {
		if !cmd.HasSubCommands() {
			fmt.Fprintf(errs, "Usage: %s\n", cmd.UseLine())
		}
		fmt.Fprintf(errs, "See `%s --help`.\n", cmd.CommandPath())
		return exitUsage
	}
	return exitFailed
}

func commands() *cobra.Command {
	root := &cobra.Command{
		Use:   "meshgate",
		Short: "SmartMesh IP to MQTT edge gateway",
		Long: `meshgate takes what the motes of a SmartMesh IP network send, keeps it on disk until your
MQTT broker has it, and carries commands back to LEDs and actuators.

Try it without hardware:  meshgate run --demo`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Version:       version, // no template of our own: text/template would make the program larger by 2 MB
	}
	root.PersistentFlags().String("socket", "", "control socket of the running daemon (default: the first that is there of\n"+
		"$RUNTIME_DIRECTORY, /run/meshgate and the state folder, each with /meshgate.sock)")
	root.AddCommand(
		runCmd(), checkCmd(), simulateCmd(),
		statusCmd(), motesCmd(), topologyCmd(), healthCmd(), watchCmd(),
		setCmd(), callCmd(), oapCmd(), pubCmd(),
		decodeCmd(), encodeCmd(),
		bridgeCmd(), portsCmd(), gpioCmd(), spoolCmd(),
		setupCmd(), configCmd(), reloadCmd(), safeCmd(), serviceCmd(), diagCmd(), passwdCmd(),
		docsCmd(), versionCmd())
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.HasSubCommands() {
			strict(c)
		}
	}
	return root
}

// strict has a group of commands refuse what is none of them. By itself it would print its help and succeed.
func strict(group *cobra.Command) {
	group.Args = cobra.NoArgs
	group.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	group.DisableFlagsInUseLine = true
}

func versionCmd() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			goVersion := "unknown"
			if info, ok := debug.ReadBuildInfo(); ok {
				goVersion = info.GoVersion
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), map[string]string{"version": version, "go": goVersion})
			}
			fmt.Fprintf(cmd.OutOrStdout(), "meshgate %s (%s)\n", version, goVersion)
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return cmd
}
