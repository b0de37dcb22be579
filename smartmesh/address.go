package smartmesh

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
)

// A MAC is the EUI-64 of a mote or a manager.
type MAC [8]byte

// Broadcast is the address of all motes.
var Broadcast = MAC{0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}

// String gives the address as in "00-17-0d-00-00-38-05-e9".
func (m MAC) String() string { return string(m.append(make([]byte, 0, 23))) }

func (m MAC) append(dst []byte) []byte {
	const digits = "0123456789abcdef"
	for i, b := range m {
		if i > 0 {
			dst = append(dst, '-')
		}
		dst = append(dst, digits[b>>4], digits[b&15])
	}
	return dst
}

// ParseMAC reads an address: eight bytes as two hex digits each, all joined by dashes, all by colons, or by nothing.
func ParseMAC(s string) (MAC, error) {
	var m MAC
	plain := s
	if len(s) == 23 && (s[2] == '-' || s[2] == ':') {
		plain = strings.Join(strings.Split(s, s[2:3]), "")
		for i := 2; i < len(s); i += 3 {
			if s[i] != s[2] {
				plain = ""
			}
		}
	}
	if len(plain) != 2*len(m) {
		return MAC{}, fmt.Errorf("smartmesh: %q is not a MAC address of 8 bytes", s)
	}
	if _, err := hex.Decode(m[:], []byte(plain)); err != nil {
		return MAC{}, fmt.Errorf("smartmesh: %q is not a MAC address: %w", s, err)
	}
	return m, nil
}

// MarshalText gives the same as String.
func (m MAC) MarshalText() ([]byte, error) { return m.append(nil), nil }

// UnmarshalText reads what ParseMAC reads.
func (m *MAC) UnmarshalText(text []byte) error {
	v, err := ParseMAC(string(text))
	if err == nil {
		*m = v
	}
	return err
}

// An IPv6 is an IPv6 address or mask.
type IPv6 [16]byte

// String gives the address in its usual form.
func (a IPv6) String() string { return netip.AddrFrom16(a).String() }

// A Key is a secret of 16 bytes: a join key or a password. It does not print.
type Key [16]byte

// String hides the key.
func (Key) String() string { return "(secret)" }

// GoString hides the key.
func (Key) GoString() string { return "(secret)" }

// MarshalText hides the key.
func (Key) MarshalText() ([]byte, error) { return []byte("(secret)"), nil }

// An ASN is an absolute slot number: 40 bits, big-endian, counted since the network's clock began.
type ASN [5]byte

// A License is the manager's licence key, of old.
type License [13]byte
