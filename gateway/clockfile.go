package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"slices"
	"time"
)

// boot is one boot of the host in which records were made before its clock was right.
type boot struct {
	Run  uint16     `json:"run"`            // what anchors call it
	ID   string     `json:"boot"`           // what the system calls it
	Date *time.Time `json:"date,omitempty"` // when it was; nil: not known
}

// bootList is the file clock.json in the state folder, oldest first. It is written twice a boot at
// most, and not at all where the clock is right from the start.
type bootList struct {
	Boots []boot `json:"boots"`
}

// bootsFile is its name.
const bootsFile = "clock.json"

// maxBoots bounds the file: records of older boots keep the dates they have.
const maxBoots = 64

// readBoots reads the file. A damaged one is the same as none: it is an error to be told.
func readBoots(file string) (bootList, error) {
	var l bootList
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &l)
	}
	if err != nil {
		return bootList{}, fmt.Errorf("gateway: %s: %w", file, err)
	}
	return l, nil
}

// write replaces the file; sync waits until it is on the disk.
func (l *bootList) write(file string, sync bool) error {
	data, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("gateway: %w", err)
	}
	f, err := os.OpenFile(file+".new", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o640)
	if err != nil {
		return fmt.Errorf("gateway: %w", err)
	}
	if _, err = f.Write(append(data, '\n')); err == nil && sync {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(file+".new", file)
	}
	if err != nil {
		return fmt.Errorf("gateway: %w", err)
	}
	return nil
}

// add gives a boot a number that no other has. It is drawn, not counted: should the file be lost,
// records that wait must not meet their number on another boot.
func (l *bootList) add(id string) uint16 {
	run := uint16(0)
	for run == 0 || l.run(run) != nil {
		run = uint16(rand.N(1 << 16))
	}
	l.Boots = append(l.Boots, boot{Run: run, ID: id})
	if n := len(l.Boots); n > maxBoots {
		l.Boots = slices.Delete(l.Boots, 0, n-maxBoots)
	}
	return run
}

// of finds a boot by the system's name for it.
func (l *bootList) of(id string) *boot {
	return l.find(func(b boot) bool { return b.ID == id })
}

// run finds a boot by its number.
func (l *bootList) run(n uint16) *boot {
	return l.find(func(b boot) bool { return b.Run == n })
}

func (l *bootList) find(is func(boot) bool) *boot {
	if i := slices.IndexFunc(l.Boots, is); i >= 0 {
		return &l.Boots[i]
	}
	return nil
}
