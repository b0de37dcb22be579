// Package smartmesh speaks the serial API of a SmartMesh IP manager: one session with it, its whole set of commands, one
// typed method each, and its notifications.
//
// A packet is what hdlc puts in a frame:
//
//	offset 0  control   bit 0: 0 data, 1 acknowledgement or response; bit 1: acknowledged service
//	       1  type      the command's number, or 1 hello, 2 its response, 3 manager hello, 20 notification
//	       2  seq       number of the sender; a response or acknowledgement repeats it
//	       3  length    of the payload
//	       4  payload   big-endian fields, see the structs: each is the layout it documents
//
// A session, client on the left:
//
//	hello 00 01 seq 03 | 04 cli 00            -->
//	                                          <--  hello response 00 02 .. 05 | 00 04 mgr cli 00
//	request 02 ID cli+1 len | fields          -->
//	                                          <--  response 03 ID cli+1 len | RC fields
//	                                          <--  reliable notification 02 14 mgr+1 len | ...
//	acknowledgement 03 14 mgr+1 01 | 00       -->
//	                                          <--  other notification 00 14 .. len | ...
//	                                          <--  manager hello 00 03 .. 02 | 04 00: the session is over
//
// One request is outstanding at a time and is repeated, the identical bytes, until its response comes. A reliable
// notification is acknowledged once Options.OnNotify has returned; the manager sends no other reliable packet before.
//
// Sources: the definitions and applications of SmartMesh SDK 1.x, sm_clib, the Serial Mux and captures of real managers.
package smartmesh

import (
	"errors"
	"fmt"
)

const (
	headerSize = 4
	maxPayload = 255

	controlAck      = 0x01 // a response, or the acknowledgement of a notification
	controlReliable = 0x02 // acknowledged service

	typeHello         = 1
	typeHelloResponse = 2
	typeManagerHello  = 3
	typeNotification  = 20
)

// Errors of a packet whose frame was right. It must not be acknowledged.
var (
	ErrHeaderTooShort = errors.New("smartmesh: header_too_short")
	ErrLengthMismatch = errors.New("smartmesh: length_mismatch")
)

// A Packet is what a frame carries.
type Packet struct {
	Control, Type, Seq byte
	Payload            []byte // at most 255 bytes
}

// ParsePacket takes a packet apart. The Payload is part of b.
func ParsePacket(b []byte) (Packet, error) {
	if len(b) < headerSize {
		return Packet{}, ErrHeaderTooShort
	}
	if int(b[3]) != len(b)-headerSize {
		return Packet{}, ErrLengthMismatch
	}
	return Packet{Control: b[0], Type: b[1], Seq: b[2], Payload: b[headerSize:]}, nil
}

// Append appends the packet's bytes to dst. It panics if the payload is too long for its length byte.
func (p Packet) Append(dst []byte) []byte {
	if len(p.Payload) > maxPayload {
		panic(fmt.Sprintf("smartmesh: payload of %d bytes", len(p.Payload)))
	}
	return append(append(dst, p.Control, p.Type, p.Seq, byte(len(p.Payload))), p.Payload...)
}

// isAck tells whether the packet is a response or an acknowledgement.
func (p Packet) isAck() bool { return p.Control&controlAck != 0 }

// isReliable tells whether the packet is data whose sender waits for an acknowledgement.
func (p Packet) isReliable() bool { return p.Control&(controlAck|controlReliable) == controlReliable }

// acknowledgement gives the packet that acknowledges p. Its code is always 0: the manager counts others as errors.
func (p Packet) acknowledgement() Packet {
	return Packet{Control: controlAck | controlReliable, Type: p.Type, Seq: p.Seq, Payload: []byte{0}}
}
