package smartmesh

import (
	"bytes"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestRaw(t *testing.T) {
	bubble(t, 0, func(t *testing.T, r *rig) {
		var got []byte
		raw := func(number byte, payload string) <-chan error {
			return do(func() (err error) { got, err = r.s.Raw(t.Context(), number, unhex(t, payload)); return err })
		}
		tests := []struct {
			number          byte
			request, answer string
		}{
			{getSystemInfo.id, "", "00 00170d0000581234 10 01 01 04 02 0009"},
			{getMoteConfig.id, "0000000000000000 01", "0b"},         // an ordinary refusal is a response
			{getMoteConfig.id, "0000000000000000 01", "12 0000 ff"}, // whatever follows it
			{200, "0102", "01"}, // nobody knows it
		}
		for i, tt := range tests {
			err := raw(tt.number, tt.request)
			r.respond(r.want(2, tt.number, r.first+byte(i), tt.request), tt.answer)
			if err := <-err; err != nil || !bytes.Equal(got, unhex(t, tt.answer)) {
				t.Errorf("%d %s: %x, %v; want %s", tt.number, tt.request, got, err, tt.answer)
			}
		}
		if err := <-raw(typeNotification, "00"); !errors.Is(err, ErrArgument) {
			t.Errorf("packet type 20: %v", err)
		}
		if _, err := r.s.Raw(t.Context(), 200, make([]byte, 256)); !errors.Is(err, ErrArgument) {
			t.Errorf("256 bytes: %v", err)
		}
		err := raw(reset.id, "00 0000000000000000")
		r.want(2, reset.id, r.first+4, "00 0000000000000000")
		r.send(0, typeManagerHello, 0, "0400")
		if err := <-err; err != nil || !bytes.Equal(got, make([]byte, 9)) {
			t.Errorf("reset, and the manager greets: %x, %v", got, err)
		}
		if err := <-raw(getTime.id, ""); !errors.Is(err, ErrSessionLost) {
			t.Errorf("after the end: %v", err)
		}
	})
}

// TestPatience: a request over something that repeats by itself is sent once, and given up later.
func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const patience = 8 * time.Second
		r := openRig(t, 0, Options{Patience: patience})
		began := time.Now()
		err := do(func() error { _, err := r.s.GetTime(t.Context()); return err })
		r.want(2, getTime.id, r.first, "")
		if err := <-err; !errors.Is(err, ErrNoAnswer) || time.Since(began) != patience {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		r.s.Wait()
		for a := range r.in {
			t.Errorf("also sent: %+v", a)
		}
	})
}
