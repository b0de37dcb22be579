package main

import (
	"bufio"
	"context"
	"io"
	"path/filepath"
	"testing"
	"time"
)

// TestSimulateEnds: a simulated manager that nobody speaks to ends when it is told to.
func TestSimulateEnds(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	out, told := io.Pipe()
	ended := make(chan int, 1)
	go func() {
		ended <- execute(ctx, []string{"simulate", "--pty", filepath.Join(t.TempDir(), "tty")}, nil, told, io.Discard)
	}()
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(line, err)
	}
	stop()
	select {
	case code := <-ended:
		if code != 0 {
			t.Errorf("exit status %d", code)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("it does not end")
	}
}
