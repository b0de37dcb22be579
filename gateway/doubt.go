package gateway

import "time"

const (
	// jumped is by how much a date may be in the future: clocks are known better than that.
	jumped = time.Second
	// overtaken is how much older than the latest a packet may be: none is longer on its way.
	overtaken = time.Minute
)

// doubts says that a time is not to be relied on: the manager's clock may have jumped since it was
// read last. It is read again at once, and not only when its turn comes.
func (m *mesh) doubts(utc time.Time, known bool, ago time.Duration) bool {
	run := m.clock.Run()
	if run != m.latestRun {
		m.latest, m.latestRun = utc, run
	}
	doubt := !known || ago < -jumped || m.latest.Sub(utc) > overtaken
	if doubt && known {
		select {
		case m.reclock <- struct{}{}:
		default: // already asked for
		}
	}
	if !doubt && utc.After(m.latest) {
		m.latest = utc
	}
	return doubt
}
