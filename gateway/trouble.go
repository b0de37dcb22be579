package gateway

import (
	"strings"
	"sync"
)

// The causes of trouble with a bridge that is connected, in the order they are shown.
const (
	troubleRoute = iota
	troubleSubscription
	troubleHeld
	troubleCertificate
	troubles
)

// condition is what status shows of a bridge that is connected: where to, how far it works, and
// what is wrong with it all the same, one text a cause.
type condition struct {
	link *link

	mu    sync.Mutex
	up    bool
	url   string
	route string // up, down, not checked, ...
	note  string // worth knowing, and nothing wrong yet
	wrong [troubles]string
}

// connected is the begin of a session.
func (c *condition) connected(url, route string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.up, c.url, c.route = true, url, route
	c.link.up("")
	c.show()
}

// lost is the end of a session.
func (c *condition) lost(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.up = false
	c.wrong[troubleRoute], c.wrong[troubleSubscription] = "", ""
	c.link.down(layers(err))
}

// set notes a trouble, or with an empty text that it is over.
func (c *condition) set(cause int, text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wrong[cause] = text
	c.show()
}

// routed notes whether what is published comes back.
func (c *condition) routed(route, trouble string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.route, c.wrong[troubleRoute] = route, trouble
	c.show()
}

// remark notes what is worth knowing.
func (c *condition) remark(text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.note = text
	c.show()
}

func (c *condition) show() {
	if !c.up {
		return
	}
	detail := c.url + ": tcp up, mqtt up, route " + c.route
	if c.note != "" {
		detail += "; " + c.note
	}
	var wrong []string
	for _, w := range c.wrong {
		if w != "" {
			wrong = append(wrong, w)
		}
	}
	c.link.say(detail, strings.Join(wrong, "; "))
}

// say changes what is told of a link and leaves whether it is up.
func (l *link) say(detail, text string) {
	l.owner.mu.Lock()
	defer l.owner.mu.Unlock()
	l.state.Detail, l.state.Error = detail, text
}
