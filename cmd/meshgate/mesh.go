package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/meshgate/meshgate/gateway/control"
)

func topologyCmd() *cobra.Command {
	var dot, asJSON bool
	cmd := &cobra.Command{
		Use: "topology", Short: "Show how the mesh hangs together", Args: cobra.NoArgs,
		Long: "Shows each mote with its parents, and how well the paths work.\n\n" +
			"The manager tells of paths and links, one question a second: after a start it takes some\n" +
			"seconds for each mote until all is known.",
		Example: "  meshgate topology\n  meshgate topology --dot | dot -Tsvg > mesh.svg",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := daemon(cmd)
			if err != nil {
				return err
			}
			var all []control.Topology
			if err := c.Get(cmd.Context(), "topology", &all); err != nil {
				return err
			}
			switch {
			case asJSON:
				return printJSON(cmd.OutOrStdout(), all)
			case dot:
				printDot(cmd.OutOrStdout(), all)
			default:
				printTopology(cmd.OutOrStdout(), all)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&dot, "dot", false, "as a graph for Graphviz")
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	cmd.MarkFlagsMutuallyExclusive("dot", "json")
	return cmd
}

// printTopology writes a line for each path that is used, below the mote whose way up it is.
func printTopology(out io.Writer, all []control.Topology) {
	t := newTable(out, "MOTE", "ID", "STATE", "HOPS", "PARENT", "QUALITY", "RSSI", "STABILITY", "MANAGER")
	for _, top := range all {
		for _, n := range top.Nodes {
			state := n.State
			if n.AP {
				state = "access point"
			}
			head := []cell{{n.MAC, plain}, {fmt.Sprint(n.ID), plain}, {state, plain}, {number(n.Hops, "%.1f"), plain}}
			up := upward(top, n.MAC)
			if len(up) == 0 {
				t.row(append(head, cell{}, cell{}, cell{}, cell{}, cell{top.Manager, plain})...)
			}
			for i, p := range up {
				if i > 0 {
					head = make([]cell, 4)
				}
				t.row(append(head, cell{p.To, plain}, cell{number(p.Quality, "%d"), plain}, cell{number(p.RSSI, "%d dBm"), plain},
					cell{percent(p.Stability), plain}, cell{top.Manager, plain})...)
			}
		}
	}
	t.print()
	for _, top := range all {
		if top.Asked < len(top.Nodes) {
			fmt.Fprintf(out, "\n%s: the paths of %d of %d are known so far\n", top.Manager, top.Asked, len(top.Nodes))
		}
	}
}

// upward gives the paths to the parents of a mote.
func upward(top control.Topology, mac string) (list []control.Path) {
	for _, p := range top.Links {
		if p.From == mac && p.Used && p.Upstream {
			list = append(list, p)
		}
	}
	return list
}

// printDot writes a directed graph, child to parent. Paths of which only the motes tell have no
// arrow.
func printDot(out io.Writer, all []control.Topology) {
	fmt.Fprintln(out, "digraph mesh {\n\trankdir=BT;\n\tnode [shape=box, style=rounded];")
	for _, top := range all {
		for _, n := range top.Nodes {
			style := ""
			switch {
			case n.AP:
				style = ", shape=doubleoctagon"
			case n.State != "operational":
				style = `, style="rounded,dashed", color=red`
			case n.Fresh == "late" || n.Fresh == "lost":
				style = ", color=orange"
			}
			fmt.Fprintf(out, "\t%s [label=%s%s];\n", strconv.Quote(n.MAC), dotLabel(n.MAC, fmt.Sprintf("id %d, %s", n.ID, top.Manager)), style)
		}
		for _, p := range top.Links {
			if !p.Used {
				continue
			}
			style := ""
			if !p.Upstream {
				style = ", dir=none, style=dotted"
			}
			fmt.Fprintf(out, "\t%s -> %s [label=%s%s];\n", strconv.Quote(p.From), strconv.Quote(p.To),
				dotLabel(number(p.RSSI, "%d dBm"), percent(p.Stability)), style)
		}
	}
	fmt.Fprintln(out, "}")
}

func dotLabel(lines ...string) string {
	var there []string
	for _, l := range lines {
		if l != "" {
			there = append(there, l)
		}
	}
	return strconv.Quote(strings.Join(there, "\n"))
}

func percent(share *float64) string {
	if share == nil {
		return ""
	}
	return fmt.Sprintf("%.1f %%", 100**share)
}

func healthCmd() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "health", Short: "Check the health of the mesh; exit 3 when a check fails", Args: cobra.NoArgs,
		Long: "Judges the mesh by the checks of the vendor's network health analysis, from what the manager\n" +
			"counts and what the motes report every 15 minutes. What there is no data of does not fail.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := daemon(cmd)
			if err != nil {
				return err
			}
			var all []control.MeshHealth
			if err := c.Get(cmd.Context(), "health", &all); err != nil {
				return err
			}
			if asJSON {
				err = printJSON(cmd.OutOrStdout(), all)
			} else {
				printHealth(cmd.OutOrStdout(), all)
			}
			for _, h := range all {
				if err == nil && !h.OK {
					err = status{code: exitNotWell}
				}
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return cmd
}

func printHealth(out io.Writer, all []control.MeshHealth) {
	for _, h := range all {
		fmt.Fprintf(out, "%s: %d of %d motes in the network\n\n", h.Manager, h.Operational, h.Motes)
		t := newTable(out, "CHECK", "RESULT", "LIMIT")
		for _, c := range h.Checks {
			result := cell{"no data yet", plain}
			switch {
			case c.Failed > 0:
				result = cell{fmt.Sprintf("%d of %d fail", c.Failed, c.Judged), red}
			case c.Judged > 0:
				result = cell{fmt.Sprintf("good (%d)", c.Judged), green}
			}
			t.row(cell{c.Name, plain}, result, cell{c.Limit, plain})
		}
		t.print()
		fmt.Fprintln(out)
		for _, f := range h.Failures {
			who := f.MAC
			if who == "" {
				who = "the network"
			}
			fmt.Fprintf(out, "%s, %s: %s\n    %s\n", who, f.Check, f.Text, f.Remedy)
		}
	}
}
