package gateway

import "time"

// lanLedger deletes, at the broker that runs here, the retained topics of what is gone. A client does
// not hear when a single message is acknowledged: a deletion counts as done when the connection it
// was published on still stands a minute later; until then it is published again for each new one.
type lanLedger struct {
	book    *ledger
	sent    []string
	since   time.Time // when the connection began that sent went out on
	at      time.Time
	lastRun time.Time
}

const lanSettled = time.Minute

// note enters the gateway's own states before they are published.
func (l *lanLedger) note(list []state) {
	if l == nil {
		return
	}
	made := map[string]origin{}
	for _, st := range list {
		if !st.stored && len(st.payload) > 0 {
			made[st.topic] = origin{st.topic, true}
		}
	}
	l.book.note(made)
}

// tidy is called every second.
func (l *lanLedger) tidy(s side, owns func(string) bool) {
	if l == nil {
		return
	}
	st, now := s.Status(), time.Now()
	if len(l.sent) > 0 && st.Up && st.Since.Equal(l.since) {
		if now.Sub(l.at) >= lanSettled {
			l.book.forget(l.sent)
			l.sent = nil
		}
		return
	}
	if !st.Up || len(l.sent) == 0 && now.Sub(l.lastRun) < tidyPeriod {
		return
	}
	l.lastRun, l.at, l.since, l.sent = now, now, st.Since, nil
	for _, topic := range l.book.stale(func(_ string, o origin) bool { return owns(o.Local) }) {
		if s.Publish(topic, nil, true) == nil {
			l.sent = append(l.sent, topic)
		}
	}
}
