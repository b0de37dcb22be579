package spool

import "sort"

// A span is a range of sequences, both ends included.
type span struct{ lo, hi uint64 }

// spans is a set of sequences: sorted, neither overlapping nor touching.
type spans []span

// add puts lo to hi in and gives how many of them are new.
func (s *spans) add(lo, hi uint64) (fresh uint64) {
	if hi < lo {
		return 0
	}
	old := *s
	i := sort.Search(len(old), func(i int) bool { return old[i].hi+1 >= lo })
	j := i
	fresh = hi - lo + 1
	for ; j < len(old) && old[j].lo <= hi+1; j++ {
		if a, b := max(lo, old[j].lo), min(hi, old[j].hi); a <= b {
			fresh -= b - a + 1
		}
	}
	if i == j {
		*s = append(old, span{})
		copy((*s)[i+1:], (*s)[i:])
		(*s)[i] = span{lo, hi}
		return fresh
	}
	old[i] = span{min(lo, old[i].lo), max(hi, old[j-1].hi)}
	*s = append(old[:i+1], old[j:]...)
	return fresh
}

// after gives the smallest sequence from seq on that is not in.
func (s spans) after(seq uint64) uint64 {
	i := sort.Search(len(s), func(i int) bool { return s[i].hi >= seq })
	if i < len(s) && s[i].lo <= seq {
		return s[i].hi + 1
	}
	return seq
}

// count gives how many of lo to hi are in.
func (s spans) count(lo, hi uint64) (n uint64) {
	for i := sort.Search(len(s), func(i int) bool { return s[i].hi >= lo }); i < len(s) && s[i].lo <= hi; i++ {
		n += min(hi, s[i].hi) - max(lo, s[i].lo) + 1
	}
	return n
}

// and gives what is in both.
func (s spans) and(t spans) (both spans) {
	for i, j := 0, 0; i < len(s) && j < len(t); {
		if lo, hi := max(s[i].lo, t[j].lo), min(s[i].hi, t[j].hi); lo <= hi {
			both = append(both, span{lo, hi})
		}
		if s[i].hi < t[j].hi {
			i++
		} else {
			j++
		}
	}
	return both
}
