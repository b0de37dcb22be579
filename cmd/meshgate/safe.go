package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/meshgate/meshgate/gateway/config"
	"github.com/meshgate/meshgate/gpio"
)

// outputsFile, in the state folder, has the outputs that the daemon took up last. `meshgate safe`
// goes by it, so that it works when the configuration has been changed or spoilt meanwhile.
const outputsFile = "outputs.json"

// keepOutputs writes them down, if they have changed.
func keepOutputs(dir string, outs []gpio.Output) error {
	data, err := json.Marshal(outs)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, outputsFile)
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, data) {
		return nil
	}
	if err := os.WriteFile(path+".new", data, 0o640); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// safePatience bounds `meshgate safe`: systemd waits for it before it starts the daemon again.
const safePatience = 2 * time.Second

func safeCmd() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use: "safe", Short: "Bring every actuator to its safe state and let go of it, after the daemon has died", Args: cobra.NoArgs,
		Long: "Bring every actuator to its safe state and let go of it: those that the daemon had last, and those of the configuration.\n" +
			"The unit runs it whenever the daemon has ended, however it did. While the daemon runs, its pins are taken and this fails.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			pins := gpio.Host() // before anything else is opened
			outs, err := outputsToSave(file)
			return errors.Join(makeSafe(outs, pins, cmd.OutOrStdout()), err)
		},
	}
	cmd.Flags().StringVar(&file, "config", defaultConfig, "the configuration")
	return cmd
}

// outputsToSave gives the outputs of the last run, and those of the configuration whose pins are
// not among them. An error says what is missing of it; without it there is no more to be known.
func outputsToSave(file string) ([]gpio.Output, error) {
	cfg, bad := load(file)
	if bad != nil {
		cfg = config.Default()
	}
	var outs []gpio.Output
	data, err := os.ReadFile(filepath.Join(cfg.StateDir, outputsFile))
	if err == nil {
		err = json.Unmarshal(data, &outs)
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil // it has not run yet
	}
	if err != nil {
		err = fmt.Errorf("which outputs the daemon had last is not known: %w", err)
	}
	if bad != nil && len(outs) > 0 {
		return outs, err // the pins that were in use are known, and that is what counts
	}
	for _, o := range cfg.Outputs {
		same := func(p gpio.Output) bool {
			return p.Pin == o.Pin && p.Pin != "sim" || p.Name == o.Name && p.Pin == o.Pin
		}
		if len(o.Group) > 0 || slices.ContainsFunc(outs, same) {
			continue
		}
		if slices.ContainsFunc(outs, func(p gpio.Output) bool { return p.Name == o.Name }) {
			o.Name += ".configured" // the same name on another pin now; both are made safe
		}
		outs = append(outs, o)
	}
	return outs, errors.Join(bad, err)
}

// makeSafe is gpio.Safe with a limit: a pin that does not answer must not hold up the next start.
func makeSafe(outs []gpio.Output, m gpio.Machine, out io.Writer) error {
	end := make(chan error, 1)
	go func() { end <- gpio.Safe(outs, m) }()
	select {
	case err := <-end:
		if err != nil {
			return fmt.Errorf("not all outputs are safe: %w", err)
		}
	case <-time.After(safePatience):
		return errors.New("not all outputs are safe: a pin does not answer")
	}
	fmt.Fprintf(out, "%d outputs are safe\n", len(outs))
	return nil
}
