//go:build !linux

package bridge

import (
	"net"
	"time"
)

func readUserTimeout(net.Conn) (time.Duration, error) { return tcpUserTimeout, nil }
