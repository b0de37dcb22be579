//go:build unix

package local

import (
	"net"
	"syscall"
)

// writeNow writes what the system takes at once, and gives how many bytes that was. The caller holds mu, and nobody else
// writes.
func (c *conn) writeNow(p []byte) (n int) {
	tcp, ok := c.inner.(*net.TCPConn)
	if !ok {
		return 0
	}
	if raw, err := tcp.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { n, _ = syscall.Write(int(fd), p) })
	}
	return max(n, 0)
}
