// Command licences writes the package's copyright file (DEP-5): the project itself, and every module
// that is linked into the program with the text of its licence, from the module cache.
//
//	licences ROOT > copyright
//
// A module whose licence it does not know is an error: a person has to look first.
package main

import (
	"bufio"
	"bytes"
	"fmt"
	"log"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// known tells licences by a sentence of theirs, the first that is found.
var known = []struct{ name, sentence string }{
	{"Apache-2.0", "Apache License Version 2.0, January 2004"},
	{"BSD-3-clause", "Neither the name of"},
	{"BSD-3-clause", "may be used to endorse or promote products derived from"},
	{"BSD-2-clause", "Redistributions in binary form must reproduce the above copyright notice"},
	{"Zlib", "This software is provided 'as-is', without any express or implied warranty"},
	{"ISC", "Permission to use, copy, modify, and/or distribute this software for any purpose"},
	{"ISC", "Permission to use, copy, modify, and distribute this software for any purpose"},
	{"Expat", "Permission is hereby granted, free of charge, to any person obtaining a copy"},
}

// texts are the files that may hold a licence. Paho is under a choice of two: the second, plain BSD, is taken.
var texts = []string{"edl-v10", "LICENSE", "LICENSE.txt", "LICENSE.md", "COPYING"}

const head = `Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: meshgate
Source: https://github.com/meshgate/meshgate
Comment: /usr/bin/meshgate is one static program. Beside meshgate itself it holds the Go library and the modules
 below, each named by its import path.

Files: *
Copyright: the meshgate authors
License: Apache-2.0

`

const apache = `License: Apache-2.0
 On Debian systems the full text of the Apache License 2.0 is in
 /usr/share/common-licenses/Apache-2.0.
`

func main() {
	log.SetFlags(0)
	log.SetPrefix("licences: ")
	if len(os.Args) != 2 {
		log.Fatal("usage: licences ROOT")
	}
	mods, err := linked(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	goroot, err := output(os.Args[1], nil, "go", "env", "GOROOT")
	if err != nil {
		log.Fatal(err)
	}
	mods["go"] = strings.TrimSpace(goroot)
	out := bufio.NewWriter(os.Stdout)
	out.WriteString(head)
	for _, path := range slices.Sorted(maps.Keys(mods)) {
		s, err := stanza(path, mods[path])
		if err != nil {
			log.Fatal(err)
		}
		fmt.Fprintln(out, s)
	}
	out.WriteString(apache)
	if err := out.Flush(); err != nil {
		log.Fatal(err)
	}
}

func output(dir string, env []string, name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env, cmd.Stderr = dir, append(os.Environ(), env...), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w", cmd, err)
	}
	return string(out), nil
}

// linked gives the modules in the program of any of the three architectures, with their folders.
func linked(root string) (map[string]string, error) {
	mods := map[string]string{}
	for _, arch := range []string{"amd64", "arm64", "arm"} {
		list, err := output(root, []string{"GOOS=linux", "GOARCH=" + arch, "CGO_ENABLED=0", "GOFLAGS="}, "go", "list", "-deps",
			"-f", "{{with .Module}}{{if not .Main}}{{.Path}}\t{{.Dir}}{{end}}{{end}}", "./cmd/meshgate")
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(list) {
			if path, dir, ok := strings.Cut(strings.TrimSpace(line), "\t"); ok {
				mods[path] = dir
			}
		}
	}
	return mods, nil
}

// stanza writes the paragraph of one module.
func stanza(path, dir string) (string, error) {
	var text []byte
	for _, name := range texts {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err == nil {
			text = data
			break
		}
	}
	if text == nil {
		return "", fmt.Errorf("%s: no licence in %s", path, dir)
	}
	plain, license := strings.Join(strings.Fields(string(text)), " "), ""
	for _, k := range known {
		if strings.Contains(plain, k.sentence) {
			license = k.name
			break
		}
	}
	if license == "" {
		return "", fmt.Errorf("%s: a licence that is not known here", path)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "Files: %s/*\nCopyright: %s\n", path, strings.Join(holders(path, dir, text), "\n "))
	if license == "Apache-2.0" {
		fmt.Fprintf(&b, "License: Apache-2.0\n")
		if notice, err := os.ReadFile(filepath.Join(dir, "NOTICE")); err == nil {
			fmt.Fprintf(&b, "Comment: its NOTICE file says\n%s", indented(notice))
		}
		return b.String(), nil
	}
	fmt.Fprintf(&b, "License: %s-%s\n%s", license, strings.NewReplacer("/", "-", ".", "-").Replace(path), indented(text))
	return b.String(), nil
}

var holder = regexp.MustCompile(`(?m)^\W*Copyright (?:\([cC]\) |© )?([0-9].*?),?(?: All rights reserved\.?)?\s*$`)

// holders gives whose copyright a module is, from its licence and notice.
func holders(path, dir string, text []byte) []string {
	notice, _ := os.ReadFile(filepath.Join(dir, "NOTICE")) // most have none
	var all []string
	for _, m := range holder.FindAllSubmatch(append(text, notice...), -1) {
		if h := string(m[1]); !slices.Contains(all, h) {
			all = append(all, h)
		}
	}
	if len(all) == 0 {
		return []string{"the authors of " + path}
	}
	return all
}

// indented is a text as the continuation of a field: a blank before each line, a full stop for an empty one.
func indented(text []byte) string {
	var b strings.Builder
	for line := range bytes.Lines(bytes.TrimSpace(text)) {
		if line = bytes.TrimRight(line, " \t\r\n"); len(line) == 0 {
			line = []byte(".")
		}
		fmt.Fprintf(&b, " %s\n", line)
	}
	return b.String()
}
