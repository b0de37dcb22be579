package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/meshgate/meshgate/gateway/config"
	"github.com/meshgate/meshgate/gpio"
)

// board is what this machine has for actuators and inputs.
type board struct {
	Chips []gpio.Chip    `json:"chips"`
	LEDs  []gpio.LED     `json:"leds"`
	PWM   []gpio.PWMChip `json:"pwm"`
}

func gpioCmd() *cobra.Command {
	var file string
	var asJSON bool
	cmd := &cobra.Command{
		Use: "gpio", Short: "List GPIO lines, LEDs and PWM channels, who uses them, and how to configure them", Args: cobra.NoArgs,
		Long: "List the GPIO lines, LEDs and PWM channels of this machine: how a configuration names them (PIN), who uses them,\n" +
			"and what the configuration makes of them. It only looks; the daemon may run meanwhile.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			chips, err := gpio.Lines()
			if err != nil && !errors.Is(err, gpio.ErrNoChip) {
				fmt.Fprintf(cmd.ErrOrStderr(), "meshgate: %v\n", err)
			}
			b := board{chips, gpio.LEDs(), gpio.PWMChips()}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), b)
			}
			cfg, err := config.Load(file)
			switch {
			case err == nil:
			case errors.Is(err, os.ErrNotExist) && !cmd.Flags().Changed("config"):
				cfg = &config.Config{}
			default:
				fmt.Fprintf(cmd.ErrOrStderr(), "meshgate: what the configuration makes of them is not known: %v\n", err)
				cfg = &config.Config{}
			}
			b.print(cmd.OutOrStdout(), cfg)
			return nil
		},
	}
	cmd.Flags().StringVar(&file, "config", defaultConfig, "the configuration")
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return cmd
}

// print writes a table of each kind of pin there is, and says of each kind that there is none.
func (b board) print(out io.Writer, cfg *config.Config) {
	uses := usesOf(cfg)
	b.printLines(out, uses)
	fmt.Fprintln(out)
	if len(b.LEDs) == 0 {
		fmt.Fprintln(out, "No LEDs.")
	} else {
		t := newTable(out, "LED", "BRIGHTNESS", "SHOWS", "CONFIGURED AS")
		for _, l := range b.LEDs {
			steps := "on and off"
			if l.Steps > 1 {
				steps = strconv.Itoa(l.Steps) + " steps"
			}
			pin := "led:" + l.Name
			t.row(cell{pin, plain}, cell{steps, plain}, cell{l.Trigger, plain}, cell{uses.take(pin), green})
		}
		t.print()
	}
	fmt.Fprintln(out)
	if len(b.PWM) == 0 {
		fmt.Fprintln(out, "No PWM channels.")
	} else {
		t := newTable(out, "PWM", "CONFIGURED AS")
		for _, c := range b.PWM {
			for n := range c.Channels {
				pin := fmt.Sprintf("pwm:%s/%d", c.Name, n)
				t.row(cell{pin, plain}, cell{uses.take(pin), green})
			}
		}
		t.print()
	}
	uses.printRest(out)
}

func (b board) printLines(out io.Writer, uses uses) {
	if len(b.Chips) == 0 {
		fmt.Fprintln(out, "No GPIO chip on this machine. Outputs and inputs can be tried with pin: sim, LEDs with led:NAME.")
		return
	}
	t := newTable(out, "CHIP", "LINE", "PIN", "DIRECTION", "PULL", "USED BY", "CONFIGURED AS")
	for _, c := range b.Chips {
		for _, l := range c.Lines {
			direction := "in"
			if l.Output {
				direction = "out"
			}
			by := l.Consumer
			if by == "" && l.Used {
				by = "the kernel"
			}
			t.row(cell{c.Label, plain}, cell{strconv.Itoa(l.Offset), plain}, cell{l.Pin, bold}, cell{direction, plain}, cell{l.Pull, plain},
				cell{by, yellow}, cell{uses.take(l.Pin, l.Name, fmt.Sprintf("chip:%s/%d", c.Label, l.Offset)), green})
		}
	}
	t.print()
}

// uses are the pins of a configuration and what they are there.
type uses map[string]string

func usesOf(cfg *config.Config) uses {
	u := uses{}
	for _, o := range cfg.Outputs {
		if len(o.Group) == 0 && o.Pin != "sim" {
			u[o.Pin] = "actuator " + o.Name
		}
	}
	for _, i := range cfg.Inputs {
		if i.Pin != "sim" {
			u[i.Pin] = "input " + i.Name
		}
	}
	return u
}

// take gives what a pin of one of these names is configured as, and strikes it off.
func (u uses) take(names ...string) string {
	var found []string
	for _, n := range names {
		if use, ok := u[n]; ok && n != "" {
			found = append(found, use)
			delete(u, n)
		}
	}
	return strings.Join(found, ", ")
}

// printRest tells what is configured and is not on this machine.
func (u uses) printRest(out io.Writer) {
	var rest []string
	for pin, use := range u {
		rest = append(rest, fmt.Sprintf("%s: pin %s is configured, but not here\n", use, pin))
	}
	slices.Sort(rest)
	if len(rest) > 0 {
		fmt.Fprintf(out, "\n%s", strings.Join(rest, ""))
	}
}
