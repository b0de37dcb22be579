package spool

import (
	"errors"
	"os"
	"syscall"
	"testing"
	"time"
)

// TestLockIsWaitedFor: a process that was killed lets go of its lock a moment later; one that
// lives keeps it.
func TestLockIsWaitedFor(t *testing.T) {
	path := t.TempDir()
	holder, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(holder.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if l, err := dir(path).lock(); !errors.Is(err, ErrLocked) {
		t.Fatalf("a lock that is kept: %v, %v", l, err)
	}
	gone := time.AfterFunc(lockPatience/10, func() { holder.Close() })
	defer gone.Stop()
	l, err := dir(path).lock()
	if err != nil {
		t.Fatalf("a lock that is given up: %v", err)
	}
	l.Close()
}
