package gateway

import (
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/meshgate/meshgate/bridge/spool"
)

// intake is the one way into the spool: a record is on the disk before anybody hears of it.
type intake struct {
	spool *spool.Spool
	hub   *hub
	dates *dates
	log   *slog.Logger
	link  *link
	rules atomic.Pointer[rules] // are shown samples before they go to the disk; nil: none yet

	newest atomic.Uint64 // the newest sequence number that the spool has given
	lost   atomic.Uint64 // records that the disk would not take
	news   atomic.Bool   // the disk's health has changed
	audit  auditCount
	mu     sync.Mutex
	told   string // the disk error that was logged last; "" when the disk is well
	well   func() // called when it has got well
}

// keep stores records and then hands them to the live listeners. An error means that they are not
// on the disk: it is logged when it is a new one, shown as the spool's state, and counted.
func (in *intake) keep(recs ...spool.Record) error {
	if len(recs) == 0 {
		return nil
	}
	if r := in.rules.Load(); r != nil {
		r.samples(recs)
	}
	first, err := in.spool.Append(recs...)
	in.judge(err)
	if err != nil {
		in.lost.Add(uint64(len(recs)))
	}
	if err == nil {
		in.newest.Store(first + uint64(len(recs)) - 1)
	}
	for i, r := range recs {
		if err == nil {
			r.Seq = first + uint64(i)
		}
		m, bad := render(nil, r, false)
		if bad != nil {
			in.log.Error("a record of ours cannot be read", "error", bad)
			continue
		}
		in.hub.publish(m)
	}
	return err
}

// judge tells of a change in the disk's health once.
func (in *intake) judge(err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	switch {
	case err == nil && in.told != "":
		in.told = ""
		in.news.Store(true)
		in.link.up("")
		in.log.Info("the disk takes records again", "lost", in.lost.Load())
		in.well()
	case err != nil && cause(err) != in.told && !errors.Is(err, spool.ErrClosed):
		in.told = cause(err)
		in.news.Store(true)
		in.link.down(err)
		in.log.Error("the disk does not take records: they are shown live, but cannot be kept", "error", err)
	}
}

// bad tells whether the disk does not take records.
func (in *intake) bad() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.told != ""
}

// cause is what is at the bottom of an error: the same trouble with another file is no news.
func cause(err error) string {
	if system := syscall.Errno(0); errors.As(err, &system) {
		return system.Error()
	}
	for next := errors.Unwrap(err); next != nil; next = errors.Unwrap(err) {
		err = next
	}
	return kind(err)
}

// now stores an object that happens now: a result, an audit.
func (in *intake) now(topic string, fields map[string]any) error {
	r, err := objectRecord(topic, fields)
	if err != nil {
		in.log.Error("cannot be said in JSON", "topic", topic, "error", err)
		return err
	}
	in.dates.put(&r, 0)
	return in.keep(r)
}
