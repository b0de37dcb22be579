package smartmesh

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestRequestNumbersWrap(t *testing.T) {
	bubble(t, 0, func(t *testing.T, r *rig) {
		for i := range 300 {
			err := do(func() error { return r.s.ClearStatistics(t.Context()) })
			r.respond(r.want(2, clearStatistics.id, r.first+byte(i), ""), "00")
			if err := <-err; err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestRequestTyped(t *testing.T) {
	bubble(t, 0, func(t *testing.T, r *rig) {
		var info SystemInfo
		err := do(func() (err error) { info, err = r.s.GetSystemInfo(t.Context()); return err })
		r.respond(r.want(2, 46, r.first, ""), "00 00170d0000581234 10 01 01 04 02 0009")
		want := SystemInfo{MAC{0, 0x17, 0x0d, 0, 0, 0x58, 0x12, 0x34}, 16, 1, 1, 4, 2, 9}
		if err := <-err; err != nil || info != want {
			t.Errorf("%+v, %v", info, err)
		}

		err = do(func() error { return r.s.Subscribe(t.Context(), 0x76, FilterData|FilterIPData) })
		r.respond(r.want(2, 22, r.first+1, "00000076 00000030"), "00")
		if err := <-err; err != nil {
			t.Error(err)
		}

		var id uint32
		err = do(func() (err error) {
			id, err = r.s.SendData(t.Context(), SendData{MAC: Broadcast, Priority: PriorityHigh, SrcPort: 0xF0B9, DstPort: 0xF0B9, Data: []byte{5, 0}})
			return err
		})
		r.respond(r.want(2, 44, r.first+2, "ffffffffffffffff 02 f0b9 f0b9 00 0500"), "00 00000007")
		if err := <-err; err != nil || id != 7 {
			t.Errorf("%d, %v", id, err)
		}

		err = do(func() error {
			return r.s.RadiotestTx(t.Context(), RadiotestTx{TestType: 1, TxPower: -2, Sequence: []TestPacket{{3, 4}, {5, 6}}, StationID: 9})
		})
		r.respond(r.want(2, 35, r.first+3, "01 0000 0000 fe 02 03 0004 05 0006 09"), "0d")
		var rc *RCError
		if err := <-err; !errors.As(err, &rc) || rc.RC != RCInProgress || rc.Command != "radiotestTx" {
			t.Errorf("%v", err)
		}
		if err := r.s.RadiotestTx(t.Context(), RadiotestTx{Sequence: make([]TestPacket, 11)}); !errors.Is(err, ErrArgument) {
			t.Errorf("a long sequence: %v", err)
		}
		if _, err := r.s.SendData(t.Context(), SendData{Data: make([]byte, 242)}); !errors.Is(err, ErrArgument) {
			t.Errorf("long data: %v", err)
		}
		r.silent()
	})
}

func TestRequestRepeats(t *testing.T) {
	bubble(t, 0, func(t *testing.T, r *rig) {
		var got TimeInfo
		err := do(func() (err error) { got, err = r.s.GetTime(t.Context()); return err })
		first := r.next()
		var at []time.Duration
		var last arrival
		for range 4 {
			last = r.next()
			at = append(at, last.at.Sub(first.at))
			if !bytes.Equal(last.frame, first.frame) {
				t.Fatalf("the repeat %x is not %x", last.frame, first.frame)
			}
		}
		ms := time.Millisecond
		want := []time.Duration{500 * ms, 1500 * ms, 2500 * ms, 3500 * ms}
		for i := range want {
			if at[i] != want[i] {
				t.Errorf("repeat %d after %v, want %v", i, at[i], want[i])
			}
		}
		r.respond(last, "00 00000001 000000003d226bc6 00060eb3 0000000001 0002")
		if err := <-err; err != nil || !got.Repeated || got.Sent != first.at || got.Received.Sub(first.at) != 3500*ms ||
			got.UTC != time.Unix(0x3d226bc6, 0x60eb3*1000).UTC() || got.ASN != (ASN{4: 1}) {
			t.Errorf("%+v, %v", got, err)
		}
		if c := counts(r.stats); c["requests"] != 1 || c["request_repeats"] != 4 {
			t.Errorf("%v", c)
		}
	})
}

func TestRequestGivenUp(t *testing.T) {
	bubble(t, 0, func(t *testing.T, r *rig) {
		err := do(func() error { _, err := r.s.GetTime(t.Context()); return err })
		synctest.Wait()
		waiting := do(func() error { return r.s.ClearStatistics(t.Context()) })
		first := r.next()
		for range 4 {
			r.next()
		}
		e := <-err
		if !errors.Is(e, ErrSessionLost) || !errors.Is(e, ErrNoAnswer) || errors.Is(e, ErrOutcomeUnknown) {
			t.Errorf("%v", e)
		}
		if d := time.Since(first.at); d != 4500*time.Millisecond {
			t.Errorf("after %v", d)
		}
		if e := <-waiting; !errors.Is(e, ErrSessionLost) || errors.Is(e, ErrOutcomeUnknown) {
			t.Errorf("the one that waited: %v", e)
		}
		r.closed()
		if e := r.s.Wait(); !errors.Is(e, ErrSessionLost) || !errors.Is(e, ErrNoAnswer) {
			t.Errorf("Wait: %v", e)
		}
		if e := r.s.ClearStatistics(t.Context()); !errors.Is(e, ErrSessionLost) {
			t.Errorf("after the end: %v", e)
		}
		if c := counts(r.stats); c["unanswered"] != 1 {
			t.Errorf("%v", c)
		}
	})
}

// TestResponsesThatAreNone sends what resembles the response, but is not that of the outstanding request.
func TestResponsesThatAreNone(t *testing.T) {
	bubble(t, 0, func(t *testing.T, r *rig) {
		err := do(func() error { return r.s.ClearStatistics(t.Context()) })
		a := r.next()
		r.send(3, a.Type, a.Seq-1, "0e") // another number
		r.send(3, a.Type+1, a.Seq, "0e") // another type
		r.send(2, a.Type, a.Seq, "0e")   // no response: data that wants an acknowledgement
		r.want(3, a.Type, a.Seq, "00")
		r.send(0, a.Type, a.Seq, "0e")
		r.write([]byte{0x7E, 3, 31, 0x7E})
		r.write([]byte("\x7e\x03\x16\x08\x09\x00\x5a\x4b\x7e")) // length_mismatch
		r.write([]byte("\x7e\x03\x16\x08\xa1\x64\x7e"))         // header_too_short
		synctest.Wait()
		select {
		case err := <-err:
			t.Fatalf("answered: %v", err)
		default:
		}
		r.send(1, a.Type, a.Seq, "00 aabbcc") // bit 0 is enough; more than known is fine
		if err := <-err; err != nil {
			t.Error(err)
		}
		r.send(3, a.Type, a.Seq, "00") // the answer to a repeat, too late
		synctest.Wait()
		c := counts(r.stats)
		if c["late_answers"] != 3 || c["unknown"] != 2 || c["too_short"] != 1 || c["length_mismatch"] != 1 || c["header_too_short"] != 1 {
			t.Errorf("%v", c)
		}
	})
}

func TestResponsesThatAreBad(t *testing.T) {
	bubble(t, 0, func(t *testing.T, r *rig) {
		for _, tt := range []struct{ payload, want string }{
			{"", "smartmesh: bad response: getSystemInfo: missing_rc"},
			{"00 0017", "smartmesh: bad response: getSystemInfo: field_truncated: macAddress"},
			{"00", "smartmesh: bad response: getSystemInfo: fields are missing: 7"},
			{"63", "smartmesh: getSystemInfo: response code 99"},
			{"0b ffff", "smartmesh: getSystemInfo: RC_END_OF_LIST (11): there is no further element"},
		} {
			err := do(func() error { _, err := r.s.GetSystemInfo(t.Context()); return err })
			r.respond(r.next(), tt.payload)
			if err := <-err; err == nil || err.Error() != tt.want {
				t.Errorf("%q: %v, want %s", tt.payload, err, tt.want)
			}
		}
	})
}

func TestRequestsTakeTurns(t *testing.T) {
	bubble(t, 0, func(t *testing.T, r *rig) {
		var errs []<-chan error
		for i := range 10 {
			errs = append(errs, do(func() error { _, err := r.s.GetMoteConfigByID(t.Context(), uint16(i)); return err }))
			synctest.Wait()
		}
		for i := range 10 {
			a := r.next()
			if a.Seq != r.first+byte(i) || a.Payload[1] != byte(i) {
				t.Fatalf("%d: %+v", i, a)
			}
			r.silent() // only one at a time
			r.respond(a, "12")
			if err := <-errs[i]; !hasRC(err, RCNotFound) {
				t.Errorf("%d: %v", i, err)
			}
		}
	})
}

// TestCancelKeepsTheNumbers cancels a request that is out, and one that waits.
func TestCancelKeepsTheNumbers(t *testing.T) {
	bubble(t, 0, func(t *testing.T, r *rig) {
		ctx, cancel := context.WithCancel(t.Context())
		out := do(func() error { _, err := r.s.SendData(ctx, SendData{}); return err })
		a := r.next()
		reading := do(func() error { _, err := r.s.GetTime(ctx); return err })
		synctest.Wait()
		cancel()
		if err := <-out; !errors.Is(err, ErrOutcomeUnknown) || !errors.Is(err, context.Canceled) || errors.Is(err, ErrSessionLost) {
			t.Errorf("sent: %v", err)
		}
		if err := <-reading; errors.Is(err, ErrOutcomeUnknown) || !errors.Is(err, context.Canceled) {
			t.Errorf("not sent: %v", err)
		}
		if err := r.s.ClearStatistics(ctx); !errors.Is(err, context.Canceled) || errors.Is(err, ErrOutcomeUnknown) {
			t.Errorf("cancelled before: %v", err)
		}
		next := do(func() error { return r.s.ClearStatistics(t.Context()) })
		r.want(2, a.Type, a.Seq, strings.Repeat("00", 14)) // the first is still repeated
		r.respond(a, "00 00000001")
		r.respond(r.want(2, clearStatistics.id, a.Seq+1, ""), "00")
		if err := <-next; err != nil {
			t.Error(err)
		}
	})
}

func TestResetOfTheManager(t *testing.T) {
	for name, tt := range map[string]struct {
		reset   func(context.Context, *Session) error
		end     string // what ends the session
		ok      bool
		unknown bool
	}{
		"greets":            {func(c context.Context, s *Session) error { return s.Reset(c, ResetSystem, MAC{}) }, "hello", true, false},
		"greets, by name":   {func(c context.Context, s *Session) error { return callReset(c, s) }, "hello", true, false},
		"goes away":         {func(c context.Context, s *Session) error { return s.Reset(c, ResetSystem, MAC{}) }, "eof", false, true},
		"mote, greets":      {func(c context.Context, s *Session) error { return s.Reset(c, ResetMote, MAC{1}) }, "hello", false, true},
		"greets, no reset":  {func(c context.Context, s *Session) error { _, err := s.SendData(c, SendData{}); return err }, "hello", false, true},
		"greets, a reading": {func(c context.Context, s *Session) error { _, err := s.GetTime(c); return err }, "hello", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, 0, func(t *testing.T, r *rig) {
				err := do(func() error { return tt.reset(t.Context(), r.s) })
				r.next()
				if tt.end == "eof" {
					_ = r.conn.Close()
				} else {
					r.send(0, typeManagerHello, 0, "0400")
				}
				e := <-err
				if (e == nil) != tt.ok || errors.Is(e, ErrOutcomeUnknown) != tt.unknown || e != nil && !errors.Is(e, ErrSessionLost) {
					t.Errorf("%v", e)
				}
				if e := r.s.Wait(); !errors.Is(e, ErrSessionLost) || errors.Is(e, ErrManagerHello) == (tt.end == "eof") {
					t.Errorf("Wait: %v", e)
				}
			})
		})
	}
}

func callReset(ctx context.Context, s *Session) error {
	_, err := s.Call(ctx, "reset", []byte(`{"type":0}`))
	return err
}

func TestCall(t *testing.T) {
	bubble(t, 0, func(t *testing.T, r *rig) {
		for _, tt := range []struct{ command, fields, request, response, want string }{
			{"getMoteConfig", `{"macAddress":"00-17-0d-00-00-38-05-e9","next":false}`, "00170d00003805e9 00",
				"00 00170d00003805e9 0002 00 04 00 01",
				`{"RC":0,"isAP":false,"isRouting":true,"macAddress":"00-17-0d-00-00-38-05-e9","moteId":2,"reserved":0,"state":4}`},
			{"getNetworkInfo", ``, "", "00 0001 1c52 00 01 64 63 00000abc 00" + strings.Repeat("fe", 16),
				`{"RC":0,"advertisementState":0,"asnSize":7250,"downFrameState":1,"ipv6Address":"fefefefefefefefefefefefefefefefe",` +
					`"netLatency":2748,"netPathStability":99,"netReliability":100,"netState":0,"numMotes":1}`},
			{"getMoteLinks", `{"macAddress":"0000000000000001"}`, "0000000000000001 0000", "00 0000 05 02 01 00000002 03 0004 05",
				`{"RC":0,"idx":0,"links":[{"channelOffset":3,"flags":5,"frameId":1,"moteId":4,"slot":2}],"numLinks":2,"utilization":5}`},
			{"clearStatistics", `{}`, "", "00", `{"RC":0}`},
			{"getMoteConfigById", `{"moteId":5}`, "0005", "12", "smartmesh: getMoteConfigById: RC_NOT_FOUND (18): no such mote, path or entry"},
			{"getTime", ``, "", "00 000102", "smartmesh: bad response: getTime: field_truncated: uptime"},
		} {
			var got []byte
			err := do(func() (err error) { got, err = r.s.Call(t.Context(), tt.command, []byte(tt.fields)); return err })
			a := r.next()
			if !bytes.Equal(a.Payload, unhex(t, tt.request)) {
				t.Errorf("%s: request %x", tt.command, a.Payload)
			}
			r.respond(a, tt.response)
			if err := <-err; err != nil {
				got = []byte(err.Error())
			}
			if string(got) != tt.want {
				t.Errorf("%s: %s\nwant %s", tt.command, got, tt.want)
			}
		}
		_, err := r.s.Call(t.Context(), "getMoteConfigById", []byte(`{"id":5}`))
		if !errors.Is(err, ErrArgument) || err.Error() != `smartmesh: bad argument: getMoteConfigById: unknown field "id"; the fields are moteId` {
			t.Errorf("%v", err)
		}
		if _, err := r.s.Call(t.Context(), "getWeather", nil); !errors.Is(err, ErrArgument) {
			t.Errorf("%v", err)
		}
		r.silent()
	})
}
