package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/meshgate/meshgate/gateway"
	"github.com/meshgate/meshgate/gateway/config"
)

// source is the configuration file of the running daemon. A level given on the command line stays.
func source(file string, level *slog.LevelVar, fixedLevel bool, service notify) (gateway.Source, func()) {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	reload := make(chan struct{}, 1)
	go func() {
		for range hup {
			select {
			case reload <- struct{}{}:
			default: // asked for already
			}
		}
	}()
	s := gateway.Source{Reload: reload, Began: service.reloading,
		Load: func(text []byte) (*config.Config, error) { return loadText(file, text) },
		Save: func(text []byte) error { return replaceFile(file, text) },
		Applied: func(cfg *config.Config) {
			if !fixedLevel {
				_ = setLevel(level, cfg.Log.Level) // config has checked it
			}
			service.ready()
		}}
	return s, func() { signal.Stop(hup); close(hup) }
}

// loadText reads a text as if it were in the file's place; nil: the file.
func loadText(file string, text []byte) (*config.Config, error) {
	if text == nil {
		return load(file)
	}
	return judged(config.Parse(file, text, filepath.Dir(file), judges()...))
}

// replaceFile writes a file so that, whatever happens, the old or the new content is there, with
// mode and owner of the old one or else 0640. The old one is kept beside it as FILE.bak.
func replaceFile(file string, data []byte) error { return replaceKeeping(file, file+".bak", data) }

// replaceKeeping is the same with another name for the old one.
func replaceKeeping(file, bak string, data []byte) error {
	old, statErr := os.Stat(file)
	if statErr != nil && !errors.Is(statErr, fs.ErrNotExist) {
		return statErr
	}
	mode := fs.FileMode(0o640)
	if statErr == nil {
		mode = old.Mode().Perm()
	}
	f, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+".*")
	if err != nil {
		return fmt.Errorf("%s cannot be replaced: %w", file, err)
	}
	defer os.Remove(f.Name())
	if err := errors.Join(f.Chmod(mode), own(f, old)); err != nil {
		f.Close()
		return err
	}
	_, err = f.Write(data)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if statErr == nil {
		if err := keepAside(file, bak); err != nil {
			return err
		}
	}
	return os.Rename(f.Name(), file)
}

// own gives a file the owner of the one that it replaces.
func own(f *os.File, old fs.FileInfo) error {
	if old == nil {
		return nil
	}
	st, ok := old.Sys().(*syscall.Stat_t)
	if !ok || int(st.Uid) == os.Geteuid() && int(st.Gid) == os.Getegid() {
		return nil
	}
	return f.Chown(int(st.Uid), int(st.Gid))
}

// keepAside keeps the old content by a second name: FILE itself is never missing.
func keepAside(file, bak string) error {
	if err := os.Remove(bak); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.Link(file, bak)
}
