package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/meshgate/meshgate/bridge"
	"github.com/meshgate/meshgate/bridge/spool"
	"github.com/meshgate/meshgate/gateway"
	"github.com/meshgate/meshgate/gateway/config"
	"github.com/meshgate/meshgate/gateway/control"
)

// spoolView is what the commands on the disk buffer share: which one, and which of its records.
// They only read, take no lock, and may look into the folder of a running daemon.
type spoolView struct {
	file, stateDir  string
	from, to, topic string
	last            time.Duration

	cfg    *config.Config // with --config
	id     string         // of the gateway, "" when it is not known
	folder string
	look   *spool.Snapshot
}

func spoolCmd() *cobra.Command {
	root := &cobra.Command{
		Use: "spool", Short: "Look into the disk buffer of a running or a dead gateway",
		Long: `Without --config or --state-dir, the running daemon says where its disk buffer is.
Nothing is written to it and nothing is locked: a live gateway does not notice.`,
	}
	root.AddCommand(spoolStatCmd(), spoolDumpCmd(), spoolExportCmd(), spoolReplayCmd(), spoolVerifyCmd())
	return root
}

func (v *spoolView) flags(cmd *cobra.Command, choose bool) *cobra.Command {
	cmd.Flags().StringVar(&v.file, "config", "", "the configuration of the gateway whose buffer it is")
	cmd.Flags().StringVar(&v.stateDir, "state-dir", "", "the state folder, of a gateway that is dead for instance")
	if choose {
		cmd.Flags().StringVar(&v.from, "from", "", "from this record on: a number (seq) or a time such as 2026-11-25T13:00:00Z")
		cmd.Flags().StringVar(&v.to, "to", "", "up to this record (a number, inclusive) or time (exclusive)")
		cmd.Flags().StringVar(&v.topic, "topic", "", "only topics that match this filter, such as mote/+/temperature")
		cmd.Flags().DurationVar(&v.last, "last", 0, "only what was measured so lately, such as 1h")
	}
	return cmd
}

// open finds the folder and looks into it.
func (v *spoolView) open(cmd *cobra.Command) error {
	switch {
	case v.file != "":
		cfg, err := load(v.file)
		if err != nil {
			return err
		}
		v.cfg, v.id = cfg, cfg.ID
		v.folder = filepath.Join(cmp.Or(v.stateDir, cfg.StateDir), "spool")
	case v.stateDir != "":
		v.folder = filepath.Join(v.stateDir, "spool")
		if inside, err := filepath.Glob(filepath.Join(v.stateDir, "*.seg")); err == nil && len(inside) > 0 {
			v.folder = v.stateDir // it is the spool's folder itself
		}
	default:
		if err := v.ask(cmd); err != nil {
			return err
		}
	}
	look, err := spool.Inspect(v.folder)
	v.look = look
	return err
}

// ask lets the running daemon say where its spool is.
func (v *spoolView) ask(cmd *cobra.Command) error {
	c, err := daemon(cmd)
	var s control.Status
	if err == nil {
		err = c.Get(cmd.Context(), "status", &s)
	}
	if err != nil {
		return fmt.Errorf("%w; of a gateway that does not run, name the buffer with --config FILE or --state-dir DIR", err)
	}
	i := slices.IndexFunc(s.Links, func(l control.Link) bool { return l.Kind == "spool" })
	if i < 0 {
		return errors.New("the running daemon does not say where its disk buffer is: name it with --state-dir DIR")
	}
	v.id, v.folder = s.ID, s.Links[i].Detail
	return nil
}

// filter reads the flags that choose records.
func (v *spoolView) filter() (spool.Filter, error) {
	var f spool.Filter
	if err := bound(v.from, &f.From, &f.After); err != nil {
		return f, status{exitUsage, fmt.Errorf("--from: %w", err)}
	}
	if err := bound(v.to, &f.To, &f.Before); err != nil {
		return f, status{exitUsage, fmt.Errorf("--to: %w", err)}
	}
	if v.last < 0 || v.last > 0 && !f.After.IsZero() {
		return f, status{exitUsage, errors.New("--last is a time such as 1h, and no --from time goes with it")}
	}
	if v.last > 0 {
		f.After = time.Now().Add(-v.last)
	}
	if v.topic != "" {
		if err := bridge.ValidFilter(v.topic); err != nil {
			return f, status{exitUsage, fmt.Errorf("--topic: %w", err)}
		}
	}
	return f, nil
}

func bound(text string, seq *uint64, at *time.Time) error {
	if text == "" {
		return nil
	}
	if n, err := strconv.ParseUint(text, 10, 48); err == nil {
		*seq = n
		return nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", time.DateTime, time.DateOnly} {
		if t, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			*at = t
			return nil
		}
	}
	return fmt.Errorf("%q is neither the number of a record nor a time such as 2026-11-25T13:00:00Z", text)
}

// rendered is a record as a bridge would send it.
type rendered struct {
	spool.Record
	topic   string
	payload []byte
}

// records gives those that the flags choose. What is damaged or of a later version is named on
// errs and counted in bad. Progress is shown there too.
func (v *spoolView) records(errs io.Writer, p *progress, historical bool, bad *uint64) iter.Seq2[rendered, error] {
	return func(yield func(rendered, error) bool) {
		f, err := v.filter()
		if err != nil {
			yield(rendered{}, err)
			return
		}
		again, err := gateway.Redate(filepath.Dir(v.folder))
		if err != nil {
			fmt.Fprintln(errs, "records of before the clock was right keep their dates:", err)
		}
		first := max(f.From, v.look.Oldest)
		for r, err := range v.look.All(f) {
			var damage *spool.Damage
			switch {
			case errors.As(err, &damage):
				*bad += damage.Last - damage.First + 1
				fmt.Fprintln(errs, strings.TrimPrefix(err.Error(), "spool: "))
				continue
			case err != nil:
				yield(rendered{}, err)
				return
			}
			p.at(r.Seq - first + 1)
			if v.topic != "" && !bridge.Match(v.topic, r.Topic) {
				continue
			}
			again(&r)
			topic, payload, err := gateway.Render(r, historical)
			if err != nil {
				*bad++
				fmt.Fprintln(errs, strings.TrimPrefix(err.Error(), "gateway: "))
				continue
			}
			if !yield(rendered{r, topic, payload}, nil) {
				return
			}
		}
	}
}

// count is how many records the bounds can hold, for progress.
func (v *spoolView) count() uint64 {
	f, err := v.filter()
	if err != nil {
		return 0
	}
	end := v.look.Next
	if f.To != 0 {
		end = min(end, f.To+1)
	}
	if first := max(f.From, v.look.Oldest); end > first {
		return end - first
	}
	return 0
}

// stampOf writes the time of a record; one without a time has none.
func stampOf(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z07:00")
}

func spoolStatCmd() *cobra.Command {
	var v spoolView
	var asJSON bool
	cmd := &cobra.Command{
		Use: "stat", Short: "Show what is stored, and how far each reader is", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := v.open(cmd); err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), statOf(v.folder, v.look))
			}
			printStat(cmd.OutOrStdout(), v.folder, v.look)
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return v.flags(cmd, false)
}
