package spool

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"syscall"
)

// sector is what a disk writes whole or not at all.
const sector = 512

// A disk is a folder in memory. It knows what was flushed, so that it can show what a power cut would leave, and every call
// can be made to fail.
type disk struct {
	mu     sync.Mutex
	names  map[string]*inode // as processes see them
	synced map[string]*inode // as they are on the disk
	log    []map[string]*inode
	held   bool
	ops    int
	free   int64 // bytes that new files may take; negative: no limit
	dead   error // every call fails so
	// fail, if set, is asked before each call, outside the lock; "write", "sync", "rename", "create", "open", "read",
	// "remove", "list", "syncdir".
	fail func(op, name string) error
	size int64
}

// An inode is a file: what was written, what is on the disk, and all that was written to a sector since it was flushed.
type inode struct {
	data    []byte
	durable []byte
	dirty   map[int64][][]byte
}

func newDisk() *disk {
	return &disk{names: map[string]*inode{}, synced: map[string]*inode{}, free: -1}
}

func (d *disk) begin(op, name string) error {
	d.mu.Lock()
	fail := d.fail
	d.ops++
	err := d.dead
	d.mu.Unlock()
	if err != nil {
		return err
	}
	if fail != nil {
		return fail(op, name)
	}
	return nil
}

func (d *disk) open(name string, m mode) (file, error) {
	op := "open"
	if m == toCreate {
		op = "create"
	}
	if err := d.begin(op, name); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.names[name]
	if m == toCreate {
		n = &inode{dirty: map[int64][][]byte{}}
		d.names[name] = n
		d.logNames()
	}
	if n == nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: os.ErrNotExist}
	}
	return &diskFile{d, n, name, m == toRead}, nil
}

func (d *disk) logNames() { d.log = append(d.log, maps.Clone(d.names)) }

func (d *disk) rename(from, to string) error {
	if err := d.begin("rename", to); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.names[from]
	if n == nil {
		return &os.PathError{Op: "rename", Path: from, Err: os.ErrNotExist}
	}
	delete(d.names, from)
	d.names[to] = n
	d.logNames()
	return nil
}

func (d *disk) remove(name string) error {
	if err := d.begin("remove", name); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.names[name]
	if n == nil {
		return &os.PathError{Op: "remove", Path: name, Err: os.ErrNotExist}
	}
	d.size -= int64(len(n.data))
	delete(d.names, name)
	d.logNames()
	return nil
}

func (d *disk) list() (all []entry, err error) {
	if err := d.begin("list", ""); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, n := range d.names {
		all = append(all, entry{name, int64(len(n.data))})
	}
	slices.SortFunc(all, func(a, b entry) int { return compare(a.name, b.name) })
	return all, nil
}

func compare(a, b string) int {
	if a < b {
		return -1
	}
	return 1
}

func (d *disk) sync() error {
	err := d.begin("syncdir", "")
	d.mu.Lock()
	defer d.mu.Unlock()
	if err == nil {
		d.synced, d.log = maps.Clone(d.names), nil
	}
	return err
}

func (d *disk) lock() (io.Closer, error) {
	if err := d.begin("lock", ""); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.held {
		return nil, fmt.Errorf("%w (process 1)", ErrLocked)
	}
	d.held = true
	return diskLock{d}, nil
}

type diskLock struct{ d *disk }

func (l diskLock) Close() error {
	l.d.mu.Lock()
	defer l.d.mu.Unlock()
	l.d.held = false
	return nil
}

type diskFile struct {
	d        *disk
	n        *inode
	name     string
	readOnly bool
}

func (f *diskFile) ReadAt(b []byte, off int64) (int, error) {
	if err := f.d.begin("read", f.name); err != nil {
		return 0, err
	}
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if off >= int64(len(f.n.data)) {
		return 0, io.EOF
	}
	if n := copy(b, f.n.data[off:]); n < len(b) {
		return n, io.EOF
	}
	return len(b), nil
}

