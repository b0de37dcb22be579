package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/meshgate/meshgate/smartmesh"
)

const (
	askLimit  = 2100 * time.Millisecond // two hellos, each with a second for its answer
	nameLimit = 3 * time.Second         // for a manager that has answered to say who it is
)

// The states of a port that has been looked at.
const (
	portManager  = "manager"
	portSilent   = "silent" // nothing answers as a manager
	portInUse    = "in use"
	portFailed   = "failed"
	portNotAsked = "not asked"
)

// foundPort is a port and what answers there.
type foundPort struct {
	usbPort
	State   string `json:"state"`
	MAC     string `json:"mac,omitempty"` // of the manager
	Version string `json:"version,omitempty"`
	Detail  string `json:"detail,omitempty"` // why there is no answer
}

// ask looks whether a manager is behind a port: it is decided by a hello that is answered. A port that somebody uses is left
// alone. The session it opens is closed again.
func (m machine) ask(ctx context.Context, p usbPort) foundPort {
	f := foundPort{usbPort: p, State: portFailed}
	who, err := m.user(p.Path)
	if who != "" || errors.Is(err, errInUse) {
		f.State, f.Detail = portInUse, cmp.Or(who, "another program")
		return f
	}
	if err != nil {
		f.Detail = err.Error()
		return f
	}
	port, err := openSerial(p.Path)
	if err != nil {
		f.Detail = err.Error()
		return f
	}
	hello, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	s, err := smartmesh.Connect(hello, port, smartmesh.Options{})
	var refused *smartmesh.HelloError
	switch {
	case errors.As(err, &refused):
		f.Detail = err.Error()
		return f
	case err != nil:
		f.State = portSilent
		return f
	}
	defer s.Close()
	name, cancel := context.WithTimeout(ctx, nameLimit)
	defer cancel()
	info, err := s.GetSystemInfo(name)
	if err != nil {
		f.Detail = err.Error()
		return f
	}
	f.State, f.MAC = portManager, info.MAC.String()
	f.Version = fmt.Sprintf("%d.%d.%d.%d", info.SWMajor, info.SWMinor, info.SWPatch, info.SWBuild)
	return f
}

// find gives the port of the manager with that address, or of any for "". It asks one port after the other, the likeliest
// first, and stops at the first that is right.
func (m machine) find(ctx context.Context, mac string) (foundPort, error) {
	all, err := m.list()
	if err != nil {
		return foundPort{}, err
	}
	var met []string
	for _, p := range all {
		if _, candidate := p.rank(); !candidate {
			continue
		}
		f := m.ask(ctx, p)
		if err := ctx.Err(); err != nil {
			return f, err
		}
		if f.State == portManager && (mac == "" || f.MAC == mac) {
			return f, nil
		}
		met = append(met, f.Path+" "+f.say())
	}
	what := cmp.Or(mac, "a manager")
	if len(met) == 0 {
		return foundPort{}, fmt.Errorf("%s is on no USB port, for there is none: is it plugged in? A port that is not USB has to be named", what)
	}
	return foundPort{}, fmt.Errorf("%s is on no USB port: %s", what, strings.Join(met, ", "))
}

// say tells what was met, in a few words.
func (f foundPort) say() string {
	switch f.State {
	case portManager:
		return "is " + f.MAC
	case portSilent:
		return "does not answer as a manager"
	case portInUse:
		return "is used by " + f.Detail
	}
	return cmp.Or(f.Detail, f.State)
}

// openAuto opens the port of auto or auto:MAC. Two managers do not look at the same time: one would find the other's port
// in use.
func (p *ports) openAuto(ctx context.Context, port string) (io.ReadWriteCloser, error) {
	p.finding.Lock()
	defer p.finding.Unlock()
	f, err := p.machine.find(ctx, strings.TrimPrefix(strings.TrimPrefix(port, "auto"), ":"))
	if err != nil {
		return nil, err
	}
	p.log.Info("the manager's port is found", "port", cmp.Or(f.ByID, f.Path), "mac", f.MAC)
	return openSerial(f.Path)
}

// look asks all candidates at the same time; the order stays.
func (m machine) look(ctx context.Context) ([]foundPort, error) {
	all, err := m.list()
	if err != nil {
		return nil, err
	}
	found := make([]foundPort, len(all))
	var wg sync.WaitGroup
	for i, p := range all {
		if _, candidate := p.rank(); !candidate {
			found[i] = foundPort{usbPort: p, State: portNotAsked}
			continue
		}
		wg.Go(func() { found[i] = m.ask(ctx, p) })
	}
	wg.Wait()
	return found, ctx.Err()
}

func portsCmd() *cobra.Command {
	var asJSON, silent bool
	cmd := &cobra.Command{
		Use: "ports", Short: "List the serial ports, and which one answers as a manager", Args: cobra.NoArgs,
		Long: `List the serial ports with their USB identity, and which one answers as a manager.

Each USB port that nobody uses is asked: it is opened and gets a hello, twice within two seconds. A port in use is left
alone, and so are those that are on no USB, and modems (ttyACM).`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return listPorts(cmd.Context(), thisMachine(), cmd.OutOrStdout(), asJSON, !silent)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	cmd.Flags().BoolVar(&silent, "no-ask", false, "only list them: open none")
	return cmd
}

func listPorts(ctx context.Context, m machine, out io.Writer, asJSON, ask bool) error {
	found := []foundPort{}
	var err error
	if ask {
		found, err = m.look(ctx)
	} else {
		var all []usbPort
		all, err = m.list()
		for _, p := range all {
			found = append(found, foundPort{usbPort: p, State: portNotAsked})
		}
	}
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(out, found)
	}
	if len(found) == 0 {
		fmt.Fprintln(out, "There is no serial port.")
		return nil
	}
	t := newTable(out, "PORT", "USB", "IF", "DEVICE", "STATE", "DETAIL")
	for _, f := range found {
		t.row(f.cells()...)
	}
	t.print()
	return nil
}

func (f foundPort) cells() []cell {
	number, colour, detail := "", plain, f.Detail
	if f.Interface != nil {
		number = fmt.Sprint(*f.Interface)
	}
	switch f.State {
	case portManager:
		colour, detail = green, f.MAC+", version "+f.Version+"  "+f.ByID
	case portInUse:
		colour = yellow
	case portFailed:
		colour = red
	}
	return []cell{{f.Path, plain}, {f.usbID(), plain}, {number, plain}, {strings.TrimSpace(f.Name + " " + f.Serial), plain},
		{f.State, colour}, {strings.TrimSpace(detail), plain}}
}
