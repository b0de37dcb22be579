package bridge

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// userTimeout sets TCP_USER_TIMEOUT (RFC 5482): the kernel ends a connection whose data the other host has not
// acknowledged for that long, which keepalive alone does not while there is unacknowledged data.
func userTimeout(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) {
		// A kernel that does not know it is no reason not to connect: the timeouts of MQTT are left.
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(tcpUserTimeout.Milliseconds()))
	})
}
