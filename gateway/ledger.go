package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

// ledger remembers, over restarts, which retained topics the gateway has made at a remote broker, so
// that it can delete those that nobody will ever publish to again: a broker keeps them for ever.
//
// A topic is in the file before it is first published, and until its deletion is acknowledged: a
// crash in between deletes a topic twice, which does no harm, and never leaves one behind. The file
// is written when a topic is new or gone, not when its value changes: a few times in a gateway's life.
//
//	{"version":1,"topics":{"REMOTE TOPIC":{"local":"actuator/led/state","state":true}}}
type ledger struct {
	file string
	log  *slog.Logger

	mu   sync.Mutex
	made map[string]origin // by remote topic
	told string            // the disk error that was logged last
}

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

// openLedger reads a ledger. One that cannot be read is set aside: nothing is deleted by it.
func openLedger(file string, log *slog.Logger) *ledger {
	l := &ledger{file: file, log: log, made: map[string]origin{}}
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return l
	}
	var f ledgerFile
	if err == nil {
		err = json.Unmarshal(data, &f)
	}
	if err == nil && f.Version != 1 {
		err = fmt.Errorf("version %d is not known", f.Version)
	}
	if err != nil {
		log.Warn("the list of retained topics cannot be read and is set aside; old ones may stay at the broker", "file", file, "error", err)
		os.Rename(file, file+".bad") // where even that fails, the next write replaces it
		return l
	}
	maps.Copy(l.made, f.Topics)
	return l
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
}

// stale gives the remote topics that do not stand any more, sorted.
func (l *ledger) stale(stands func(remote string, o origin) bool) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
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
	data, err := json.Marshal(ledgerFile{1, l.made})
	if err == nil {
		err = replaceFile(l.file, data)
	}
	switch {
	case err == nil:
		l.told = ""
	case err.Error() != l.told:
		l.told = err.Error()
		l.log.Warn("the list of retained topics cannot be kept; old ones may stay at the broker", "error", err)
	}
}

// replaceFile writes a file so that after a power cut either the old or the new content is there.
func replaceFile(file string, data []byte) error {
	dir := filepath.Dir(file)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
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
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
