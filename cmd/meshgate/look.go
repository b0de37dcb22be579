package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/meshgate/meshgate/gateway/config"
	"github.com/meshgate/meshgate/gateway/control"
)

// daemon gives a client of the running daemon.
func daemon(cmd *cobra.Command) (*control.Client, error) {
	if s := socketFlag(cmd); s != "" {
		return control.NewClient(s), nil
	}
	s, err := control.Find(config.Default().StateDir)
	if err != nil {
		return nil, err
	}
	return control.NewClient(s), nil
}

func statusCmd() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "status", Short: "Show each link of the chain; exit 3 when something is down", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := daemon(cmd)
			if err != nil {
				return err
			}
			var s control.Status
			if err := c.Get(cmd.Context(), "status", &s); err != nil {
				return err
			}
			if asJSON {
				err = printJSON(cmd.OutOrStdout(), s)
			} else {
				printStatus(cmd.OutOrStdout(), s)
			}
			if err == nil && !s.OK {
				return status{code: exitNotWell}
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return cmd
}

func printStatus(out io.Writer, s control.Status) {
	fmt.Fprintf(out, "meshgate %s, gateway %s, up %s\n\n", s.Version, s.ID, ago(s.Since))
	t := newTable(out, "LINK", "NAME", "STATE", "SINCE", "DETAIL")
	for _, l := range s.Links {
		state := cell{"up", green}
		switch {
		case !l.Up:
			state = cell{"down", red}
		case l.Error != "":
			state = cell{"impaired", yellow}
		}
		detail := l.Detail
		if l.Error != "" {
			detail = l.Error
		}
		t.row(cell{l.Kind, plain}, cell{l.Name, plain}, state, cell{ago(l.Since), plain}, cell{detail, plain})
	}
	t.print()
	fmt.Fprintf(out, "\n%d records on disk (%s)", s.Spool.Records, size(s.Spool.Bytes))
	if s.Spool.Oldest != nil {
		fmt.Fprintf(out, ", the oldest %s old", ago(*s.Spool.Oldest))
	}
	for _, b := range s.Bridges {
		fmt.Fprintf(out, "; %d wait for %s", b.Waiting, b.Name)
	}
	fmt.Fprintln(out)
	printWear(out, s.Spool.WrittenDay)
	for _, reason := range slices.Sorted(maps.Keys(s.Spool.Dropped)) {
		fmt.Fprintf(out, "%d records were lost: %s\n", s.Spool.Dropped[reason], reason)
	}
}

func motesCmd() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "motes", Short: "List the motes", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := daemon(cmd)
			if err != nil {
				return err
			}
			var list []control.Mote
			if err := c.Get(cmd.Context(), "motes", &list); err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), list)
			}
			printMotes(cmd.OutOrStdout(), list)
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return cmd
}

func printMotes(out io.Writer, list []control.Mote) {
	colours := map[string]string{"fresh": green, "late": yellow, "lost": red}
	t := newTable(out, "MAC", "ID", "STATE", "READING", "FRESH", "SEEN", "BATTERY", "NEIGHBORS", "RSSI", "STABILITY", "MANAGER")
	for _, m := range list {
		state, seen := m.State, ""
		if m.AP {
			state += " (access point)"
		}
		fresh := m.Fresh
		if m.LastSeen == nil && !m.AP {
			fresh = "never"
		}
		if m.LastSeen != nil {
			seen = ago(*m.LastSeen) + " ago"
		}
		t.row(cell{m.MAC, plain}, cell{fmt.Sprint(m.ID), plain}, cell{state, plain}, cell{number(m.Celsius, "%.2f °C"), plain},
			cell{fresh, colours[fresh]}, cell{seen, plain}, cell{number(m.Battery, "%d mV"), plain},
			cell{number(m.Neighbors, "%d"), plain}, cell{number(m.RSSI, "%d dBm"), plain}, cell{percent(m.Stability), plain},
			cell{m.Manager, plain})
	}
	t.print()
}

// number writes what p points to, or nothing where it is not known.
func number[T any](p *T, format string) string {
	if p == nil {
		return ""
	}
	return fmt.Sprintf(format, *p)
}

func watchCmd() *cobra.Command {
	return &cobra.Command{
		Use: "watch [FILTER]", Short: "Print live messages, one a line", Args: cobra.MaximumNArgs(1),
		Example: "  meshgate watch\n  meshgate watch 'mote/+/temperature'",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := daemon(cmd)
			if err != nil {
				return err
			}
			filter := "#"
			if len(args) == 1 {
				filter = args[0]
			}
			colour := isTerminal(cmd.OutOrStdout())
			err = c.Watch(cmd.Context(), filter, func(m control.Message) {
				fmt.Fprintf(cmd.OutOrStdout(), "%s %s\n", paint(colour, bold, m.Topic), printable(m.Payload))
			})
			if cmd.Context().Err() == context.Canceled {
				return nil
			}
			return err
		},
	}
}

// printable keeps a payload on one line and away from the terminal's controls.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '.'
		}
		return r
	}, s)
}
