// Command wear measures what keeping readings costs a flash card: the writes and flushes that reach a disk, as the disk
// itself counts them, of the spool, of SQLite (WAL, synchronous FULL) and of bbolt, side by side in the same run. SQLite comes
// twice: its C library calls fdatasync, as Debian builds it; the driver in pure Go calls fsync, which writes the journal of
// ext4 at each commit.
//
// Each has an ext4 of its own on a loop device of its own, and has kept 100,000 records before the count begins, so that files
// have grown, the log of SQLite goes round and segments are recycled. SQLite's log is carried over into the database before the
// count begins, and at its end and within it: the count has what its own records cost, and no part of the 100,000. The spool has
// a reader too, which acknowledges all: its cursors are in the count. The others only insert; nothing is taken out of them.
//
// Needs root, loop devices, mkfs.ext4, and a mount namespace of its own (unshare -m), in which its mounts end with it.
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/meshgate/meshgate/bridge/spool"
	"golang.org/x/sys/unix"
)

// A keeper is a store that is measured.
type keeper interface {
	// keep makes the records durable in one commit.
	keep(recs []spool.Record) error
	close() error
}

// A logger is a keeper that owes its disk what is only in a log.
type logger interface{ carryOver() error }

var keepers = []struct {
	name string
	open func(dir string, window time.Duration) (keeper, error)
}{
	{"spool", openSpool},
	{"sqlite", openSQLite},
	{"sqlite-go", openSQLiteGo},
	{"bbolt", openBolt},
}

// A load is a way in which readings come in.
type load struct {
	name   string
	every  time.Duration // between commits
	size   int           // records a commit
	window time.Duration // spool.sync; 0: each record when it comes
}

var loads = []load{
	{"10 commits/s of 1 record", 100 * time.Millisecond, 1, 0},
	{"1 commit/s of 1 record", time.Second, 1, 0},
	{"100 records/s, 250 ms window", 250 * time.Millisecond, 25, 250 * time.Millisecond},
}

const warm = 100_000 // records that are kept before the count begins

// reading is a record as the gateway keeps most.
func reading(i int) spool.Record {
	at := time.UnixMicro(1772366400e6 + int64(i)*1e4)
	return spool.Record{
		Kind: 1, Synced: true, Topic: fmt.Sprintf("mote/00-17-0d-00-00-38-05-%02x/temperature", i%100), Time: at,
		Anchor: spool.Anchor{Session: 1, Clock: at}, Payload: fmt.Appendf(nil, `{"value":22.97,"unit":"C","manager":"main","n":%d}`, i),
	}
}

func readings(from, n int) (all []spool.Record) {
	for i := range n {
		all = append(all, reading(from+i))
	}
	return all
}

// A count is what a disk has been given.
type count struct{ writes, bytes, flushes int64 }

func (c count) minus(o count) count {
	return count{c.writes - o.writes, c.bytes - o.bytes, c.flushes - o.flushes}
}

// A result is what a load cost with one keeper.
type result struct {
	count
	commits, records int
}

// disk makes an ext4 on a loop device and mounts it on dir. The device goes with the mount.
func disk(dir string) (stat string, err error) {
	image := dir + ".img"
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", err
	}
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		return "", err
	}
	if err := os.Truncate(image, 256<<20); err != nil {
		return "", err
	}
	if _, err := tool("mkfs.ext4", "-q", "-b", "4096", "-E", "lazy_itable_init=0,lazy_journal_init=0", "-F", image); err != nil {
		return "", err
	}
	dev, err := tool("losetup", "--show", "-f", image)
	if err != nil {
		return "", err
	}
	defer tool("losetup", "-d", dev)
	_, err = tool("mount", "-t", "ext4", "-o", "noatime", dev, dir)
	return filepath.Join("/sys/block", filepath.Base(dev), "stat"), err
}

func tool(name string, args ...string) (string, error) {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

// counted reads a device's own counters (Documentation/block/stat.rst of Linux).
func counted(stat string) (c count, err error) {
	b, err := os.ReadFile(stat)
	if err != nil {
		return c, err
	}
	f := strings.Fields(string(b))
	if len(f) < 17 {
		return c, fmt.Errorf("%s: no count of flushes: Linux 5.5 has it", stat)
	}
	for i, at := range map[int]*int64{4: &c.writes, 6: &c.bytes, 15: &c.flushes} {
		if *at, err = strconv.ParseInt(f[i], 10, 64); err != nil {
			return c, err
		}
	}
	c.bytes *= 512
	return c, nil
}

// measure gives a load to a keeper for a time. What is owed to the disk at the end is written and counted.
func measure(k keeper, dir, stat string, l load, for_ time.Duration) (r result, err error) {
	for n := 0; n < warm; n += 500 {
		if err := k.keep(readings(n, 500)); err != nil {
			return r, err
		}
	}
	time.Sleep(2 * time.Second)
	if err := settle(k, dir); err != nil {
		return r, err
	}
	before, err := counted(stat)
	if err != nil {
		return r, err
	}
	tick := time.NewTicker(l.every)
	defer tick.Stop()
	for end := time.Now().Add(for_); time.Now().Before(end); <-tick.C {
		if err := k.keep(readings(warm+r.records, l.size)); err != nil {
			return r, err
		}
		r.commits, r.records = r.commits+1, r.records+l.size
	}
	if err := settle(k, dir); err != nil {
		return r, err
	}
	after, err := counted(stat)
	r.count = after.minus(before)
	return r, err
}

// settle has the disk given what a keeper and the file system still owe it.
func settle(k keeper, dir string) error {
	if l, ok := k.(logger); ok {
		if err := l.carryOver(); err != nil {
			return err
		}
	}
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Syncfs(int(f.Fd()))
}

// round measures one load with all keepers at once.
func round(tmp string, l load, for_ time.Duration) ([]result, error) {
	results, errs := make([]result, len(keepers)), make([]error, len(keepers))
	var all sync.WaitGroup
	for i, k := range keepers {
		dir := filepath.Join(tmp, k.name)
		stat, err := disk(dir)
		if err != nil {
			return nil, err
		}
		defer os.Remove(dir + ".img")
		defer os.Remove(dir)
		defer syscall.Unmount(dir, 0)
		all.Go(func() {
			store, err := k.open(dir, l.window)
			if err == nil {
				results[i], err = measure(store, dir, stat, l, for_)
				store.close()
			}
			errs[i] = err
		})
	}
	all.Wait()
	for i, err := range errs {
		if err != nil {
			return nil, fmt.Errorf("%s: %w", keepers[i].name, err)
		}
	}
	return results, nil
}

func main() {
	log.SetFlags(0)
	for_ := flag.Duration("time", time.Minute, "how long each load lasts")
	flag.Parse()
	tmp, err := os.MkdirTemp("", "wear")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(tmp)
	for _, l := range loads {
		results, err := round(tmp, l, *for_)
		if err != nil {
			os.RemoveAll(tmp)
			log.Fatal(err)
		}
		fmt.Printf("%s, for %v\n", l.name, *for_)
		for i, r := range results {
			fmt.Printf("  %-9s %4d commits  %5.2f flushes/commit  %7.0f bytes/commit  %6.0f bytes/record  the spool's are %.2f of it\n", keepers[i].name,
				r.commits, per(r.flushes, r.commits), per(r.bytes, r.commits), per(r.bytes, r.records), perRecord(results[0])/perRecord(r))
		}
	}
}

func perRecord(r result) float64 { return per(r.bytes, r.records) }

func per(n int64, of int) float64 { return float64(n) / float64(max(of, 1)) }
