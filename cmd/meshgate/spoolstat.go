package main

import (
	"fmt"
	"io"
	"time"

	"github.com/meshgate/meshgate/bridge/spool"
)

// spoolStat is `spool stat --json`.
type spoolStat struct {
	Folder   string         `json:"folder"`
	Records  uint64         `json:"records"`
	Bytes    int64          `json:"bytes"`
	Size     int64          `json:"size"`
	Oldest   uint64         `json:"oldest"`
	Next     uint64         `json:"next"`
	From     *time.Time     `json:"from"`
	To       *time.Time     `json:"to"`
	Damaged  uint64         `json:"damaged"`
	Torn     bool           `json:"torn"`
	Bad      []string       `json:"bad,omitempty"`
	Foreign  []string       `json:"foreign,omitempty"`
	Segments []spoolSegment `json:"segments"`
	Readers  []spoolReader  `json:"readers"`
}

type spoolSegment struct {
	File    string `json:"file"`
	First   uint64 `json:"first"`
	Last    uint64 `json:"last"`
	Records int64  `json:"records"`
	Bytes   int64  `json:"bytes"`
	From    string `json:"from,omitempty"`
	To      string `json:"to,omitempty"`
}

// spoolReader is a bridge: what it has delivered, and what waits for it.
type spoolReader struct {
	Name      string `json:"name"`
	Delivered uint64 `json:"delivered"` // everything up to it
	Waiting   uint64 `json:"waiting"`
}

func statOf(folder string, look *spool.Snapshot) spoolStat {
	s := spoolStat{Folder: folder, Records: look.Records, Bytes: look.Bytes, Size: look.Size, Oldest: look.Oldest,
		Next: look.Next, Damaged: look.Damaged, Torn: look.Torn, Bad: look.Bad, Foreign: look.Foreign,
		Segments: []spoolSegment{}, Readers: []spoolReader{}}
	for _, g := range look.Segments {
		s.Segments = append(s.Segments, spoolSegment{g.File, g.First, g.Last, g.Records, g.Bytes, stampOf(g.MinTime), stampOf(g.MaxTime)})
		if t := g.MinTime; !t.IsZero() && (s.From == nil || t.Before(*s.From)) {
			s.From = &t
		}
		if t := g.MaxTime; !t.IsZero() && (s.To == nil || t.After(*s.To)) {
			s.To = &t
		}
	}
	for _, c := range look.Cursors {
		s.Readers = append(s.Readers, spoolReader{c.Name, c.Low, waitingFor(c, look)})
	}
	return s
}

// waitingFor is how many of the stored records a reader has not acknowledged.
func waitingFor(c spool.CursorInfo, look *spool.Snapshot) uint64 {
	var n uint64
	for _, g := range look.Segments {
		lo := max(g.First, c.Low+1)
		if g.Last < lo || g.First > g.Last {
			continue
		}
		n += g.Last - lo + 1
		for _, r := range c.Above {
			if a, b := max(r[0], lo), min(r[1], g.Last); a <= b {
				n -= b - a + 1
			}
		}
	}
	return n
}

func printStat(out io.Writer, folder string, look *spool.Snapshot) {
	s := statOf(folder, look)
	fmt.Fprintf(out, "%s: %d records, %s in files of %s", folder, s.Records, size(s.Bytes), size(s.Size))
	if s.Records > 0 {
		fmt.Fprintf(out, "; seq %d to %d", s.Oldest, s.Next-1)
	}
	if s.From != nil {
		fmt.Fprintf(out, ", %s to %s", stampOf(*s.From), stampOf(*s.To))
	}
	fmt.Fprintln(out)
	if s.Damaged > 0 {
		fmt.Fprintf(out, "%d records are damaged\n", s.Damaged)
	}
	for _, f := range s.Bad {
		fmt.Fprintf(out, "%s cannot be read\n", f)
	}
	for _, f := range s.Foreign {
		fmt.Fprintf(out, "%s is not the spool's\n", f)
	}
	fmt.Fprintln(out)
	t := newTable(out, "READER", "DELIVERED UP TO", "WAITING")
	for _, r := range s.Readers {
		t.row(cell{r.Name, plain}, cell{fmt.Sprint(r.Delivered), plain}, cell{fmt.Sprint(r.Waiting), plain})
	}
	t.print()
	fmt.Fprintln(out)
	t = newTable(out, "SEGMENT", "FIRST", "LAST", "RECORDS", "BYTES", "FROM", "TO")
	for _, g := range s.Segments {
		t.row(cell{g.File, plain}, cell{fmt.Sprint(g.First), plain}, cell{fmt.Sprint(g.Last), plain}, cell{fmt.Sprint(g.Records), plain},
			cell{fmt.Sprint(g.Bytes), plain}, cell{g.From, plain}, cell{g.To, plain})
	}
	t.print()
}
