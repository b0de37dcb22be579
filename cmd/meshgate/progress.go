package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// progress tells how far a long job is: on a terminal one line that is written over, elsewhere a
// line each ten seconds. A job that is done within a second says nothing until its end.
type progress struct {
	out      io.Writer
	terminal bool
	width    int
	what     string // "records"
	total    uint64 // 0: not known
	done     uint64
	start    time.Time
	told     time.Time
	drawn    bool
}

const barWidth = 24

func newProgress(out io.Writer, what string, total uint64) *progress {
	return &progress{out: out, what: what, total: total, terminal: isTerminal(out), width: columns(out), start: time.Now(), told: time.Now()}
}

// at says that so many are done.
func (p *progress) at(done uint64) {
	p.done = done
	every := 10 * time.Second
	if p.terminal {
		every = 200 * time.Millisecond
	}
	if time.Since(p.told) < every {
		return
	}
	p.told = time.Now()
	line := p.line()
	if !p.terminal {
		fmt.Fprintln(p.out, line)
		return
	}
	p.drawn = true
	fmt.Fprintf(p.out, "\r%-*.*s", p.width-1, p.width-1, line)
}

// line is a bar, a share, a count and a rate.
func (p *progress) line() string {
	text := fmt.Sprintf("%d %s, %s", p.done, p.what, p.rate())
	if p.total == 0 {
		return text
	}
	share := min(float64(p.done)/float64(p.total), 1)
	full := int(share * barWidth)
	return fmt.Sprintf("[%s%s] %3.0f %%  %s", strings.Repeat("#", full), strings.Repeat(".", barWidth-full), share*100, text)
}

func (p *progress) rate() string {
	return fmt.Sprintf("%.0f/s", float64(p.done)/max(time.Since(p.start).Seconds(), 1e-3))
}

// end wipes the line and says what was done.
func (p *progress) end(format string, args ...any) {
	if p.drawn {
		fmt.Fprintf(p.out, "\r%*s\r", p.width-1, "")
	}
	fmt.Fprintf(p.out, format+"\n", args...)
}
