package config

import (
	"fmt"
	"strings"
)

// didYouMean returns ", did you mean X?" with the candidate that is nearest to word, or a list
// of all candidates when none is near, or "" when there is none at all.
func didYouMean(word string, candidates []string) string {
	best, bestDistance := "", max(len(word)/3, 1)+1
	for _, c := range candidates {
		if len(c) > 2 && len(word) > 2 && (strings.HasPrefix(c, word) || strings.HasPrefix(word, c)) {
			best, bestDistance = c, 1 // cut short, or with something at its end
		}
		if d := distance(strings.ToLower(word), strings.ToLower(c)); d < bestDistance && d < len(c) {
			best, bestDistance = c, d
		}
	}
	switch {
	case best != "":
		return fmt.Sprintf(", did you mean %q?", best)
	case len(candidates) == 0:
		return ""
	}
	return "; known here: " + strings.Join(candidates, ", ")
}

// distance counts the letters that are to be changed, added, left out or swapped with their
// neighbour to turn a into b (optimal string alignment).
func distance(a, b string) int {
	s, t := []rune(a), []rune(b)
	if len(s) > 64 || len(t) > 64 {
		return 64
	}
	before, prev, cur := make([]int, len(t)+1), make([]int, len(t)+1), make([]int, len(t)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(s); i++ {
		cur[0] = i
		for j := 1; j <= len(t); j++ {
			cost := 1
			if s[i-1] == t[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && s[i-1] == t[j-2] && s[i-2] == t[j-1] {
				cur[j] = min(cur[j], before[j-2]+1)
			}
		}
		before, prev, cur = prev, cur, before
	}
	return prev[len(t)]
}
