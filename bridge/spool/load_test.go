package spool

import (
	"context"
	"errors"
	"maps"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// away makes a disk on which there is no folder to be taken, and none to be made.
func away(op, _ string) error {
	if op == "read" || op == "list" || op == "open" {
		return syscall.ENOENT
	}
	return syscall.EROFS
}

// usedDisk holds records 1 to 30, of which the reader "r" has acknowledged ten.
func usedDisk(t *testing.T) *disk {
	d := newDisk()
	s := mustOpen(t, d, small)
	mustAppend(t, s, 1, 30)
	ackAll(t, s, "r", func(seq uint64) bool { return seq <= 10 })
	mustClose(t, s)
	return d
}

// A folder that cannot be had at the start is taken when it can be, without an append: readers that are open by then go on
// from where their names were, and the sequences go on.
func TestFolderLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := usedDisk(t)
		d.setFail(away)
		s := mustOpen(t, d, Options{SegmentSize: small.SegmentSize, Readers: []string{"r"}})
		if _, err := s.Append(recordOf(31)); !errors.Is(err, syscall.EROFS) {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if st := s.Stats(); !errors.Is(st.Err, syscall.EROFS) || st.Records != 0 || st.Failures < 1000 {
			t.Fatalf("%+v", st)
		}
		var readers []*Reader
		for _, name := range []string{"r", "new"} {
			r, err := s.Reader(name)
			if err != nil {
				t.Fatal(err)
			}
			readers = append(readers, r)
		}
		d.setFail(nil)
		for _, r := range readers {
			for seq := uint64(11); seq <= 30; seq++ {
				if rec, err := r.Next(context.Background()); err != nil || rec.Seq != seq {
					t.Fatal(r.name, rec.Seq, err)
				}
			}
			r.Ack(11)
			r.Close()
		}
		if st := s.Stats(); st.Err != nil || st.Records != 19 || st.Next != 31 {
			t.Fatalf("%+v", st)
		}
		mustAppend(t, s, 31, 40)
		mustClose(t, s)
		s = mustOpen(t, d, small)
		defer s.Close()
		if got := drain(t, s, "r"); len(got) != 29 || got[0] != 12 {
			t.Fatal(got)
		}
	})
}

// A spool that is closed before it could take its folder leaves it as it was.
func TestFolderNever(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := usedDisk(t)
		before := d.image()
		d.setFail(away)
		s := mustOpen(t, d, Options{SegmentSize: small.SegmentSize, Readers: []string{"other"}})
		time.Sleep(time.Minute)
		d.setFail(func(op, _ string) error { // only the lock is refused: nothing may be written without it
			if op == "lock" {
				return syscall.EIO
			}
			return nil
		})
		time.Sleep(time.Minute)
		mustClose(t, s)
		if !maps.EqualFunc(d.image(), before, slices.Equal[[]byte]) {
			t.Fatal("the folder has changed")
		}
	})
}

// What does not pass by itself is no reason to wait.
func TestFolderOfAnother(t *testing.T) {
	for _, err := range []error{syscall.EACCES, syscall.ENOTDIR, ErrLocked} {
		d := newDisk()
		d.setFail(func(string, string) error { return err })
		if _, got := open(d, small); !errors.Is(got, err) {
			t.Errorf("%v: %v", err, got)
		}
	}
}

// Segments that the disk fails to read at the start are waited for; for how long, and what becomes of the rest, is told by the
// second half. None is ever renamed or removed for that.
func TestUnreadableAtStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		s := mustOpen(t, d, small)
		mustAppend(t, s, 1, 400)
		ackAll(t, s, "r", func(seq uint64) bool { return seq <= 10 })
		mustClose(t, s)
		names := slices.Sorted(maps.Keys(d.image()))
		fail := func(which func(name string) bool) {
			d.setFail(func(op, name string) error {
				if op == "read" && which(name) {
					return syscall.EIO
				}
				return nil
			})
		}
		fail(func(string) bool { return true })
		s = mustOpen(t, d, small)
		time.Sleep(skipAfter / 2)
		if _, err := s.Append(recordOf(401)); !errors.Is(err, syscall.EIO) {
			t.Fatal(err)
		}
		d.setFail(nil)
		time.Sleep(2 * time.Second)
		if got := drain(t, s, "r"); len(got) != 390 || got[0] != 11 {
			t.Fatal(got)
		}
		mustClose(t, s)

		broken := names[3]
		fail(func(name string) bool { return name == broken })
		s = mustOpen(t, d, small)
		time.Sleep(2 * skipAfter)
		if st := s.Stats(); st.Err != nil || st.Foreign != 1 || st.Bad != 0 {
			t.Fatalf("%+v", st)
		}
		if got := drain(t, s, "r"); len(got) < 300 || got[len(got)-1] != 400 {
			t.Fatal(got)
		}
		mustClose(t, s)
		if now := slices.Sorted(maps.Keys(d.image())); !slices.Equal(now, names) {
			t.Fatalf("the files were %q and are %q", names, now)
		}
	})
}
