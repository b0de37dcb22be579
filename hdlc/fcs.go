package hdlc

// The check sequence is CRC-16/X-25, the FCS-16 of RFC 1662: polynomial 0x1021 processed in reflected order (0x8408),
// register preset 0xFFFF, result inverted. Run over a packet and its own check sequence, without the final inversion,
// the register ends at goodFCS whatever the packet.
const (
	polynomial = 0x8408
	preset     = 0xFFFF
	goodFCS    = 0xF0B8
)

// tables[k][b] is what byte b does to the register when k more bytes follow it, so that eight bytes take eight
// independent look-ups in place of eight that wait for each other. tables[0] is the ordinary table.
var tables = makeTables()

func makeTables() *[8][256]uint16 {
	var t [8][256]uint16
	for b := range 256 {
		reg := uint16(b)
		for range 8 {
			odd := reg&1 != 0
			reg >>= 1
			if odd {
				reg ^= polynomial
			}
		}
		t[0][b] = reg
	}
	for k := 1; k < 8; k++ {
		for b := range 256 {
			prev := t[k-1][b]
			t[k][b] = prev>>8 ^ t[0][byte(prev)]
		}
	}
	return &t
}

// FCS gives the check sequence of packet; on the wire its low byte comes first.
func FCS(packet []byte) uint16 { return ^update(preset, packet) }

// update runs the register over p.
func update(reg uint16, p []byte) uint16 {
	t := tables
	for len(p) >= 8 {
		reg = t[7][byte(reg)^p[0]] ^ t[6][byte(reg>>8)^p[1]] ^
			t[5][p[2]] ^ t[4][p[3]] ^ t[3][p[4]] ^ t[2][p[5]] ^ t[1][p[6]] ^ t[0][p[7]]
		p = p[8:]
	}
	for _, b := range p {
		reg = reg>>8 ^ t[0][byte(reg)^b]
	}
	return reg
}
