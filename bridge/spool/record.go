package spool

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"time"
)

// A Record is one message that waits. It describes itself: what is made of it (prefix, form, quality of service) is decided
// when it is sent, so that a changed configuration neither orphans nor loses what waits.
type Record struct {
	Seq     uint64    // given by Append: grows by one a record for as long as the folder lives
	Kind    uint8     // 0 to 15, of the caller's choosing
	Retain  bool      // the message is to be retained
	Synced  bool      // Time was taken by a clock that was right
	Topic   string    // local topic, at most 65535 bytes
	Time    time.Time // microseconds, years 828 to 3111; the zero Time is kept as such
	Anchor  Anchor
	Payload []byte
}

// An Anchor ties a record to the clock of the manager it came from, so that it can be dated later.
type Anchor struct {
	Session uint16    // run of the manager's clock; 0: no anchor
	Clock   time.Time // that clock in steps of 1/256 s, years 1970 to 2106
}

// Sizes in bytes of what is on the disk.
const (
	crcSize      = 4
	seqSize      = 6
	fixedSize    = seqSize + 1 + 7 + 2 + 5 // of a body, before the topic's length
	minBody      = fixedSize + 1
	minRecord    = 1 + crcSize + minBody
	maxTopic     = 1<<16 - 1
	maxSeq       = 1<<48 - 1
	recordFormat = 0
	noTime       = -1 << 55 // the zero time.Time
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var errRecord = errors.New("spool: record does not parse")

// seedOf is what the checks of a segment start from. Bytes that an earlier generation left in the file never pass.
func seedOf(generation uint64) uint32 {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], generation)
	return crc32.Update(0, castagnoli, b[:])
}

// recordSize gives the length of r on the disk.
func recordSize(r *Record) int {
	body := fixedSize + uvarintLen(uint64(len(r.Topic))) + len(r.Topic) + len(r.Payload)
	return uvarintLen(uint64(body)) + crcSize + body
}

func uvarintLen(v uint64) int {
	n := 1
	for ; v >= 0x80; v >>= 7 {
		n++
	}
	return n
}

// appendRecord writes r without its check and sequence, which stamp puts in when its place is known.
func appendRecord(dst []byte, r *Record) []byte {
	body := fixedSize + uvarintLen(uint64(len(r.Topic))) + len(r.Topic) + len(r.Payload)
	dst = binary.AppendUvarint(dst, uint64(body))
	dst = append(dst, 0, 0, 0, 0) // check
	dst = append(dst, 0, 0, 0, 0, 0, 0, recordFormat<<6|bit(r.Synced, 5)|bit(r.Retain, 4)|r.Kind&15)
	us := uint64(micros(r.Time))
	dst = append(dst, byte(us), byte(us>>8), byte(us>>16), byte(us>>24), byte(us>>32), byte(us>>40), byte(us>>48))
	dst = binary.LittleEndian.AppendUint16(dst, r.Anchor.Session)
	sec, frac := clock(r.Anchor.Clock)
	dst = binary.LittleEndian.AppendUint32(dst, sec)
	dst = append(dst, frac)
	dst = binary.AppendUvarint(dst, uint64(len(r.Topic)))
	dst = append(dst, r.Topic...)
	return append(dst, r.Payload...)
}

func bit(on bool, n uint) byte {
	if on {
		return 1 << n
	}
	return 0
}

// micros gives t in microseconds since 1970, clamped to the 56 bits there are.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return noTime
	}
	if y := t.Year(); y < 0 || y > 9999 {
		t = time.Date(min(max(y, 0), 9999), 1, 1, 0, 0, 0, 0, time.UTC)
	}
	return min(max(t.UnixMicro(), noTime+1), 1<<55-1)
}

func timeOf(us int64) time.Time {
	if us == noTime {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}

// clock gives t as seconds since 1970 and 1/256 s; the zero Time and what is before 1970 as 0.
func clock(t time.Time) (sec uint32, frac byte) {
	s := t.Unix()
	if t.IsZero() || s < 0 {
		return 0, 0
	}
	if s > 1<<32-1 {
		return 1<<32 - 1, 255
	}
	return uint32(s), byte(int64(t.Nanosecond()) * 256 / 1e9)
}

// stamp puts sequence and check into a record that appendRecord wrote.
func stamp(rec []byte, seed uint32, seq uint64) {
	head, _ := frame(rec)
	body := rec[head+crcSize:]
	putSeq(body, seq)
	binary.LittleEndian.PutUint32(rec[head:], checkOf(rec, head, seed))
}

func checkOf(rec []byte, head int, seed uint32) uint32 {
	return crc32.Update(crc32.Update(seed, castagnoli, rec[:head]), castagnoli, rec[head+crcSize:])
}

func putSeq(b []byte, seq uint64) {
	binary.LittleEndian.PutUint32(b, uint32(seq))
	binary.LittleEndian.PutUint16(b[4:], uint16(seq>>32))
}

func getSeq(b []byte) uint64 {
	return uint64(binary.LittleEndian.Uint32(b)) | uint64(binary.LittleEndian.Uint16(b[4:]))<<32
}

// frame reads a record's length: the bytes of the length itself and of the whole record, which may be longer than b.
// Both are 0 where no record can begin.
func frame(b []byte) (head, size int) {
	v, n := binary.Uvarint(b[:min(len(b), 5)])
	if n <= 0 || v < minBody || v > maxSegment || n != uvarintLen(v) {
		return 0, 0
	}
	return n, n + crcSize + int(v)
}

// whole tells whether rec is a record of the generation that seed belongs to.
func whole(rec []byte, seed uint32) bool {
	head, size := frame(rec)
	return size != 0 && size == len(rec) && binary.LittleEndian.Uint32(rec[head:]) == checkOf(rec, head, seed)
}

// seqOf, timesOf: fields of a whole record without parsing the rest.
func seqOf(rec []byte) uint64 {
	head, _ := frame(rec)
	return getSeq(rec[head+crcSize:])
}

func timesOf(rec []byte) (us int64, synced bool) {
	head, _ := frame(rec)
	b := rec[head+crcSize+seqSize:]
	return int64(binary.LittleEndian.Uint64(b)) >> 8, b[0]&(1<<5) != 0
}

// parseRecord reads a whole record. Its payload shares the bytes of rec; topic is used for Topic if it is the same.
func parseRecord(rec []byte, topic string) (Record, error) {
	head, _ := frame(rec)
	b := rec[head+crcSize:]
	flags := b[seqSize]
	if flags>>6 != recordFormat {
		return Record{}, errRecord
	}
	us, synced := timesOf(rec)
	r := Record{Seq: getSeq(b), Kind: flags & 15, Retain: flags&(1<<4) != 0, Synced: synced, Time: timeOf(us)}
	b = b[seqSize+8:]
	r.Anchor.Session = binary.LittleEndian.Uint16(b)
	if sec, frac := binary.LittleEndian.Uint32(b[2:]), b[6]; sec != 0 || frac != 0 {
		r.Anchor.Clock = time.Unix(int64(sec), int64(frac)*1e9/256).UTC()
	}
	n, k := binary.Uvarint(b[7:])
	if k <= 0 || n > uint64(len(b)-7-k) {
		return Record{}, errRecord
	}
	b = b[7+k:]
	if r.Topic = topic; string(b[:n]) != topic {
		r.Topic = string(b[:n])
	}
	r.Payload = b[n:len(b):len(b)]
	return r, nil
}
