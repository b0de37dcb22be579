package smartmesh

import (
	"fmt"
	"strings"
	"testing"
)

// A script answers requests: the request's payload in hex, and the response's.
func (r *rig) script(steps ...[2]string) {
	r.t.Helper()
	for i, s := range steps {
		a := r.next()
		if got := fmt.Sprintf("%x", a.Payload); got != strings.ReplaceAll(s[0], " ", "") {
			r.t.Errorf("request %d is %s, want %s", i, got, s[0])
		}
		r.respond(a, s[1])
	}
}

func TestMotes(t *testing.T) {
	mote := func(n int) string { return fmt.Sprintf("%016x", n) }
	is := func(n int) string { return fmt.Sprintf("00 %s %04x 00 04 00 01", mote(n), n) }
	after := func(n int) string { return mote(n) + "01" }
	for _, tt := range []struct {
		name  string
		steps [][2]string
		want  string
	}{
		{"none", [][2]string{{after(0), "0b"}}, "[]"},
		{"three", [][2]string{{after(0), is(1)}, {after(1), is(2)}, {after(2), is(3)}, {after(3), "0b"}}, "[1 2 3]"},
		{"one goes away while it is read", [][2]string{{after(0), is(1)}, {after(1), is(2)}, {after(2), "12"},
			{after(0), is(1)}, {after(1), is(3)}, {after(3), "0b"}}, "[1 2 3]"},
		{"refused", [][2]string{{after(0), is(1)}, {after(1), "01"}}, "[1 error]"},
		{"a list that stands still", [][2]string{{after(0), is(1)}, {after(1), is(1)}}, "[1]"},
		{"not found at once", [][2]string{{after(0), "12"}}, "[error]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, 0, func(t *testing.T, r *rig) {
				var got []string
				done := do(func() error {
					for m, err := range r.s.Motes(t.Context()) {
						if err != nil {
							got = append(got, "error")
						} else {
							got = append(got, fmt.Sprint(m.MoteID))
						}
					}
					return nil
				})
				r.script(tt.steps...)
				<-done
				if fmt.Sprint(got) != tt.want {
					t.Errorf("%v, want %s", got, tt.want)
				}
				r.silent()
			})
		})
	}
}

// TestMotesForEver has a manager that never finds the last mote again.
func TestMotesForEver(t *testing.T) {
	bubble(t, 0, func(t *testing.T, r *rig) {
		n := 0
		done := do(func() error {
			for _, err := range r.s.Motes(t.Context()) {
				if err != nil {
					return err
				}
				n++
			}
			return nil
		})
		for range restarts {
			r.script([2]string{"0000000000000000 01", "00 0000000000000001 0001 00 04 00 01"}, [2]string{"0000000000000001 01", "12"})
		}
		r.script([2]string{"0000000000000000 01", "00 0000000000000001 0001 00 04 00 01"}, [2]string{"0000000000000001 01", "12"})
		if err := <-done; !hasRC(err, RCNotFound) || n != 1 {
			t.Errorf("%d motes, %v", n, err)
		}
	})
}

func TestPathsLinksACL(t *testing.T) {
	bubble(t, 0, func(t *testing.T, r *rig) {
		mac := MAC{7: 9}
		n := 0
		done := do(func() error {
			for p, err := range r.s.Paths(t.Context(), mac, PathsUpstream) {
				if err != nil || p.PathID != uint16(7*(n+1)) || p.RSSISrcDest != -1 {
					return fmt.Errorf("%+v, %w", p, err)
				}
				n++
			}
			return nil
		})
		path := "0000000000000001 0000000000000002 02 03 50 ff fe"
		r.script([2]string{"0000000000000009 01 0000", "00 0007" + path}, [2]string{"0000000000000009 01 0007", "00 000e" + path},
			[2]string{"0000000000000009 01 000e", "0b"})
		if err := <-done; err != nil || n != 2 {
			t.Errorf("%d paths, %v", n, err)
		}

		n = 0
		done = do(func() error {
			for l, err := range r.s.Links(t.Context(), mac) {
				if err != nil || l.Slot != uint32(n) {
					return fmt.Errorf("%+v, %w", l, err)
				}
				n++
			}
			return nil
		})
		link := func(slot int) string { return fmt.Sprintf("01 %08x 02 0003 04", slot) }
		r.script([2]string{"0000000000000009 0000", "00 0000 32 02" + link(0) + link(1)},
			[2]string{"0000000000000009 0002", "00 0002 32 05" + link(2)}, // fewer than announced
			[2]string{"0000000000000009 0003", "00 0003 32 00"})
		if err := <-done; err != nil || n != 3 {
			t.Errorf("%d links, %v", n, err)
		}

		n = 0
		done = do(func() error {
			for e, err := range r.s.ACL(t.Context()) {
				if err != nil {
					return err
				}
				if e.JoinKey[15] != 7 {
					return fmt.Errorf("%v", e.MAC)
				}
				n++
			}
			return nil
		})
		r.script([2]string{"0000000000000000", "00 0000000000000009" + strings.Repeat("07", 16)}, [2]string{"0000000000000009", "12"})
		if err := <-done; !hasRC(err, RCNotFound) || n != 1 {
			t.Errorf("%d entries, %v", n, err)
		}
	})
}
