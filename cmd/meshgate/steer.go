package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/meshgate/meshgate/gateway/control"
	"github.com/meshgate/meshgate/smartmesh"
)

func setCmd() *cobra.Command {
	var hold time.Duration
	var wait bool
	var brightness int
	cmd := &cobra.Command{
		Use: "set NAME STATE", Short: "Switch an actuator, or a mote's LED (MAC/led)", Args: cobra.ExactArgs(2),
		Long: "Switch an actuator, a group of them, or a mote's LED. STATE is on, off or toggle, or a whole command as it would be\n" +
			"published. It ends when the pin has been read back or the mote has answered, with status 1 if that went wrong.",
		Example: "  meshgate set led on\n  meshgate set pump on --for 30s --wait\n  meshgate set lamp on --brightness 40\n" +
			"  meshgate set 00-17-0d-00-00-38-05-e9/led toggle\n  meshgate set horn '{\"state\":\"on\",\"blink\":[\"500ms\",\"500ms\"],\"for\":\"10s\"}'",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := daemon(cmd)
			if err != nil {
				return err
			}
			req := control.SetRequest{Name: args[0], State: args[1]}
			if cmd.Flags().Changed("brightness") {
				text, err := json.Marshal(map[string]any{"state": args[1], "brightness": brightness})
				if err != nil {
					return err
				}
				req.State = string(text)
			}
			if hold > 0 {
				req.For = hold.String()
			}
			var r control.Result
			if err := c.Post(cmd.Context(), "set", req, &r); err != nil {
				return err
			}
			if wait {
				climb(cmd.OutOrStdout(), args[0], r)
			}
			return told(cmd.OutOrStdout(), args[0], r)
		},
	}
	cmd.Flags().DurationVar(&hold, "for", 0, "only for this long")
	cmd.Flags().BoolVar(&wait, "wait", false, "wait for the end of it and tell when each stage was reached")
	cmd.Flags().IntVar(&brightness, "brightness", 100, "percent, of what has a brightness")
	return cmd
}

// climb prints the stage before the last, and what it took from there.
func climb(out io.Writer, name string, r control.Result) {
	if r.Accepted.IsZero() {
		return
	}
	const clock = "15:04:05.000"
	fmt.Fprintf(out, "%s  %s: accepted\n%s  %s: %s after %v\n", r.Accepted.Local().Format(clock), name,
		r.Time.Local().Format(clock), name, r.Stage, r.Time.Sub(r.Accepted).Round(10*time.Microsecond))
}

// told prints a result; one that is not good ends the program with status 1.
func told(out io.Writer, name string, r control.Result) error {
	if !r.OK {
		return fmt.Errorf("%s: %s: %s", name, r.Stage, r.Error)
	}
	fmt.Fprintf(out, "%s: %s\n", name, r.Stage)
	return nil
}

func pubCmd() *cobra.Command {
	var retain bool
	cmd := &cobra.Command{
		Use: "pub TOPIC PAYLOAD", Short: "Publish a local message through the running daemon", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := daemon(cmd)
			if err != nil {
				return err
			}
			return c.Post(cmd.Context(), "pub", control.Message{Topic: args[0], Payload: args[1], Retain: retain}, &struct{}{})
		},
	}
	cmd.Flags().BoolVar(&retain, "retain", false, "keep it as the topic's latest")
	return cmd
}

func callCmd() *cobra.Command {
	var manager string
	var list, yes bool
	cmd := &cobra.Command{
		Use: "call COMMAND [field=value ...]", Short: "Send any command of the manager's API",
		Example:           "  meshgate call getNetworkInfo\n  meshgate call getMoteConfig macAddress=0000000000000000 next=true",
		ValidArgsFunction: completeCommand,
		RunE: func(cmd *cobra.Command, args []string) error {
			if list {
				printCommands(cmd.OutOrStdout())
				return nil
			}
			if len(args) == 0 {
				return status{exitUsage, fmt.Errorf("which command? `meshgate call --list` prints them")}
			}
			if isDangerous(args[0]) && !yes {
				return status{exitUsage, fmt.Errorf("%s can strand or reset the network: say --yes if you mean it", args[0])}
			}
			fields, err := parseFields(args[1:])
			if err != nil {
				return status{exitUsage, err}
			}
			c, err := daemon(cmd)
			if err != nil {
				return err
			}
			var answer json.RawMessage
			if err := c.Post(cmd.Context(), "call", control.CallRequest{Manager: manager, Command: args[0], Fields: fields}, &answer); err != nil {
				return err
			}
			return printJSON(cmd.OutOrStdout(), answer)
		},
	}
	cmd.Flags().StringVar(&manager, "manager", "", "which manager, where there are several")
	cmd.Flags().BoolVar(&list, "list", false, "print the commands with their fields")
	cmd.Flags().BoolVar(&yes, "yes", false, "send it also when it can strand the network")
	return cmd
}

// completeCommand gives a shell the names of the commands.
func completeCommand(_ *cobra.Command, args []string, _ string) (names []string, _ cobra.ShellCompDirective) {
	if len(args) == 0 {
		for _, c := range smartmesh.Commands() {
			names = append(names, c.Name)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

func isDangerous(name string) bool {
	for _, c := range smartmesh.Commands() {
		if c.Name == name {
			return c.Dangerous
		}
	}
	return false
}

func printCommands(out io.Writer) {
	t := newTable(out, "COMMAND", "ID", "FIELDS", "NOTE")
	for _, c := range smartmesh.Commands() {
		var fields []string
		for _, f := range c.Request {
			fields = append(fields, f.Name+":"+f.Type)
		}
		note := cell{}
		if c.Dangerous {
			note = cell{"needs --yes", yellow}
		}
		t.row(cell{c.Name, plain}, cell{fmt.Sprintf("0x%02x", c.ID), plain}, cell{strings.Join(fields, " "), plain}, note)
	}
	t.print()
}

// parseFields reads field=value words: numbers, true and false as such, everything else as text.
func parseFields(words []string) (json.RawMessage, error) {
	fields := map[string]any{}
	for _, w := range words {
		name, value, ok := strings.Cut(w, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("%q is not field=value", w)
		}
		fields[name] = fieldValue(value)
	}
	return json.Marshal(fields)
}

func fieldValue(s string) any {
	if b, err := strconv.ParseBool(s); err == nil && len(s) > 1 {
		return b
	}
	if n, err := strconv.ParseInt(s, 0, 64); err == nil && (s == "0" || !strings.HasPrefix(s, "0") || strings.HasPrefix(s, "0x")) {
		return n
	}
	return s
}

func oapCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "oap MAC get|put ADDRESS [field=value ...]", Short: "Read or set a resource of a mote", Args: cobra.MinimumNArgs(3),
		Example: "  meshgate oap 00-17-0d-00-00-38-05-e9 get temperature\n" +
			"  meshgate oap 00-17-0d-00-00-38-05-e9 put digital_out/INDICATOR_0 value=1",
		RunE: func(cmd *cobra.Command, args []string) error {
			fields, err := parseFields(args[3:])
			if err != nil {
				return status{exitUsage, err}
			}
			c, err := daemon(cmd)
			if err != nil {
				return err
			}
			var r control.OAPResult
			req := control.OAPRequest{MAC: args[0], Method: args[1], Address: args[2], Fields: fields}
			if err := c.Post(cmd.Context(), "oap", req, &r); err != nil {
				return err
			}
			if r.OK && len(r.Fields) > 0 {
				return printJSON(cmd.OutOrStdout(), r.Fields)
			}
			return told(cmd.OutOrStdout(), args[2], r.Result)
		},
	}
	return cmd
}
