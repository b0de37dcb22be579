package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// newLog logs to w at a level that can be changed later. What goes to the journal has no times,
// for it has its own, and its priority in front (sd-daemon(3)): `journalctl -p warning` works.
func newLog(w io.Writer, level, format string) (*slog.Logger, *slog.LevelVar, error) {
	threshold := new(slog.LevelVar)
	if err := setLevel(threshold, level); err != nil {
		return nil, nil, status{exitUsage, fmt.Errorf("--log-level %q is none of debug, info, warn, error", level)}
	}
	opt := &slog.HandlerOptions{Level: threshold}
	toJournal := isJournal(w, os.Getenv("JOURNAL_STREAM"))
	if toJournal {
		opt.ReplaceAttr = withoutTime
	}
	p := &prefixer{w: w}
	if toJournal {
		w = p
	}
	var h slog.Handler
	switch strings.ToLower(format) {
	case "text":
		h = slog.NewTextHandler(w, opt)
	case "json":
		h = slog.NewJSONHandler(w, opt)
	default:
		return nil, nil, status{exitUsage, fmt.Errorf("--log-format %q is neither text nor json", format)}
	}
	if toJournal {
		h = journalHandler{h, p}
	}
	return slog.New(h), threshold, nil
}

func setLevel(v *slog.LevelVar, level string) error {
	if level == "" {
		level = "info"
	}
	return v.UnmarshalText([]byte(level))
}

func withoutTime(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey) {
		return slog.Attr{}
	}
	return a
}

// isJournal reports whether w is the stream that systemd has connected to the journal, which it
// names by its device and inode: a terminal in a session of a service inherits the variable too.
func isJournal(w io.Writer, stream string) bool {
	f, ok := w.(*os.File)
	if !ok || stream == "" {
		return false
	}
	var st unix.Stat_t
	return unix.Fstat(int(f.Fd()), &st) == nil && stream == fmt.Sprintf("%d:%d", st.Dev, st.Ino)
}

// prefixer puts a priority before each line; the handler above it writes one line a call.
type prefixer struct {
	mu       sync.Mutex
	w        io.Writer
	priority string
}

func (p *prefixer) Write(line []byte) (int, error) {
	if _, err := p.w.Write(append([]byte(p.priority), line...)); err != nil {
		return 0, err
	}
	return len(line), nil
}

type journalHandler struct {
	slog.Handler
	out *prefixer
}

func (h journalHandler) Handle(ctx context.Context, r slog.Record) error {
	h.out.mu.Lock()
	defer h.out.mu.Unlock()
	h.out.priority = priority(r.Level)
	return h.Handler.Handle(ctx, r)
}

func (h journalHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return journalHandler{h.Handler.WithAttrs(attrs), h.out}
}

func (h journalHandler) WithGroup(name string) slog.Handler {
	return journalHandler{h.Handler.WithGroup(name), h.out}
}

// priority is that of syslog(3): err, warning, info, debug.
func priority(l slog.Level) string {
	switch {
	case l >= slog.LevelError:
		return "<3>"
	case l >= slog.LevelWarn:
		return "<4>"
	case l >= slog.LevelInfo:
		return "<6>"
	}
	return "<7>"
}
