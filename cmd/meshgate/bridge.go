package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/meshgate/meshgate/bridge"
	"github.com/meshgate/meshgate/gateway/config"
)

func bridgeCmd() *cobra.Command {
	var file string
	root := &cobra.Command{Use: "bridge", Short: "Look into the rules of the bridges"}
	test := &cobra.Command{
		Use: "test TOPIC", Short: "Say which rules a topic matches, and what it becomes", Args: cobra.ExactArgs(1),
		Long: `TOPIC is a topic of this side, for what goes out, or one at the broker, with its prefix, for what comes in. It is
said which rules it matches, and what it becomes on the other side.`,
		Example: "  meshgate bridge test mote/00-17-0d-00-00-38-05-e9/temperature\n  meshgate bridge test meshgate/greenhouse-1/actuator/led/set",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := bridge.ValidTopic(args[0]); err != nil {
				return status{exitUsage, err}
			}
			cfg, err := load(file)
			if err != nil {
				return err
			}
			t := newTable(cmd.OutOrStdout(), "BRIDGE", "DIRECTION", "BECOMES", "QOS", "RETAIN")
			crosses := false
			for _, b := range cfg.Bridges {
				if remote, r, ok := b.Rules.OutBy(args[0]); ok {
					t.row(cell{b.Name, plain}, cell{"out", plain}, cell{remote, plain}, cell{fmt.Sprint(r.QoS), plain}, cell{r.Retain.String(), plain})
					crosses = true
				}
				if local, r, ok := b.Rules.InBy(args[0]); ok {
					t.row(cell{b.Name, plain}, cell{"in", plain}, cell{local, plain}, cell{fmt.Sprint(r.QoS), plain}, cell{r.Retain.String(), plain})
					crosses = true
				}
			}
			if !crosses {
				return fmt.Errorf("no rule of %s carries %s%s", file, args[0], inwards(cfg.Bridges, args[0]))
			}
			t.print()
			return nil
		},
	}
	test.Flags().StringVar(&file, "config", defaultConfig, "the configuration")
	root.AddCommand(test, bridgeImportCmd())
	return root
}

// inwards is for who asks what comes in by its topic of this side.
func inwards(bridges []config.Bridge, topic string) string {
	for _, b := range bridges {
		if local, _, ok := b.Rules.InBy(b.Prefix + topic); ok && local == topic {
			return fmt.Sprintf("; %s brings it in as %s", b.Name, b.Prefix+topic)
		}
	}
	return ""
}
