package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kardianos/service"
	"github.com/spf13/cobra"
)

// packagedUnits are where the package has its unit. One in /etc would shadow it for ever.
var packagedUnits = []string{"/usr/lib/systemd/system/meshgate.service", "/lib/systemd/system/meshgate.service"}

// What the library calls them.
const (
	systemd = "linux-systemd"
	sysv    = "unix-systemv"
)

// sysvScript is where the library puts the script of a SysV init.
const sysvScript = "/etc/init.d/meshgate"

func serviceCmd() *cobra.Command {
	root := &cobra.Command{
		Use: "service", Short: "Run meshgate as a service of this machine, where there is no package for it",
		Long: `Installs and steers meshgate as a service of whatever this machine has: systemd, SysV init, OpenRC, Upstart, procd.
Where the Debian package is installed, the package has done that: use systemctl.`,
	}
	var file string
	install := &cobra.Command{
		Use: "install", Short: "Install and enable the service", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := installService(file); err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), "installed; `meshgate service start` starts it")
			return nil
		},
	}
	install.Flags().StringVar(&file, "config", defaultConfig, "the configuration")
	root.AddCommand(install, serviceStatusCmd())
	for _, a := range []struct{ name, short string }{
		{"uninstall", "Stop the service and take it away; configuration and state stay"},
		{"start", "Start the service"}, {"stop", "Stop the service"}, {"restart", "Stop and start the service"},
	} {
		root.AddCommand(&cobra.Command{Use: a.name, Short: a.short, Args: cobra.NoArgs,
			RunE: func(*cobra.Command, []string) error { return steerService(a.name) }})
	}
	return root
}

func serviceStatusCmd() *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Say whether the service runs; exit 3 when it does not", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := systemService(defaultConfig, unitText)
			if err != nil {
				return err
			}
			st, err := s.Status()
			switch {
			case errors.Is(err, service.ErrNotInstalled), service.Platform() == sysv && !exists(sysvScript):
				fmt.Fprintln(cmd.OutOrStdout(), "not installed")
			case err != nil && service.Platform() != sysv: // whose script says with its exit status that it is stopped
				return err
			case st == service.StatusRunning:
				fmt.Fprintln(cmd.OutOrStdout(), "running; `meshgate status` says how it is")
				return nil
			default:
				fmt.Fprintln(cmd.OutOrStdout(), "stopped")
			}
			return status{code: exitNotWell}
		},
	}
}

// unattended is what the library wants of a program; `meshgate run` is started as it is, in the
// foreground, and never through it.
type unattended struct{}

func (unattended) Start(service.Service) error { return nil }
func (unattended) Stop(service.Service) error  { return nil }

func systemService(file, unit string) (service.Service, error) {
	return service.New(unattended{}, &service.Config{Name: "meshgate", DisplayName: "meshgate", Description: "SmartMesh IP to MQTT edge gateway",
		Arguments: []string{"run", "--config", file}, Option: service.KeyValue{"SystemdScript": unit}})
}

func installService(file string) error {
	if err := notPackaged(packagedUnits); err != nil {
		return err
	}
	file, err := filepath.Abs(file)
	if err != nil {
		return err
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	if service.Platform() == systemd {
		if strings.HasPrefix(program, "/home/") || strings.HasPrefix(program, "/root/") {
			return fmt.Errorf("the service does not see %s (ProtectHome): copy the program to /usr/local/bin first", program)
		}
		if err := needUser("meshgate"); err != nil {
			return err
		}
	}
	s, err := systemService(file, unitFor(program, file, hasGroup))
	if err != nil {
		return err
	}
	if err := service.Control(s, "install"); err != nil {
		if service.Platform() == systemd && !installedAlready(err) {
			_ = os.Remove("/etc/systemd/system/meshgate.service") // the library leaves half of it behind
		}
		return err
	}
	return nil
}

// installedAlready is for what the library says of a unit or a script that is there.
func installedAlready(err error) bool { return strings.Contains(err.Error(), "already exists") }

// notPackaged refuses where the package's unit is.
func notPackaged(units []string) error {
	for _, u := range units {
		if exists(u) {
			return fmt.Errorf("the package has installed the service (%s): use systemctl start, stop, restart, status meshgate", u)
		}
	}
	return nil
}

func steerService(action string) error {
	if err := notPackaged(packagedUnits); err != nil {
		return err
	}
	s, err := systemService(defaultConfig, unitText)
	if err != nil {
		return err
	}
	if action == "uninstall" { // which the library does without stopping it
		if st, err := s.Status(); err == nil && st == service.StatusRunning {
			if err := service.Control(s, "stop"); err != nil {
				return err
			}
		}
	}
	err = service.Control(s, action)
	switch {
	case err != nil && service.Platform() == systemd:
		return fmt.Errorf("%w (`systemctl status meshgate` says why)", err)
	case err == nil && action == "uninstall" && service.Platform() == sysv:
		links, _ := filepath.Glob("/etc/rc?.d/[SK][0-9][0-9]meshgate") // the pattern is good
		for _, l := range links {
			err = errors.Join(err, os.Remove(l)) // the library leaves them
		}
	}
	return err
}

// unitFor is the packaged unit for a program and a configuration elsewhere. A group that this
// machine does not have would keep the service from starting.
func unitFor(program, file string, hasGroup func(string) bool) string {
	var out []string
	for line := range strings.Lines(unitText) {
		if groups, ok := strings.CutPrefix(line, "SupplementaryGroups="); ok {
			have := slices.DeleteFunc(strings.Fields(groups), func(g string) bool { return !hasGroup(g) })
			line = "SupplementaryGroups=" + strings.Join(have, " ") + "\n"
		}
		if strings.HasPrefix(line, "Exec") {
			if head, found := strings.CutSuffix(line, "meshgate "+lastWord(line)+"\n"); found && strings.HasSuffix(head, "/usr/bin/") {
				line = strings.TrimSuffix(head, "/usr/bin/") + unitWord(program) + " " + lastWord(line) + " --config " + unitWord(file) + "\n"
			}
		}
		out = append(out, line)
	}
	return strings.Join(out, "")
}

func lastWord(line string) string {
	f := strings.Fields(line)
	return f[len(f)-1]
}

// unitWord is a word of a command line as systemd.service(5) reads it.
func unitWord(s string) string {
	s = strings.NewReplacer(`%`, `%%`, `$`, `$$`).Replace(s)
	if !strings.ContainsAny(s, " \t\"'\\;") {
		return s
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

func hasGroup(name string) bool {
	_, err := user.LookupGroup(name)
	return err == nil
}

// needUser makes the system user that the daemon runs as.
func needUser(name string) error {
	if _, err := user.Lookup(name); err == nil {
		return nil
	}
	out, err := exec.Command("useradd", "--system", "--user-group", "--no-create-home", "--home-dir", "/var/lib/"+name,
		"--shell", "/usr/sbin/nologin", name).CombinedOutput()
	if err != nil {
		return fmt.Errorf("the user %s cannot be made: %w: %s", name, err, strings.TrimSpace(string(out)))
	}
	return nil
}
