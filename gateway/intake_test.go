package gateway

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"testing"
)

// TestDiskTroubleIsToldOnce: the same trouble with another file is no news, another trouble is, and
// so is its end.
func TestDiskTroubleIsToldOnce(t *testing.T) {
	var log journal
	var ls links
	in := &intake{well: func() {}, log: slog.New(slog.NewTextHandler(&log, nil)), link: ls.add("spool", "spool", "")}
	for i := range 5 {
		in.judge(fmt.Errorf("spool: create %d-a%d.seg: %w", i, i, syscall.EROFS))
		in.judge(fmt.Errorf("spool: flush: %w", errors.Join(&os.PathError{Op: "sync", Path: "spool", Err: syscall.EROFS})))
		in.judge(os.NewSyscallError("fdatasync", syscall.EROFS))
	}
	in.judge(errors.New("spool: another trouble"))
	in.judge(nil)
	in.judge(nil)
	if n := strings.Count(log.String(), "\n"); n != 3 {
		t.Errorf("%d lines, want one for each trouble and one for the end:\n%s", n, &log)
	}
}
