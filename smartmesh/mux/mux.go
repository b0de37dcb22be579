// Package mux is the TCP protocol of the Serial Mux, the vendor's program that owns a manager's serial port and serves
// several clients, by default on 127.0.0.1:9900. There is no encryption and no real authentication.
//
//	0  token   a7 40 a0 f5
//	4  length  u16: 3 + bytes of data
//	6  id      u16: 0, not used
//	8  type    u8
//	9  data
//
// Everything is big-endian. There is no check, no escape, no sequence number. Types:
//
//	1         both ways         hello and its answer, the first messages
//	2         both ways         information on the mux and its answer
//	20        mux to client     notification: the payload of the serial packet, nothing to acknowledge
//	21 and up client to mux     command: the payload of the serial packet
//	          mux to client     response: RC u8 and the payload of the serial response
//
// One command may be outstanding on a connection. The hello of a client, and the answer that accepts it:
//
//	a740a0f5 000c 0000 01 | 04 3031323334353637
//	a740a0f5 0005 0000 01 | 00 04
//
// Server is the mux itself, over a session that somebody else holds; Port is a client that passes for the manager's port.
//
// Source: the SmartMesh SDK's MuxMsg and IpMgrConnectorMuxInternal; the source of the Serial Mux of 2010.
package mux

import (
	"bytes"
	"encoding/binary"
	"io"
)

// Types of message. Others are commands of the manager, by their serial packet type.
const (
	TypeHello        = 1
	TypeInfo         = 2
	TypeNotification = 20
)

// Version is the version of this protocol, in the hello. The serial protocol has a version of its own, which is 4 as well.
const Version = 4

// DefaultSecret is the secret of a client's hello where no other was agreed on.
const DefaultSecret = "01234567"

// Response codes of the mux itself. All others of a command are the manager's.
const (
	RCOK                 = 0
	RCInvalidCommand     = 1 // hello of wrong length; command type up to 20, or with more than MaxCommand bytes of data
	RCInvalidAuth        = 3 // hello: wrong secret; the mux closes
	RCUnsupportedVersion = 4 // hello: version not supported; the mux closes
	RCCommandTimeout     = 5 // no answer from the manager; the mux closes all clients
)

// Limits of the data of a message, in bytes.
const (
	MaxCommand = 128 // of a command: the mux refuses more
	MaxData    = 256 // of any message: Reader refuses more
)

const (
	token      = "\xa7\x40\xa0\xf5"
	headerSize = len(token) + 2 // up to the length field
	bodyMin    = 3              // id and type
)

// Error says why a message could not be read. Its text ends with one of the words of the protocol reference.
type Error string

// What can be wrong with a message.
const (
	BadLength Error = "bad_length" // a length field that leaves no room for id and type, or is above any message
	BadData   Error = "bad_data"   // data of a hello or an information that is too short
)

// Error gives the word after the name of the package.
func (e Error) Error() string { return "mux: " + string(e) }

// Word gives the word of the protocol reference: bad_length.
func (e Error) Word() string { return string(e) }

// Message is one message.
type Message struct {
	ID   uint16
	Type byte
	Data []byte
}

// AppendMessage appends a message with id 0 to dst. There is room for 65532 bytes of data; only the first so many are taken.
func AppendMessage(dst []byte, typ byte, data []byte) []byte {
	data = data[:min(len(data), 1<<16-1-bodyMin)]
	dst = append(dst, token...)
	dst = binary.BigEndian.AppendUint16(dst, uint16(bodyMin+len(data)))
	dst = append(dst, 0, 0, typ)
	return append(dst, data...)
}

// Reader reads messages from a stream. What is no message is skipped.
type Reader struct {
	r          io.Reader
	buf        [1024]byte
	start, end int   // buf[start:end] has been read and not given out
	skip       int   // bytes to drop that have not been read yet
	err        error // of r, to be returned when buf holds no whole message
}

// NewReader reads from r, in pieces as large as they come.
func NewReader(r io.Reader) *Reader { return &Reader{r: r} }

// Pending says whether bytes of an unfinished message are held.
func (r *Reader) Pending() bool { return r.end > r.start }

