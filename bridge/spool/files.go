package spool

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// A file is what the spool needs of one.
type file interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Sync() error // data, and the metadata that is needed to read it back
	Size() (int64, error)
}

// A mode says how a file is opened.
type mode int

const (
	toRead   mode = iota
	toWrite       // an existing one, for both
	toCreate      // a new one, for both; an old one of that name is emptied
)

// A folder is the seam for tests: everything the spool asks of the operating system.
type folder interface {
	open(name string, m mode) (file, error)
	rename(from, to string) error
	remove(name string) error
	list() ([]entry, error)
	sync() error              // makes names durable
	lock() (io.Closer, error) // makes the folder if it is missing
}

// An entry is a file of a folder.
type entry struct {
	name string
	size int64
}

// A dir is a folder of the operating system.
type dir string

func (d dir) path(name string) string { return filepath.Join(string(d), name) }

func (d dir) open(name string, m mode) (file, error) {
	flags := map[mode]int{toRead: os.O_RDONLY, toWrite: os.O_RDWR, toCreate: os.O_RDWR | os.O_CREATE | os.O_TRUNC}[m]
	f, err := os.OpenFile(d.path(name), flags, 0o640)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (d dir) rename(from, to string) error { return os.Rename(d.path(from), d.path(to)) }
func (d dir) remove(name string) error     { return os.Remove(d.path(name)) }

func (d dir) list() ([]entry, error) {
	names, err := os.ReadDir(string(d))
	if err != nil {
		return nil, err
	}
	var all []entry
	for _, n := range names {
		info, err := n.Info()
		if errors.Is(err, os.ErrNotExist) {
			continue
		} else if err != nil {
			return nil, err
		}
		e := entry{n.Name(), -1}
		if info.Mode().IsRegular() {
			e.size = info.Size()
		}
		all = append(all, e)
	}
	return all, nil
}

func (d dir) sync() error {
	f, err := os.Open(string(d))
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// lockPatience is how long a process that was killed may take to let go of its lock.
const lockPatience = 2 * time.Second

// flock takes the lock of an open file, waiting for one that is about to be given up.
func flock(fd int) error {
	for end := time.Now().Add(lockPatience); ; time.Sleep(20 * time.Millisecond) {
		err := syscall.Flock(fd, syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) || time.Now().After(end) {
			return err
		}
	}
}

// lock holds the folder itself, which works on a read-only filesystem too. The file "lock" only names the holder.
func (d dir) lock() (io.Closer, error) {
	if err := os.MkdirAll(string(d), 0o750); err != nil {
		return nil, err
	}
	f, err := os.Open(string(d))
	if err != nil {
		return nil, err
	}
	if err := flock(int(f.Fd())); err != nil {
		f.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock: %w", err)
		}
		pid, _ := os.ReadFile(d.path("lock"))
		if len(pid) == 0 {
			return nil, ErrLocked
		}
		return nil, fmt.Errorf("%w (process %s)", ErrLocked, strings.TrimSpace(string(pid)))
	}
	_ = os.WriteFile(d.path("lock"), fmt.Appendf(nil, "%d\n", os.Getpid()), 0o640)
	return f, nil
}

// An osFile is a file of the operating system.
type osFile struct{ *os.File }

func (f osFile) Sync() error { return datasync(f.File) }

func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
