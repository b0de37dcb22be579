package config

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// form is what files are read as: their version, and the steps that make one of an older version one of the next, by the
// version that they start from. A file without a version is of version 1.
type form struct {
	version int
	steps   map[int]step
}

// A step gives the text of a file in the form of the next version, but for the version itself. The nodes under root, the
// mapping that the file is, say where in the text they stand (offset): whatever is not changed stays as it was written,
// comments too.
type step func(text []byte, root *yaml.Node) ([]byte, error)

// current has no steps: version 1 is the first.
var current = form{version: 1}

// Migrate returns the text of a file of an older version in the form of this one, and the version that it had. The text is
// nil when there is nothing to do. What is wrong with the file is an error, as with Parse.
func Migrate(name string, data []byte, dir string) (text []byte, from int, err error) {
	return migrate(name, data, dir, thisHost(), current)
}

func migrate(name string, data []byte, dir string, h host, f form) ([]byte, int, error) {
	d := newDecoder(name, dir, h, f)
	cfg, err := d.parse(data)
	if err != nil || cfg.Older == 0 {
		return nil, 0, err
	}
	text := bytes.Join(d.source, []byte("\n"))
	root, _ := d.document(text) // it was read a moment ago
	return withVersion(text, root.node, f.version), cfg.Older, nil
}

// renewed gives the document of a file of an older version in the form of this one, but for the version. A step that leaves
// lines where they are leaves the places of mistakes true.
func (d *decoder) renewed(root value) (value, bool) {
	n, ok := versionOf(root.node), true
	if n < 1 || n >= d.form.version {
		return root, true // config says what it thinks of it
	}
	d.older = n
	for ; n < d.form.version; n++ {
		text, err := d.form.steps[n](bytes.Join(d.source, []byte("\n")), root.node)
		if err != nil {
			root.fail("this file of version %d cannot be made one of version %d: %v", n, n+1, err)
			return root, false
		}
		if root, ok = d.document(text); !ok {
			return root, false
		}
	}
	return root, true
}

// versionOf is what a file says of its version, 1 when it says nothing and 0 when that is no plain number.
func versionOf(root *yaml.Node) int {
	if root.Kind != yaml.MappingNode {
		return 0
	}
	at := versionNode(root)
	if at == nil {
		return 1
	}
	n, err := strconv.Atoi(at.Value)
	if at.Kind != yaml.ScalarNode || at.Style != 0 || at.ShortTag() != "!!int" || err != nil {
		return 0
	}
	return n
}

// versionNode is the value of the key version, nil when there is none.
func versionNode(root *yaml.Node) *yaml.Node {
	for i := 0; i+1 < len(root.Content); i += 2 {
		if root.Content[i].Value == "version" {
			return root.Content[i+1]
		}
	}
	return nil
}

// withVersion puts the version into a text.
func withVersion(text []byte, root *yaml.Node, n int) []byte {
	if at := versionNode(root); at != nil {
		from := offset(text, at)
		return slices.Replace(bytes.Clone(text), from, from+len(at.Value), strconv.AppendInt(nil, int64(n), 10)...)
	}
	from, line := offset(text, root), fmt.Appendf(nil, "version: %d\n%*s", n, root.Column-1, "")
	if root.Style&yaml.FlowStyle != 0 {
		from, line = from+1, fmt.Appendf(nil, "version: %d, ", n)
	}
	return slices.Insert(bytes.Clone(text), from, line...)
}

// offset is where a node begins in the text that it was read from.
func offset(text []byte, n *yaml.Node) int {
	at := 0
	for range n.Line - 1 {
		at += bytes.IndexByte(text[at:], '\n') + 1
	}
	for range n.Column - 1 {
		_, size := utf8.DecodeRune(text[at:])
		at += size
	}
	return at
}
