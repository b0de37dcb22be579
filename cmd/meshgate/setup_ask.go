package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/meshgate/meshgate/gateway/config"
)

var errBrokenOff = errors.New("broken off: nothing is written")

// breakable is a terminal of which a read ends when ctx does, and not only with the line.
type breakable struct {
	ctx      context.Context
	terminal io.Reader
}

func (b breakable) Read(p []byte) (int, error) {
	type result struct {
		n   int
		err error
	}
	done, buf := make(chan result, 1), make([]byte, len(p))
	go func() {
		n, err := b.terminal.Read(buf) // after ctx it ends with the program
		done <- result{n, err}
	}()
	select {
	case r := <-done:
		return copy(p, buf[:r.n]), r.err
	case <-b.ctx.Done():
		return 0, b.ctx.Err()
	}
}

// ask puts a question unless the flag has answered it; nothing typed keeps what is there. After the
// end of what is typed nothing is asked any more.
func (s *setup) ask(flag, question string, answer *string) {
	if s.yes || s.given(flag) || s.ended != nil {
		return
	}
	fmt.Fprintf(s.out, "%s [%s]: ", question, *answer)
	line, err := s.in.ReadString('\n')
	if text := strings.TrimSpace(line); text != "" {
		*answer = text
	} else if err != nil {
		fmt.Fprintln(s.out)
		s.ended = errBrokenOff
	}
}

// askValid is ask until the answer makes a valid configuration.
func (s *setup) askValid(flag, question string, answer *string) {
	for was := *answer; ; *answer = was {
		s.ask(flag, question, answer)
		err := s.valid()
		if err == nil || s.ended != nil || s.yes || s.given(flag) {
			return
		}
		fmt.Fprintf(s.out, "  %v\n", err)
	}
}

// valid judges the answers so far without those about the broker, which have a test of their own.
func (s *setup) valid() error {
	a := s.a
	a.Broker, a.Port = "none", cmp.Or(a.Port, "auto")
	_, err := config.Parse(s.file, []byte(a.file()), filepath.Dir(s.file), judges()...)
	var mistakes config.Errors
	if errors.As(err, &mistakes) {
		return fmt.Errorf("%s: %s", mistakes[0].Path, mistakes[0].Msg)
	}
	return err
}

func (s *setup) confirm(question string) bool {
	answer := "no"
	s.ask("", question, &answer)
	return strings.HasPrefix(strings.ToLower(answer), "y")
}
