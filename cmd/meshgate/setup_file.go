package main

import (
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"
)

// file is the commented configuration that the answers make.
func (a answers) file() string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format, args...) }
	p(`# meshgate: from a SmartMesh IP network to MQTT brokers, and back. Written by meshgate setup.
#
#   man gateway.yaml                          every key
#   meshgate check                            every mistake in this file, with its line
#   meshgate reload                           use it
#   meshgate status                           how each link of the chain is
#
# yaml-language-server: $schema=/usr/share/meshgate/gateway.schema.json
#
# Relative paths start from this folder. Secrets are files, never values.
version: 1
id: %s

managers:
  - name: main
    port: %s
    # temperature: {every: 30s}                # the report rate of every mote
`, yamlText(a.ID), yamlText(a.Port))
	a.bridge(p)
	if a.LED != "" && a.LED != "none" {
		p("\nactuators:                                     # what commands may switch\n  led: {pin: %s, safe: off}\n", yamlText(a.LED))
	} else {
		p("\n# actuators:                                   # what commands may switch\n#   led: {pin: \"led:ACT\", safe: off}\n")
	}
	if a.HTTP != "" && a.HTTP != "none" {
		p("\nhttp: {listen: %s}                  # the console, /metrics, /healthz, /readyz\n", yamlText(a.HTTP))
	} else {
		p("\n# http: {listen: \"127.0.0.1:8080\"}             # the console, /metrics, /healthz, /readyz\n")
	}
	p(`# spool: {max_size: 256MiB, when_full: drop-oldest}
`)
	return b.String()
}

// bridge writes the section of the broker, or how it would look.
func (a answers) bridge(p func(string, ...any)) {
	if a.Broker != "" && a.Broker != "none" {
		p("\nbridges:\n  - name: cloud\n    url: %s\n", yamlText(a.Broker))
		if a.Username != "" {
			p("    username: %s\n", yamlText(a.Username))
		}
		if a.PasswordFile != "" {
			p("    password_file: %s\n", yamlText(a.PasswordFile))
		}
		if a.CA != "" {
			p("    tls: {ca: %s}\n", yamlText(a.CA))
		}
		if a.Plaintext {
			p("    plaintext: true                          # not encrypted: whoever is on the way can read and command\n")
		}
	} else {
		p("\n# No broker: readings are kept on the disk until there is one.\n# bridges:\n#   - {name: cloud, url: \"mqtts://broker.example.net:8883\"}\n")
	}
}

// yamlText quotes what is not a plain word or path.
func yamlText(s string) string {
	plain := strings.IndexFunc(s, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("/._-", r))
	}) < 0
	if plain && s != "" && !strings.ContainsAny(s[:1], "-.0123456789") && !strings.Contains("yes no on off true false null y n", strings.ToLower(s)) {
		return s
	}
	return strconv.Quote(s)
}

// giveGroup lets the daemon's user read a file, where there is one.
func giveGroup(file string) {
	g, err := user.LookupGroup("meshgate")
	if err != nil {
		return // no package, no such user
	}
	if gid, err := strconv.Atoi(g.Gid); err == nil {
		_ = os.Chown(file, -1, gid) // not root: `meshgate check` of the unit will say what it may not read
	}
}
