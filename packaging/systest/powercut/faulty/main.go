// Command faulty shows a folder at another place, with a disk under it that fails when it is told to.
//
//	faulty FOLDER PLACE FAULT
//
// While the file FAULT holds "ro" everything that would change something fails with EROFS, on files that are open already too;
// while it holds "eio" writes and flushes fail with EIO. What fails does nothing. A loop device on a file at PLACE becomes a
// disk whose blocks cannot be written. It prints "ready" when PLACE is mounted, and unmounts it on SIGTERM. Needs root and
// /dev/fuse.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// fault gives what the disk has now.
func fault() syscall.Errno {
	b, _ := os.ReadFile(os.Args[3])
	switch strings.TrimSpace(string(b)) {
	case "ro":
		return syscall.EROFS
	case "eio":
		return syscall.EIO
	}
	return 0
}

// readOnly is what a disk says to a change of names: a bad block does not hinder it.
func readOnly() syscall.Errno {
	if e := fault(); e == syscall.EROFS {
		return e
	}
	return 0
}

type node struct{ *fs.LoopbackNode }

func (n *node) WrapChild(_ context.Context, ops fs.InodeEmbedder) fs.InodeEmbedder {
	return &node{ops.(*fs.LoopbackNode)}
}

func (n *node) Write(ctx context.Context, f fs.FileHandle, data []byte, off int64) (uint32, syscall.Errno) {
	if e := fault(); e != 0 {
		return 0, e
	}
	return f.(fs.FileWriter).Write(ctx, data, off)
}

func (n *node) Fsync(ctx context.Context, f fs.FileHandle, flags uint32) syscall.Errno {
	if e := fault(); e != 0 {
		return e
	}
	if f, ok := f.(fs.FileFsyncer); ok {
		return f.Fsync(ctx, flags)
	}
	return 0
}

func (n *node) Open(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	if e := readOnly(); e != 0 && flags&syscall.O_ACCMODE != syscall.O_RDONLY {
		return nil, 0, e
	}
	return n.LoopbackNode.Open(ctx, flags)
}

func (n *node) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	if e := readOnly(); e != 0 {
		return nil, nil, 0, e
	}
	return n.LoopbackNode.Create(ctx, name, flags, mode, out)
}

func (n *node) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	if e := readOnly(); e != 0 {
		return nil, e
	}
	return n.LoopbackNode.Mkdir(ctx, name, mode, out)
}

func (n *node) Rename(ctx context.Context, name string, parent fs.InodeEmbedder, to string, flags uint32) syscall.Errno {
	if e := readOnly(); e != 0 {
		return e
	}
	return n.LoopbackNode.Rename(ctx, name, parent, to, flags)
}

func (n *node) Unlink(ctx context.Context, name string) syscall.Errno {
	if e := readOnly(); e != 0 {
		return e
	}
	return n.LoopbackNode.Unlink(ctx, name)
}

func (n *node) Setattr(ctx context.Context, f fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	if e := readOnly(); e != 0 {
		return e
	}
	return n.LoopbackNode.Setattr(ctx, f, in, out)
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("faulty: ")
	if len(os.Args) != 4 {
		log.Fatal("faulty FOLDER PLACE FAULT")
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	root, err := fs.NewLoopbackRoot(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	srv, err := fs.Mount(os.Args[2], &node{root.(*fs.LoopbackNode)}, &fs.Options{
		MountOptions: fuse.MountOptions{DirectMount: true, FsName: "faulty", MaxWrite: 1 << 20}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("ready")
	<-stop
	if srv.Unmount() != nil {
		syscall.Unmount(os.Args[2], syscall.MNT_DETACH)
	}
}
