//go:build !linux

package gpio

import "os"

// Only Linux has GPIO chips in /dev.

func readChip(string) (Chip, error)      { return Chip{}, ErrNoChip }
func readLine(string, int) (Line, error) { return Line{}, ErrNoChip }
func keepStdin()                         {}
func groupOf(info os.FileInfo) string    { return "of " + info.Name() }
