package main

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"

	"github.com/meshgate/meshgate/gateway/control"
)

func to[T any](v T) *T { return &v }

var smallMesh = []control.Topology{{Manager: "main", Asked: 2,
	Nodes: []control.Node{{MAC: "ap", ID: 1, AP: true, State: "operational"},
		{MAC: "one", ID: 2, State: "operational", Parents: []string{"ap"}, Hops: to(1.0)},
		{MAC: "two", ID: 3, State: "operational", Fresh: "late", Parents: []string{"ap", "one"}, Hops: to(1.5)},
		{MAC: "away", ID: 4, State: "lost"}},
	Links: []control.Path{{From: "one", To: "ap", Used: true, Upstream: true, Quality: to(98), RSSI: to(-60), Stability: to(0.975)},
		{From: "two", To: "ap", Used: true, Upstream: true}, {From: "two", To: "one", Used: true, Upstream: true},
		{From: "one", To: "two", Used: true}, {From: "ap", To: "two", RSSIBack: to(-90)}}}}

func TestPrintTopology(t *testing.T) {
	var out bytes.Buffer
	printTopology(&out, smallMesh)
	for _, want := range []string{"ap    1   access point", "one   2   operational   1.0   ap      98       -60 dBm  97.5 %     main",
		"two   3   operational   1.5   ap", "away  4   lost", "main: the paths of 2 of 4 are known so far"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
}

func TestPrintDot(t *testing.T) {
	var out bytes.Buffer
	printDot(&out, smallMesh)
	for _, want := range []string{"digraph mesh {", `"one" -> "ap" [label="-60 dBm\n97.5 %"];`, `"ap" [label="ap\nid 1, main", shape=doubleoctagon];`,
		`"one" -> "two" [label="", dir=none, style=dotted];`} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
	if strings.Contains(out.String(), `"ap" -> "two"`) {
		t.Errorf("a path that is only heard:\n%s", &out)
	}
	dot, err := exec.LookPath("dot")
	if err != nil {
		t.Skip("Graphviz is not here: not checked whether it takes the graph")
	}
	cmd := exec.Command(dot, "-Tplain")
	cmd.Stdin = &out
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("dot: %v: %s", err, text)
	}
}

func TestPrintHealth(t *testing.T) {
	var out bytes.Buffer
	printHealth(&out, []control.MeshHealth{{Manager: "main", Motes: 3, Operational: 2,
		Checks: []control.Check{{Name: "links", Limit: "few", Judged: 3}, {Name: "battery", Limit: "full", Judged: 2, Failed: 1}, {Name: "joins", Limit: "1"}},
		Failures: []control.Failure{{Check: "battery", MAC: "one", Text: "it is empty", Remedy: "change it"},
			{Check: "reliability", Text: "lossy", Remedy: "look"}}}})
	for _, want := range []string{"main: 2 of 3 motes", "links    good (3)", "battery  1 of 2 fail", "joins    no data yet",
		"one, battery: it is empty\n    change it\n", "the network, reliability: lossy"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
}
