package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/meshgate/meshgate/bridge"
	"github.com/meshgate/meshgate/gateway/config"
	"github.com/meshgate/meshgate/gateway/control"
)

// broker asks for the broker and tests it until it works, or the person wants to go on without.
func (s *setup) broker(ctx context.Context, socket string) error {
	for s.ended == nil {
		was := s.a.Broker
		s.ask("broker", "URL of the broker (mqtts://HOST; none)", &s.a.Broker)
		if s.a.Broker == "none" || s.a.Broker == "" {
			return nil
		}
		u, err := bridge.ParseURL(s.a.Broker)
		if err != nil {
			if s.yes || s.given("broker") {
				return status{exitUsage, err}
			}
			fmt.Fprintf(s.out, "  %v\n", err)
			s.a.Broker = was
			continue
		}
		if !s.encrypted(u) {
			if s.yes || s.given("broker") {
				return status{exitUsage, fmt.Errorf("%s is not encrypted: use mqtts://, or say --plaintext", s.a.Broker)}
			}
			continue
		}
		s.login(u)
		if s.untested || s.ended != nil {
			return s.ended
		}
		if err := s.tryBroker(ctx, socket); err == nil {
			return nil
		} else if s.yes || s.given("broker") {
			return err
		}
		if s.confirm("Write it all the same? (yes/no)") {
			return nil
		}
	}
	return s.ended
}

// login asks for what the broker wants to know of us.
func (s *setup) login(u bridge.URL) {
	if s.a.Username == "" {
		s.a.Username = "none"
	}
	s.ask("username", "User name (none)", &s.a.Username)
	if s.a.Username == "none" {
		s.a.Username = ""
	}
	if s.a.Username != "" && !s.yes && !s.given("password-file") && s.terminal != nil && s.ended == nil {
		s.askPassword()
	}
	if s.a.Username == "" {
		s.a.PasswordFile = ""
	}
	if u.Secure() {
		s.ask("ca", "File of the authority that signed its certificate (nothing: the system's)", &s.a.CA)
	}
}

func (s *setup) askPassword() {
	typed, err := typeUnseen(s.terminal, s.out, "Password (nothing typed: as it is in the file): ")
	if err != nil {
		s.ended = errBrokenOff
	} else if typed[0] != "" {
		s.a.password = typed[0]
		s.a.PasswordFile = filepath.Join(filepath.Dir(s.file), "cloud.password")
	}
}

// tryBroker tests the answers with the client id of the daemon, or, when it runs, with another, for
// two with one id throw each other out.
func (s *setup) tryBroker(ctx context.Context, socket string) error {
	passwordFile := s.at(s.a.PasswordFile)
	if s.a.password != "" {
		dir, err := os.MkdirTemp("", "meshgate-setup-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		passwordFile = filepath.Join(dir, "password")
		if err := os.WriteFile(passwordFile, []byte(s.a.password), 0o600); err != nil {
			return err
		}
	}
	id := "meshgate-" + s.a.ID
	if _, err := control.Find(config.Default().StateDir); err == nil || socket != "" {
		id += "-setup"
	}
	fmt.Fprintf(s.out, "Testing %s\n", s.a.Broker)
	cfg := bridge.Config{Name: "cloud", URL: s.a.Broker, ClientID: id, Username: s.a.Username, PasswordFile: passwordFile, TLS: bridge.TLS{CA: s.at(s.a.CA)}}
	return testBroker(ctx, cfg, "meshgate/"+s.a.ID+"/gateway/setup", s.say)
}

// encrypted reports whether the connection is, or goes nowhere else, or the person wants it all the same.
func (s *setup) encrypted(u bridge.URL) bool {
	if u.Secure() || u.Loopback() || s.a.Plaintext {
		return true
	}
	s.a.Plaintext = s.confirm("Not encrypted: whoever is on the way can read and command. Go on like that? (yes/no)")
	return s.a.Plaintext
}
