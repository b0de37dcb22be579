// Package tape records what goes over a manager's port in a file of bounded size, and plays it again as a manager would, so
// that a problem in the field becomes a test. docs/recording.md is for people; this is the format.
//
//	file    a header, then up to N blocks in a ring; each of them 4096 bytes. Everything is little-endian
//	header  "meshgate tape 1\n", N u32; zeros
//	block   0  "MGTB"
//	        4  u32  CRC-32C of what follows, up to the last entry
//	        8  u64  number: block n stands at place n mod N behind the header; 0, 1, 2, ...
//	        16 i64  when the run began, microseconds since 1970 on the host's clock. A run is one life of the recorder
//	        24 u64  start: microseconds from there to the block, on a clock that does not jump
//	        32 u16  bytes of entries
//	        34 entries; zeros
//	entry   kind u8, microseconds since the one before (the first: since start) uvarint, length uvarint, bytes
//
// An entry from or to the manager holds bytes as they went over the line, cut behind the flag that ends a frame and dated by
// that flag: strung together they are the line, noise included. Only the payloads of commands that carry secrets are zeros,
// in a frame that is right again.
//
// A block is written in place when it is full, and before that once a second with what there is. A power cut can spoil the
// block that was being written, and takes what the kernel had not put on the disk yet: blocks are synced when they are full.
// What is spoilt fails its CRC and is passed over.
package tape

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"time"
)

// A Kind says what an entry is.
type Kind byte

// The kinds of entries.
const (
	FromManager Kind = 1 // bytes
	ToManager   Kind = 2 // bytes
	Opened      Kind = 3 // the port was opened; no bytes
	Closed      Kind = 4 // it was closed; no bytes
	Lost        Kind = 5 // entries that the disk was too slow for were dropped; u64, how many
)

// String gives the kind in a word.
func (k Kind) String() string {
	words := [...]string{"", "from", "to", "opened", "closed", "lost"}
	if int(k) < len(words) {
		return words[k]
	}
	return ""
}

// An Entry is a piece of the line.
type Entry struct {
	Kind Kind
	Run  time.Time     // when its run began, on the clock of the host then
	At   time.Duration // since the run began
	Data []byte
}

const (
	magic      = "meshgate tape 1\n"
	blockMagic = "MGTB"
	blockSize  = 4096
	blockHead  = 34
	blockRoom  = blockSize - blockHead
	entryHead  = 1 + 2*binary.MaxVarintLen64 // at most
	maxData    = 1024                        // of an entry

	minBlocks = 4
	maxBlocks = 1 << 18 // 1 GiB
)

// ErrNotTape is wrapped when a file is there and is no recording. It is not touched.
var ErrNotTape = errors.New("not a recording of meshgate")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A block is one block on its way to or from the file.
type block struct {
	number uint64
	run    int64
	start  uint64
	last   uint64 // time of the last entry, or start
	body   []byte // the entries
}

// fits says whether the block has room for n bytes of data.
func (b *block) fits(n int) bool { return len(b.body)+entryHead+n <= blockRoom }

// add appends an entry, which has to fit.
func (b *block) add(kind Kind, at uint64, data []byte) {
	at = max(at, b.last)
	b.body = append(b.body, byte(kind))
	b.body = binary.AppendUvarint(b.body, at-b.last)
	b.body = binary.AppendUvarint(b.body, uint64(len(data)))
	b.body = append(b.body, data...)
	b.last = at
}

// bytes gives the whole block.
func (b *block) bytes() []byte {
	out := make([]byte, 0, blockSize)
	out = append(out, blockMagic+"\x00\x00\x00\x00"...)
	out = binary.LittleEndian.AppendUint64(out, b.number)
	out = binary.LittleEndian.AppendUint64(out, uint64(b.run))
	out = binary.LittleEndian.AppendUint64(out, b.start)
	out = binary.LittleEndian.AppendUint16(out, uint16(len(b.body)))
	out = append(out, b.body...)
	binary.LittleEndian.PutUint32(out[4:], crc32.Checksum(out[8:], castagnoli))
	return out[:blockSize]
}

// parseBlock reads a block; not ok when it is none, or spoilt.
func parseBlock(raw []byte) (b block, ok bool) {
	if len(raw) < blockHead || string(raw[:4]) != blockMagic {
		return b, false
	}
	used := int(binary.LittleEndian.Uint16(raw[32:]))
	if used > len(raw)-blockHead || crc32.Checksum(raw[8:blockHead+used], castagnoli) != binary.LittleEndian.Uint32(raw[4:]) {
		return b, false
	}
	b.number = binary.LittleEndian.Uint64(raw[8:])
	b.run = int64(binary.LittleEndian.Uint64(raw[16:]))
	b.start = binary.LittleEndian.Uint64(raw[24:])
	b.body = raw[blockHead : blockHead+used]
	return b, true
}

// entries takes a block apart; what cannot be read of it is left out.
func (b *block) entries() []Entry {
	var all []Entry
	at, rest := b.start, b.body
	for len(rest) > 0 {
		kind := Kind(rest[0])
		delta, n := binary.Uvarint(rest[1:])
		if n <= 0 {
			return all
		}
		rest = rest[1+n:]
		size, n := binary.Uvarint(rest)
		if n <= 0 || size > uint64(len(rest)-n) {
			return all
		}
		at += delta
		all = append(all, Entry{kind, time.UnixMicro(b.run), time.Duration(at) * time.Microsecond, rest[n : n+int(size)]})
		rest = rest[n+int(size):]
	}
	return all
}

// header gives the first block of a file.
func header(blocks int) []byte {
	out := make([]byte, blockSize)
	copy(out, magic)
	binary.LittleEndian.PutUint32(out[len(magic):], uint32(blocks))
	return out
}

// parseHeader gives the number of blocks of the ring.
func parseHeader(raw []byte) (blocks int, ok bool) {
	if len(raw) < len(magic)+4 || string(raw[:len(magic)]) != magic {
		return 0, false
	}
	blocks = int(binary.LittleEndian.Uint32(raw[len(magic):]))
	return blocks, blocks >= minBlocks && blocks <= maxBlocks
}
