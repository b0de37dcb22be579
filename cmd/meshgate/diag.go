package main

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/meshgate/meshgate/bridge/spool"
	"github.com/meshgate/meshgate/gateway/config"
	"github.com/meshgate/meshgate/gateway/control"
)

func diagCmd() *cobra.Command {
	var file, out string
	var words bool
	cmd := &cobra.Command{
		Use: "diag", Short: "Collect what a bug report needs, without secrets; or say what is likely wrong", Args: cobra.NoArgs,
		Long: `Writes a tar.gz with the status, the configuration without its secrets, the last logs, figures of the disk buffer,
versions, kernel, ports, GPIO and the state of the clock. It works as well when the daemon is dead. With --explain
it says instead, in words, what is likely wrong with each link that is down.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if words {
				return explainDaemon(cmd)
			}
			folder := "meshgate-diag-" + time.Now().UTC().Format("20060102-150405")
			out := cmp.Or(out, folder+".tar.gz")
			if err := writeBundle(out, folder, collect(cmd, file)); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s\n", out)
			return nil
		},
	}
	cmd.Flags().StringVar(&file, "config", defaultConfig, "the configuration")
	cmd.Flags().StringVarP(&out, "output", "o", "", "the file to write (default: meshgate-diag-TIME.tar.gz)")
	cmd.Flags().BoolVar(&words, "explain", false, "say in words what is likely wrong")
	return cmd
}

func explainDaemon(cmd *cobra.Command) error {
	var s control.Status
	c, err := daemon(cmd)
	if err == nil {
		err = c.Get(cmd.Context(), "status", &s)
	}
	if err != nil {
		fmt.Fprintln(cmd.OutOrStdout(), explainNoDaemon(err))
		return status{code: exitNotWell}
	}
	list := explain(s)
	if len(list) == 0 {
		fmt.Fprintln(cmd.OutOrStdout(), "Nothing is wrong that meshgate knows of.")
		return nil
	}
	for _, text := range list {
		fmt.Fprintf(cmd.OutOrStdout(), "- %s\n", text)
	}
	return status{code: exitNotWell}
}

// item is one file of the bundle; what cannot be had is told in its place.
type item struct {
	name string
	data []byte
}

const (
	maxItem     = 4 << 20          // of the logs, the one thing that can be long
	itemTimeout = 10 * time.Second // for each program that is asked
)

func collect(cmd *cobra.Command, file string) []item {
	ctx := cmd.Context()
	var all []item
	add := func(name string, data []byte, err error) {
		if err != nil {
			data = append(data, "\n"+err.Error()+"\n"...)
		}
		all = append(all, item{name, data[max(0, len(data)-maxItem):]})
	}
	for _, what := range []string{"status", "motes", "config"} {
		data, err := ask(cmd, what)
		add(what+".json", data, err)
	}
	cfg, err := config.Load(file)
	if err != nil {
		cfg = config.Default()
		add("config-mistakes.txt", nil, err)
	}
	text, err := os.ReadFile(file)
	add("gateway.yaml", redactedYAML(text), err)
	data, err := spoolFigures(cfg.StateDir)
	add("spool.json", data, err)
	add("version.txt", versions(), nil)
	add("clock.txt", fmt.Appendf(nil, "now %s\ntrusted %v\nsynchroniser runs %v\n", time.Now().Format(time.RFC3339Nano), clockRight(), synchroniserRuns()), nil)
	for name, args := range map[string][]string{
		"log.txt":         {"journalctl", "-u", "meshgate", "-n", "5000", "--no-pager", "-o", "short-precise"},
		"unit.txt":        {"systemctl", "show", "meshgate", "--no-pager"},
		"timedatectl.txt": {"timedatectl"},
		"disks.txt":       {"df", "-h", cfg.StateDir},
		"network.txt":     {"ip", "address"},
		"kernel-log.txt":  {"sh", "-c", "dmesg | grep -iE 'tty|usb|gpio|mmc|ext4|voltage' | tail -n 300"},
		"devices.txt":     {"sh", "-c", "ls -l /dev/smartmesh-api* /dev/serial/by-id /dev/tty[UA]* /dev/gpiochip* /sys/class/leds; id"},
		"gpio.txt":        {"sh", "-c", "cat /sys/kernel/debug/gpio; for f in /sys/bus/gpio/devices/*/; do echo $f; done"},
	} {
		data, err := output(ctx, args...)
		add(name, data, err)
	}
	return all
}

// ask gives the daemon's own answer.
func ask(cmd *cobra.Command, what string) ([]byte, error) {
	c, err := daemon(cmd)
	if err != nil {
		return nil, err
	}
	var v any
	if err := c.Get(cmd.Context(), what, &v); err != nil {
		return nil, err
	}
	if m, ok := v.(map[string]any); ok && what == "config" {
		delete(m, "unsaved") // the whole text of a configuration
	}
	return json.MarshalIndent(v, "", "  ")
}

func output(ctx context.Context, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, itemTimeout)
	defer cancel()
	c := exec.CommandContext(ctx, args[0], args[1:]...)
	c.WaitDelay = time.Second
	return c.CombinedOutput()
}

func spoolFigures(stateDir string) ([]byte, error) {
	snap, err := spool.Inspect(filepath.Join(stateDir, "spool"))
	if err != nil {
		return nil, err
	}
	return json.MarshalIndent(snap, "", "  ")
}

func versions() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "meshgate %s\n%s %s/%s\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	for _, f := range []string{"/proc/version", "/etc/os-release", "/sys/firmware/devicetree/base/model"} {
		if data, err := os.ReadFile(f); err == nil {
			fmt.Fprintf(&b, "\n%s\n", bytes.Trim(data, "\x00\n"))
		}
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		fmt.Fprintf(&b, "\n%s", info)
	}
	return b.Bytes()
}

// redactedYAML is the file as it was written, without what could be a secret: the values of keys
// that sound like one, user information and queries of URLs. Passwords are in other files, which
// are not read.
func redactedYAML(text []byte) []byte {
	var out []byte
	for line := range strings.Lines(string(text)) {
		out = append(out, redactLine(line)...)
	}
	return out
}

// writeBundle is the tar.gz, for its owner's eyes. It unpacks into the folder.
func writeBundle(path, folder string, items []item) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = bundle(f, folder, items)
	if e := f.Close(); err == nil {
		err = e
	}
	return err
}

func bundle(w io.Writer, folder string, items []item) error {
	z := gzip.NewWriter(w)
	t := tar.NewWriter(z)
	for _, it := range items {
		h := &tar.Header{Name: folder + "/" + it.name, Mode: 0o600, Size: int64(len(it.data)), ModTime: time.Now()}
		if err := t.WriteHeader(h); err != nil {
			return err
		}
		if _, err := t.Write(it.data); err != nil {
			return err
		}
	}
	if err := t.Close(); err != nil {
		return err
	}
	return z.Close()
}
