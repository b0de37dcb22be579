package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// printWear says what is written to the disk a day, and what for; nothing when it is not known yet.
func printWear(out io.Writer, day map[string]int64) {
	var total int64
	for _, n := range day {
		total += n
	}
	if total <= 0 {
		return
	}
	var parts []string
	for _, what := range slices.Sorted(maps.Keys(day)) {
		if share := 100 * day[what] / total; share > 0 {
			parts = append(parts, fmt.Sprintf("%s %d %%", what, share))
		}
	}
	fmt.Fprintf(out, "%s written to the disk a day: %s\n", size(total), strings.Join(parts, ", "))
}
