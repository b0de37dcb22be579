package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/meshgate/meshgate/bridge"
)

func bridgeCmd() *cobra.Command {
	var file string
	root := &cobra.Command{Use: "bridge", Short: "Look into the rules of the bridges"}
	test := &cobra.Command{
		Use: "test TOPIC", Short: "Say which rules a topic matches, and what it becomes", Args: cobra.ExactArgs(1),
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
				return fmt.Errorf("no rule of %s carries %s", file, args[0])
			}
			t.print()
			return nil
		},
	}
	test.Flags().StringVar(&file, "config", defaultConfig, "the configuration")
	root.AddCommand(test, bridgeImportCmd())
	return root
}
