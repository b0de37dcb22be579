package gpio

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		outs := []Output{{Name: "all", Group: []string{"a", "b"}}, {Name: "a", Pin: "sim"}, {Name: "b", Pin: "sim", MinOff: time.Second}}
		noProblems(t, outs)
		var got told
		b := Open(outs, NewSim(), got.add, nil)
		r, err := b.Set("all", true, 0)
		wantRule(t, err, "min_off")
		if r.On || !r.Known || !b.Get("a").On {
			t.Errorf("a group with one member on: %+v", r)
		}
		time.Sleep(time.Second)
		if r, err := b.Toggle("all"); err != nil || !r.On {
			t.Errorf("%+v, %v", r, err)
		}
		if r, err := b.Toggle("all"); err != nil || r.On {
			t.Errorf("%+v, %v", r, err)
		}
		var names []string
		for _, r := range b.All() {
			names = append(names, r.Name)
		}
		if fmt.Sprint(names) != "[all a b]" {
			t.Error(names)
		}
		b.Close()
		if s := got.take(); s != "a off, all ?, b off, all off, a on, b on, all on, a off, all off, b off" {
			t.Error(s)
		}
	})
}

// TestGroupWithAFailingMember: the others do what they are told, toggle included, and the error names the one that failed.
func TestGroupWithAFailingMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig()
		b := Open([]Output{{Name: "a"}, {Name: "bad"}, {Name: "c"}, {Name: "all", Group: []string{"a", "bad", "c"}}}, r, nil, nil)
		defer b.Close()
		r.fail("bad", func(w *wire) { w.failSet = syscall.EIO })
		for i, want := range []bool{true, false, true} {
			reading, err := b.Toggle("all")
			if !errors.Is(err, syscall.EIO) || !strings.Contains(err.Error(), "bad") || reading.Known || r.on("a") != want || r.on("c") != want {
				t.Errorf("%d: %v, %+v, a %v, c %v", i, err, reading, r.on("a"), r.on("c"))
			}
		}
		r.fail("bad", func(w *wire) { w.failSet = nil })
		time.Sleep(lastRetry)
		if reading, err := b.Toggle("all"); err != nil || !reading.On {
			t.Errorf("it is back: %+v, %v", reading, err)
		}
	})
}

// TestRelease: who lets go gives back what nobody has commanded since, and nothing else.
func TestRelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig()
		outs := []Output{{Name: "mine"}, {Name: "shared"}, {Name: "his", MaxOn: time.Second}, {Name: "fan", Safe: true},
			{Name: "all", Group: []string{"mine", "shared", "his"}}}
		b := Open(outs, r, nil, nil)
		defer b.Close()
		do := func(name, by string, a Action) {
			t.Helper()
			if _, err := b.Do(name, Command{Action: a, By: by}); err != nil {
				t.Fatal(err)
			}
		}
		do("all", "me", On)
		do("fan", "me", Off)
		do("shared", "", On)
		time.Sleep(time.Second) // max_on has taken it away, and somebody else has it now
		do("his", "he", On)
		if err := b.Release(""); err != nil || !r.on("mine") {
			t.Errorf("nobody has let go: %v", err)
		}
		if err := b.Release("me"); err != nil || r.on("mine") || !r.on("shared") || !r.on("his") || !r.on("fan") {
			t.Errorf("%v: %+v", err, b.All())
		}
		if c := b.Get("mine").Cause; c != ByRelease {
			t.Error(c)
		}
	})
}
