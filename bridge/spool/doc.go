// Package spool is a disk buffer: what is appended to it is on the disk when Append returns, and stays there until every
// reader has acknowledged it, through crashes, power cuts and damaged blocks. It is made for cards that wear out: a group of
// appends costs one write and one flush, to blocks that are there already, so that no metadata is written with them.
//
// A folder holds segments of one size, a file of cursors, and a lock:
//
//	0000000000000007.seg   a segment; the number is its generation, which no other file ever has
//	0000000000000009.new   a spare one: zeros
//	0000000000000005.bad   a segment of which nothing could be read
//	cursors                what each reader has acknowledged
//	lock                   the process that has the folder
//
// A segment is filled with zeros once and then overwritten. When all readers are through with it, it is renamed to a new
// generation and written again from its beginning. All numbers are little-endian; crc is CRC-32C:
//
//	0        64          512      576          4096                                     size-64    size
//	┌────────┬───────────┬────────┬────────────┬────────┬────────┬───┬────────┬─────────┬──────────┐
//	│ header │ zeros     │ header │ zeros      │ record │ record │ … │ 16 × 0 │ anything│ footer   │
//	└────────┴───────────┴────────┴────────────┴────────┴────────┴───┴────────┴─────────┴──────────┘
//
//	header   "mgspool\n"  version 2  0 2  size 4  generation 8  first sequence 8  created 8 µs  0 20  crc 4
//	footer   "mgsealed"  first 8  last 8  oldest 8 µs  newest 8 µs  newest synced 8 µs  end 4  count 4  undated 4  crc* 4
//
//	record   ┌────────┬───────┬────────────────────────────────────────────────────────────────────────┐
//	         │ length │ crc*  │ sequence flags time anchor topic payload                               │
//	         │ uvarint│ 4     │ 6        1     7    2+5    uvarint + bytes                             │
//	         └────────┴───────┴────────────────────────────────────────────────────────────────────────┘
//	          of what follows the crc
//
// crc* covers the generation too: what an earlier generation has left in the file never passes. docs/spool.md tells what
// the fields mean, in which order they are written, and what is done when something is damaged.
package spool
