package config

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// Error is one mistake in the file.
type Error struct {
	File   string
	Line   int    // from 1
	Col    int    // from 1, in characters
	Path   string // of the key, as in bridges[0].tls.ca; "" for the file as a whole
	Msg    string
	Source string // the line, without its end and without what looks like a secret; "" if it is very long
}

// Error returns FILE:LINE:COL: message on one line.
func (e Error) Error() string {
	msg := e.Msg
	if e.Path != "" {
		msg = e.Path + ": " + msg
	}
	return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Col, msg)
}

// Detail returns Error, the line of the file and a caret under the place, for a terminal.
func (e Error) Detail() string {
	if e.Source == "" {
		return e.Error()
	}
	gutter := fmt.Sprintf("%5d | ", e.Line)
	var pad strings.Builder
	col := 1
	for _, r := range e.Source {
		if col == e.Col {
			break
		}
		if r != '\t' {
			r = ' '
		}
		pad.WriteRune(r)
		col++
	}
	return e.Error() + "\n" + gutter + e.Source + "\n" +
		strings.Repeat(" ", len(gutter)-2) + "| " + pad.String() + "^"
}

// Errors is every mistake in the file, in the order of the file.
type Errors []Error

// Error returns one line for each mistake.
func (es Errors) Error() string { return es.join(Error.Error) }

// Detail returns every mistake with its line of the file and a caret under the place.
func (es Errors) Detail() string { return es.join(Error.Detail) }

func (es Errors) join(text func(Error) string) string {
	lines := make([]string, len(es))
	for i, e := range es {
		lines[i] = text(e)
	}
	return strings.Join(lines, "\n")
}

const (
	maxErrors = 100  // that are told of one file; the last one then says how many more there are
	maxKept   = 1000 // that are kept to tell the first of, in the order of the file
	maxSource = 300  // characters of a line that Detail shows
)

// report notes a mistake at a place of the file.
func (d *decoder) report(line, col int, path, format string, args ...any) {
	if d.gaveUp {
		return
	}
	if d.mistakes++; d.mistakes > maxKept {
		return
	}
	d.errs = append(d.errs, Error{
		File: d.file, Line: line, Col: col, Path: printable(path), Msg: printable(fmt.Sprintf(format, args...)),
	})
}

// result returns the mistakes noted so far in the order of the file, or nil.
func (d *decoder) result() error {
	if d.mistakes == 0 {
		return nil
	}
	slices.SortStableFunc(d.errs, func(a, b Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Col, b.Col))
	})
	errs := slices.Compact(d.errs)
	if more := d.mistakes - maxErrors; more > 0 && len(errs) > maxErrors {
		last := errs[maxErrors]
		last.Path, last.Msg = "", fmt.Sprintf("and %d more mistakes from here on", more)
		errs = append(errs[:maxErrors:maxErrors], last)
	}
	for i := range errs {
		d.place(&errs[i])
	}
	return Errors(errs)
}

// place gives a mistake its line of the file, and keeps its place inside it.
func (d *decoder) place(e *Error) {
	e.Line = min(max(e.Line, 1), len(d.source))
	text := strings.TrimSuffix(string(d.source[e.Line-1]), "\r")
	n := utf8.RuneCountInString(text)
	e.Col = min(max(e.Col, 1), n+1)
	if n <= maxSource {
		e.Source = printable(withoutSecrets(text))
	}
}

// printable replaces what would steer a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' || r >= 0x7f && r < 0xa0 {
			return utf8.RuneError
		}
		return r
	}, strings.ToValidUTF8(s, string(utf8.RuneError)))
}

var (
	secretKey = regexp.MustCompile(`(?i)((?:pass(?:word|wd|phrase)?|secret|token|credentials?)["']?\s*:\s+)\S.*`)
	secretURL = regexp.MustCompile(`(://)[^/?#\s"']*@`)
)

// withoutSecrets blanks a password that somebody wrote into the file though it has no place
// there.
func withoutSecrets(line string) string {
	line = secretKey.ReplaceAllString(line, "${1}***")
	return secretURL.ReplaceAllString(line, "${1}***@")
}
