package health

// MinPackets is how many packets it takes before Stability says something.
const MinPackets = 30

// QueueMax gives the largest length of the packet queue in the interval.
func (d Device) QueueMax() int { return int(d.QueueOcc >> 4) }

// QueueMean gives the mean length of the packet queue in the interval.
func (d Device) QueueMean() int { return int(d.QueueOcc & 0x0F) }

// Availability gives 1 - numTxFail/numTxOk, the share of packets that the mote's network layer could take, within 0 and 1;
// it should be at least 0.99. There is none (false) when nothing was sent.
func (d Device) Availability() (float64, bool) {
	if d.Present < 6 {
		return 0, false
	}
	return share(uint64(d.NumTxFail), uint64(d.NumTxOk))
}

// Stability gives 1 - numTxFailures/numTxPackets of a path, within 0 and 1, where there were at least MinPackets packets.
// With an RSSI above -70 dBm it should be more than 0.70; below -80 dBm less than 0.50 may be expected.
func (n Neighbor) Stability() (float64, bool) {
	if n.NumTxPackets < MinPackets {
		return 0, false
	}
	return share(uint64(n.NumTxFailures), uint64(n.NumTxPackets))
}

// Stability gives 1 - txUnicastFailures/txUnicastAttempts on a channel, within 0 and 1; false when nothing was sent.
func (c Channel) Stability() (float64, bool) {
	return share(uint64(c.TxUnicastFailures), uint64(c.TxUnicastAttempts))
}

// Reliability gives 1 - lost/(lost+arrived), from the manager's counters of the network or of a mote; it should be at least
// 0.999. There is none (false) when nothing was sent.
func Reliability(lost, arrived uint64) (float64, bool) {
	all := lost + arrived
	if all < lost {
		all = 1<<64 - 1
	}
	return share(lost, all)
}

// share gives 1 - bad/all, within 0 and 1. It is false when there is no data; more bad ones than all count as all.
func share(bad, all uint64) (float64, bool) {
	switch {
	case bad == 0 && all == 0:
		return 0, false
	case bad >= all:
		return 0, true
	}
	return 1 - float64(bad)/float64(all), true
}
