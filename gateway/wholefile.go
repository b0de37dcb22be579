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
