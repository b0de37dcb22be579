package main

import (
	"bufio"
	"encoding/base64"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

// exported is a line of `spool export --format jsonl`. A payload that is no text is in base64,
// and says so.
type exported struct {
	Seq      uint64 `json:"seq"`
	Topic    string `json:"topic"`
	Payload  string `json:"payload"`
	Encoding string `json:"encoding,omitempty"`
	Time     string `json:"time"`
}

func exportOf(r rendered) exported {
	e := exported{Seq: r.Seq, Topic: r.topic, Payload: string(r.payload), Time: stampOf(r.Time)}
	if !utf8.Valid(r.payload) {
		e.Payload, e.Encoding = base64.StdEncoding.EncodeToString(r.payload), "base64"
	}
	return e
}

func spoolDumpCmd() *cobra.Command {
	var v spoolView
	cmd := &cobra.Command{
		Use: "dump", Short: "Print records for people, one a line", Args: cobra.NoArgs,
		Example: "  meshgate spool dump --last 1h --topic 'mote/+/temperature'\n  meshgate spool dump --state-dir /mnt/card/var/lib/meshgate",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := v.open(cmd); err != nil {
				return err
			}
			out := bufio.NewWriter(cmd.OutOrStdout())
			colour, bad := isTerminal(cmd.OutOrStdout()), uint64(0)
			for r, err := range v.records(cmd.ErrOrStderr(), newProgress(io.Discard, "", 0), false, &bad) {
				if err != nil {
					return errors.Join(err, out.Flush())
				}
				if _, err := fmt.Fprintf(out, "%8d  %-24s  %s  %s\n", r.Seq, stampOf(r.Time), paint(colour, bold, r.topic), printable(string(r.payload))); err != nil {
					return err
				}
			}
			return out.Flush()
		},
	}
	return v.flags(cmd, true)
}

func spoolExportCmd() *cobra.Command {
	var v spoolView
	var format, file string
	cmd := &cobra.Command{
		Use: "export", Short: "Write records as jsonl or csv", Args: cobra.NoArgs,
		Example: "  meshgate spool export --format csv --last 24h -o day.csv",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if format != "jsonl" && format != "csv" {
				return status{exitUsage, fmt.Errorf("--format %q is neither jsonl nor csv", format)}
			}
			if err := v.open(cmd); err != nil {
				return err
			}
			if file == "" {
				return v.export(cmd, cmd.OutOrStdout(), format)
			}
			f, err := os.Create(file)
			if err != nil {
				return err
			}
			err = v.export(cmd, f, format)
			return errors.Join(err, f.Close())
		},
	}
	cmd.Flags().StringVar(&format, "format", "jsonl", "jsonl (seq, topic, payload, time) or csv (the same columns)")
	cmd.Flags().StringVarP(&file, "output", "o", "", "the file (default: standard output)")
	return v.flags(cmd, true)
}

// export writes what is chosen. Progress goes to standard error, unless the records themselves are
// on the same terminal.
func (v *spoolView) export(cmd *cobra.Command, to io.Writer, format string) error {
	errs := cmd.ErrOrStderr()
	bar := newProgress(errs, "records", v.count())
	if isTerminal(to) {
		bar = newProgress(io.Discard, "records", 0)
	}
	out := bufio.NewWriter(to)
	write, flush := jsonLines(out), func() error { return nil }
	if format == "csv" {
		write, flush = csvLines(out)
	}
	var n, bad uint64
	for r, err := range v.records(errs, bar, false, &bad) {
		if err == nil {
			n++
			err = write(exportOf(r))
		}
		if err != nil {
			return errors.Join(err, out.Flush())
		}
	}
	if err := errors.Join(flush(), out.Flush()); err != nil {
		return err
	}
	bar.end("%d records, %d that cannot be read, %s", n, bad, bar.rate())
	return nil
}

func jsonLines(out io.Writer) func(exported) error {
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	return func(e exported) error { return enc.Encode(e) }
}

func csvLines(out io.Writer) (write func(exported) error, flush func() error) {
	w := csv.NewWriter(out)
	w.Write([]string{"seq", "topic", "payload", "time"}) // an error shows in Flush
	write = func(e exported) error {
		return w.Write([]string{strconv.FormatUint(e.Seq, 10), e.Topic, e.Payload, e.Time})
	}
	return write, func() error { w.Flush(); return w.Error() }
}
