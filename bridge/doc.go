// Package bridge speaks MQTT 3.1.1 with one remote broker, over TCP, TLS or a WebSocket, and holds the rules by which topics
// cross to it and back.
//
//	local topic                                              remote topic
//	mote/M/temperature ── Rules.Out ─► Session.Publish ─► meshgate/gw/mote/M/temperature, QoS 1 ─► PUBACK ─► Receipt
//	actuator/led/set  ◄── Rules.In ─── Session.Messages ◄─ meshgate/gw/actuator/led/set ◄─ SUBSCRIBE meshgate/gw/actuator/+/set
//
// A Session is one connection, from Connect (password and certificate files, DNS, TCP, TLS, WebSocket, CONNECT, SUBSCRIBE) to
// its first error, which Wait returns. It does not reconnect and keeps nothing: what has no PUBACK when it ends was not
// delivered as far as anybody knows, and is sent again over the next one by who has it on the disk. A connection is found
// dead by whichever comes first:
//
//	the other side closed or reset it                         at once
//	data that its host's TCP does not acknowledge             20 s (TCP_USER_TIMEOUT, Linux)
//	data that does not leave this host                        10 s for 8 KiB
//	a PUBLISH without its PUBACK                              Config.AckTimeout, 30 s
//	a PINGREQ, sent when a way is quiet for Config.Keepalive  10 s
//
// The MQTT client logs in, subscribes and receives. Between it and the connection stand two filters: wire takes what is to be
// sent without ever making anybody wait; Inbound hands the client only packets that it can bear, whatever the broker sends.
// What is published goes past the client: into wire as a packet, and its acknowledgement from Inbound to the receipt, which
// outbox keeps.
//
//	Publish ──► outbox: identifier ──► wire ──► connection
//	Receipt ◄── outbox: receipt    ◄── Inbound ◄── PUBACK, or PUBREC and PUBCOMP
package bridge
