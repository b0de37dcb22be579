package mux

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// readAll reads a stream to its end, in words: "TYPE DATA" for a message, "!bad_length" for a mistake, "..." for pending.
func readAll(t testing.TB, r *Reader) []string {
	t.Helper()
	var got []string
	for {
		msg, err := r.Next()
		var e Error
		switch {
		case errors.As(err, &e):
			got = append(got, "!"+e.Word())
		case err == io.EOF:
			if r.Pending() {
				got = append(got, "...")
			}
			return got
		case err != nil:
			t.Fatal(err)
		default:
			got = append(got, hex.EncodeToString([]byte{msg.Type})+" "+hex.EncodeToString(msg.Data))
		}
	}
}

func TestReader(t *testing.T) {
	long := "a740a0f5 0103 0000 14" + strings.Repeat("5a", 256)
	tests := []struct {
		name, stream string
		want         []string
	}{
		{"nothing", "", nil},
		{"hello", "a740a0f5 000c 0000 01 043031323334353637", []string{"01 043031323334353637"}},
		{"no data", "a740a0f5 0003 0000 2e", []string{"2e "}},
		{"noise", "00 a740 a7 a740a0 11 a740a0f5 0003 0000 2e 73746f70", []string{"2e "}},
		{"token begins in noise", "a7a740a0a740a0f5 0003 0000 2e", []string{"2e "}},
		{"token begins at the end", "a740a0f5 0003 0000 2e 00a740a0", []string{"2e ", "..."}},
		{"cut", "a740a0f5 0005 0000 01 00", []string{"..."}},
		{"length 0", "a740a0f5 0000 a740a0f5 0003 0000 2e", []string{"!bad_length", "2e "}},
		{"length 1", "a740a0f5 0001 a7 a740a0f5 0003 0000 2e", []string{"!bad_length", "2e "}},
		{"length 2 hides a token", "a740a0f5 0002 a740 a0f5 0003 0000 2e", []string{"!bad_length"}},
		{"length 2, cut", "a740a0f5 0002 a7", []string{"!bad_length"}},
		{"longest", long + "a740a0f5 0003 0000 2e", []string{"14 " + strings.Repeat("5a", 256), "2e "}},
		{"too long", "a740a0f5 0104 a740a0f5 0003 0000 2e", []string{"!bad_length", "2e "}},
		{"far too long", "a740a0f5 ffff a740a0f5 0003 0000 2e", []string{"!bad_length", "2e "}},
		{"token in data", "a740a0f5 0009 0000 14 a740a0f50003 a740a0f5 0003 0000 2e", []string{"14 a740a0f50003", "2e "}},
	}
	for _, tt := range tests {
		stream := unhex(t, tt.stream)
		readers := map[string]io.Reader{
			"whole":     bytes.NewReader(stream),
			"bytewise":  iotest.OneByteReader(bytes.NewReader(stream)),
			"data+EOF":  iotest.DataErrReader(bytes.NewReader(stream)),
			"half read": iotest.HalfReader(bytes.NewReader(stream)),
		}
		for how, r := range readers {
			if got := readAll(t, NewReader(r)); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("%s, %s:\n got %q\nwant %q", tt.name, how, got, tt.want)
			}
		}
	}
}

func TestReaderErrors(t *testing.T) {
	broken := errors.New("cable pulled")
	message := unhex(t, "a740a0f5 0003 0000 2e")
	r := NewReader(io.MultiReader(bytes.NewReader(message), iotest.ErrReader(broken)))
	if _, err := r.Next(); err != nil {
		t.Fatalf("the message before the error: %v", err)
	}
	for range 2 {
		if _, err := r.Next(); err != broken {
			t.Fatalf("got %v, want %v, for ever", err, broken)
		}
	}
	if _, err := NewReader(idle{}).Next(); err != io.ErrNoProgress {
		t.Fatalf("a reader that never gives anything: got %v", err)
	}
}

// idle is a broken reader: neither bytes nor an error.
type idle struct{}

func (idle) Read([]byte) (int, error) { return 0, nil }

func TestReaderAllocs(t *testing.T) {
	stream := bytes.Repeat(AppendMessage(nil, TypeNotification, make([]byte, 60)), 200)
	r := NewReader(bytes.NewReader(stream))
	if n := testing.AllocsPerRun(100, func() {
		if _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations a message, want 0", n)
	}
}

func TestAppendMessage(t *testing.T) {
	got := AppendMessage([]byte("before"), 22, []byte{1, 2})
	if want := "before" + string(unhex(t, "a740a0f5 0005 0000 16 0102")); string(got) != want {
		t.Errorf("got %x, want %x", got, want)
	}
	got = AppendMessage(nil, 22, make([]byte, 70000))
	if len(got) != 6+65535 || got[4] != 0xFF || got[5] != 0xFF {
		t.Errorf("data without end: %d bytes, length field %x", len(got), got[4:6])
	}
}

func TestHandshake(t *testing.T) {
	hello := Hello{Version: Version, Secret: [8]byte([]byte(DefaultSecret))}
	response := HelloResponse{RC: RCInvalidAuth, Version: Version}
	info := Info{ProtocolVersion: 4, Major: 1, Minor: 1, Release: 14, Build: 0x0102}
	tests := []struct {
		got  []byte
		want string
	}{
		{AppendHello(nil, hello), "a740a0f5 000c 0000 01 04 3031323334353637"},
		{AppendHelloResponse(nil, response), "a740a0f5 0005 0000 01 03 04"},
		{AppendInfo(nil, info), "a740a0f5 000a 0000 02 00 04 01 01 0e 0102"},
	}
	for _, tt := range tests {
		if !bytes.Equal(tt.got, unhex(t, tt.want)) {
			t.Errorf("got %x, want %s", tt.got, tt.want)
		}
	}
	if h, err := ParseHello(tests[0].got[9:]); err != nil || h != hello {
		t.Errorf("hello: got %+v, %v", h, err)
	}
	if h, err := ParseHelloResponse(tests[1].got[9:]); err != nil || h != response {
		t.Errorf("response: got %+v, %v", h, err)
	}
	if i, err := ParseInfo(tests[2].got[9:]); err != nil || i != info {
		t.Errorf("info: got %+v, %v", i, err)
	}
}

func TestHandshakeMalformed(t *testing.T) {
	for _, n := range []int{0, 1, 8, 10} {
		if _, err := ParseHello(make([]byte, n)); err != BadData {
			t.Errorf("hello of %d bytes: got %v", n, err)
		}
	}
	if h, err := ParseHelloResponse([]byte{RCUnsupportedVersion}); err != nil || h.RC != RCUnsupportedVersion {
		t.Errorf("a refusal without version: got %+v, %v", h, err)
	}
	for _, data := range [][]byte{nil, {RCOK}} {
		if _, err := ParseHelloResponse(data); err != BadData {
			t.Errorf("response %x: got %v", data, err)
		}
	}
	if _, err := ParseInfo(make([]byte, 6)); err != BadData {
		t.Errorf("info of 6 bytes: got %v", err)
	}
}

func TestErrorText(t *testing.T) {
	if got := BadLength.Error() + " " + BadLength.Word(); got != "mux: bad_length bad_length" {
		t.Error(got)
	}
}
