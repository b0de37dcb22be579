package config

import (
	_ "embed"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
)

// Example is a commented configuration that is valid as it stands.
//
//go:embed example.yaml
var Example string

// Schema is the form of the file as a JSON schema (draft 2020-12), for editors. It has every key; what keys mean
// together, and the files that they name, Load alone judges.
//
//go:embed schema.json
var Schema string

// Redacted returns a copy that can be shown to anybody: URLs are without their queries, where some
// brokers want a signature. Passwords are not in a Config at all, only the names of their files.
func (c *Config) Redacted() *Config {
	r := *c
	if c.Local != nil {
		l := *c.Local
		l.Broker = withoutQuery(l.Broker)
		r.Local = &l
	}
	r.Bridges = slices.Clone(c.Bridges)
	for i := range r.Bridges {
		b := &r.Bridges[i]
		b.URLs = slices.Clone(b.URLs)
		for j, u := range b.URLs {
			b.URLs[j] = withoutQuery(u)
		}
	}
	return &r
}

func withoutQuery(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return "***"
	}
	if u.RawQuery != "" {
		u.RawQuery = "***"
	}
	return u.Redacted()
}

// String returns the configuration on one line, without secrets, for the log.
func (c *Config) String() string {
	c = c.Redacted()
	var b strings.Builder
	fmt.Fprintf(&b, "id=%s state_dir=%s", c.ID, c.StateDir)
	for _, m := range c.Managers {
		fmt.Fprintf(&b, " manager=%s(%s)", m.Name, m.Port)
	}
	for _, o := range c.Outputs {
		fmt.Fprintf(&b, " actuator=%s(%s)", o.Name, o.Pin+strings.Join(o.Group, "+"))
	}
	for _, i := range c.Inputs {
		fmt.Fprintf(&b, " input=%s(%s)", i.Name, i.Pin)
	}
	for _, a := range c.Automations {
		fmt.Fprintf(&b, " automation=%s(%s)", a.Name, a.Set)
	}
	if c.Local != nil {
		fmt.Fprintf(&b, " local=%s", c.Local.Listen+c.Local.Broker)
	}
	for _, br := range c.Bridges {
		fmt.Fprintf(&b, " bridge=%s(%s)", br.Name, strings.Join(br.URLs, ","))
	}
	if c.HTTP.Listen != "" {
		fmt.Fprintf(&b, " http=%s", c.HTTP.Listen)
	}
	return b.String()
}

// LogValue makes a Config in a log the same as String.
func (c *Config) LogValue() slog.Value { return slog.StringValue(c.String()) }
