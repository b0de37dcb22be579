package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/meshgate/meshgate/gateway"
	"github.com/meshgate/meshgate/gateway/config"
)

func spoolVerifyCmd() *cobra.Command {
	var v spoolView
	var against, over string
	cmd := &cobra.Command{
		Use: "verify", Short: "Read everything; or compare it with what a receiver has", Args: cobra.NoArgs,
		Long: `Without --against, every record is read and its check sum compared; exit 1 when one is damaged.

With --against, the records are compared with what a receiver has: lines of JSON that hold a "seq", such as
` + "`spool export`" + ` writes, or the payloads themselves. Ranges of numbers that the receiver does not have, or has more
than once, are printed, and the exit status is 1. --bridge leaves out what its rules do not carry, and what it
has not delivered yet. Messages of local clients go over a bridge as they came, without a number: in payloads
they are not looked for.`,
		Example: "  meshgate spool verify --against received.jsonl --config gateway.yaml --bridge cloud",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := v.open(cmd); err != nil {
				return err
			}
			if against == "" {
				return v.check(cmd)
			}
			return v.compare(cmd, against, over)
		},
	}
	cmd.Flags().StringVar(&against, "against", "", "FILE, http(s)://URL or - (standard input) with what a receiver has")
	cmd.Flags().StringVar(&over, "bridge", "", "only what this bridge of --config carries and has delivered")
	return v.flags(cmd, true)
}

// check reads every record.
func (v *spoolView) check(cmd *cobra.Command) error {
	bar := newProgress(cmd.ErrOrStderr(), "records", v.count())
	var n, bad uint64
	for _, err := range v.records(cmd.OutOrStdout(), bar, false, &bad) {
		if err != nil {
			return err
		}
		n++
	}
	bar.end("%d records are whole, %s", n, bar.rate())
	if bad > 0 {
		return fmt.Errorf("%d records are damaged", bad)
	}
	return nil
}

// compare prints what a receiver is missing, and what it has more than once.
func (v *spoolView) compare(cmd *cobra.Command, against, over string) error {
	if _, err := v.filter(); err != nil {
		return err
	}
	carries, err := v.carrier(over)
	if err != nil {
		return err
	}
	have, err := received(cmd.Context(), against, cmd.InOrStdin())
	if err != nil {
		return err
	}
	bar := newProgress(cmd.ErrOrStderr(), "records", v.count())
	missing, repeated := &ranges{}, &ranges{}
	all := v.topic == "" && over == "" && v.last == 0 && v.from == "" // every number was a record once
	if all {
		have.gaps(v.look.Oldest, missing)
	}
	var bad, n, silent uint64
	next := v.look.Oldest
	for r, err := range v.records(cmd.ErrOrStderr(), bar, false, &bad) {
		if err != nil {
			return err
		}
		for ; all && next < r.Seq; next++ { // damaged here
			have.lacks(next, missing)
		}
		next = r.Seq + 1
		if n++; !have.exported && !gateway.Numbered(r.Record) {
			silent++
		} else if carries(r) {
			have.lacks(r.Seq, missing)
		}
	}
	have.repeats(repeated)
	missing.print(cmd.OutOrStdout(), "missing")
	repeated.print(cmd.OutOrStdout(), "repeated")
	bar.end("%d records stored, %d of them without a number, %d numbers received: %d missing, %d repeated", n, silent, len(have.seqs), missing.n, repeated.n)
	if missing.n+repeated.n > 0 {
		return status{code: exitFailed}
	}
	return nil
}

// carrier says of a record whether a bridge has delivered it; without a bridge, all count.
func (v *spoolView) carrier(name string) (func(rendered) bool, error) {
	if name == "" {
		return func(rendered) bool { return true }, nil
	}
	b, err := v.bridge(name)
	if err != nil {
		return nil, err
	}
	waits := func(uint64) bool { return false }
	for _, c := range v.look.Cursors {
		if c.Name == name {
			waits = func(seq uint64) bool {
				return seq > c.Low && !slices.ContainsFunc(c.Above, func(r [2]uint64) bool { return r[0] <= seq && seq <= r[1] })
			}
		}
	}
	return func(r rendered) bool {
		_, _, ok := gateway.Carries(b, r.Record)
		return ok && !waits(r.Seq)
	}, nil
}

