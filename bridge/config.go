package bridge

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"time"
)

// Message is one MQTT message, with the topic it has at the remote broker.
type Message struct {
	Topic   string
	Payload []byte
	QoS     byte
	Retain  bool // in a received message: it was kept by the broker, from before the subscription; AsBridge: or is kept from now on

	// Only of received messages.
	Duplicate bool // the broker says that it may have sent this one before
	Echo      bool // published by this session, less than 10 s ago
	Truncated bool // longer than MaxPacket; Payload is empty, the real one was skipped
}

// TLS names the files of a connection's certificates, all PEM. They are read at every Connect, so that replaced files are
// used by the next connection.
type TLS struct {
	CA         string // those that may sign the broker's certificate; empty: the system's
	Cert, Key  string // ours, both or none
	ServerName string // the name the broker's certificate must have; empty: the host of the URL
}

// Config is all that one connection needs.
type Config struct {
	Name         string // of the bridge, for logs
	URL          string // as ParseURL takes it
	ClientID     string // the same at every connection, or the broker keeps a ghost whose will comes late
	Username     string
	PasswordFile string // read at every Connect; one trailing newline is dropped
	TLS          TLS    // for mqtts and wss
	Keepalive    time.Duration

	// AsBridge says in CONNECT what we are (bit 7 of the protocol level). A broker that understands it sends live messages
	// with the retain flag they were published with, and our own not at all; one that does not refuses us, see
	// RefusesBridges, or takes no notice.
	AsBridge bool

	Will       Message        // published by the broker when the connection is lost; none without a topic
	Subscribe  []Subscription // asked for before Connect returns
	AckTimeout time.Duration  // a publish without its acknowledgement after this long ends the session; 0: 30 s

	// Time is the time that certificates are checked against; nil: time.Now. A host without a clock gives the last good
	// time it knows as a floor.
	Time func() time.Time

	// Dial makes the TCP connection; nil: a net.Dialer with TCP_USER_TIMEOUT.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

const (
	connectTimeout   = 30 * time.Second // for all steps of Connect together
	defaultKeepalive = 30 * time.Second
	pingTimeout      = 10 * time.Second // from PINGREQ to PINGRESP
	writeTimeout     = 10 * time.Second // for 8 KiB to leave
	tcpUserTimeout   = 20 * time.Second // of what was sent and not acknowledged by the other host's TCP
	defaultAck       = 30 * time.Second
)

// level is the protocol level of CONNECT: MQTT 3.1.1.
func (c Config) level() uint {
	if c.AsBridge {
		return 0x80 | 4
	}
	return 4
}

// check returns the config with its defaults, or what is wrong with it.
func (c Config) check() (Config, error) {
	if c.ClientID == "" {
		return c, errors.New("no client id")
	}
	if c.Username == "" && c.PasswordFile != "" {
		return c, errors.New("a password needs a username (MQTT 3.1.1 section 3.1.2.9)")
	}
	if c.Keepalive == 0 {
		c.Keepalive = defaultKeepalive
	}
	c.Keepalive = (c.Keepalive + time.Second - 1).Truncate(time.Second)
	if c.Keepalive < time.Second || c.Keepalive > math.MaxUint16*time.Second {
		return c, fmt.Errorf("keepalive %v is not between 1s and 65535s", c.Keepalive)
	}
	if c.AckTimeout <= 0 {
		c.AckTimeout = defaultAck
	}
	if c.Time == nil {
		c.Time = time.Now
	}
	if c.Dial == nil {
		c.Dial = dialTCP
	}
	if c.Will.Topic != "" {
		if err := ValidTopic(c.Will.Topic); err != nil {
			return c, fmt.Errorf("will: %w", err)
		}
		if c.Will.QoS > 2 || len(c.Will.Payload) > math.MaxUint16 {
			return c, fmt.Errorf("will: qos %d with %d bytes; MQTT has qos 0 to 2 and 65535 bytes", c.Will.QoS, len(c.Will.Payload))
		}
	}
	for _, s := range c.Subscribe {
		if err := ValidFilter(s.Filter); err != nil {
			return c, fmt.Errorf("subscribe: %w", err)
		}
		if s.QoS > 2 {
			return c, fmt.Errorf("subscribe: qos %d of %q is none of 0, 1, 2", s.QoS, s.Filter)
		}
	}
	return c, nil
}
