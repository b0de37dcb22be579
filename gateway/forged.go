package gateway

import "sync"

// maxForged bounds the topics that are remembered.
const maxForged = 1000

// forgeries are the states of the gateway that a local client has published to: what holds is said over them.
type forgeries struct {
	mu   sync.Mutex
	open map[string]bool // not yet said over
	told map[string]bool // have been logged
}

// note enters a topic; true for one that has not been logged.
func (f *forgeries) note(topic string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.open == nil {
		f.open, f.told = map[string]bool{}, map[string]bool{}
	}
	if len(f.open) < maxForged {
		f.open[topic] = true
	}
	if f.told[topic] || len(f.told) >= maxForged {
		return false
	}
	f.told[topic] = true
	return true
}

// take gives the topics that are to be said again.
func (f *forgeries) take() map[string]bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	open := f.open
	if len(open) > 0 {
		f.open = map[string]bool{}
	}
	return open
}
