package main

import (
	"regexp"
	"strings"

	"github.com/meshgate/meshgate/gateway/control"
)

// cause is a common failure: how it shows in the error of a link, and what it is in words.
type cause struct {
	name  string
	kind  string // of the link; empty: any
	shows *regexp.Regexp
	words string
}

// causes are in the order in which they are looked for: the surer and the more basic come first. A
// clock that is wrong makes certificates look wrong, so it comes before them.
var causes = []cause{
	{"disk full", "", regexp.MustCompile(`(?i)no space left|disk quota exceeded`),
		"The disk is full, so nothing can be kept. `df -h` says which one; spool.max_size bounds what meshgate takes of it."},
	{"disk not writable", "spool", regexp.MustCompile(`(?i)read-only file system|input/output error|permission denied`),
		"The disk with the state folder cannot be written. A card that has gone read-only or gives input/output errors is at its end: replace it; `dmesg` tells."},
	{"no permission", "serial", regexp.MustCompile(`(?i)may not be opened|permission denied|operation not permitted`),
		"The daemon may not open the manager's port. Its user has to be in the group that owns it (`ls -l` on the port; dialout as a rule), and under systemd DeviceAllow has to list the kind of device."},
	{"port taken", "serial", regexp.MustCompile(`(?i)another program uses the port|resource busy`),
		"Another program has the manager's port open: a terminal program, a second meshgate, the Serial Mux, ModemManager. `fuser -v` on the port names it."},
	{"port not there", "serial", regexp.MustCompile(`(?i)is not there|no such file|no such device`),
		"The manager's port is not there: is the manager plugged in and powered? `meshgate setup` looks for it; `ls -l /dev/serial/by-id` lists what is plugged in."},
	{"wrong port", "", regexp.MustCompile(`(?i)no manager answers`),
		"The port opens, and no manager answers on it. A manager on USB shows four ports, and its API is on the fourth (…if03): is another one configured? Otherwise the manager is without power or still starting."},
	{"no permission for a pin", "output", regexp.MustCompile(`(?i)permission|udev rule`),
		"The daemon may not switch the pin. Its user has to be in the group gpio, and the udev rules of the package have to be in force (a restart of the machine does it)."},
	{"clock", "bridge", regexp.MustCompile(`(?i)is the clock right\?|certificate is not yet valid|not valid before`),
		"This machine's clock is wrong, so the broker's certificate looks as if it were from the future. Let it be set by the network (`timedatectl`), or fit a clock with a battery."},
	{"certificate expired", "bridge", regexp.MustCompile(`(?i)valid until|certificate has expired`),
		"The broker's certificate has expired, or this machine's clock is ahead (`date` says what it thinks). If the clock is right, the broker needs a new certificate."},
	{"certificate", "bridge", regexp.MustCompile(`(?i)x509|certificate|TLS:`),
		"The broker's certificate is not accepted, or it does not accept ours: tls.ca has to be the file of the authority that signed the broker's, url has to have the name that is in it, and tls.cert and tls.key ours where it wants one."},
	{"DNS", "bridge", regexp.MustCompile(`(?i)\bDNS\b|there is no host|cannot look up|no such host`),
		"The broker's name cannot be looked up: is it spelt right in url, is the network up, and is there a name server (`resolvectl query NAME`)?"},
	{"duplicate client id", "", regexp.MustCompile(`(?i)uses the client id|another client with the id`),
		"Another client uses the same client id and throws this one out, again and again: most likely a gateway whose card was copied from the same image. Give each its own id (or client_id). A broker that does not allow what is published looks the same: its log tells them apart."},
	{"password", "bridge", regexp.MustCompile(`(?i)wrong user name or password`),
		"The broker does not take user name and password: look at username and at the file password_file, which may end in one newline and no more."},
	{"ACL", "", regexp.MustCompile(`(?i)not authori[sz]ed|refuses the subscription|access list`),
		"The broker's access list does not allow this gateway what it needs: it has to publish on PREFIX#, and subscribe to PREFIX+actuator/+/set and to PREFIX+gateway/status."},
	{"no broker there", "bridge", regexp.MustCompile(`(?i)connection refused`),
		"The broker's host is there, and nothing listens on that port: is the broker running, and is the port right (8883 with TLS, 1883 without)?"},
	{"no network", "bridge", regexp.MustCompile(`(?i)unreachable|took too long|timeout|deadline exceeded|no longer answers`),
		"The broker's host cannot be reached, or does not answer: is the network up (`ip route`), does a firewall drop the connection? What is measured meanwhile is kept."},
}

// explain says in words what is likely wrong; each link that is not well gets one cause at most,
// and a cause that several have in common is told once.
func explain(s control.Status) []string {
	var out []string
	told := map[string]bool{}
	explained := map[string]bool{} // managers whose line is the reason that there is no session
	alone := map[string]bool{}     // managers without a session, of whose mesh nothing more is known
	for _, l := range s.Links {
		alone[l.Name] = alone[l.Name] || l.Kind == "session" && l.Error != ""
		if l.Error == "" || l.Kind == "session" && explained[l.Name] || l.Kind == "mesh" && alone[l.Name] {
			continue
		}
		text := l.Kind + " " + l.Name + ": " + l.Error
		c := causeOf(l)
		if c != nil && l.Kind == "serial" {
			explained[l.Name] = true
		}
		switch {
		case c == nil:
			out = append(out, text)
		case !told[c.name]:
			told[c.name] = true
			out = append(out, c.words+"\n  "+text)
		}
	}
	if n := s.Spool.Dropped["size"]; n > 0 {
		out = append(out, "Records were dropped because the buffer was full: the broker was away for longer than spool.max_size has room for.")
	}
	return out
}

func causeOf(l control.Link) *cause {
	for i, c := range causes {
		if (c.kind == "" || c.kind == l.Kind) && c.shows.MatchString(l.Error) {
			return &causes[i]
		}
	}
	return nil
}

// explainNoDaemon is for a daemon that does not answer.
func explainNoDaemon(err error) string {
	text := err.Error()
	if strings.Contains(text, "no running meshgate") || strings.Contains(text, "connection refused") || strings.Contains(text, "no such file") {
		return "The daemon does not run. `systemctl status meshgate` and `journalctl -u meshgate` say why; `meshgate check` says what is wrong with the configuration.\n  " + text
	}
	return text
}
