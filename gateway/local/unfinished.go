package local

import (
	"errors"
	"slices"
	"sync"
	"time"
)

var errUnfinished = errors.New("it takes long over a large packet, while there is no room for those of others")

const (
	largePacket   = 16 << 10
	unfinishedFor = 2 * time.Second  // after which a packet that has not come to its end may be given up for another one
	roomWait      = 10 * time.Second // for others to come to their end
)

// unfinished is the large packets that clients have begun to send, or that are being processed: the server has memory for all
// of each as soon as it has begun.
type unfinished struct {
	most int

	mu      sync.Mutex
	bytes   int
	list    []*unfinishedPacket // the oldest first
	changed chan struct{}       // closed when something has ended
}

type unfinishedPacket struct {
	c     *conn
	size  int
	since time.Time
	whole bool
}

// begin waits until there is room for a packet.
func (u *unfinished) begin(c *conn, size int) (*unfinishedPacket, error) {
	patience := time.NewTimer(roomWait)
	defer patience.Stop()
	tick := time.NewTicker(unfinishedFor / 4)
	defer tick.Stop()
	size = min(size, u.most)
	for {
		u.mu.Lock()
		if u.makeRoom(size) {
			p := &unfinishedPacket{c: c, size: size, since: time.Now()}
			u.list, u.bytes = append(u.list, p), u.bytes+size
			u.mu.Unlock()
			return p, nil
		}
		if u.changed == nil {
			u.changed = make(chan struct{})
		}
		changed := u.changed
		u.mu.Unlock()
		select {
		case <-changed:
		case <-tick.C:
			if c.isClosed() {
				return nil, errUnfinished
			}
		case <-patience.C:
			return nil, errUnfinished
		}
	}
}

// makeRoom gives up packets that take long, if that is needed. The caller holds mu.
func (u *unfinished) makeRoom(size int) bool {
	for u.bytes+size > u.most {
		i := slices.IndexFunc(u.list, func(p *unfinishedPacket) bool { return !p.whole })
		if i < 0 || time.Since(u.list[i].since) < unfinishedFor {
			return false
		}
		p := u.list[i]
		u.remove(i)
		go p.c.refuse(errUnfinished)
	}
	return true
}

func (u *unfinished) remove(i int) {
	u.bytes -= u.list[i].size
	u.list = slices.Delete(u.list, i, i+1)
	if u.changed != nil {
		close(u.changed)
		u.changed = nil
	}
}

// complete: nothing of the packet is missing any more.
func (u *unfinished) complete(p *unfinishedPacket) {
	u.mu.Lock()
	defer u.mu.Unlock()
	p.whole = true
}

func (u *unfinished) end(p *unfinishedPacket) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if i := slices.Index(u.list, p); i >= 0 {
		u.remove(i)
	}
}

// framing follows where packets begin and end in what a client sends.
type framing struct {
	all    *unfinished
	length int // of the packet that begins
	shift  int // of the next bits of length; 0: before the packet's first byte
	left   int // bytes of the packet that are missing
	large  *unfinishedPacket
}

// read is called before more is read, when all that was has been processed.
func (f *framing) read() {
	if f.large != nil && f.left == 0 {
		f.end()
	}
}

func (f *framing) end() {
	if f.large != nil {
		f.all.end(f.large)
		f.large = nil
	}
}

// took is called with what has been read.
func (f *framing) took(c *conn, p []byte) error {
	for len(p) > 0 {
		if f.left > 0 {
			n := min(f.left, len(p))
			f.left, p = f.left-n, p[n:]
			if f.left == 0 && f.large != nil {
				f.all.complete(f.large)
			}
			continue
		}
		b := p[0]
		p = p[1:]
		if f.shift++; f.shift == 1 {
			f.length = 0
			continue
		}
		f.length |= int(b&0x7f) << (7 * (f.shift - 2))
		if b >= 0x80 && f.shift < 5 {
			continue
		}
		f.left, f.shift = f.length, 0
		f.end()
		if f.left < largePacket {
			continue
		}
		var err error
		if f.large, err = f.all.begin(c, f.left); err != nil {
			return err
		}
	}
	return nil
}
