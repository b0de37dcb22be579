package gpio

import (
	"encoding/binary"
	"testing"
)

// lineInfo builds a gpio_v2_line_info as the kernel does.
func lineInfo(name, consumer string, offset uint32, flags uint64) []byte {
	b := make([]byte, lineInfoSize)
	copy(b[:32], name)
	copy(b[32:64], consumer)
	binary.NativeEndian.PutUint32(b[64:], offset)
	binary.NativeEndian.PutUint64(b[72:], flags)
	return b
}

func TestParseLineInfo(t *testing.T) {
	for _, c := range []struct {
		in   []byte
		want Line
	}{
		{lineInfo("GPIO17", "meshgate@312", 17, 1<<0|1<<3), Line{Offset: 17, Name: "GPIO17", Consumer: "meshgate@312", Used: true, Output: true}},
		{lineInfo("GPIO27", "", 27, 1<<2|1<<8), Line{Offset: 27, Name: "GPIO27", Pull: "up"}},
		{lineInfo("", "ACT", 42, 1<<0|1<<1|1<<3|1<<10), Line{Offset: 42, Consumer: "ACT", Used: true, Output: true, ActiveLow: true, Pull: "none"}},
		{lineInfo("0123456789012345678901234567890123", "x", 1, 1<<9), Line{Offset: 1, Name: "01234567890123456789012345678901", Consumer: "x", Pull: "down"}},
	} {
		if got := parseLineInfo(c.in); got != c.want {
			t.Errorf("%+v, want %+v", got, c.want)
		}
	}
}

// FuzzParseLineInfo: texts end at the first zero byte or with their field, whatever is in them.
func FuzzParseLineInfo(f *testing.F) {
	f.Add(lineInfo("GPIO17", "meshgate@312", 17, 9))
	f.Fuzz(func(t *testing.T, b []byte) {
		b = append(b, make([]byte, lineInfoSize)...)[:lineInfoSize]
		l := parseLineInfo(b)
		if len(l.Name) > 32 || len(l.Consumer) > 32 || l.Name != text([]byte(l.Name)) {
			t.Errorf("%+v", l)
		}
	})
}

func TestKeepStdin(t *testing.T) {
	keepStdin() // it is open: nothing happens
}
