package main

import (
	"math"
	"runtime/debug"
	"testing"
)

func TestMemoryGoal(t *testing.T) {
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(math.MaxInt64))
	t.Setenv("GOMEMLIMIT", "1GiB")
	if aimAtMemory(); debug.SetMemoryLimit(-1) != math.MaxInt64 {
		t.Error("what the environment says is overruled")
	}
	t.Setenv("GOMEMLIMIT", "")
	if aimAtMemory(); debug.SetMemoryLimit(-1) != memoryGoal {
		t.Errorf("%d", debug.SetMemoryLimit(-1))
	}
}
