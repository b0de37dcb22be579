// Package hdlc speaks the framing of the SmartMesh IP manager's serial port: packets on a byte stream, in the manner of
// HDLC (RFC 1662, without address and control of its own).
//
//	0x7E | escaped( packet fcs_lo fcs_hi ) | 0x7E
//
// The flag 0x7E opens and closes a frame; one flag may do both, and any number of flags may stand between frames. Within
// a frame 0x7E and 0x7D are sent as 0x7D followed by the byte XOR 0x20, the check sequence included; nothing else is
// escaped by a sender, and a receiver undoes the escape of any byte but 0x7E. The check sequence is CRC-16/X-25, low
// byte first. There is no length, no time-out between bytes and no negative acknowledgement: what is damaged is dropped,
// and whoever wants it acknowledged sends it again.
//
// Source of the receiver's rules: SmartMesh SDK 1.x, sm_clib dn_hdlc and the Serial Mux compared; where they differ, the
// one that loses least.
package hdlc

import "bytes"

const (
	flag   = 0x7E
	escape = 0x7D
	toggle = 0x20

	fcsSize = 2

	// MaxPacket is the size of the largest packet: 4 bytes of header and 255 of payload.
	MaxPacket = 259

	maxFrame = MaxPacket + fcsSize // unescaped bytes between two flags
	maxRaw   = 2*maxFrame + 1      // escaped bytes between two flags; one more and maxFrame is certainly exceeded
)

// A FrameError tells why the bytes between two flags were dropped. It costs that frame only.
type FrameError string

// The ways of a frame to be bad.
const (
	BadFCS   FrameError = "bad_fcs"   // the check sequence is wrong
	TooShort FrameError = "too_short" // one or two bytes between flags
	Aborted  FrameError = "aborted"   // an escape directly before a flag
	TooLong  FrameError = "too_long"  // more than 261 unescaped bytes between flags
)

// Error gives the error's text.
func (e FrameError) Error() string { return "hdlc: bad frame: " + string(e) }

// Word gives the error as one word, as in the golden vectors.
func (e FrameError) Word() string { return string(e) }

// AppendFrame appends packet as a whole frame, both flags and check sequence included, and returns the extended slice.
// A packet of more than MaxPacket bytes gives a frame that no receiver accepts. packet must not overlap dst's free space.
func AppendFrame(dst, packet []byte) []byte {
	sum := FCS(packet)
	dst = append(dst, flag)
	dst = appendEscaped(dst, packet)
	dst = appendEscaped(dst, []byte{byte(sum), byte(sum >> 8)})
	return append(dst, flag)
}

func appendEscaped(dst, p []byte) []byte {
	from := 0
	for i, b := range p {
		if b == flag || b == escape {
			dst = append(dst, p[from:i]...)
			dst = append(dst, escape, b^toggle)
			from = i + 1
		}
	}
	return append(dst, p[from:]...)
}

// unescape undoes the escapes of raw, the bytes between two flags, into dst. It returns the number of bytes stored.
func unescape(dst *[maxFrame]byte, raw []byte) (int, error) {
	n := 0
	for {
		i := bytes.IndexByte(raw, escape)
		run := raw
		if i >= 0 {
			run = raw[:i]
		}
		if n+len(run) > maxFrame {
			return 0, TooLong
		}
		n += copy(dst[n:], run)
		switch {
		case i < 0:
			return n, nil
		case i+1 == len(raw):
			return 0, Aborted
		case n == maxFrame:
			return 0, TooLong
		}
		dst[n] = raw[i+1] ^ toggle
		n++
		raw = raw[i+2:]
	}
}