// bridge finds a bridge of --config.
func (v *spoolView) bridge(name string) (config.Bridge, error) {
	if v.cfg == nil {
		return config.Bridge{}, status{exitUsage, errors.New("--bridge needs --config")}
	}
	var names []string
	for _, b := range v.cfg.Bridges {
		if b.Name == name {
			return b, nil
		}
		names = append(names, b.Name)
	}
	return config.Bridge{}, status{exitUsage, fmt.Errorf("no bridge is called %q, there is %s", name, strings.Join(names, ", "))}
}

// numbers are the sequences that a receiver has, sorted; one that came twice is there twice.
type numbers struct {
	seqs     []uint64
	exported bool // the lines tell the number of every record, not only of those that say it themselves
}

// received reads lines of JSON with a seq; other lines do not count.
func received(ctx context.Context, from string, in io.Reader) (numbers, error) {
	var n numbers
	r, err := opened(ctx, from, in)
	if err != nil {
		return n, err
	}
	defer r.Close()
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		if seq, beside, ok := seqIn(lines.Bytes()); ok {
			n.seqs, n.exported = append(n.seqs, seq), n.exported || beside
		}
	}
	slices.Sort(n.seqs)
	return n, lines.Err()
}

func opened(ctx context.Context, from string, in io.Reader) (io.ReadCloser, error) {
	switch {
	case from == "-":
		return io.NopCloser(in), nil
	case !strings.HasPrefix(from, "http://") && !strings.HasPrefix(from, "https://"):
		return os.Open(from)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		return nil, fmt.Errorf("%s: %s", from, resp.Status)
	}
	return resp.Body, nil
}

// seqIn finds the number in a line: beside a payload, in the payload, as text or as an object, or in
// the line itself, which is the payload then. What stands before the object (a topic, as mosquitto_sub
// -v writes it) is passed over.
func seqIn(line []byte) (seq uint64, beside, ok bool) {
	at := strings.IndexByte(string(line), '{')
	if at < 0 {
		return 0, false, false
	}
	var l struct {
		Seq     *uint64
		Payload json.RawMessage
	}
	if json.Unmarshal(line[at:], &l) != nil {
		return 0, false, false
	}
	if l.Seq != nil {
		return *l.Seq, l.Payload != nil, true
	}
	var text string
	if json.Unmarshal(l.Payload, &text) == nil {
		l.Payload = json.RawMessage(text)
	}
	if json.Unmarshal(l.Payload, &l) != nil || l.Seq == nil {
		return 0, false, false
	}
	return *l.Seq, false, true
}

// lacks adds a number that is not there to a list.
func (n numbers) lacks(seq uint64, to *ranges) {
	if _, ok := slices.BinarySearch(n.seqs, seq); !ok {
		to.add(seq)
	}
}

// gaps adds the numbers below end that lie between those received.
func (n numbers) gaps(end uint64, to *ranges) {
	for i, seq := range n.seqs {
		next := end
		if i+1 < len(n.seqs) {
			next = min(n.seqs[i+1], end)
		}
		if seq+1 < next {
			to.span(seq+1, next-1)
		}
	}
}

func (n numbers) repeats(to *ranges) {
	for i := 1; i < len(n.seqs); i++ {
		if n.seqs[i] == n.seqs[i-1] && (i < 2 || n.seqs[i-2] != n.seqs[i]) {
			to.add(n.seqs[i])
		}
	}
}

// ranges are numbers in order, joined where they follow each other.
type ranges struct {
	all [][2]uint64
	n   uint64
}

func (r *ranges) add(seq uint64) { r.span(seq, seq) }

func (r *ranges) span(lo, hi uint64) {
	r.n += hi - lo + 1
	if last := len(r.all) - 1; last >= 0 && r.all[last][1]+1 == lo {
		r.all[last][1] = hi
		return
	}
	r.all = append(r.all, [2]uint64{lo, hi})
}

func (r *ranges) print(out io.Writer, what string) {
	for _, s := range r.all {
		if s[0] == s[1] {
			fmt.Fprintf(out, "%s %d\n", what, s[0])
		} else {
			fmt.Fprintf(out, "%s %d-%d\n", what, s[0], s[1])
		}
	}
}
