package main

import (
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/meshgate/meshgate/gateway"
	"github.com/meshgate/meshgate/smartmesh"
)

// maxName bounds the name of a stored descriptor (sd_pid_notify_with_fds(3)).
const maxName = 255

// takeLimit is how long what was left waits for its manager: one that is configured no more has none.
const takeLimit = time.Minute

var errGone = errors.New("the device has gone")

// handover passes sessions on to the next process through the service manager's store of file descriptors: what keeps
// the port open, under a name that says what the session's numbers are.
//
// Of TCP it is the socket. Of a tty it is the file that holds the lock on it: as long as that is open the kernel neither
// lowers DTR nor drops what comes, and who opens the path again reads it. Nobody else can: the lock stays too.
//
// When the daemon was not restarted but stopped, the service manager drops the descriptors with the unit. The manager then
// gives the session up by itself, as after a power cut.
type handover struct {
	service notify
	mu      sync.Mutex
	left    []stored
}

// stored is a descriptor that the process before has left.
type stored struct {
	about url.Values
	file  *os.File
}

// takeOver takes what the process before has left out of the store: from then on it is this process that holds it.
func takeOver(service notify) *handover {
	h := &handover{service: service}
	n, err := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	if err != nil || os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return h
	}
	names := strings.Split(os.Getenv("LISTEN_FDNAMES"), ":")
	for i := range min(n, len(names)) {
		fd := 3 + i // sd_listen_fds(3)
		unix.CloseOnExec(fd)
		service.send("FDSTOREREMOVE=1", "FDNAME="+names[i])
		about, err := url.ParseQuery(names[i])
		f := os.NewFile(uintptr(fd), about.Get("path"))
		if err != nil || about.Get("manager") == "" {
			f.Close()
			continue
		}
		h.left = append(h.left, stored{about, f})
	}
	time.AfterFunc(takeLimit, h.close)
	return h
}

// close lets go of what nobody has taken.
func (h *handover) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.left {
		s.file.Close()
	}
	h.left = nil
}

// take gives what was left of a manager, once. On other terms it is let go.
func (h *handover) take(manager, terms string) (gateway.Left, bool) {
	h.mu.Lock()
	i := slices.IndexFunc(h.left, func(s stored) bool { return s.about.Get("manager") == manager })
	if i < 0 {
		h.mu.Unlock()
		return gateway.Left{}, false
	}
	s := h.left[i]
	h.left = slices.Delete(h.left, i, i+1)
	h.mu.Unlock()
	l, err := readLeft(s.about)
	if err != nil || l.Terms != terms {
		s.file.Close()
		return gateway.Left{}, false
	}
	l.Port, err = reopen(s.file, s.about.Get("path"))
	return l, err == nil
}

// reopen makes a port of a stored descriptor, which belongs to the port, also when an error is returned.
func reopen(f *os.File, path string) (io.ReadWriteCloser, error) {
	if path == "" {
		defer f.Close()
		conn, err := net.FileConn(f)
		if tcp, ok := conn.(*net.TCPConn); ok {
			err = tcp.SetKeepAliveConfig(keepAlive())
		}
		return conn, err
	}
	held, err1 := f.Stat()
	now, err2 := os.Stat(path)
	if err := errors.Join(err1, err2); err != nil || !os.SameFile(held, now) {
		f.Close()
		return nil, errors.Join(errGone, err)
	}
	_ = unix.IoctlSetInt(int(f.Fd()), unix.TIOCNXCL, 0) // the process before may have been too stuck to do it
	return openLocked(path, f)
}

// leave keeps a port open beyond this process. It is false when that cannot be: then the session has ended for good or, if
// detach was not called, is still there.
func (h *handover) leave(l gateway.Left, detach func() (smartmesh.State, bool)) bool {
	about := url.Values{}
	keep, err := holder(l.Port, about)
	if err != nil {
		return false
	}
	defer keep.Close()
	st, ok := detach()
	if !ok {
		return false
	}
	l.State = st
	name := nameOf(l, about)
	if len(name) > maxName {
		l.State.Rest = nil
		name = nameOf(l, about)
	}
	return len(name) <= maxName && h.service.store(name, keep) == nil
}

// holder is a descriptor of its own of what keeps a port open.
func holder(port io.ReadWriteCloser, about url.Values) (*os.File, error) {
	switch p := port.(type) {
	case heldPort:
		about.Set("path", p.lock.Name())
		fd, err := unix.FcntlInt(p.lock.Fd(), unix.F_DUPFD_CLOEXEC, 0)
		return os.NewFile(uintptr(fd), p.lock.Name()), err
	case *net.TCPConn:
		return p.File()
	}
	return nil, errors.ErrUnsupported // a mux has a session of its own; a simulated manager ends with the process
}

// nameOf is the name of a stored descriptor, as the service manager allows it.
func nameOf(l gateway.Left, about url.Values) string {
	about.Set("manager", l.Manager)
	about.Set("terms", l.Terms)
	about.Set("ahead", l.Ahead.String())
	about.Set("next", strconv.Itoa(int(l.State.Next)))
	about.Set("last", strconv.Itoa(int(l.State.Last)))
	about.Set("rest", base64.RawURLEncoding.EncodeToString(l.State.Rest))
	return about.Encode()
}

func readLeft(about url.Values) (gateway.Left, error) {
	next, err1 := strconv.ParseUint(about.Get("next"), 10, 8)
	last, err2 := strconv.ParseUint(about.Get("last"), 10, 8)
	rest, err3 := base64.RawURLEncoding.DecodeString(about.Get("rest"))
	ahead, err4 := time.ParseDuration(about.Get("ahead"))
	return gateway.Left{Manager: about.Get("manager"), Terms: about.Get("terms"), Ahead: ahead,
		State: smartmesh.State{Next: byte(next), Last: byte(last), Rest: rest}}, errors.Join(err1, err2, err3, err4)
}
