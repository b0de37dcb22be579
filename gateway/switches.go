package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/meshgate/meshgate/gpio"
)

// switches remembers when outputs with a rate were switched, so that a restart gives none of them more. It is a file of lines
// in the state folder, appended to by a goroutine: no pin waits for it. Times are counted from the boot of the host, which
// nobody sets.
//
// A line is in the file's cache as soon as it is written, and outlives a kill; it is flushed at the start and at a clean end
// only. So after a power cut the lines may be old ones: unless the end was clean, or the file is not there at all, every
// output counts as having used up its rate when the host booted. What was done in an earlier boot was done before this one.
type switches struct {
	boot string
	zero time.Time // the boot
	wake chan struct{}
	done chan struct{}

	mu     sync.Mutex
	last   map[string]switchLine // of each wire
	recent []switchLine          // of the last minute, oldest first
	fresh  []switchLine          // those that are not in the file
	behind bool                  // nor are others: there were too many
	ended  bool

	// The goroutine's own.
	file lineFile
	keeping
}

// switchLine is a line of the file.
type switchLine struct {
	Boot string  `json:"boot"`
	Up   float64 `json:"up"` // seconds since the boot
	Wire string  `json:"wire,omitempty"`
	Away bool    `json:"away,omitempty"` // not safe since
	End  bool    `json:"end,omitempty"`  // a clean end; the next start takes it away
}

const (
	maxSwitchFile  = 64 << 10 // bytes at which the file is written anew
	maxFreshSwitch = 1024     // lines that wait for a disk that does not answer
)

// openSwitches reads the file and gives what counts of it for outs.
func openSwitches(dir string, boot func() (string, time.Duration), outs []gpio.Output, log *slog.Logger) (*switches, map[string][]time.Time) {
	id, up := boot()
	now := time.Now()
	s := &switches{file: lineFile{path: filepath.Join(dir, "switches.jsonl")}, boot: id, zero: now.Add(-up),
		keeping: keeping{log: log, what: "what is switched cannot be kept on the disk: a restart may give outputs more than their rate"},
		last:    map[string]switchLine{}, wake: make(chan struct{}, 1), done: make(chan struct{})}
	known, inDoubt := s.read()
	if !known && time.Since(inDoubt) < time.Minute {
		log.Warn("what outputs with a rate have switched before is not known: they count as having used it up", "when", stamp(inDoubt))
	}
	past := map[string][]time.Time{}
	for _, o := range outs {
		switch {
		case len(o.Group) > 0 || o.Rate == 0:
		case !known && time.Since(inDoubt) < time.Minute:
			for range o.Rate {
				s.add(switchLine{Boot: id, Up: s.up(inDoubt), Wire: o.Wire()})
			}
		case s.last[o.Wire()].Away: // the start has brought it back
			s.add(switchLine{Boot: id, Up: s.up(now), Wire: o.Wire()})
		}
	}
	s.prune(now)
	for _, l := range s.recent {
		past[l.Wire] = append(past[l.Wire], s.at(l))
	}
	if len(s.last) > 0 || slices.ContainsFunc(outs, func(o gpio.Output) bool { return o.Rate > 0 }) {
		s.rewrite()
	}
	go s.run()
	return s, past
}

func (s *switches) up(t time.Time) float64 { return t.Sub(s.zero).Seconds() }

func (s *switches) at(l switchLine) time.Time {
	return s.zero.Add(time.Duration(l.Up * float64(time.Second)))
}

// read takes in the file. known is false when more may have been switched than it says, at the latest inDoubt.
func (s *switches) read() (known bool, inDoubt time.Time) {
	data, err := os.ReadFile(s.file.path)
	if errors.Is(err, fs.ErrNotExist) {
		return true, inDoubt
	}
	if err != nil {
		s.tell(err)
		return false, time.Now()
	}
	var l switchLine
	for text := range bytes.Lines(data) {
		if l = (switchLine{}); json.Unmarshal(text, &l) != nil || l.Boot == "" {
			s.log.Warn("the file of what was switched is damaged", "file", s.file.path)
			return false, time.Now()
		}
		switch here := l.Boot == s.boot; {
		case l.Wire == "":
		case here:
			s.add(l)
		default:
			s.add(switchLine{Wire: l.Wire})
		}
	}
	return l.Boot == s.boot || l.End, s.zero
}

// add takes a line in. The caller has mu, or is alone.
func (s *switches) add(l switchLine) {
	l.Boot = s.boot
	s.last[l.Wire] = l
	s.recent = append(s.recent, l)
}

// prune forgets what is more than a minute ago, but for the last word on each wire.
func (s *switches) prune(now time.Time) {
	old := s.up(now) - time.Minute.Seconds()
	s.recent = slices.DeleteFunc(s.recent, func(l switchLine) bool { return l.Up <= old })
}

// note takes what a bank has switched, and does not block.
func (s *switches) note(w gpio.Switch) {
	l := switchLine{Boot: s.boot, Up: s.up(w.At), Wire: w.Wire, Away: w.Away}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	s.add(l)
	if s.fresh = append(s.fresh, l); len(s.fresh) > maxFreshSwitch {
		s.fresh, s.behind = nil, true
	}
	s.signal()
}

func (s *switches) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// run writes what comes until close.
func (s *switches) run() {
	defer close(s.done)
	for range s.wake {
		s.mu.Lock()
		s.prune(time.Now())
		fresh, behind, ended := s.fresh, s.behind, s.ended
		s.fresh = nil
		s.mu.Unlock()
		switch {
		case behind || s.file.size > maxSwitchFile:
			s.rewrite()
		case len(fresh) > 0:
			s.tell(s.file.append(lines(fresh), false))
		}
		if ended {
			break
		}
	}
	if s.file.size > 0 {
		s.tell(s.file.append(lines([]switchLine{{Boot: s.boot, End: true}}), true))
	}
	s.file.close()
}

func lines(list []switchLine) []byte {
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	for _, l := range list {
		_ = enc.Encode(l) // to memory, and of what always has a JSON
	}
	return text.Bytes()
}

// rewrite replaces the file by one with what still counts.
func (s *switches) rewrite() {
	s.mu.Lock()
	list := []switchLine{{Boot: s.boot}} // even without a switch there is a line that is not a clean end
	for _, l := range s.last {
		if !slices.Contains(s.recent, l) {
			list = append(list, l)
		}
	}
	list = append(list, s.recent...)
	s.fresh, s.behind = nil, false
	s.mu.Unlock()
	err := s.file.replace(lines(list))
	s.tell(err)
	if err != nil {
		s.mu.Lock()
		s.behind = true
		s.mu.Unlock()
	}
}

// close ends it. The outputs must be closed before.
func (s *switches) close() {
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	s.signal()
	<-s.done
}
