package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// ledger remembers, over restarts, which retained topics the gateway has made at a remote broker, so
// that it can delete those that nobody will ever publish to again: a broker keeps them for ever.
//
// A topic is in the file before it is first published, and until its deletion is acknowledged: a
// crash in between deletes a topic twice, which does no harm, and never leaves one behind. The file
// is written when a topic is new or gone, not when its value changes: a few times in a gateway's life.
// A disk that does not take it, or does not give it, costs nothing that was in it: the file stays as
// it is, and both are tried again until they succeed.
//
//	{"version":1,"topics":{"REMOTE TOPIC":{"local":"actuator/led/state","state":true}}}
type ledger struct {
	file string
	log  *slog.Logger

	mu   sync.Mutex
	made map[string]origin // by remote topic
	told string            // the disk error that was logged last

	unread  bool // the file could not be read, so nothing is written over it
	unsaved bool
	again   time.Time // when both are tried again
}

// ledgerPause is the time between two attempts to read or write a ledger.
const ledgerPause = 10 * time.Second

// origin is what a retained topic was made of. State tells a state from a reading that a rule has
// had retained.
type origin struct {
	Local string `json:"local"`
	State bool   `json:"state"`
}

type ledgerFile struct {
	Version int               `json:"version"`
	Topics  map[string]origin `json:"topics"`
}

// openLedger reads a ledger.
func openLedger(file string, log *slog.Logger) *ledger {
	l := &ledger{file: file, log: log, made: map[string]origin{}, unread: true}
	l.load()
	return l
}

// load reads the file. One that is damaged is set aside: nothing is deleted by it.
func (l *ledger) load() {
	data, err := os.ReadFile(l.file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.failed("the list of retained topics cannot be read; tried again", err)
		return
	}
	l.unread = false
	if err != nil {
		return
	}
	var f ledgerFile
	if err = json.Unmarshal(data, &f); err == nil && f.Version != 1 {
		err = fmt.Errorf("version %d is not known", f.Version)
	}
	if err != nil {
		l.log.Warn("the list of retained topics is damaged and set aside; old ones may stay at the broker", "file", l.file, "error", err)
		os.Rename(l.file, l.file+".bad") // where even that fails, the next write replaces it
		return
	}
	for remote, o := range f.Topics {
		if _, known := l.made[remote]; !known {
			l.made[remote] = o
		}
	}
}

// catchUp tries again what has failed.
func (l *ledger) catchUp() {
	if (l.unread || l.unsaved) && !time.Now().Before(l.again) {
		l.save()
	}
}

func (l *ledger) failed(what string, err error) {
	l.again = time.Now().Add(ledgerPause)
	if err.Error() != l.told {
		l.told = err.Error()
		l.log.Warn(what, "error", err)
	}
}

// note enters topics that are about to be published.
func (l *ledger) note(topics map[string]origin) {
	l.mu.Lock()
	defer l.mu.Unlock()
	grown := false
	for remote, o := range topics {
		if l.made[remote] != o {
			l.made[remote], grown = o, true
		}
	}
	if grown {
		l.save()
	}
	l.catchUp()
}

// stale gives the remote topics that do not stand any more, sorted.
func (l *ledger) stale(stands func(remote string, o origin) bool) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.catchUp()
	var out []string
	for remote, o := range l.made {
		if !stands(remote, o) {
			out = append(out, remote)
		}
	}
	slices.Sort(out)
	return out
}

// forget takes topics out that the broker has deleted.
func (l *ledger) forget(topics []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	before := len(l.made)
	for _, remote := range topics {
		delete(l.made, remote)
	}
	if len(l.made) != before {
		l.save()
	}
}

// save writes the file. A disk that does not take it is told once: publishing matters more.
func (l *ledger) save() {
	l.unsaved = true
	if l.unread {
		l.load()
	}
	if l.unread {
		return
	}
	data, err := json.Marshal(ledgerFile{1, l.made})
	if err == nil {
		err = replaceFile(l.file, data)
	}
	if err != nil {
		l.failed("the list of retained topics cannot be kept; tried again", err)
		return
	}
	l.unsaved, l.told = false, ""
}

// replaceFile writes a file so that after a power cut either the old or the new content is there.
func replaceFile(file string, data []byte) error {
	dir := filepath.Dir(file)
	if _, err := os.Stat(dir); err != nil {
		if err := errors.Join(os.MkdirAll(dir, 0o750), syncDir(filepath.Dir(dir))); err != nil {
			return err
		}
	}
	next := file + ".new"
	f, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(next, file); err != nil {
		return err
	}
	return syncDir(dir)
}

// syncDir has the names in a folder outlive a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
