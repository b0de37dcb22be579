package gateway

import (
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// saveClock is how often the last good time is put on the disk: it costs a block of metadata.
const saveClock = 6 * time.Hour

// goodClock is the time that certificates are checked against. A host without a battery starts in
// 1970, where no certificate is valid yet, and may need a connection to learn better: until its
// clock is right, the time is at least the last good one that was seen, which a file in the state
// folder keeps as its time of modification.
type goodClock struct {
	right func() bool
	file  string
	log   *slog.Logger

	mu    sync.Mutex
	floor time.Time
	saved time.Time
}

func newGoodClock(stateDir string, right func() bool, log *slog.Logger) *goodClock {
	c := &goodClock{right: right, file: filepath.Join(stateDir, "clock"), log: log}
	if info, err := os.Stat(c.file); err == nil {
		c.floor = info.ModTime()
		c.saved = c.floor
	}
	return c
}

// now gives the host's time when that is right, else at least the last good time.
func (c *goodClock) now() time.Time {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.After(c.floor) || c.right() {
		return now
	}
	return c.floor
}

// tick is called now and then: it notes that the time is good, and seldom that on the disk too.
func (c *goodClock) tick() {
	if !c.right() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.floor = time.Now()
	if c.floor.Sub(c.saved).Abs() < saveClock {
		return
	}
	c.saved = c.floor
	if err := touch(c.file, c.floor); err != nil {
		c.log.Debug("the last good time cannot be kept", "error", err)
	}
}

func touch(file string, at time.Time) error {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Chtimes(file, at, at)
}
