package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/meshgate/meshgate/bridge"
)

func bridgeImportCmd() *cobra.Command {
	return &cobra.Command{
		Use: "import MOSQUITTO.CONF", Short: "Print the bridges of a mosquitto.conf as our configuration", Args: cobra.ExactArgs(1),
		Long: `The section bridges: for our configuration is printed; what has no counterpart is a comment beside it. Passwords
are not printed: they belong into the files that are named.`,
		Example: "  meshgate bridge import /etc/mosquitto/conf.d/bridge.conf >> gateway.yaml",
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := os.Open(args[0])
			if err != nil {
				return err
			}
			defer f.Close()
			all, err := readConnections(f)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			if len(all) == 0 {
				return fmt.Errorf("%s has no connection in it (a line `connection NAME`)", args[0])
			}
			fmt.Fprintln(cmd.OutOrStdout(), "bridges:")
			for _, c := range all {
				c.print(cmd.OutOrStdout())
			}
			return nil
		},
	}
}

// connection is a bridge of mosquitto.conf.
type connection struct {
	name      string
	addresses []string
	tls       bool
	insecure  bool
	keys      [][2]string // our keys and their values, in order
	tlsKeys   [][2]string
	rules     []string
	comments  []string
}

// simpleKeys are those that only have another name here.
var simpleKeys = map[string]string{
	"remote_clientid": "client_id", "clientid": "client_id", "remote_username": "username", "username": "username",
}

var tlsKeys = map[string]string{"bridge_cafile": "ca", "bridge_certfile": "cert", "bridge_keyfile": "key"}

// ourWay is what needs no key because it is so here, or nearly.
var ourWay = map[string]string{
	"cleansession": "what waits is on our disk, the broker need not keep a session",
	"start_type":   "a bridge is always connected", "restart_timeout": "the pause grows from 0.5 s to 10 s",
	"notifications": "gateway/status is always published", "notification_topic": "gateway/status is always published",
	"notifications_local_only": "gateway/status is always published", "idle_timeout": "a bridge is always connected",
	"threshold": "a bridge is always connected", "bridge_protocol_version": "MQTT 3.1.1 is spoken",
	"bridge_attempt_unsubscribe": "nothing is unsubscribed", "try_private": "tried where a rule carries retain flags in",
	"round_robin": "urls are tried in turn, with return to the first", "bridge_outgoing_retain": "what is retained is published as retained",
	"bridge_max_packet_size": "a message that the broker does not take is held back", "bridge_reload_type": "connections are made anew as needed",
	"bridge_tls_version": "TLS 1.2 or later is spoken", "local_clientid": "there is no local connection",
	"bridge_require_ocsp": "certificates are not looked up by OCSP",
}

// readConnections reads the connection blocks; other lines belong to the broker.
func readConnections(r io.Reader) ([]*connection, error) {
	var all []*connection
	var c *connection
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		key, value, _ := strings.Cut(line, " ")
		value = strings.TrimSpace(value)
		switch {
		case line == "" || line[0] == '#':
		case key == "connection":
			c = &connection{name: value}
			all = append(all, c)
		case key == "listener":
			c = nil
		case c != nil:
			if err := c.take(key, value); err != nil {
				return nil, fmt.Errorf("line %d: %w", n, err)
			}
		}
	}
	return all, lines.Err()
}

// take reads one line of a block.
func (c *connection) take(key, value string) error {
	if ours, ok := simpleKeys[key]; ok {
		c.keys = append(c.keys, [2]string{ours, value})
		return nil
	}
	if ours, ok := tlsKeys[key]; ok {
		c.tls = true
		c.tlsKeys = append(c.tlsKeys, [2]string{ours, value})
		return nil
	}
	if why, ok := ourWay[key]; ok {
		c.comments = append(c.comments, key+" "+value+": not needed; "+why)
		return nil
	}
	switch key {
	case "address", "addresses":
		c.addresses = append(c.addresses, strings.Fields(value)...)
	case "topic":
		return c.topic(value)
	case "remote_password", "password":
		c.keys = append(c.keys, [2]string{"password_file", c.name + ".password"})
		c.comments = append(c.comments, "the password is not copied: put it into "+c.name+".password, readable to meshgate alone")
	case "keepalive_interval":
		if _, err := strconv.Atoi(value); err != nil {
			return fmt.Errorf("keepalive_interval %q is no number of seconds", value)
		}
		c.keys = append(c.keys, [2]string{"keepalive", value + "s"})
	case "bridge_insecure":
		c.insecure = value == "true"
	case "bridge_capath":
		c.tls = true
		c.comments = append(c.comments, "bridge_capath "+value+": not taken over; tls.ca is one file, without it the system's authorities count")
	default:
		c.comments = append(c.comments, strings.TrimSpace(key+" "+value)+": not taken over, there is no counterpart")
	}
	return nil
}

// topic takes a rule over with its prefixes spelt out: a bridge of Mosquitto has no prefix of its own.
func (c *connection) topic(value string) error {
	r, err := bridge.ParseRule(value)
	if err != nil {
		return err
	}
	r.OwnPrefix = true
	if err := r.Check(); err != nil {
		return err
	}
	c.rules = append(c.rules, r.String())
	return nil
}

// urls gives the addresses as we write them.
func (c *connection) urls() []string {
	scheme, port := "mqtt", "1883"
	if c.tls {
		scheme = "mqtts"
	}
	var urls []string
	for _, a := range c.addresses {
		host, p, err := net.SplitHostPort(a)
		if err != nil {
			host, p = strings.Trim(a, "[]"), port
		}
		urls = append(urls, scheme+"://"+net.JoinHostPort(host, p))
	}
	return urls
}

// print writes the bridge; every value is quoted, so that none can be taken for something else.
func (c *connection) print(out io.Writer) {
	fmt.Fprintf(out, "  - name: %s\n", strconv.Quote(c.name))
	urls := c.urls()
	switch len(urls) {
	case 0:
		fmt.Fprintln(out, "    # no address was there: url: mqtt://HOST:1883")
	case 1:
		fmt.Fprintf(out, "    url: %q\n", urls[0])
	default:
		fmt.Fprintf(out, "    urls: [%s]\n", quoted(urls))
	}
	for _, k := range c.keys {
		fmt.Fprintf(out, "    %s: %q\n", k[0], k[1])
	}
	if len(c.tlsKeys) > 0 {
		var parts []string
		for _, k := range c.tlsKeys {
			parts = append(parts, fmt.Sprintf("%s: %q", k[0], k[1]))
		}
		fmt.Fprintf(out, "    tls: {%s}\n", strings.Join(parts, ", "))
	}
	if c.insecure {
		fmt.Fprintln(out, "    # bridge_insecure true: not taken over; tls.server_name names a certificate that has another name than the host")
	}
	if !c.tls {
		fmt.Fprintln(out, "    # plaintext: true # needed for a username or rules inwards beyond this machine; better mqtts://")
	}
	fmt.Fprintln(out, "    topics:")
	for _, r := range c.rules {
		fmt.Fprintf(out, "      - %s\n", single(r))
	}
	if len(c.rules) == 0 {
		fmt.Fprintln(out, "      [] # none was there")
	}
	for _, text := range c.comments {
		fmt.Fprintf(out, "    # %s\n", text)
	}
}

func quoted(all []string) string {
	var parts []string
	for _, s := range all {
		parts = append(parts, strconv.Quote(s))
	}
	return strings.Join(parts, ", ")
}

// single quotes a rule as YAML does, in which "" stays as it is.
func single(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
