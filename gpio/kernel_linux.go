package gpio

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"syscall"
	"unsafe"
)

// What periph reads of the kernel's information is a snapshot of its start and lacks the flags, so it is read here: two
// ioctls of the GPIO v2 uAPI (include/uapi/linux/gpio.h), both of which only read.
//
//	gpiochip_info      name[32] label[32] lines u32                                                  68 bytes
//	gpio_v2_line_info  name[32] consumer[32] offset u32 num_attrs u32 flags u64 attrs[160] pad[16]   256 bytes
//
// Numbers are in the byte order of the machine, texts end with a zero byte.
const (
	getChipInfo = 0x8044B401 // _IOR(0xB4, 1, gpiochip_info)
	getLineInfo = 0xC100B405 // _IOWR(0xB4, 5, gpio_v2_line_info)

	chipInfoSize = 68
	lineInfoSize = 256

	flagUsed      = 1 << 0
	flagActiveLow = 1 << 1
	flagOutput    = 1 << 3
	flagPullUp    = 1 << 8
	flagPullDown  = 1 << 9
	flagPullNone  = 1 << 10
)

func ioctl(f *os.File, request uintptr, buf []byte) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var e syscall.Errno
	err = conn.Control(func(fd uintptr) {
		_, _, e = syscall.Syscall(syscall.SYS_IOCTL, fd, request, uintptr(unsafe.Pointer(&buf[0])))
	})
	if err == nil && e != 0 {
		err = e
	}
	return err
}

func text(b []byte) string {
	s, _, _ := bytes.Cut(b, []byte{0})
	return string(s)
}

// readChip reads a chip and all its lines.
func readChip(path string) (Chip, error) {
	f, err := os.Open(path)
	if err != nil {
		return Chip{}, err
	}
	defer f.Close()
	buf := make([]byte, chipInfoSize)
	if err := ioctl(f, getChipInfo, buf); err != nil {
		return Chip{}, fmt.Errorf("%s: %w", path, err)
	}
	c := Chip{Name: text(buf[:32]), Label: text(buf[32:64]), Path: path}
	if c.Label == "" {
		c.Label = c.Name
	}
	for i := range binary.NativeEndian.Uint32(buf[64:]) {
		l, err := lineOf(f, int(i))
		if err != nil {
			return Chip{}, fmt.Errorf("%s: line %d: %w", path, i, err)
		}
		c.Lines = append(c.Lines, l)
	}
	return c, nil
}

// readLine reads one line of a chip.
func readLine(path string, offset int) (Line, error) {
	f, err := os.Open(path)
	if err != nil {
		return Line{}, err
	}
	defer f.Close()
	return lineOf(f, offset)
}

func lineOf(f *os.File, offset int) (Line, error) {
	buf := make([]byte, lineInfoSize)
	binary.NativeEndian.PutUint32(buf[64:], uint32(offset))
	if err := ioctl(f, getLineInfo, buf); err != nil {
		return Line{}, err
	}
	return parseLineInfo(buf), nil
}

// parseLineInfo reads a gpio_v2_line_info, which has lineInfoSize bytes.
func parseLineInfo(b []byte) Line {
	flags := binary.NativeEndian.Uint64(b[72:])
	l := Line{
		Offset: int(binary.NativeEndian.Uint32(b[64:])), Name: text(b[:32]), Consumer: text(b[32:64]),
		Used: flags&flagUsed != 0, ActiveLow: flags&flagActiveLow != 0, Output: flags&flagOutput != 0,
	}
	switch {
	case flags&flagPullUp != 0:
		l.Pull = "up"
	case flags&flagPullDown != 0:
		l.Pull = "down"
	case flags&flagPullNone != 0:
		l.Pull = "none"
	}
	return l
}

// keepStdin opens /dev/null as file descriptor 0 if that is closed, lest the next file opened gets it.
func keepStdin() {
	var st syscall.Stat_t
	if syscall.Fstat(0, &st) != syscall.EBADF {
		return
	}
	fd, err := syscall.Open(os.DevNull, syscall.O_RDWR, 0)
	if err == nil && fd != 0 {
		_ = syscall.Close(fd) // somebody was faster
	}
}

// groupOf names the group that a file belongs to.
func groupOf(info os.FileInfo) string {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "of " + info.Name()
	}
	id := strconv.FormatUint(uint64(st.Gid), 10)
	if g, err := user.LookupGroupId(id); err == nil {
		return g.Name
	}
	return id
}
