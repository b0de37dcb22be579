package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/meshgate/meshgate/gateway"
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

// keeper writes down the outputs of a daemon with this state folder: before a changed configuration is put in force those it
// has and those to come, and afterwards what it has then. Under systemd they are also in the folder that `meshgate safe`
// looks into when a spoilt configuration does not say where the state is.
type keeper struct {
	dirs []string
	log  *slog.Logger
	leds func() []gpio.LED
}

func newKeeper(stateDir string, log *slog.Logger) keeper {
	k := keeper{[]string{stateDir}, log, gpio.LEDs}
	if dir := config.Default().StateDir; os.Getenv("STATE_DIRECTORY") != "" && dir != stateDir {
		k.dirs = append(k.dirs, dir)
	}
	return k
}

func (k keeper) keep(outs []gpio.Output) {
	outs = k.withTriggers(outs)
	for _, dir := range k.dirs {
		if err := keepOutputs(dir, outs); err != nil {
			k.log.Warn("the outputs cannot be written down for `meshgate safe`, which will have to go by the configuration", "error", err)
		}
	}
}

// withTriggers notes what LEDs show before they are taken, or, where they show nothing, what was noted before: `meshgate safe`
// then finds them as the daemon has left them.
func (k keeper) withTriggers(outs []gpio.Output) []gpio.Output {
	had, _ := keptOutputs(k.dirs[0])
	noted := map[string]string{}
	for _, o := range had {
		noted[o.Pin] = o.Trigger
	}
	for _, l := range k.leds() {
		if l.Trigger != "" && l.Trigger != "none" {
			noted["led:"+l.Name] = l.Trigger
		}
	}
	outs = slices.Clone(outs)
	for i := range outs {
		outs[i].Trigger = noted[outs[i].Pin]
	}
	return outs
}

// follow has the source of configurations tell of every change.
func (k keeper) follow(src gateway.Source) gateway.Source {
	load, applied := src.Load, src.Applied
	src.Load = func(text []byte) (*config.Config, error) {
		cfg, err := load(text)
		if err == nil {
			had, _ := keptOutputs(k.dirs[0]) // what cannot be read is written anew
			k.keep(addOutputs(had, cfg.Outputs))
		}
		return cfg, err
	}
	src.Applied = func(cfg *config.Config) {
		k.keep(cfg.Outputs)
		applied(cfg)
	}
	return src
}

// keptOutputs reads what was written down; nothing when the daemon has not run yet.
func keptOutputs(dir string) (outs []gpio.Output, err error) {
	data, err := os.ReadFile(filepath.Join(dir, outputsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &outs)
	}
	return outs, err
}

// addOutputs adds those whose pins are not among outs. The same name on another pin gets another name: both are made safe.
func addOutputs(outs, more []gpio.Output) []gpio.Output {
	for _, o := range more {
		same := func(p gpio.Output) bool {
			return p.Pin == o.Pin && p.Pin != "sim" || p.Name == o.Name && p.Pin == o.Pin
		}
		if len(o.Group) > 0 || slices.ContainsFunc(outs, same) {
			continue
		}
		for slices.ContainsFunc(outs, func(p gpio.Output) bool { return p.Name == o.Name }) {
			o.Name += ".configured"
		}
		outs = append(outs, o)
	}
	return outs
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
	outs, err := keptOutputs(cfg.StateDir)
	if dir := config.Default().StateDir; len(outs) == 0 && err == nil && os.Getenv("STATE_DIRECTORY") != "" {
		outs, err = keptOutputs(dir) // state_dir has been changed, and the daemon had not been started with it
	}
	if err != nil {
		err = fmt.Errorf("which outputs the daemon had last is not known: %w", err)
	}
	if bad != nil && len(outs) > 0 {
		return outs, err // the pins that were in use are known, and that is what counts
	}
	outs = addOutputs(outs, cfg.Outputs)
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
