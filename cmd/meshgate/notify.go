package main

import (
	"errors"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// notify tells systemd how the daemon is (sd_notify(3)): datagrams of NAME=VALUE lines to the
// socket that it has named. Elsewhere there is none, and nothing is sent.
type notify struct{ socket string }

func notifier() notify { return notify{os.Getenv("NOTIFY_SOCKET")} }

// send does not report errors: nobody is there to be told, and the watchdog notices.
func (n notify) send(lines ...string) {
	if n.socket != "" {
		_ = n.sendWith(nil, lines...)
	}
}

// sendWith sends lines together with descriptors (unix(7)).
func (n notify) sendWith(rights []byte, lines ...string) error {
	name := n.socket
	if strings.HasPrefix(name, "@") {
		name = "\x00" + name[1:] // the abstract name space
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetWriteDeadline(time.Now().Add(time.Second))
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	err = raw.Write(func(fd uintptr) bool {
		sent = unix.Sendmsg(int(fd), []byte(strings.Join(lines, "\n")), rights, nil, unix.MSG_NOSIGNAL)
		return sent != unix.EAGAIN && sent != unix.EINTR
	})
	return errors.Join(err, sent)
}

// store has a file kept open, and given to the next process under a name.
func (n notify) store(name string, f *os.File) error {
	return n.sendWith(unix.UnixRights(int(f.Fd())), "FDSTORE=1", "FDNAME="+name)
}

// stores tells whether there is a store to keep files in: from systemd 254 on it says how many it takes.
func (n notify) stores() bool { return n.socket != "" && os.Getenv("FDSTORE") != "0" }

// period is how often the watchdog is to be fed: three times in the time that it allows; 0: as one likes.
func (n notify) period() time.Duration {
	usec, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64)
	if err != nil || usec <= 0 {
		return 0
	}
	return time.Duration(usec) * time.Microsecond / 3
}

func (n notify) ready() { n.send("READY=1") }

// reloading is for a unit of the type notify-reload as well, which wants the time.
func (n notify) reloading() {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) == nil {
		n.send("RELOADING=1", "MONOTONIC_USEC="+strconv.FormatInt(t.Nano()/1000, 10))
	}
}

func (n notify) stopping() { n.send("STOPPING=1", "STATUS=ending") }

// alive feeds the watchdog and shows in `systemctl status` how it is.
func (n notify) alive(state string) {
	n.send("WATCHDOG=1", "STATUS="+strings.ToValidUTF8(strings.ReplaceAll(state, "\n", " "), "?"))
}
