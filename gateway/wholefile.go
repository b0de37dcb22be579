package gateway

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
)

// writeWhole replaces a file so that after a crash it is the old one or the new one, whole.
func writeWhole(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone when it could be renamed
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(0o640), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// lineFile is a file of lines that is appended to, and replaced when it has grown. It is one goroutine's.
type lineFile struct {
	path string
	f    *os.File
	size int64
}

// append adds lines, and has them on the disk when flush is set.
func (l *lineFile) append(text []byte, flush bool) (err error) {
	if l.f == nil {
		f, err := os.OpenFile(l.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
		if err != nil {
			return err
		}
		l.f = f
	}
	n, err := l.f.Write(text)
	l.size += int64(n)
	if err == nil && flush {
		err = l.f.Sync()
	}
	return err
}

// replace makes the file one with these lines alone.
func (l *lineFile) replace(text []byte) error {
	l.close()
	err := writeWhole(l.path, text)
	if err == nil {
		l.size = int64(len(text))
	}
	return err
}

func (l *lineFile) close() {
	if l.f != nil {
		l.f.Close() // what had to be on the disk is
		l.f = nil
	}
}

// keeping logs that something cannot be kept on the disk: a new failure once.
type keeping struct {
	what string // cannot be kept, and what that means
	log  *slog.Logger
	told string
}

// tell takes how a write went.
func (k *keeping) tell(err error) {
	text := ""
	if err != nil {
		text = kind(err) // the names of temporary files differ
	}
	if text != "" && text != k.told {
		k.log.Error(k.what, "error", err)
	}
	k.told = text
}
