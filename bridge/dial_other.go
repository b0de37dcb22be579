//go:build !linux

package bridge

import "syscall"

// userTimeout does nothing: this system has no TCP_USER_TIMEOUT.
func userTimeout(_, _ string, _ syscall.RawConn) error { return nil }
