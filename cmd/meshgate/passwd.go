package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/meshgate/meshgate/gateway/local"
)

func passwdCmd() *cobra.Command {
	var stdin, remove bool
	cmd := &cobra.Command{
		Use: "passwd FILE USER", Short: "Give a user of the local broker a password, or take the user out", Args: cobra.ExactArgs(2),
		Long: `Give a user of the local broker (local.users) a password, or take the user out. The file is made if it is
not there, and holds hashes only; files of mosquitto_passwd can be used as well. A running daemon sees the
change within seconds and disconnects who has lost a password.`,
		Example: "  meshgate passwd /etc/meshgate/users anna\n  pwgen 20 1 | tee anna.password | meshgate passwd --stdin users anna\n" +
			"  meshgate passwd --delete users anna",
		RunE: func(cmd *cobra.Command, args []string) error {
			if remove {
				return deleteUser(args[0], args[1])
			}
			password, err := askPassword(cmd.InOrStdin(), cmd.ErrOrStderr(), stdin)
			if err != nil {
				return err
			}
			return setUser(args[0], args[1], password)
		},
	}
	cmd.Flags().BoolVar(&stdin, "stdin", false, "read the password from standard input, one line")
	cmd.Flags().BoolVar(&remove, "delete", false, "take the user out")
	return cmd
}

func setUser(file, name, password string) error {
	users, err := local.LoadUsers(file)
	fresh := errors.Is(err, fs.ErrNotExist)
	if fresh {
		users, err = local.ParseUsers(nil)
	}
	if err == nil {
		err = users.Set(name, password)
	}
	if err == nil {
		err = users.Save(file)
	}
	if err == nil && fresh {
		giveGroup(file)
	}
	return err
}

func deleteUser(file, name string) error {
	users, err := local.LoadUsers(file)
	if err != nil {
		return err
	}
	if !users.Delete(name) {
		return fmt.Errorf("%s has no user %q", file, name)
	}
	return users.Save(file)
}

// askPassword asks twice on a terminal, without showing what is typed, or reads one line.
func askPassword(in io.Reader, out io.Writer, stdin bool) (string, error) {
	if stdin {
		line, err := bufio.NewReader(in).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", err
		}
		return checkPassword(strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r"))
	}
	f, ok := in.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return "", status{exitUsage, errors.New("no terminal to ask for the password on: say --stdin to have it read from standard input")}
	}
	typed, err := typeUnseen(f, out, "Password: ", "Again: ")
	if err != nil {
		return "", err
	}
	if typed[0] != typed[1] {
		return "", errors.New("the two are not the same; nothing is changed")
	}
	return checkPassword(typed[0])
}

// typeUnseen has the terminal show nothing from before the first prompt to the end.
func typeUnseen(f *os.File, out io.Writer, prompts ...string) (typed []string, err error) {
	before, err := term.MakeRaw(int(f.Fd()))
	if err != nil {
		return nil, err
	}
	defer term.Restore(int(f.Fd()), before)
	t := term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{f, out}, "")
	for _, p := range prompts {
		text, err := t.ReadPassword(p)
		if errors.Is(err, io.EOF) { // Ctrl-C, Ctrl-D
			return nil, errors.New("given up; nothing is changed")
		}
		if err != nil {
			return nil, err
		}
		typed = append(typed, text)
	}
	return typed, nil
}

func checkPassword(p string) (string, error) {
	if p == "" {
		return "", errors.New("an empty password; nothing is changed")
	}
	return p, nil
}
