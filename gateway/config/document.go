package config

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// decoder walks the tree of one file and notes what is wrong with it.
type decoder struct {
	file, dir string
	host      host
	form      form
	judges    []Judge
	older     int      // the version of a file that was migrated
	source    [][]byte // the lines of the file
	errs      []Error
	mistakes  int // noted so far, errs has the first of them
	visits    int // values looked at so far, see value.deref
	gaveUp    bool

	listeners []listener // addresses that the daemon will listen on
	remotes   []remote   // brokers that it will connect to over bridges
}

func newDecoder(file, dir string, h host, f form) *decoder {
	return &decoder{file: file, dir: dir, host: h, form: f}
}

// parse reads the file.
func (d *decoder) parse(data []byte) (*Config, error) {
	// A byte order mark is no character of the text: it would move the columns of line 1.
	root, ok := d.document(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")))
	if ok {
		root, ok = d.renewed(root)
	}
	if !ok {
		return nil, d.result()
	}
	cfg := d.config(root)
	if err := d.result(); err != nil {
		return nil, err
	}
	cfg.File, cfg.Older = d.file, d.older
	return cfg, nil
}

// document returns the one document in a text. What is wrong with the text itself is noted.
func (d *decoder) document(data []byte) (value, bool) {
	d.source = bytes.Split(data, []byte("\n"))
	if !d.plainText(data) {
		return value{}, false
	}
	loader, err := yaml.NewLoader(bytes.NewReader(data))
	if err != nil {
		d.report(1, 1, "", "%v", err)
		return value{}, false
	}
	var first, second yaml.Node
	if err := loader.Load(&first); err == io.EOF {
		d.report(1, 1, "", "the file is empty; managers is required")
		return value{}, false
	} else if err != nil {
		d.syntax(err)
		return value{}, false
	}
	if err := loader.Load(&second); err == nil {
		d.report(second.Line, second.Column, "", "a second document begins here; the file is to have one only")
	} else if err != io.EOF {
		d.syntax(err)
	}
	if d.mistakes > 0 || len(first.Content) != 1 {
		return value{}, false
	}
	return value{d: d, node: first.Content[0]}, true
}

// plainText reports whether the file is UTF-8 text with the line ends LF or CRLF. Beyond them,
// readers of YAML and editors do not agree on what a line is.
func (d *decoder) plainText(data []byte) bool {
	if len(data) > maxFile {
		d.report(1, 1, "", "the file is larger than 1 MiB")
		return false
	}
	line, col := 1, 1
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			d.report(line, col, "", "byte 0x%02x is not UTF-8; save the file as UTF-8", data[i])
			return false
		case r == '\n':
			line, col = line+1, 0
		case r == '\r' && bytes.HasPrefix(data[i+1:], []byte("\n")), r == '\t':
		case r < ' ', r >= 0x7f && r < 0xa0, r == '\u2028', r == '\u2029', r == '\ufeff', r >= 0xfffe && r <= 0xffff:
			d.report(line, col, "", "character U+%04X has no place in this file", r)
			return false
		}
		col++
		i += size
	}
	return true
}

// syntax notes what the YAML reader says about a text that is not YAML.
func (d *decoder) syntax(err error) {
	var one *yaml.LoadError
	if !errors.As(err, &one) {
		d.report(1, 1, "", "not YAML: %v", err)
		return
	}
	msg := one.Message
	if one.ContextMsg != "" {
		msg = one.ContextMsg + ": " + msg
	}
	line, col := one.Mark.Line, one.Mark.Column
	if line >= 1 && line <= len(d.source) && bytes.HasPrefix(d.source[line-1][min(col-1, len(d.source[line-1])):], []byte("\t")) {
		msg = "a tab cannot indent in YAML; use spaces"
	}
	d.report(line, col, "", "not YAML: %s", strings.TrimPrefix(msg, "yaml: "))
}
