// Command powercut finds out what a program loses when the power fails, at any instant.
//
//	powercut [flags] -run 'COMMAND' -check 'COMMAND'
//
// It makes a small disk whose every write and flush it sees itself (a file served through FUSE under
// a loop device), with a real ext4 on it, and runs the -run command there. That command prints a line
// "ack SOMETHING" on standard output whenever it has promised something to someone. Then powercut
// builds the disk as it would have been found after a power cut at many instants of that run, lets
// ext4 recover it, and runs the -check command on each; a check that exits non-zero is a loss.
//
// Three kinds of disk are tried for an instant: one that had written everything it was given
// ("all"), one that had written nothing since its last flush ("none"), and one that had written some
// sectors of what came since then ("some": torn and out of order, different for each seed).
//
// Both commands run under sh -c with the variables
//
//	POWERCUT_DIR    the mounted file system, empty at the start of -run
//	POWERCUT_ACKED  (-check) a file with the text of each ack printed before the cut, one a line
//
// Needs root, /dev/fuse, loop devices and mkfs.ext4. All mounts are in a namespace of its own, so that
// nothing is left behind however it ends. A process that serves the disk it also waits for cannot die of
// SIGKILL before someone ends the wait, and until then every sync of the machine hangs: so a second
// process listens to its heart and breaks the connection of the disk when it stops (watchdog.go).
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"math/rand"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

var (
	runCmd   = flag.String("run", "", "shell command that writes and prints acks")
	checkCmd = flag.String("check", "", "shell command that checks what is left")
	sizeMiB  = flag.Int("size", 64, "size of the disk in MiB")
	limit    = flag.Duration("limit", time.Minute, "stop the -run command (SIGTERM, then SIGKILL) after this long")
	maxCuts  = flag.Int("cuts", 200, "try at most this many instants, spread over the run; 0 is all of them")
	seeds    = flag.Int("seeds", 1, "how many \"some\" disks to try for each instant")
	mountOpt = flag.String("mount", "", "mount options, as in data=writeback")
	mkfsOpt  = flag.String("mkfs", "-q -E lazy_itable_init=0,lazy_journal_init=0", "options for mkfs.ext4")
	keep     = flag.Int("losses", 5, "stop after this many losses")
	verbose  = flag.Bool("v", false, "print each cut tried")
)

// sector is what a disk writes as a whole.
const sector = 512

type kind uint8

const (
	write kind = iota
	flush
	ack
)

// op is one entry of the log: a write, a flush (all writes before it are then safe), or an ack.
type op struct {
	kind kind
	off  int64
	data []byte
	text string
}

// disk is the one file of the FUSE file system: its content, and the log of what was done to it.
type disk struct {
	fs.Inode
	mu      sync.Mutex
	content []byte
	log     []op
}

var (
	_ fs.NodeGetattrer = (*disk)(nil)
	_ fs.NodeSetattrer = (*disk)(nil)
	_ fs.NodeOpener    = (*disk)(nil)
	_ fs.NodeReader    = (*disk)(nil)
	_ fs.NodeWriter    = (*disk)(nil)
	_ fs.NodeFsyncer   = (*disk)(nil)
)

func (d *disk) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	out.Mode = syscall.S_IFREG | 0o600
	out.Size = uint64(len(d.content))
	return 0
}

func (d *disk) Setattr(ctx context.Context, f fs.FileHandle, _ *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	return d.Getattr(ctx, f, out)
}

func (d *disk) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	return nil, fuse.FOPEN_DIRECT_IO, 0
}

func (d *disk) Read(_ context.Context, _ fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := copy(dest, d.content[min(off, int64(len(d.content))):])
	return fuse.ReadResultData(dest[:n]), 0
}

func (d *disk) Write(_ context.Context, _ fs.FileHandle, data []byte, off int64) (uint32, syscall.Errno) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if off+int64(len(data)) > int64(len(d.content)) {
		return 0, syscall.ENOSPC
	}
	copy(d.content[off:], data)
	d.log = append(d.log, op{kind: write, off: off, data: append([]byte(nil), data...)})
	return uint32(len(data)), 0
}

func (d *disk) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno {
	d.add(op{kind: flush})
	return 0
}

func (d *disk) add(o op) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.log = append(d.log, o)
}

// tool runs a program of the system and dies of its failure.
func tool(name string, args ...string) {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		log.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
}

