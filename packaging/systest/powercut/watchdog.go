package main

import (
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

const (
	watchdogEnv = "POWERCUT_WATCHDOG" // the abort file of the connection to watch; set in the watchdog alone
	beat        = time.Second
	silence     = 15 * time.Second // of the heart, after which the connection is broken
)

// watched starts the watchdog of the FUSE connection that is mounted at dir: this program again, in a
// session of its own, with the heart beat on its standard input. The function it returns ends it.
func watched(tmp, dir string) (stop func()) {
	var st syscall.Stat_t
	if err := syscall.Stat(dir, &st); err != nil {
		log.Fatalf("watchdog: %v", err)
	}
	ctl := filepath.Join(tmp, "ctl")
	if err := os.Mkdir(ctl, 0o755); err != nil {
		log.Fatalf("watchdog: %v", err)
	}
	tool("mount", "-t", "fusectl", "powercut", ctl)
	minor := st.Dev&0xff | st.Dev>>12&^0xff // a connection is called after the minor number of its device
	self, err := os.Executable()
	if err != nil {
		log.Fatalf("watchdog: %v", err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s/%d/abort", watchdogEnv, ctl, uint32(minor)))
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	heart, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		log.Fatalf("watchdog: %v", err)
	}
	end := make(chan struct{})
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		for {
			select {
			case <-time.After(beat):
				heart.Write([]byte{'.'})
			case <-end:
				heart.Write([]byte{'q'})
				heart.Close()
				cmd.Wait()
				syscall.Unmount(ctl, syscall.MNT_DETACH)
				return
			}
		}
	}()
	return func() { close(end); <-gone }
}

// watch is the watchdog: it breaks the connection when the heart is silent for too long, or has
// stopped without a word of goodbye.
func watch(abort string) {
	f, err := os.OpenFile(abort, os.O_WRONLY, 0)
	if err != nil {
		log.Fatalf("watchdog: %v", err)
	}
	beats := make(chan byte)
	go func() {
		for b := make([]byte, 1); ; {
			if _, err := os.Stdin.Read(b); err != nil {
				close(beats)
				return
			}
			beats <- b[0]
		}
	}()
	for {
		select {
		case b, ok := <-beats:
			if ok && b == 'q' {
				return
			}
			if ok {
				continue
			}
		case <-time.After(silence):
		}
		log.Print("watchdog: the server of the disk does not answer; its connection is broken")
		f.Write([]byte("1"))
		return
	}
}