// WriteAt that fails has written half, as a disk may.
func (f *diskFile) WriteAt(b []byte, off int64) (int, error) {
	err := f.d.begin("write", f.name)
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if f.readOnly {
		return 0, errors.New("opened for reading")
	}
	full := len(b)
	if f.d.dead != nil {
		return 0, f.d.dead
	}
	if err != nil {
		b = b[:len(b)/2]
	}
	if grow := off + int64(len(b)) - int64(len(f.n.data)); grow > 0 {
		if f.d.free >= 0 && f.d.size+grow > f.d.free {
			return 0, syscall.ENOSPC
		}
		f.d.size += grow
		f.n.data = append(f.n.data, make([]byte, grow)...)
	}
	copy(f.n.data[off:], b)
	for at := off / sector; at*sector < off+int64(len(b)); at++ {
		end := min((at+1)*sector, int64(len(f.n.data)))
		f.n.dirty[at] = append(f.n.dirty[at], slices.Clone(f.n.data[at*sector:end]))
	}
	if err != nil {
		return len(b), err
	}
	return full, nil
}

// Sync that fails leaves some of what was dirty on the disk, and calls all of it clean, as Linux does.
func (f *diskFile) Sync() error {
	err := f.d.begin("sync", f.name)
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if f.d.dead != nil {
		return f.d.dead
	}
	if err != nil {
		f.n.durable = f.n.cut(rand.New(rand.NewPCG(1, uint64(f.d.ops))))
	} else {
		f.n.durable = slices.Clone(f.n.data)
	}
	clear(f.n.dirty)
	return err
}

func (f *diskFile) Size() (int64, error) { return int64(len(f.n.data)), nil }
func (f *diskFile) Close() error         { return nil }

// cut gives what a power cut leaves of a file: of each sector that was written since the last flush any of its states.
func (n *inode) cut(r *rand.Rand) []byte {
	b := slices.Clone(n.durable)
	for _, at := range slices.Sorted(maps.Keys(n.dirty)) {
		states := n.dirty[at]
		k := r.IntN(len(states) + 1)
		if r.IntN(3) == 0 {
			k = len(states)
		}
		if k == 0 {
			continue
		}
		if need := at*sector + int64(len(states[k-1])); int64(len(b)) < need {
			b = append(b, make([]byte, need-int64(len(b)))...)
		}
		copy(b[at*sector:], states[k-1])
	}
	return b
}

// powerCut gives the disk as it is when the power comes back. Names come to the disk in the order in which they were made.
func (d *disk) powerCut(r *rand.Rand) *disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	names := d.synced
	if n := len(d.log); n > 0 {
		if k := r.IntN(n + 1); k > 0 {
			names = d.log[k-1]
		}
	}
	after := newDisk()
	for _, name := range slices.Sorted(maps.Keys(names)) {
		b := names[name].cut(r)
		after.put(name, b)
	}
	return after
}

// kill gives the disk as it is when the process was killed: everything written is there.
func (d *disk) kill() *disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	after := newDisk()
	for name, n := range d.names {
		after.names[name] = &inode{data: slices.Clone(n.data), durable: slices.Clone(n.durable), dirty: cloneDirty(n.dirty)}
		after.size += int64(len(n.data))
	}
	for name, n := range d.synced {
		for other, m := range d.names {
			if m == n {
				after.synced[name] = after.names[other]
			}
		}
	}
	after.logNames()
	return after
}

func cloneDirty(m map[int64][][]byte) map[int64][][]byte {
	c := map[int64][][]byte{}
	for at, states := range m {
		c[at] = slices.Clone(states)
	}
	return c
}

func (d *disk) put(name string, b []byte) {
	n := &inode{data: b, durable: slices.Clone(b), dirty: map[int64][][]byte{}}
	d.names[name], d.synced[name] = n, n
	d.size += int64(len(b))
}

// image copies all files, to put them back later.
func (d *disk) image() map[string][]byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := map[string][]byte{}
	for name, n := range d.names {
		all[name] = slices.Clone(n.data)
	}
	return all
}

func diskOf(image map[string][]byte) *disk {
	d := newDisk()
	for name, b := range image {
		d.put(name, slices.Clone(b))
	}
	return d
}

func (d *disk) setFail(f func(op, name string) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fail = f
}

func (d *disk) die(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dead = err
}

var errDisk = errors.New("disk says no")
