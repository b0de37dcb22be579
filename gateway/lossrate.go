package gateway

import "math"

// lossRate is which share of the packets does not come, of the last hundred or so.
type lossRate struct {
	share   float64
	packets float64 // that it was learnt from, at most keepPackets
}

const (
	keepPackets = 100
	// falseAlarms is how many of the packets may come only after their mote was called late.
	falseAlarms = 1e-5
)

// note takes in a packet that came after some that did not.
func (l *lossRate) note(missed int) {
	for range missed {
		l.learn(1)
	}
	l.learn(0)
}

func (l *lossRate) learn(lost float64) {
	l.packets = min(l.packets+1, keepPackets)
	l.share += (lost - l.share) / l.packets
}

// patience is how many periods a silence lasts before it is news. A mesh loses next to nothing,
// and there two packets missing in a row tell: late after 2.5 periods. One that loses a packet in
// twenty must not cry wolf every hour: there it takes three or four, the fewest that are missing
// by mere chance in less than falseAlarms. The half is for packets that come after their time.
func (l *lossRate) patience() float64 {
	missing := 2.0
	for missing < 4 && math.Pow(l.share, missing) > falseAlarms {
		missing++
	}
	return missing + 0.5
}