// Next reads one message. Its data is valid until the next call. BadLength costs that message only: go on calling. Any
// other error is the underlying reader's and final.
func (r *Reader) Next() (Message, error) {
	for {
		r.sync()
		held := r.buf[r.start:r.end]
		if len(held) >= headerSize {
			length := int(binary.BigEndian.Uint16(held[len(token):]))
			if length < bodyMin || length > bodyMin+MaxData {
				r.start += headerSize
				if length < bodyMin {
					r.skip = length
				}
				return Message{}, BadLength
			}
			if len(held) >= headerSize+length {
				r.start += headerSize + length
				body := held[headerSize : headerSize+length : headerSize+length]
				return Message{ID: binary.BigEndian.Uint16(body), Type: body[2], Data: body[bodyMin:]}, nil
			}
		}
		if err := r.fill(); err != nil {
			return Message{}, err
		}
	}
}

// sync drops what comes before a token, and keeps the end of what has been read if a token may begin there.
func (r *Reader) sync() {
	n := min(r.skip, r.end-r.start)
	r.start += n
	r.skip -= n
	held := r.buf[r.start:r.end]
	if i := bytes.Index(held, []byte(token)); i >= 0 {
		r.start += i
		return
	}
	keep := min(len(held), len(token)-1)
	for !bytes.HasPrefix([]byte(token), held[len(held)-keep:]) {
		keep--
	}
	r.start = r.end - keep
}

// fill reads more. There is always room: what is held is less than the longest message.
func (r *Reader) fill() error {
	if r.err != nil {
		return r.err
	}
	r.end = copy(r.buf[:], r.buf[r.start:r.end])
	r.start = 0
	for range 100 {
		n, err := r.r.Read(r.buf[r.end:])
		r.end += n
		r.err = err
		if n > 0 {
			return nil
		}
		if err != nil {
			return err
		}
	}
	r.err = io.ErrNoProgress
	return r.err
}

// Hello is the first message of a client. The mux closes a connection that has not sent it within 2 s.
//
//	version u8, secret 8 bytes
type Hello struct {
	Version byte
	Secret  [8]byte
}

// AppendHello appends the message to dst.
func AppendHello(dst []byte, h Hello) []byte {
	return AppendMessage(dst, TypeHello, append([]byte{h.Version}, h.Secret[:]...))
}

// ParseHello reads the data of a client's hello, which has this one length only.
func ParseHello(data []byte) (Hello, error) {
	if len(data) != 9 {
		return Hello{}, BadData
	}
	return Hello{Version: data[0], Secret: [8]byte(data[1:])}, nil
}

// HelloResponse is the answer to a hello. The mux closes the connection after one whose RC is not 0.
//
//	RC u8, version u8
type HelloResponse struct {
	RC      byte
	Version byte
}

// AppendHelloResponse appends the message to dst.
func AppendHelloResponse(dst []byte, h HelloResponse) []byte {
	return AppendMessage(dst, TypeHello, []byte{h.RC, h.Version})
}

// ParseHelloResponse reads the data of the answer to a hello. With an RC that is not 0 the version may be missing.
func ParseHelloResponse(data []byte) (HelloResponse, error) {
	switch {
	case len(data) >= 2:
		return HelloResponse{RC: data[0], Version: data[1]}, nil
	case len(data) == 1 && data[0] != RCOK:
		return HelloResponse{RC: data[0]}, nil
	}
	return HelloResponse{}, BadData
}

// Info is the answer to a message of type 2 without data: what the mux is.
//
//	RC u8, protocolVersion u8, major u8, minor u8, release u8, build u16
type Info struct {
	RC              byte
	ProtocolVersion byte
	Major           byte
	Minor           byte
	Release         byte
	Build           uint16
}

// AppendInfo appends the message to dst.
func AppendInfo(dst []byte, i Info) []byte {
	data := []byte{i.RC, i.ProtocolVersion, i.Major, i.Minor, i.Release, 0, 0}
	binary.BigEndian.PutUint16(data[5:], i.Build)
	return AppendMessage(dst, TypeInfo, data)
}

// ParseInfo reads the data of the answer.
func ParseInfo(data []byte) (Info, error) {
	if len(data) < 7 {
		return Info{}, BadData
	}
	return Info{
		RC: data[0], ProtocolVersion: data[1], Major: data[2], Minor: data[3], Release: data[4],
		Build: binary.BigEndian.Uint16(data[5:]),
	}, nil
}
