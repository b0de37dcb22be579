package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/meshgate/meshgate/gateway/control"
)

func reloadCmd() *cobra.Command {
	return &cobra.Command{
		Use: "reload", Short: "Have the daemon read its configuration again; only what changed restarts", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := daemon(cmd)
			if err != nil {
				return err
			}
			var change control.Change
			if err := c.Post(cmd.Context(), "reload", struct{}{}, &change); err != nil {
				return fmt.Errorf("refused, the old configuration stays in force: %w", err)
			}
			printChange(cmd.OutOrStdout(), change)
			return nil
		},
	}
}

func printChange(out io.Writer, c control.Change) {
	nothing := true
	for _, l := range []struct {
		what string
		list []string
	}{{"started", c.Started}, {"stopped", c.Stopped}, {"restarted", c.Restarted}, {"for the next start", c.Waiting}} {
		if len(l.list) > 0 {
			fmt.Fprintf(out, "%s: %s\n", l.what, strings.Join(l.list, ", "))
			nothing = false
		}
	}
	if nothing {
		fmt.Fprintln(out, "nothing has changed")
	}
}

func configCmd() *cobra.Command {
	root := &cobra.Command{Use: "config", Short: "Change the configuration of the running daemon"}
	root.AddCommand(configApplyCmd(), configConfirmCmd())
	return root
}

func configApplyCmd() *cobra.Command {
	var confirm time.Duration
	cmd := &cobra.Command{
		Use: "apply FILE", Short: "Put a configuration in force at once, on trial with --confirm", Args: cobra.ExactArgs(1),
		Long: `Puts the configuration in FILE in force at once. With --confirm it is on trial for that long: it is taken
back unless ` + "`meshgate config confirm`" + ` comes in time, or the serial sessions and a bridge are well again. The
daemon's own file is replaced when the trial is over, and not before: a power cut brings the old one back.
The command waits for the end of the trial, and does so too when the terminal goes away.`,
		Example: "  meshgate config apply new.yaml --confirm 2m",
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := os.ReadFile(args[0])
			if err != nil {
				return err
			}
			c, err := daemon(cmd)
			if err != nil {
				return err
			}
			req := control.ApplyRequest{Text: string(text)}
			if confirm > 0 {
				signal.Ignore(syscall.SIGHUP)
				req.Confirm = confirm.String()
			}
			var s control.ConfigState
			if err := c.Post(cmd.Context(), "config/apply", req, &s); err != nil {
				return fmt.Errorf("refused, the old configuration stays in force: %w", err)
			}
			if s.Change != nil {
				printChange(cmd.OutOrStdout(), *s.Change)
			}
			if s.Trial != nil {
				fmt.Fprintf(cmd.OutOrStdout(), "on trial until %s: `meshgate config confirm` keeps it\n", s.Trial.Local().Format(time.TimeOnly))
				if s, err = trialEnd(cmd.Context(), c); err != nil {
					return err
				}
			}
			return finish(cmd.OutOrStdout(), s)
		},
	}
	cmd.Flags().DurationVar(&confirm, "confirm", 0, "take it back after this long unless it is confirmed or works")
	return cmd
}

// trialEnd waits until the trial is decided.
func trialEnd(ctx context.Context, c *control.Client) (control.ConfigState, error) {
	for sleep(ctx, time.Second) {
		var s control.ConfigState
		if err := c.Get(ctx, "config", &s); err != nil {
			return s, fmt.Errorf("the daemon has gone while the configuration was on trial; it starts with the old one: %w", err)
		}
		if s.Trial == nil {
			return s, nil
		}
	}
	return control.ConfigState{}, ctx.Err()
}

// finish tells how a change has ended, and writes the file where the daemon may not.
func finish(out io.Writer, s control.ConfigState) error {
	if strings.HasPrefix(s.Outcome, "taken back") {
		return errors.New(s.Outcome)
	}
	if s.Unsaved != "" {
		if err := replaceFile(s.File, []byte(s.Unsaved)); err != nil {
			return fmt.Errorf("%s, but in force until the next start only: %w (`meshgate config confirm` as root writes the file)", s.Outcome, err)
		}
	}
	fmt.Fprintf(out, "%s, and in %s\n", s.Outcome, s.File)
	return nil
}

func configConfirmCmd() *cobra.Command {
	return &cobra.Command{
		Use: "confirm", Short: "Keep the configuration that is on trial", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := daemon(cmd)
			if err != nil {
				return err
			}
			var s control.ConfigState
			if err := c.Post(cmd.Context(), "config/confirm", struct{}{}, &s); err != nil {
				return err
			}
			return finish(cmd.OutOrStdout(), s)
		},
	}
}
