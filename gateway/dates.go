package gateway

import (
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/meshgate/meshgate/bridge/spool"
)

// dates gives records their times, and gives them anew to those that were made while the host's
// clock was wrong: a machine without a clock of its own starts in 1970, and somebody sets it later.
//
// What is known for sure then is how long after the boot of the host something was: that is the
// anchor of a record. When the clock is right, the date of the boot is known, and with it that of
// every record of this boot, whoever made it and however often the gateway was started since.
type dates struct {
	wall  func() time.Time               // the host's clock, which may be set at any moment
	up    func() (string, time.Duration) // which boot this is, and the time since, which nobody sets
	right func() bool                    // whether wall can be trusted
	file  string                         // remembers the boots of which records may still wait
	log   *slog.Logger

	mu     sync.Mutex
	boots  bootList
	run    uint16    // of this boot in anchors; 0: no record has needed one
	saved  bool      // the date of this boot is in the file
	asked  time.Time // when right was asked last
	answer bool
}

const (
	// askAgain is how long an answer of right holds: it looks at files.
	askAgain = time.Second
	// zeroYear is the time of an anchor at the boot of the host: what the spool can keep begins in
	// 1970, and a mote may have measured before the host was up.
	zeroYear = 946684800
)

func newDates(stateDir string, hw Hardware, boot string, log *slog.Logger) *dates {
	d := &dates{wall: hw.wall, up: hw.Boot, right: hw.ClockRight, file: filepath.Join(stateDir, bootsFile), log: log}
	if d.wall == nil {
		d.wall = time.Now
	}
	if since := time.Now(); d.up == nil {
		d.up = func() (string, time.Duration) { return boot, time.Since(since) }
	}
	var err error
	if d.boots, err = readBoots(d.file); err != nil {
		log.Warn("records of before the clock was right will keep their dates", "error", err)
	}
	id, _ := d.up()
	if b := d.boots.of(id); b != nil {
		d.run = b.Run
	}
	return d
}

// put dates a record of something that was so long ago.
func (d *dates) put(r *spool.Record, ago time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if r.Synced = d.isRight(); !r.Synced {
		r.Anchor = d.anchor(ago)
	}
	r.Time = d.wall().Add(-ago)
}

// isRight is whether the host's clock can be trusted, as of a second ago at most. The caller has mu.
func (d *dates) isRight() bool {
	if now := time.Now(); d.asked.IsZero() || now.Sub(d.asked) >= askAgain {
		d.asked, d.answer = now, d.right()
	}
	return d.answer
}

// anchor is the moment so long ago, counted from the boot. The first one of a boot gives it its
// number and notes it, so that a gateway that is started again in the same boot goes on with it.
func (d *dates) anchor(ago time.Duration) spool.Anchor {
	id, up := d.up()
	if d.run == 0 {
		d.run = d.boots.add(id)
		d.write(false)
	}
	return spool.Anchor{Session: d.run, Clock: time.Unix(zeroYear, 0).Add(up - ago)}
}

// again dates a record of before the clock was right anew, if that can be done by now.
func (d *dates) again(r *spool.Record) {
	if r.Synced || r.Anchor.Session == 0 {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if booted, ok := d.booted(r.Anchor.Session); ok {
		redate(r, booted)
	}
}

// redate gives a record its time by its anchor and the date of its boot.
func redate(r *spool.Record, booted time.Time) {
	r.Time, r.Synced = booted.Add(r.Anchor.Clock.Sub(time.Unix(zeroYear, 0))).UTC(), true
}

// booted is the date of a boot, when that is known. The caller has mu.
func (d *dates) booted(run uint16) (time.Time, bool) {
	if run != d.run {
		if b := d.boots.run(run); b != nil && b.Date != nil {
			return *b.Date, true
		}
		return time.Time{}, false
	}
	if !d.isRight() {
		return time.Time{}, false
	}
	d.learn()
	return d.bootedNow(), true
}

func (d *dates) bootedNow() time.Time {
	_, up := d.up()
	return d.wall().Round(0).Add(-up)
}

// look is called from time to time: once the clock is right, the date of this boot is noted for
// the records that may still wait after the next.
func (d *dates) look() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.run != 0 && d.isRight() {
		d.learn()
	}
}

// learn notes the date of this boot, once. The caller has mu, and knows that the clock is right.
func (d *dates) learn() {
	if d.saved {
		return
	}
	d.saved = true
	date := d.bootedNow().UTC()
	id, _ := d.up()
	if b := d.boots.of(id); b != nil {
		b.Date = &date
	}
	d.log.Info("the clock is right now: what was recorded before is dated anew when it is sent", "boot", stamp(date))
	d.write(true)
}

func (d *dates) write(sync bool) {
	if err := d.boots.write(d.file, sync); err != nil {
		d.log.Warn("a boot cannot be noted: what is recorded before the clock is right may keep a wrong date after a restart", "error", err)
	}
}