// mount mounts the disk image at img on dir, through a loop device that goes when the mount does.
func mount(img, dir string, direct bool) error {
	args := []string{"--show", "-f", img}
	if direct {
		args = append(args, "--direct-io=on")
	}
	out, err := exec.Command("losetup", args...).Output()
	if err != nil {
		return fmt.Errorf("losetup: %w", err)
	}
	dev := strings.TrimSpace(string(out))
	defer exec.Command("losetup", "-d", dev).Run() // takes effect when the mount ends
	opts := "noatime"
	if *mountOpt != "" {
		opts += "," + *mountOpt
	}
	if out, err := exec.Command("mount", "-t", "ext4", "-o", opts, dev, dir).CombinedOutput(); err != nil {
		return fmt.Errorf("mount: %v: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// record runs the workload on the logged disk and returns the disk as it was before it, and the log.
func record(ctx context.Context, tmp string) ([]byte, []op) {
	d := &disk{content: make([]byte, *sizeMiB<<20)}
	root := &fs.Inode{}
	back := filepath.Join(tmp, "fuse")
	dir := filepath.Join(tmp, "mnt")
	for _, p := range []string{back, dir} {
		if err := os.Mkdir(p, 0o755); err != nil {
			log.Fatal(err)
		}
	}
	srv, err := fs.Mount(back, root, &fs.Options{
		OnAdd: func(ctx context.Context) {
			root.AddChild("disk", root.NewPersistentInode(ctx, d, fs.StableAttr{Mode: syscall.S_IFREG}), false)
		},
		MountOptions: fuse.MountOptions{DirectMount: true, FsName: "powercut", MaxWrite: 1 << 20},
	})
	if err != nil {
		log.Fatalf("fuse: %v", err)
	}
	stop := watched(tmp, back)
	defer stop()
	img := filepath.Join(back, "disk")
	tool("mkfs.ext4", append(strings.Fields(*mkfsOpt), "-F", img)...)
	if err := mount(img, dir, true); err != nil {
		log.Fatal(err)
	}
	syscall.Sync()
	d.mu.Lock()
	before := append([]byte(nil), d.content...)
	d.log = nil
	d.mu.Unlock()

	ctx, cancel := context.WithTimeout(ctx, *limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", *runCmd)
	cmd.Env = append(os.Environ(), "POWERCUT_DIR="+dir)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.StdoutPipe()
	if err != nil {
		log.Fatal(err)
	}
	start := time.Now()
	if err := cmd.Start(); err != nil {
		log.Fatal(err)
	}
	acks := 0
	for s := bufio.NewScanner(out); s.Scan(); {
		if text, ok := strings.CutPrefix(s.Text(), "ack "); ok {
			d.add(op{kind: ack, text: text})
			acks++
		} else {
			fmt.Println(s.Text())
		}
	}
	ended := cmd.Wait()
	if ctx.Err() != nil {
		ended = nil // stopped here, not by itself
	}
	syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // whatever it left behind
	d.mu.Lock()
	trace := d.log // what the unmount below writes is no part of it
	d.log = nil
	d.mu.Unlock()
	for range 50 {
		if err = syscall.Unmount(dir, 0); err == nil {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if err != nil {
		log.Fatalf("unmount: %v", err)
	}
	if err := srv.Unmount(); err != nil {
		syscall.Unmount(back, syscall.MNT_DETACH)
	}
	if ended != nil {
		log.Fatalf("the -run command: %v", ended)
	}
	var writes, flushes, bytes int
	for _, o := range trace {
		switch o.kind {
		case write:
			writes++
			bytes += len(o.data)
		case flush:
			flushes++
		}
	}
	log.Printf("recorded %v: %d acks, %d writes (%d bytes), %d flushes",
		time.Since(start).Round(time.Millisecond), acks, writes, bytes, flushes)
	if acks == 0 {
		log.Fatal("the -run command acknowledged nothing")
	}
	return before, trace
}

// after is the disk found when the power fails just before trace[cut].
func after(safe []byte, pending []op, how string, rnd *rand.Rand) []byte {
	img := append([]byte(nil), safe...)
	for _, o := range pending {
		switch {
		case o.kind != write || how == "none":
		case how == "all":
			copy(img[o.off:], o.data)
		default:
			for i := 0; i < len(o.data); i += sector {
				if rnd.Intn(2) == 0 {
					copy(img[o.off+int64(i):], o.data[i:min(i+sector, len(o.data))])
				}
			}
		}
	}
	return img
}

// check mounts img and runs the check on it; the error tells what was lost.
func check(img []byte, acks []string, tmp string) error {
	file, dir, acked := filepath.Join(tmp, "cut.img"), filepath.Join(tmp, "mnt"), filepath.Join(tmp, "acked")
	if err := os.WriteFile(file, img, 0o600); err != nil {
		log.Fatal(err)
	}
	text := ""
	if len(acks) > 0 {
		text = strings.Join(acks, "\n") + "\n"
	}
	if err := os.WriteFile(acked, []byte(text), 0o600); err != nil {
		log.Fatal(err)
	}
	if err := mount(file, dir, false); err != nil {
		return err
	}
	defer func() {
		for range 50 {
			if syscall.Unmount(dir, 0) == nil {
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
		log.Fatal("the -check command leaves the file system busy")
	}()
	cmd := exec.Command("sh", "-c", *checkCmd)
	cmd.Env = append(os.Environ(), "POWERCUT_DIR="+dir, "POWERCUT_ACKED="+acked)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("powercut: ")
	flag.Parse()
	runtime.LockOSThread() // Pdeathsig is about the thread that started the child
	if os.Getenv(watchdogEnv) != "" {
		watch(os.Getenv(watchdogEnv))
		return
	}
	if *runCmd == "" || *checkCmd == "" || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	if os.Getenv("POWERCUT_INSIDE") == "" {
		os.Exit(again())
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	tmp := os.Getenv("POWERCUT_INSIDE")
	tool("mount", "-t", "tmpfs", "-o", "mode=0755", "powercut", tmp)

	disk, trace := record(ctx, tmp)
	step := 1
	if *maxCuts > 0 && len(trace) > *maxCuts {
		step = (len(trace) + *maxCuts - 1) / *maxCuts
	}
	var acks []string
	var pending []op
	cuts, tried, losses := 0, 0, 0
	start := time.Now()
	for i := 0; i <= len(trace) && losses < *keep && ctx.Err() == nil; i++ {
		// an ack is the instant that matters most: always there, and every step-th of the others
		if i%step == 0 || i == len(trace) || (i > 0 && trace[i-1].kind == ack && step < 20) {
			cuts++
			hows := []string{"all", "none"}
			for s := range *seeds {
				hows = append(hows, fmt.Sprintf("some-%d", s+1))
			}
			for n, how := range hows {
				rnd := rand.New(rand.NewSource(int64(i)*1000 + int64(n)))
				tried++
				err := check(after(disk, pending, how, rnd), acks, tmp)
				if *verbose || err != nil {
					log.Printf("cut at %d of %d (%s, %d acks): %v", i, len(trace), how, len(acks), err)
				}
				if err != nil {
					losses++
				}
			}
		}
		if i == len(trace) {
			break
		}
		switch o := trace[i]; o.kind {
		case ack:
			acks = append(acks, o.text)
		case write:
			pending = append(pending, o)
		case flush:
			for _, p := range pending {
				copy(disk[p.off:], p.data)
			}
			pending = nil
		}
	}
	log.Printf("%d instants, %d disks checked in %v, %d losses", cuts, tried, time.Since(start).Round(time.Millisecond), losses)
	if losses > 0 || ctx.Err() != nil {
		os.Exit(1)
	}
}

// again runs this program once more in a mount namespace of its own, with a folder to work in.
func again() int {
	tmp, err := os.MkdirTemp("", "powercut")
	if err != nil {
		log.Fatal(err)
	}
	defer os.Remove(tmp)
	self, err := os.Executable()
	if err != nil {
		log.Fatal(err)
	}
	signal.Ignore(os.Interrupt, syscall.SIGTERM) // the one inside ends by them
	cmd := exec.Command(self, os.Args[1:]...)
	cmd.Env = append(os.Environ(), "POWERCUT_INSIDE="+tmp)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Unshareflags: syscall.CLONE_NEWNS, // and the mounts in it are private
		Pdeathsig:    syscall.SIGKILL,
	}
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return max(exit.ExitCode(), 1)
	case err != nil:
		log.Print(err)
		return 1
	}
	return 0
}
