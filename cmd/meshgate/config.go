package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/meshgate/meshgate/gateway/config"
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
	}{{"started", c.Started}, {"stopped", c.Stopped}, {"restarted", c.Restarted}, {"not before the next start (systemctl restart meshgate)", c.Waiting}} {
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
	root := &cobra.Command{Use: "config", Short: "Change the configuration of the running daemon, or its file"}
	root.AddCommand(configApplyCmd(), configConfirmCmd(), configMigrateCmd())
	return root
}

func configMigrateCmd() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use: "migrate", Short: "Write a file of an older version in the form of this one, and keep the old one", Args: cobra.NoArgs,
		Long: `The daemon reads files of older versions as they are, and says so when it starts. This command writes such a file
in the form of this version, with its comments, and keeps the old one beside it as FILE.vVERSION.bak. A file
without a version is of version 1.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			old, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			text, from, err := config.Migrate(file, old, filepath.Dir(file))
			if err != nil {
				_, err = judged(nil, err)
				return err
			}
			return writeMigrated(cmd.OutOrStdout(), file, text, from)
		},
	}
	cmd.Flags().StringVar(&file, "config", defaultConfig, "the configuration")
	return cmd
}

// writeMigrated puts the text into the file, which was of an older version; no text: it was not.
func writeMigrated(out io.Writer, file string, text []byte, from int) error {
	if text == nil {
		fmt.Fprintf(out, "%s is of this version\n", file)
		return nil
	}
	bak := fmt.Sprintf("%s.v%d.bak", file, from)
	if err := replaceKeeping(file, bak, text); err != nil {
		return err
	}
	fmt.Fprintf(out, "%s is migrated; the old file is %s\n", file, bak)
	return nil
}

// older is what to say of a file that was migrated to be read; nothing of others.
func older(cfg *config.Config) string {
	if cfg.Older == 0 {
		return ""
	}
	return fmt.Sprintf("%s is of version %d and read as one of this version: `meshgate config migrate` writes it so and keeps the old one", cfg.File, cfg.Older)
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
				_ = c.Get(cmd.Context(), "config", &s) // only to name the file that was meant
				return fmt.Errorf("refused, the old configuration stays in force: %s", strings.ReplaceAll(err.Error(), cmp.Or(s.File, args[0])+":", args[0]+":"))
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
