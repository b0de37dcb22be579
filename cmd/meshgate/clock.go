package main

import (
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// oldest is a moment that has passed for sure: a clock before it has not been set.
var oldest = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// clockRight says whether the host's clock can be trusted for dates. Where a time synchroniser
// runs, it is right once the kernel, or systemd-timesyncd, says that it is synchronised. Where
// none runs, the clock is what the operator has set it to, and is taken as right unless it is in
// the past for sure.
func clockRight() bool {
	if time.Now().Before(oldest) {
		return false
	}
	if exists("/run/systemd/timesync/synchronized") {
		return true
	}
	var t unix.Timex
	if state, err := unix.Adjtimex(&t); err == nil && state != unix.TIME_ERROR && t.Status&unix.STA_UNSYNC == 0 {
		return true
	}
	return !synchroniserRuns()
}

// synchroniserRuns looks for the folders that the usual ones make while they run.
func synchroniserRuns() bool {
	return exists("/run/systemd/timesync") || exists("/run/chrony") || exists("/run/ntpd.pid") || exists("/run/openntpd")
}

// hostBoot gives what tells which boot of the host this is, and the time since, suspended or not;
// nil where the system does not say.
func hostBoot() func() (string, time.Duration) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	var t unix.Timespec
	if err != nil || unix.ClockGettime(unix.CLOCK_BOOTTIME, &t) != nil {
		return nil
	}
	return func() (string, time.Duration) {
		var t unix.Timespec
		_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &t) // it has worked before, and has no other way to fail
		return strings.TrimSpace(string(id)), time.Duration(t.Nano())
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
