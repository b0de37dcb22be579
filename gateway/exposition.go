package gateway

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

// exposition is a page in the text format of Prometheus, version 0.0.4: for each metric its help,
// its type and its samples, together.
//
//	# HELP meshgate_bridge_sent_total Records that the broker has acknowledged.
//	# TYPE meshgate_bridge_sent_total counter
//	meshgate_bridge_sent_total{bridge="cloud"} 17
type exposition struct {
	order []string
	all   map[string]*metric
}

type metric struct {
	kind, help string
	samples    []string
}

// gauge adds a sample of what goes up and down; labels are names and values in turn.
func (e *exposition) gauge(name, help string, value float64, labels ...string) {
	e.add(name, "gauge", help, value, labels)
}

// counter adds a sample of what only grows in the life of the process; name ends in _total.
func (e *exposition) counter(name, help string, value float64, labels ...string) {
	e.add(name, "counter", help, value, labels)
}

func (e *exposition) add(name, kind, help string, value float64, labels []string) {
	if e.all == nil {
		e.all = map[string]*metric{}
	}
	m := e.all[name]
	if m == nil {
		m = &metric{kind: kind, help: help}
		e.all[name] = m
		e.order = append(e.order, name)
	}
	m.samples = append(m.samples, name+labelText(labels)+" "+numberText(value))
}

var (
	labelEscape = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)
	helpEscape  = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
)

func labelText(labels []string) string {
	if len(labels) == 0 {
		return ""
	}
	var parts []string
	for i := 0; i+1 < len(labels); i += 2 {
		parts = append(parts, labels[i]+`="`+labelEscape.Replace(strings.ToValidUTF8(labels[i+1], "\uFFFD"))+`"`)
	}
	return "{" + strings.Join(parts, ",") + "}"
}

func numberText(v float64) string {
	switch {
	case math.IsNaN(v):
		return "NaN"
	case math.IsInf(v, 1):
		return "+Inf"
	case math.IsInf(v, -1):
		return "-Inf"
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}

func (e *exposition) write(w io.Writer) error {
	for _, name := range e.order {
		m := e.all[name]
		if _, err := fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s %s\n%s\n", name, helpEscape.Replace(m.help), name, m.kind,
			strings.Join(m.samples, "\n")); err != nil {
			return err
		}
	}
	return nil
}
