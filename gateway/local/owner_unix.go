//go:build unix

package local

import (
	"os"
	"syscall"
)

// keepOwner gives a new file the owner of the old one, where the system allows it.
func keepOwner(f *os.File, old os.FileInfo) {
	if stat, ok := old.Sys().(*syscall.Stat_t); ok {
		_ = f.Chown(int(stat.Uid), int(stat.Gid))
	}
}
