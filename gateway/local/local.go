// Package local is the gateway's LAN side: MQTT with the devices and programs around it, either as the broker they
// connect to (Listen) or as a client of the broker that already runs there (Dial).
//
//	device --CONNECT--> accept -> TLS -> 5 s, 16 KiB -> users -> one connection a client id -> session
//	device --PUBLISH--> access list -> Intake (the disk) -> PUBACK -> subscribers
//	gateway --Publish-> queue ---------------------------------------> subscribers -> buffer -> their sockets
//
// Listen speaks MQTT 3.1, 3.1.1 and 5 over TCP, TLS and WebSocket. What it promises:
//
//   - A message with QoS > 0 is acknowledged after Intake has taken it. If Intake fails, its client is disconnected and
//     sends it again. Intake is called for many clients at once, for each of them in order.
//   - A client that does not read, or is half open, holds up nobody: up to 512 KiB wait for it in memory, and 500
//     messages with QoS > 0 of 1 MiB together; more is left out and counted. It is disconnected after 10 s without progress.
//   - A message that the access list does not allow is dropped. A client of MQTT 3.1.1, which cannot be told, gets its
//     PUBACK as Mosquitto gives it; one of MQTT 5 is told, for QoS 1. A will that is not allowed is dropped.
//   - Retained messages live until they are replaced or deleted, never by the clock, and end with the process: the
//     gateway publishes its own again. Persistent sessions are kept in a file.
//   - Each refusal is logged once for each client and reason, and counted.
//
// It is the MQTT server mochi-mqtt/server v2.7.9 with what it lacks around it: conn.go (its writes block everybody),
// ids.go (it mixes up packet identifiers), retained.go (it races), serve.go (two connections with one client id). Nothing
// of it shows.
package local

import (
	"errors"
	"time"
)

// Message is one MQTT application message.
type Message struct {
	Topic   string
	Payload []byte
	QoS     byte
	Retain  bool
	Client  string // the client id of who published it; empty where it is not known (Dial)

	Truncated bool // longer than 256 KiB, from a broker beside us (Dial); Payload is empty
}

// Status is the state of the LAN side, for one line of `meshgate status`.
type Status struct {
	Up     bool
	Detail string    // where it listens or connects, and how many clients there are
	Error  string    // why it is not up
	Since  time.Time // when Up last changed
}

// ErrNever is in an error of Intake that will be the same next time: the message is too large, or its topic cannot be
// carried. Who connects with Dial takes it from the broker all the same, so that it does not hold up those behind it.
var ErrNever = errors.New("this message can never be stored")

// Errors of Publish.
var (
	ErrFull   = errors.New("local: too many messages wait to be published")
	ErrClosed = errors.New("local: closed")
	ErrAway   = errors.New("local: the broker is away")
	ErrTopic  = errors.New("local: not a valid topic")
	ErrSize   = errors.New("local: too large a message")
)
