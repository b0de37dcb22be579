package bridge

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

func readUserTimeout(c net.Conn) (time.Duration, error) {
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		return 0, err
	}
	var ms int
	var get error
	err = raw.Control(func(fd uintptr) { ms, get = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT) })
	if err == nil {
		err = get
	}
	return time.Duration(ms) * time.Millisecond, err
}
