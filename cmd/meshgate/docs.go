package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/meshgate/meshgate/gateway/config"
)

// docsCmd writes what a package ships beside the program, from the commands and the example of the
// configuration: the man pages meshgate.1 and gateway.yaml.5, the completions meshgate.bash,
// _meshgate (zsh) and meshgate.fish, and the configuration's schema for editors.
func docsCmd() *cobra.Command {
	return &cobra.Command{
		Use: "docs DIR", Short: "Write the man pages, the completions and the schema of the configuration", Args: cobra.ExactArgs(1), Hidden: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			for name, write := range map[string]func(io.Writer) error{
				"meshgate.1":     func(w io.Writer) error { return manPage(w, root, buildDate()) },
				"gateway.yaml.5": func(w io.Writer) error { return manConfig(w, config.Example, buildDate()) },
				"meshgate.bash":  func(w io.Writer) error { return root.GenBashCompletionV2(w, true) },
				"_meshgate":      root.GenZshCompletion,
				"meshgate.fish":  func(w io.Writer) error { return root.GenFishCompletion(w, true) },

				"gateway.schema.json": func(w io.Writer) error { _, err := io.WriteString(w, config.Schema); return err },
			} {
				if err := writeFile(filepath.Join(args[0], name), write); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func writeFile(path string, write func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := write(f); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// buildDate is the date that a reproducible build goes by (reproducible-builds.org), else today.
func buildDate() time.Time {
	if s, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64); err == nil {
		return time.Unix(s, 0).UTC()
	}
	return time.Now().UTC()
}

// manPage writes all commands as one page in the man macros (man(7), groff_man(7)).
func manPage(out io.Writer, root *cobra.Command, date time.Time) error {
	w := bufio.NewWriter(out)
	fmt.Fprintf(w, ".TH MESHGATE 1 %s \"meshgate %s\" \"User Commands\"\n", date.Format(time.DateOnly), roff(version))
	fmt.Fprintf(w, ".SH NAME\nmeshgate \\- %s\n", roff(root.Short))
	fmt.Fprint(w, ".SH SYNOPSIS\n.B meshgate\n.I command\n[\\fIoption\\fR ...]\n")
	fmt.Fprintf(w, ".SH DESCRIPTION\n%s", prose(root.Long))
	fmt.Fprint(w, ".SH OPTIONS OF ALL COMMANDS\n")
	manOptions(w, root.PersistentFlags().FlagUsagesWrapped(manWidth))
	fmt.Fprint(w, ".SH COMMANDS\n")
	manCommands(w, root)
	fmt.Fprint(w, manEnd)
	return w.Flush()
}

// manWidth is what a terminal of 80 columns leaves for text that stays as it is.
const manWidth = 70

const manEnd = `.SH EXIT STATUS
0 done, 1 failed, 2 wrong usage or configuration, 3
.RB ( "meshgate status" ,
.BR "health" ,
.BR "service status" ,
.BR "diag \-\-explain" )
something is down or not well.
.SH SIGNALS
The daemon ends cleanly on SIGTERM and SIGINT, and reads its configuration again on SIGHUP.
.SH FILES
.TP
.I /etc/meshgate/gateway.yaml
the configuration,
.BR gateway.yaml (5)
.TP
.I /var/lib/meshgate
the disk buffer
.TP
.I /run/meshgate/meshgate.sock
the running daemon, for members of the group meshgate
.SH SEE ALSO
.BR gateway.yaml (5),
.BR systemctl (1),
.BR journalctl (1)
`

// manCommands writes a section for each command that is not hidden, the commands below it after it.
func manCommands(w io.Writer, parent *cobra.Command) {
	for _, c := range parent.Commands() {
		if !c.IsAvailableCommand() {
			continue
		}
		if c.Runnable() {
			fmt.Fprintf(w, ".SS %s\n", roff(strings.TrimSuffix(c.UseLine(), " [flags]")))
			text := c.Short + "."
			if c.Long != "" && parent.Name() != "completion" { // cobra's own are long
				text = c.Long
			}
			fmt.Fprint(w, prose(text))
			manOptions(w, c.NonInheritedFlags().FlagUsagesWrapped(manWidth))
			if c.Example != "" {
				fmt.Fprintf(w, ".PP\nExamples:\n.PP\n.nf\n%s\n.fi\n", roff(strings.TrimRight(c.Example, "\n")))
			}
		}
		manCommands(w, c)
	}
}

// manOptions writes the options of a command as --help does.
func manOptions(w io.Writer, usages string) {
	if usages != "" {
		fmt.Fprintf(w, ".PP\n.nf\n%s\n.fi\n", roff(strings.TrimRight(usages, "\n")))
	}
}

// prose writes paragraphs; lines that are indented stay as they are.
func prose(text string) string {
	var b strings.Builder
	for _, p := range strings.Split(strings.TrimSpace(text), "\n\n") {
		if strings.HasPrefix(p, " ") {
			fmt.Fprintf(&b, ".PP\n.nf\n%s\n.fi\n", roff(p))
			continue
		}
		fmt.Fprintf(&b, ".PP\n%s\n", roff(p))
	}
	return b.String()
}

// roff escapes what the formatter would take for its own: backslashes, hyphens that are meant as
// minus signs, and a full stop or an apostrophe that begins a line.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`, "\n.", "\n\\&.", "\n'", "\n\\&'").Replace(s)
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		s = `\&` + s
	}
	return s
}

// manConfig writes the page of the configuration: what holds for all of it, then the example, one
// section for each key at the top.
func manConfig(out io.Writer, example string, date time.Time) error {
	w := bufio.NewWriter(out)
	fmt.Fprintf(w, ".TH GATEWAY.YAML 5 %s \"meshgate %s\" \"File Formats\"\n", date.Format(time.DateOnly), roff(version))
	fmt.Fprint(w, manConfigStart)
	for _, block := range blocks(example) {
		fmt.Fprintf(w, ".SS %s\n.nf\n%s\n.fi\n", roff(block.key), roff(strings.TrimRight(block.text, "\n")))
	}
	fmt.Fprint(w, manConfigEnd)
	return w.Flush()
}

type block struct{ key, text string }

// blocks cuts a YAML mapping at its top-level keys. What stands before the first is left out.
func blocks(yaml string) (all []block) {
	for line := range strings.Lines(yaml) {
		key, _, ok := strings.Cut(line, ":")
		if ok && key != "" && !strings.ContainsAny(key[:1], " #-") {
			all = append(all, block{key: key})
		}
		if len(all) > 0 {
			all[len(all)-1].text += line
		}
	}
	return all
}

const manConfigStart = `.SH NAME
gateway.yaml \- configuration of the meshgate daemon
.SH DESCRIPTION
One YAML file. It is strict: a key that is not known, a wrong type or a value out of range is a mistake;
.B meshgate check
names all of them, each with line and column, and
.B meshgate run
does not start with one.
.PP
The key version says of which form the file is. One of an older version is read as it is, with a note in the log, and
.B meshgate config migrate
writes it anew; one of a later version than the program knows is refused.
.PP
Relative paths are relative to the file. Nothing is expanded:
.RB \(lq $ \(rq
and
.RB \(lq ~ \(rq
stand for themselves. Secrets are files, never values; one newline at their end is dropped. Of all sections, managers alone has to be there.
.SH KEYS
`

const manConfigEnd = `.SH FILES
.TP
.I /etc/meshgate/gateway.yaml
read by the service, mode 0640, group meshgate
.TP
.I /usr/share/meshgate/gateway.schema.json
the form of the file as a JSON schema, for editors that know the comment
.RB \(lq "# yaml\-language\-server: $schema=" \(rq
.SH SEE ALSO
.BR meshgate (1)
`
